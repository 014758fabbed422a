//! `chatroom sim explore`: every order of a few events on a small grid.

use chatroom_chat::Config;
use chatroom_cli::failure::Failure;
use chatroom_cli::output::say;
use chatroom_cli::sim::{Failures as Where, duration, unwritten};
use chatroom_worlds::chat::server;
use chatroom_worlds::explore::{
    Bounds, Explorable, Found, Limit, MAX_EVENTS, MAX_SERVERS, Path, Reduction, Report, Start,
    Walked, explore, walk,
};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::fs;
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
    1  a property broke, a limit was reached before the end, or a file could not be written
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
    #[arg(long, value_parser = duration)]
    time: Option<Duration>,
    #[command(flatten)]
    failures: Where,
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
            return self.tell(bounds, found);
        }
        if !report.exhausted {
            say("nothing broke so far: a limit was reached before the end")?;
            return Ok(ExitCode::FAILURE);
        }
        say("exhausted: nothing broke")?;
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, bounds: Bounds, found: Found) -> Result<ExitCode, Failure> {
        let path = Path {
            bounds,
            steps: found.steps,
        };
        let folder = &self.failures.failures;
        let plan = folder.join(format!("{}-explored.plan", found.violation.property));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&plan, path.plan().to_string()))
            .map_err(|e| unwritten(&plan, &e))?;
        tell(&walk(server, &bounds, &path.steps))?;
        let plan = plan.display();
        say(format_args!("plan: {plan}"))?;
        say(format_args!("replay: chatroom sim replay {plan}"))?;
        say(format_args!(
            "draw: chatroom sim trace {plan} --format html"
        ))?;
        Ok(ExitCode::FAILURE)
    }
}

/// Walks a path that was saved.
pub(super) fn replay<M: Explorable>(
    make: impl Fn(Config) -> M,
    path: &Path,
) -> Result<ExitCode, Failure> {
    let walked = walk(make, &path.bounds, &path.steps);
    tell(&walked)?;
    if walked.violation.is_some() {
        return Ok(ExitCode::FAILURE);
    }
    match walked.stopped {
        Some(step) => say(format_args!(
            "nothing broke, but the path ends early: \"{step}\" can't happen here"
        ))?,
        None => say("nothing broke")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(walked: &Walked) -> Result<(), Failure> {
    for (number, line) in walked.lines.iter().enumerate() {
        say(format_args!("{number:>4}  {line}"))?;
    }
    if let Some(violation) = &walked.violation {
        say(format_args!("{}: {}", violation.property, violation.text))?;
    }
    Ok(())
}

fn summarize(report: &Report) -> Result<(), Failure> {
    let seconds = report.took.as_secs_f64();
    say(format_args!(
        "{} states, {} transitions, depth {}, {} at rest, {} final, digest {:016x}",
        report.states, report.transitions, report.depth, report.rests, report.finals, report.digest
    ))?;
    say(format_args!(
        "{seconds:.1} s, {:.0} states a second",
        report.states as f64 / seconds.max(1e-6)
    ))
}
