//! A long log: what a message in it costs, and what a `get` of all of it costs.

use crate::Res;
use crate::book::{Book, Case, Entry};
use crate::grid::{Grid, PATIENCE};
use crate::probe::{self, Cpu};
use crate::subject::Subject;
use crate::text;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BYTES: usize = 64;

/// A log of `count` messages at the second of two servers.
pub(crate) fn measure(book: &mut Book, subject: &Subject, count: usize) -> Res<()> {
    let mut grid = Grid::settled(subject, 2, &[])?;
    let pid = grid.pid(1)?;
    let before = probe::resident(pid)?;
    let lines = text::broadcasts(0, 0, count, BYTES);
    grid.masters[0].say(&lines)?;
    drop(lines);
    let cpu = Cpu::of(&[pid])?;
    until_quiet(&cpu)?;
    let grown = (probe::resident(pid)?.saturating_sub(before)) as f64 / count as f64;
    let mut other = grid.connect(1)?;
    let over = AtomicBool::new(false);
    let (used, begin) = (cpu.used()?, Instant::now());
    let (took, reply, waited) = std::thread::scope(|scope| -> Res<_> {
        let waiting = scope.spawn(|| -> Res<Duration> {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                other.alive()?;
                longest = longest.max(begin.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(longest)
        });
        let reply = grid.masters[1].ask(b"get\n");
        let took = begin.elapsed();
        over.store(true, Ordering::Relaxed);
        let waited = waiting.join().map_err(|_| "a master panicked")??;
        Ok((took, reply?, waited))
    })?;
    let used = cpu.used()? - used;
    text::check(&reply, &[count, 0], BYTES)?;
    let case = Case {
        n: 2,
        bytes: BYTES,
        all: false,
    };
    let at = Entry {
        section: "log",
        subject: &subject.name,
        case,
    };
    book.add(at, "memory a message ÷ its text", "", grown / BYTES as f64);
    book.add(at, "get of a million, time", "ms", took.as_secs_f64() * 1e3);
    let each = used.as_secs_f64() * 1e6 / count as f64;
    book.add(at, "get, CPU a message", "µs", each);
    let longest = waited.as_secs_f64() * 1e3;
    book.add(at, "alive meanwhile, the longest", "ms", longest);
    Ok(())
}

fn until_quiet(cpu: &Cpu) -> Res<()> {
    let begin = Instant::now();
    let mut last = cpu.used()?;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = cpu.used()?;
        if now - last < Duration::from_millis(5) {
            return Ok(());
        }
        last = now;
        if begin.elapsed() > PATIENCE {
            return Err("the servers do not come to rest".into());
        }
    }
}
