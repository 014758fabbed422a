//! How fast our simulator is beside turmoil and madsim, on the same small workload, in one sitting.
//! Prints a table; with names of subjects as arguments, only theirs. See docs/TESTING.md.

#[cfg(not(madsim))]
compile_error!("start cargo in sim/peers, without RUSTFLAGS: .cargo/config.toml has the flag");

mod chat;
mod engine;
mod tokio_like;
mod workload;

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How often everything is run: the medians count.
const TURNS: usize = 5;

/// What a run came to. That no line is missing or wrong was asserted.
struct Run {
    simulated: Duration,
    /// Lines that nodes got.
    lines: u64,
    /// Where the simulator counts them.
    events: Option<u64>,
}

struct Subject {
    name: &'static str,
    run: fn(u64) -> Run,
    /// How many seconds to simulate.
    lengths: &'static [u64],
}

const SUBJECTS: [Subject; 4] = [
    Subject {
        name: "turmoil",
        run: tokio_like::turmoil,
        lengths: &[100, 1000],
    },
    Subject {
        name: "madsim",
        run: tokio_like::madsim,
        lengths: &[100, 1000, 10_000],
    },
    Subject {
        name: "engine",
        run: engine::engine,
        lengths: &[100, 1000, 10_000, 100_000],
    },
    Subject {
        name: "chat",
        run: chat::chat,
        lengths: &[100, 1000, 10_000, 100_000],
    },
];

/// A line of the table: one length of one subject.
struct Row {
    subject: &'static Subject,
    seconds: u64,
    /// A run and what it took, for each turn.
    runs: Vec<(Run, Duration)>,
}

/// What this process has used of a processor. All subjects have one thread that never waits, so
/// on a machine with nothing else to do this is the time on the wall.
fn processor() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(used).expect("not negative")
}

impl Row {
    fn measure(&mut self) {
        let begin = processor();
        let run = (self.subject.run)(self.seconds);
        self.runs.push((run, processor() - begin));
    }

    /// The runs, the fastest first; all did the same, so this is the order of every rate.
    fn sort(&mut self) {
        self.runs.sort_by_key(|(_, took)| *took);
    }

    fn rate(&self, place: usize, amount: impl Fn(&Run) -> f64) -> f64 {
        let (run, took) = &self.runs[place];
        amount(run) / took.as_secs_f64()
    }

    fn print(&self, turmoil: Option<&Self>) {
        let median = self.runs.len() / 2;
        let simulated = |run: &Run| run.simulated.as_secs_f64();
        let lines = |run: &Run| run.lines as f64;
        let ratio = |amount: &dyn Fn(&Run) -> f64| match turmoil {
            Some(row) => format!(
                "{:.1}",
                self.rate(median, amount) / row.rate(row.runs.len() / 2, amount)
            ),
            None => "–".to_owned(),
        };
        let (run, took) = &self.runs[median];
        let (rate, each) = match run.events {
            Some(events) => {
                let rate = events as f64 / took.as_secs_f64();
                (grouped(rate), format!("{:.0} ns", 1e9 / rate))
            }
            None => ("–".to_owned(), "–".to_owned()),
        };
        println!(
            "| {} | {} | {} | {} to {} | {} | {} | {} | {rate} | {each} |",
            self.subject.name,
            grouped(self.seconds as f64),
            grouped(self.rate(median, simulated)),
            grouped(self.rate(self.runs.len() - 1, simulated)),
            grouped(self.rate(0, simulated)),
            ratio(&simulated),
            grouped(self.rate(median, lines)),
            ratio(&lines),
        );
    }
}

/// A whole number with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for name in &wanted {
        let known = SUBJECTS.iter().any(|subject| subject.name == name);
        assert!(known, "{name} is no subject");
    }
    let mut rows = Vec::new();
    for subject in &SUBJECTS {
        if wanted.is_empty() || wanted.iter().any(|name| name == subject.name) {
            rows.extend(subject.lengths.iter().map(|&seconds| Row {
                subject,
                seconds,
                runs: Vec::new(),
            }));
        }
    }
    for turn in 1..=TURNS {
        eprintln!("turn {turn} of {TURNS}");
        rows.iter_mut().for_each(Row::measure);
    }
    rows.iter_mut().for_each(Row::sort);
    // Its longest run.
    let turmoil = rows.iter().rfind(|row| row.subject.name == "turmoil");
    println!(
        "| subject | simulated s | s/s | least to most | × turmoil | lines/s | × turmoil | events/s | an event |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: |");
    for row in &rows {
        row.print(turmoil);
    }
}
