//! `chatroom sim explore`: every order of a few events on a small grid.

use crate::failure::Failure;
use crate::output::say;
use chatroom_sim::chat::server;
use chatroom_sim::explore::{
    Bounds, Found, Limit, MAX_EVENTS, MAX_SERVERS, Reduction, Report, Start, explore, walk,
};
use chatroom_sim::trace::Format;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Try every order of a few events on a small grid.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    All that two messages and a crash can do to three servers:

        chatroom sim explore --servers 3 --messages 2 --crashes 1

EXIT STATUS
    0  every state was seen, and nothing broke
    1  a property broke, or a limit was reached before the end
    2  the command line is wrong")]
pub(crate) struct Explore {
    /// How many servers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_SERVERS)))]
    servers: u8,
    /// How many broadcasts in all, by any server.
    #[arg(long, default_value_t = 2, value_parser = events())]
    messages: u8,
    /// How many servers are killed in all.
    #[arg(long, default_value_t = 1, value_parser = events())]
    crashes: u8,
    /// How many of them start again; all, if not said.
    #[arg(long, value_parser = events())]
    restarts: Option<u8>,
    /// How many links between live servers break in all.
    #[arg(long, default_value_t = 0, value_parser = events())]
    losses: u8,
    /// Where it begins: with all servers linked, or with all down.
    #[arg(long, value_enum, default_value = "linked")]
    from: From,
    /// Try orders of independent steps too: slower, and finds the same states.
    #[arg(long)]
    unreduced: bool,
    /// Give up after so many states.
    #[arg(long, default_value_t = 5_000_000, value_name = "COUNT")]
    states: usize,
    /// Give up after this long, such as 60s or 2h.
    #[arg(long, value_parser = super::sim::duration)]
    time: Option<Duration>,
    /// Where the path to a violation is written: a page if the name ends in .html, else JSON lines.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// All servers are up and linked.
    Linked,
    /// No server was started yet.
    Down,
}

fn events() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(0..=i64::from(MAX_EVENTS))
}

impl Explore {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let bounds = Bounds {
            servers: self.servers,
            messages: self.messages,
            crashes: self.crashes,
            restarts: self.restarts.unwrap_or(self.crashes),
            losses: self.losses,
            start: match self.from {
                From::Linked => Start::Linked,
                From::Down => Start::Down,
            },
        };
        let reduction = match self.unreduced {
            true => Reduction::None,
            false => Reduction::SleepSets,
        };
        let limit = Limit {
            states: self.states,
            time: self.time,
        };
        // Drawn only on a terminal.
        let bar = ProgressBar::new_spinner();
        let (report, found) = explore(server, &bounds, reduction, limit, &mut |report| {
            bar.set_message(format!("depth {}: {} states", report.depth, report.states));
            bar.tick();
        });
        bar.finish_and_clear();
        summarize(&report)?;
        if let Some(found) = found {
            self.tell(&bounds, &found)?;
            return Ok(ExitCode::FAILURE);
        }
        if !report.exhausted {
            say("nothing broke so far: a limit was reached before the end")?;
            return Ok(ExitCode::FAILURE);
        }
        say("exhausted: nothing broke")?;
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, bounds: &Bounds, found: &Found) -> Result<(), Failure> {
        let walked = walk(server, bounds, &found.steps);
        for (number, line) in walked.lines.iter().enumerate() {
            say(format_args!("{number:>4}  {line}"))?;
        }
        let violation = &found.violation;
        say(format_args!("{}: {}", violation.property, violation.text))?;
        let Some(path) = &self.trace else {
            say("to draw it: give --trace FILE.html")?;
            return Ok(());
        };
        let text = match path.extension().is_some_and(|end| end == "html") {
            true => walked.html(bounds),
            false => walked.recorder.write(Format::JsonLines),
        };
        write(path, &text)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|e| {
        Failure::denied(
            format!("cannot write {}: {e}", path.display()),
            "give a file in a folder that can be written to",
        )
    })
}

fn summarize(report: &Report) -> Result<(), Failure> {
    let seconds = report.took.as_secs_f64();
    say(format_args!(
        "{} states, {} transitions, depth {}, {} at rest, {} final, digest {:016x}",
        report.states, report.transitions, report.depth, report.rests, report.finals, report.digest
    ))?;
    say(format_args!(
        "{seconds:.1} s, {:.0} states a second, some {} MiB at the most",
        report.states as f64 / seconds.max(1e-6),
        report.bytes >> 20
    ))
}
