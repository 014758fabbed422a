//! Latency: from a broadcast's moment until the last log has it.

use crate::Res;
use crate::book::{Book, Case, Curve, Entry};
use crate::floor;
use crate::grid::Grid;
use crate::master::Master;
use crate::subject::Subject;
use crate::text;
use hdrhistogram::Histogram;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const BYTES: usize = 64;
/// Between two batches under load.
const TICK: Duration = Duration::from_millis(1);
/// Servers that are watched here owe their watchers more than they would allow a stranger.
const WATCHED: &[(&str, &str)] = &[("CHATROOM_MAX_WATCH", "1073741824")];

/// One broadcast at a time, and `get` asked of every server that does not show it yet: works with
/// any server, and counts the asking in.
pub(crate) fn polled(book: &mut Book, subject: &Subject, n: usize, count: usize) -> Res<()> {
    let mut grid = Grid::settled(subject, n, &[])?;
    let mut spread = Spread::new()?;
    for number in 0..count {
        let line = text::broadcasts(0, number, 1, 16);
        let begin = Instant::now();
        grid.masters[0].say(&line)?;
        let mut lacking: Vec<usize> = (0..n).collect();
        while !lacking.is_empty() {
            for &id in &lacking {
                grid.masters[id].say(b"get\n")?;
            }
            let mut still = Vec::new();
            for &id in &lacking {
                if text::count(&grid.masters[id].line()?) <= number {
                    still.push(id);
                }
            }
            lacking = still;
        }
        spread.add(begin.elapsed())?;
        std::thread::sleep(TICK * 2);
    }
    spread.note(book, &subject.name, n, "seen by get");
    Ok(())
}

/// A watcher of every server tells when its log has what: first alone at 200 a second, then at half
/// of the rate that this very grid, watched like this, can do.
pub(crate) fn watched(book: &mut Book, subject: &Subject, n: usize, count: usize) -> Res<()> {
    let unloaded = Pace {
        tick: TICK * 5,
        batch: 1,
        ticks: count,
    };
    let spread = run(subject, n, unloaded)?.0;
    spread.note(book, &subject.name, n, "watched, at rest");
    let flood = Pace {
        tick: Duration::ZERO,
        batch: 100,
        ticks: (2_000_000 / n).div_ceil(100),
    };
    let (_, taken) = run(subject, n, flood)?;
    let peak = (flood.batch * flood.ticks) as f64 / taken.as_secs_f64();
    let half = Pace {
        tick: TICK,
        batch: ((peak / 2.0 * TICK.as_secs_f64()) as usize).max(1),
        ticks: count,
    };
    let spread = run(subject, n, half)?.0;
    spread.note(book, &subject.name, n, "watched, half the peak");
    let at = Entry {
        section: "latency",
        subject: &subject.name,
        case: Case {
            n,
            ..Case::default()
        },
    };
    book.add(at, "peak while watched", "deliveries/s", peak * n as f64);
    Ok(())
}

/// A round trip between two processes over one socket.
pub(crate) fn floor(book: &mut Book, n: usize, count: usize) -> Res<()> {
    let mut spread = Spread::new()?;
    for trip in floor::round_trips(count)? {
        spread.add(trip)?;
    }
    spread.note(book, "TCP round trip", n, "watched, at rest");
    Ok(())
}

/// Batches of broadcasts at fixed moments, whatever the servers do.
#[derive(Clone, Copy, Debug)]
struct Pace {
    tick: Duration,
    batch: usize,
    ticks: usize,
}

/// How long each batch took until the last log had all of it, from the moment it was due; and how
/// long all of them together took.
fn run(subject: &Subject, n: usize, pace: Pace) -> Res<(Spread, Duration)> {
    let mut grid = Grid::settled(subject, n, WATCHED)?;
    let mut watchers = Vec::new();
    for id in 0..n {
        let mut watcher = grid.connect(id)?;
        watcher.say(b"watch\nalive\n")?;
        Master::ids(&watcher.line()?)?;
        watchers.push(watcher.socket()?);
    }
    let batches: Vec<_> = (0..pace.ticks)
        .map(|tick| text::broadcasts(0, tick * pace.batch, pace.batch, BYTES))
        .collect();
    let begin = Instant::now();
    let seen = std::thread::scope(|scope| -> Res<Vec<Vec<Instant>>> {
        let readers: Vec<_> = watchers
            .into_iter()
            .map(|watcher| scope.spawn(move || watch(watcher, pace)))
            .collect();
        for (tick, batch) in batches.iter().enumerate() {
            let due = begin + pace.tick * u32::try_from(tick)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            grid.masters[0].say(batch)?;
        }
        readers
            .into_iter()
            .map(|reader| reader.join().map_err(|_| "a watcher panicked")?)
            .collect()
    })?;
    let mut spread = Spread::new()?;
    let mut last = begin;
    for tick in 0..pace.ticks {
        let due = begin + pace.tick * u32::try_from(tick)?;
        for moments in &seen {
            last = last.max(moments[tick]);
        }
        spread.add(last.saturating_duration_since(due))?;
    }
    let mut per = vec![0; n];
    per[0] = pace.batch * pace.ticks;
    grid.check_logs(&per, BYTES)?;
    Ok((spread, last - begin))
}

/// The moments when the last line of each batch came.
fn watch(mut socket: TcpStream, pace: Pace) -> Res<Vec<Instant>> {
    socket.set_read_timeout(Some(crate::grid::PATIENCE))?;
    let mut moments = Vec::with_capacity(pace.ticks);
    let mut buffer = vec![0; 256 * 1024];
    let mut lines = 0;
    while moments.len() < pace.ticks {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Err("a server dropped its watcher".into());
        }
        let now = Instant::now();
        lines += memchr::memchr_iter(b'\n', &buffer[..count]).count();
        moments.resize((lines / pace.batch).min(pace.ticks), now);
    }
    Ok(moments)
}

/// Latencies in ns, to three digits, up to a minute.
struct Spread(Histogram<u64>);

impl Spread {
    fn new() -> Res<Self> {
        Ok(Self(Histogram::new_with_bounds(1000, 60_000_000_000, 3)?))
    }

    fn add(&mut self, latency: Duration) -> Res<()> {
        let nanos = u64::try_from(latency.as_nanos())?.max(1000);
        Ok(self.0.record(nanos)?)
    }

    fn note(&self, book: &mut Book, subject: &str, n: usize, load: &'static str) {
        let case = Case {
            n,
            ..Case::default()
        };
        let at = Entry {
            section: "latency",
            subject,
            case,
        };
        let micros = |share: f64| self.0.value_at_quantile(share) as f64 / 1e3;
        let names = match load {
            "seen by get" => ["seen by get, p50", "seen by get, p99", "seen by get, p999"],
            "watched, at rest" => [
                "watched, at rest, p50",
                "watched, at rest, p99",
                "watched, at rest, p999",
            ],
            _ => [
                "watched, half the peak, p50",
                "watched, half the peak, p99",
                "watched, half the peak, p999",
            ],
        };
        for (name, share) in names.into_iter().zip([0.5, 0.99, 0.999]) {
            book.add(at, name, "µs", micros(share));
        }
        let steps = (0..40).map(|i| 1.0 - 10_f64.powf(-f64::from(i) / 13.0));
        book.curves.push(Curve {
            subject: subject.to_owned(),
            n,
            load,
            points: steps.map(|share| (share, micros(share))).collect(),
        });
    }
}
