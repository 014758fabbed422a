//! How servers come, go and rest: start, detection, and what a grid costs that has nothing to do.

use crate::Res;
use crate::book::{Book, Case, Entry};
use crate::floor;
use crate::grid::{Grid, PATIENCE};
use crate::master::Master;
use crate::probe::{self, Cpu};
use crate::subject::Subject;
use crate::text;
use nix::sys::signal::Signal;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The heartbeat that servers send unless told otherwise.
const HEARTBEAT: Duration = Duration::from_millis(450);

/// How long a starved grid is left alone between two of its servers' ends.
const CALM: Duration = Duration::from_secs(5);

fn at<'a>(section: &'static str, subject: &'a str, n: usize) -> Entry<'a> {
    let case = Case {
        n,
        ..Case::default()
    };
    Entry {
        section,
        subject,
        case,
    }
}

/// From the first process's start until every server lists every other.
pub(crate) fn start(book: &mut Book, subject: &Subject, n: usize) -> Res<()> {
    let begin = Instant::now();
    let mut grid = Grid::start(subject, n, &[])?;
    grid.until_whole()?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    book.add(at("start", &subject.name, n), "start to whole", "ms", took);
    Ok(())
}

/// CPU, wake-ups and memory of a grid that nobody speaks to.
pub(crate) fn rest(book: &mut Book, subject: &Subject, n: usize, span: Duration) -> Res<()> {
    let grid = Grid::settled(subject, n, &[])?;
    std::thread::sleep(Duration::from_secs(1));
    let pids = grid.pids()?;
    let wakes = || -> Res<u64> { pids.iter().map(|&pid| probe::wakes(pid)).sum() };
    let cpu = Cpu::of(&pids)?;
    let woken = wakes()?;
    let (used, begin) = (cpu.used()?, Instant::now());
    std::thread::sleep(span);
    let seconds = begin.elapsed().as_secs_f64();
    let used = (cpu.used()? - used).as_secs_f64() / seconds;
    let woken = (wakes()? - woken) as f64 / seconds;
    let resident: u64 = pids
        .iter()
        .map(|&pid| probe::resident(pid))
        .sum::<Res<_>>()?;
    let at = at("rest", &subject.name, n);
    book.add(at, "CPU of the grid", "s/s", used);
    book.add(
        at,
        "CPU a link end",
        "µs/s",
        used * 1e6 / (n * (n - 1)) as f64,
    );
    book.add(at, "wake-ups of the grid", "1/s", woken);
    let each = resident as f64 / n as f64 / f64::from(1 << 20);
    book.add(at, "resident, a server", "MiB", each);
    Ok(())
}

/// Heartbeats alone, in threads of one process.
pub(crate) fn rest_floor(book: &mut Book, n: usize, span: Duration) -> Res<()> {
    let used = floor::heartbeats(n, HEARTBEAT, span)?;
    let at = at("rest", "floor", n);
    book.add(at, "CPU of the grid", "s/s", used);
    book.add(
        at,
        "CPU a link end",
        "µs/s",
        used * 1e6 / (n * (n - 1)) as f64,
    );
    Ok(())
}

/// `count` times: a server is killed, or stopped, and comes back. Every other server is asked for
/// `alive` over and over. Under load another server speaks all the time.
pub(crate) fn detection(
    book: &mut Book,
    subject: &Subject,
    n: usize,
    signal: Signal,
    loaded: bool,
    count: usize,
) -> Res<()> {
    let mut grid = Grid::settled(subject, n, &[])?;
    let name = format!("{signal}{}", if loaded { " under load" } else { "" });
    let speaker = grid.masters[0].socket()?;
    let over = AtomicBool::new(!loaded);
    let at = at("detection", &subject.name, n);
    std::thread::scope(|scope| -> Res<()> {
        let voice = scope.spawn(|| speak(speaker, &over));
        let mut all = || -> Res<()> {
            for round in 0..count {
                // The speaker lives, or there would be no load; the moment drifts through a period.
                let victim = 1 + round % (n - 1);
                let phase = HEARTBEAT * u32::try_from(round * 7 % 10)? / 10;
                std::thread::sleep(phase);
                let seen = observe(&mut grid, victim, signal)?;
                seen.note(book, at, &name);
                restore(&mut grid, victim, signal)?;
            }
            Ok(())
        };
        let done = all();
        over.store(true, Ordering::Relaxed);
        let spoken = voice.join().map_err(|_| "the speaker panicked")?;
        done.and(spoken)
    })
}

/// Broadcasts as fast as the server takes it, in texts of 64 B, with breaks that keep the log small.
fn speak(mut socket: std::net::TcpStream, over: &AtomicBool) -> Res<()> {
    let lines = text::broadcasts(0, 0, 200, 64);
    while !over.load(Ordering::Relaxed) {
        socket.write_all(&lines)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// On a machine that has less time than is wanted: beside `busy` threads that never wait, for
/// `span`, a server is killed or stopped every few seconds, in turns. Between that, every server
/// is asked for `alive`: nobody that lives may be missing.
pub(crate) fn starved(
    book: &mut Book,
    subject: &Subject,
    n: usize,
    busy: usize,
    span: Duration,
) -> Res<()> {
    let mut grid = Grid::settled(subject, n, &[])?;
    let at = at("starved", &subject.name, n);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| -> Res<()> {
        for _ in 0..busy {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let mut all = || -> Res<()> {
            let begin = Instant::now();
            let mut round = 0;
            while begin.elapsed() < span {
                let calm = suspicions(&mut grid, CALM)?;
                let what = format!("{busy} busy, suspicions in {} s of calm", CALM.as_secs());
                book.add(at, &what, "", calm as f64);
                let signal = [Signal::SIGKILL, Signal::SIGSTOP][round % 2];
                let victim = round / 2 % n;
                let seen = observe(&mut grid, victim, signal)?;
                seen.note(book, at, &format!("{busy} busy, {signal}"));
                restore(&mut grid, victim, signal)?;
                round += 1;
            }
            Ok(())
        };
        let done = all();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// How often, within `span`, a server began not to list another. All of them live.
fn suspicions(grid: &mut Grid, span: Duration) -> Res<usize> {
    let n = grid.masters.len();
    let mut lacking = vec![0; n];
    let mut count = 0;
    let begin = Instant::now();
    while begin.elapsed() < span {
        for (id, lacking) in lacking.iter_mut().enumerate() {
            let lacks = n - grid.masters[id].alive()?.len();
            count += lacks.saturating_sub(*lacking);
            *lacking = lacks;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(count)
}

/// Undoes what `signal` did to a server, and waits until the grid is whole.
fn restore(grid: &mut Grid, victim: usize, signal: Signal) -> Res<()> {
    if signal == Signal::SIGKILL {
        grid.revive(victim)?;
    } else {
        grid.signal(victim, Signal::SIGCONT)?;
    }
    grid.until_whole()
}

struct Seen {
    /// From the signal until the last observer no longer lists the victim.
    last: Duration,
    /// How often an observer listed it again, before it was allowed to go on.
    revivals: usize,
    /// How often an observer no longer listed somebody else.
    suspicions: usize,
}

impl Seen {
    fn note(&self, book: &mut Book, at: Entry<'_>, name: &str) {
        let last = self.last.as_secs_f64() * 1e3;
        book.add(at, &format!("{name} seen by the last"), "ms", last);
        let [revivals, suspicions] = [self.revivals, self.suspicions].map(|count| count as f64);
        book.add(at, &format!("{name}, false revivals"), "", revivals);
        book.add(at, &format!("{name}, false suspicions"), "", suspicions);
    }
}

fn observe(grid: &mut Grid, victim: usize, signal: Signal) -> Res<Seen> {
    // After the last has seen it, a while more for false revivals.
    let (pause, stay) = if signal == Signal::SIGKILL {
        (Duration::ZERO, Duration::from_millis(20))
    } else {
        (Duration::from_millis(3), Duration::from_millis(300))
    };
    let n = grid.masters.len();
    let mut gone = vec![false; n];
    gone[victim] = true;
    let mut lacking = vec![vec![false; n]; n];
    let mut seen = Seen {
        last: Duration::ZERO,
        revivals: 0,
        suspicions: 0,
    };
    grid.signal(victim, signal)?;
    let begin = Instant::now();
    let mut done = None;
    while done.is_none_or(|at: Instant| at.elapsed() < stay) {
        let others = || (0..n).filter(|&id| id != victim);
        for id in others() {
            grid.masters[id].say(b"alive\n")?;
        }
        for id in others() {
            let ids = Master::ids(&grid.masters[id].line()?)?;
            let lists = ids.contains(&victim);
            for other in others() {
                let lacks = !ids.contains(&other);
                seen.suspicions += usize::from(lacks && !lacking[id][other]);
                lacking[id][other] = lacks;
            }
            if gone[id] && lists {
                seen.revivals += 1;
            }
            if !gone[id] && !lists {
                seen.last = begin.elapsed();
            }
            gone[id] = !lists;
        }
        if done.is_none() && gone.iter().all(|&gone| gone) {
            done = Some(Instant::now());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("the end of {victim} was never seen by all").into());
        }
        std::thread::sleep(pause);
    }
    Ok(seen)
}
