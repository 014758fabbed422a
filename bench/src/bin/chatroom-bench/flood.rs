//! Throughput: all the broadcasts at once, until the servers have nothing more to do.

use crate::Res;
use crate::book::{Book, Case, Entry};
use crate::floor;
use crate::grid::Grid;
use crate::probe::Cpu;
use crate::subject::Subject;
use crate::text;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often the servers' CPU is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A grid that used less than nine tenths of a processor for so long is done: longer than a first
/// retransmission takes (200 ms). A round of heartbeats uses less.
const QUIET: Duration = Duration::from_millis(300);
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Broadcasts such that a grid makes `deliveries` of them, within half a GiB of logs.
pub(crate) fn broadcasts(case: Case, deliveries: usize) -> usize {
    let most = (512 << 20) / (case.n * (case.bytes + 1));
    let count = (deliveries / case.n).min(most);
    count - count % case.n
}

/// One run; the logs are checked afterwards.
pub(crate) fn measure(
    book: &mut Book,
    subject: &Subject,
    case: Case,
    deliveries: usize,
) -> Res<()> {
    let count = broadcasts(case, deliveries);
    let mut grid = Grid::settled(subject, case.n, &[])?;
    let cpu = Cpu::of(&grid.pids()?)?;
    let speakers = if case.all { case.n } else { 1 };
    let per: Vec<usize> = (0..case.n)
        .map(|id| if id < speakers { count / speakers } else { 0 })
        .collect();
    let mut said = Vec::new();
    for (id, &own) in per.iter().enumerate().take(speakers) {
        let lines = text::broadcasts(id, 0, own, case.bytes);
        said.push((grid.masters[id].socket()?, lines));
    }
    let used = cpu.used()?;
    let begin = Instant::now();
    let (busy_until, busy_used) = std::thread::scope(|scope| -> Res<_> {
        let writers: Vec<_> = said
            .into_iter()
            .map(|(mut socket, lines)| scope.spawn(move || socket.write_all(&lines)))
            .collect();
        let (mut last, mut last_used) = (begin, used);
        let (mut busy_until, mut busy_used) = (begin, used);
        loop {
            std::thread::sleep(LOOK);
            let (now, now_used) = (Instant::now(), cpu.used()?);
            if (now_used - last_used) * 10 > (now - last) * 9 {
                (busy_until, busy_used) = (now, now_used);
            }
            (last, last_used) = (now, now_used);
            if writers.iter().all(|w| w.is_finished()) && now - busy_until > QUIET {
                break;
            }
            if now - begin > PATIENCE {
                return Err("the servers were still busy after two minutes".into());
            }
        }
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok((busy_until, busy_used))
    })?;
    grid.check_logs(&per, case.bytes)?;
    let done = (count * case.n) as f64;
    let at = Entry {
        section: "throughput",
        subject: &subject.name,
        case,
    };
    let seconds = (busy_until - begin).as_secs_f64();
    book.add(at, "deliveries", "1/s", done / seconds);
    let cpu_us = (busy_used - used).as_secs_f64() * 1e6;
    book.add(at, "CPU a delivery", "µs", cpu_us / done);
    Ok(())
}

/// The same over raw sockets.
pub(crate) fn floor(book: &mut Book, case: Case, deliveries: usize) -> Res<()> {
    let fan = floor::fan(case.n - 1, case.bytes, broadcasts(case, deliveries))?;
    let at = Entry {
        section: "throughput",
        subject: "floor",
        case,
    };
    book.add(at, "deliveries", "1/s", fan.rate);
    book.add(at, "CPU a delivery", "µs", fan.cpu);
    Ok(())
}

/// One speaker, `rate` broadcasts a second, nothing to coalesce: CPU µs a delivery beyond what the
/// grid uses at rest.
pub(crate) fn paced(
    book: &mut Book,
    subject: &Subject,
    case: Case,
    rate: u32,
    span: Duration,
) -> Res<()> {
    let mut grid = Grid::settled(subject, case.n, &[])?;
    let cpu = Cpu::of(&grid.pids()?)?;
    let (used, begin) = (cpu.used()?, Instant::now());
    std::thread::sleep(span);
    let at_rest = (cpu.used()? - used).as_secs_f64() / begin.elapsed().as_secs_f64();
    let count = (f64::from(rate) * span.as_secs_f64()) as usize;
    let (used, begin) = (cpu.used()?, Instant::now());
    for number in 0..count {
        let due = begin + Duration::from_secs(1) * u32::try_from(number)? / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        grid.masters[0].say(&text::broadcasts(0, number, 1, case.bytes))?;
    }
    std::thread::sleep(Duration::from_millis(50));
    let beyond = (cpu.used()? - used).as_secs_f64() - at_rest * begin.elapsed().as_secs_f64();
    let mut per = vec![0; case.n];
    per[0] = count;
    grid.check_logs(&per, case.bytes)?;
    let at = Entry {
        section: "paced",
        subject: &subject.name,
        case,
    };
    book.add(
        at,
        "CPU a delivery at 1,000/s",
        "µs",
        beyond * 1e6 / (count * case.n) as f64,
    );
    Ok(())
}
