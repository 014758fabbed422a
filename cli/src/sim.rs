//! The commands of a simulator: run one seed or many, replay, shrink or draw a plan, and see that
//! every run is the same twice.
//!
//! [`Commands`] are all of them for a [`Subject`] that is a group of options. A program with more
//! to say takes them one by one.

use crate::failure::Failure;
use crate::look::Look;
use crate::output::{print, remark, say};
use chatroom_sim::failure::Failure as Broken;
use chatroom_sim::generate::Profile;
use chatroom_sim::observer::Violation;
use chatroom_sim::plan::Plan;
use chatroom_sim::shrink::Budget;
use chatroom_sim::subject::{Subject, judge, record, run_seed, smaller};
use chatroom_sim::sweep::{ENOUGH, Sweep, Swept};
use chatroom_sim::trace::Recorder;
use chatroom_sim::view::Page;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

/// The command that replays a plan, up to its path. `program` is what comes before the name of a
/// command, as in `chatroom sim`.
fn replay<S: Subject>(program: &str, subject: &S) -> String {
    format!("{program} replay{}", subject.options())
}

/// Where plans of failures are saved.
#[derive(Debug, Args)]
pub struct Failures {
    /// Where plans of failures are saved.
    #[arg(long, value_name = "FOLDER", default_value = "sim-failures")]
    pub failures: PathBuf,
}

/// Run one seed.
#[derive(Debug, Args)]
pub struct Run {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// What may go wrong: calm, crash, chaos, bytes or swarm.
    #[arg(long, default_value_t = Profile::Swarm)]
    profile: Profile,
    /// Save the plan in FILE, to be edited, replayed or traced.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    failures: Failures,
}

/// Run many seeds.
#[derive(Debug, Args)]
pub struct SweepSeeds {
    /// The seeds: from the first one to the one before the last.
    #[arg(long, value_parser = range, value_name = "A..B", default_value = "0..10000")]
    seeds: Range<u64>,
    /// How many threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Begin no new seed after this long, such as 60s or 2h.
    #[arg(long, value_parser = duration)]
    time: Option<Duration>,
    /// What may go wrong: calm, crash, chaos, bytes or swarm.
    #[arg(long, default_value_t = Profile::Swarm)]
    profile: Profile,
    #[command(flatten)]
    failures: Failures,
}

/// Run a saved plan.
#[derive(Debug, Args)]
pub struct Replay {
    /// The plan.
    pub plan: PathBuf,
}

/// Make a failing plan smaller.
#[derive(Debug, Args)]
pub struct Shrink {
    /// The plan.
    pub plan: PathBuf,
    /// Where the smaller plan goes; over the old one, if not said.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Try no more plans after this long.
    #[arg(long, value_parser = duration, default_value = "10s")]
    time: Duration,
}

/// Print everything that happens in the run of a plan.
#[derive(Debug, Args)]
pub struct Trace {
    /// The plan.
    pub plan: PathBuf,
    /// How it is written.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Look,
}

/// Run seeds twice, and compare everything that happened.
#[derive(Debug, Args)]
pub struct CheckDeterminism {
    /// The seeds.
    #[arg(long, value_parser = range, value_name = "A..B", default_value = "0..100")]
    seeds: Range<u64>,
    /// What may go wrong: calm, crash, chaos, bytes or swarm.
    #[arg(long, default_value_t = Profile::Swarm)]
    profile: Profile,
}

/// A command with the options of its subject.
#[derive(Debug, Args)]
pub struct With<A: Args, S: Args> {
    #[command(flatten)]
    command: A,
    #[command(flatten)]
    subject: S,
}

/// The commands over one subject, which is made from options of its own: its [`Subject::options`]
/// repeats them.
#[derive(Debug, Subcommand)]
pub enum Commands<S: Args> {
    /// Run one seed.
    Run(With<Run, S>),
    /// Run many seeds.
    Sweep(With<SweepSeeds, S>),
    /// Run a saved plan.
    Replay(With<Replay, S>),
    /// Make a failing plan smaller.
    Shrink(With<Shrink, S>),
    /// Print everything that happens in the run of a plan.
    Trace(With<Trace, S>),
    /// Run seeds twice, and compare everything that happened.
    CheckDeterminism(With<CheckDeterminism, S>),
}

impl<S: Subject + Args + Sync> Commands<S> {
    /// Runs the command that was given. `program` is what comes before its name.
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn run(self, program: &str) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(with) => with.command.run(&with.subject, program),
            Self::Sweep(with) => with.command.run(&with.subject, program),
            Self::Replay(with) => with.command.run(&with.subject, program),
            Self::Shrink(with) => with.command.run(&with.subject, program),
            Self::Trace(with) => with.command.run(&with.subject, program),
            Self::CheckDeterminism(with) => with.command.run(&with.subject),
        }
    }
}

/// Reads two seeds, as in `0..10000`.
///
/// # Errors
/// What is wrong with them.
pub fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("expected two seeds as in 0..10000")?;
    let read = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
    let range = read(from)?..read(to)?;
    if range.is_empty() {
        return Err("no seed lies between them".to_owned());
    }
    Ok(range)
}

/// Reads a duration, as in `500ms`, `60s`, `10m` or `2h`.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let found = units.iter().find_map(|(unit, millis)| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        number.checked_mul(*millis)
    });
    let millis = found.ok_or("expected a number with a unit, as in 500ms, 60s, 10m or 2h")?;
    Ok(Duration::from_millis(millis))
}

/// Reads a plan, and warns of what is odd in it.
///
/// # Errors
/// It can't be read, or is no plan.
pub fn read_plan<S: Subject>(path: &Path, program: &str) -> Result<Plan, Failure> {
    let hint = format!(
        "plans are made by `{} run --save FILE` and by failures",
        program
    );
    let text = fs::read(path)
        .map_err(|e| Failure::denied(format!("cannot read {}: {e}", path.display()), &hint))?;
    let plan = Plan::parse(&text)
        .map_err(|e| Failure::denied(format!("{}: {e}", path.display()), &hint))?;
    for line in S::advice(&plan) {
        remark(format!("warning: {}: {line}\n", path.display()).as_bytes());
    }
    Ok(plan)
}

fn unfit(path: &Path, program: &str, error: impl std::fmt::Display) -> Failure {
    Failure::denied(
        format!("{}: {error}", path.display()),
        format!(
            "`{} run --save FILE` makes plans whose network and limits are in bounds",
            program
        ),
    )
}

/// A file that could not be written.
#[must_use]
pub fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::denied(
        format!("cannot write {}: {error}", path.display()),
        "give a place that can be written to",
    )
}

/// Says what broke, with a plan on disk.
fn tell<S: Subject>(
    subject: &S,
    program: &str,
    seed: u64,
    profile: Profile,
    folder: &Path,
) -> Result<ExitCode, Failure> {
    match Broken::of_seed(
        subject,
        seed,
        profile,
        Budget::default(),
        &replay(program, subject),
    ) {
        Some(mut broken) => {
            broken.save(folder).map_err(|e| unwritten(folder, &e))?;
            say(&broken)?;
            let options = subject.options();
            say(format_args!(
                "whole plan: {program} run{options} --seed {seed} --profile {profile} --save FILE"
            ))?;
            Ok(ExitCode::FAILURE)
        }
        None => Err(Failure::denied(
            format!("seed {seed} broke a property once, and not again"),
            format!("a run is not deterministic: `{program} check-determinism` looks for that"),
        )),
    }
}

impl Run {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that could not be read or written, a plan that is none for the subject.
    pub fn run<S: Subject + Sync>(&self, subject: &S, program: &str) -> Result<ExitCode, Failure> {
        if let Some(path) = &self.save {
            fs::write(path, subject.plan(self.seed, self.profile).to_string())
                .map_err(|e| unwritten(path, &e))?;
        }
        let judged = run_seed(subject, self.seed, self.profile);
        if judged.verdict.violation.is_some() {
            let folder = &self.failures.failures;
            return tell(subject, program, self.seed, self.profile, folder);
        }
        say(format_args!(
            "seed {}: nothing broke in {} events and {}.{:03} simulated seconds, hash {:016x}",
            self.seed,
            judged.verdict.events,
            judged.verdict.simulated / 1_000_000,
            judged.verdict.simulated / 1000 % 1000,
            judged.hash
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl SweepSeeds {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that could not be read or written, a plan that is none for the subject.
    pub fn run<S: Subject + Sync>(&self, subject: &S, program: &str) -> Result<ExitCode, Failure> {
        let sweep = Sweep {
            seeds: self.seeds.clone(),
            jobs: self.jobs.into(),
            time: self.time,
        };
        let style = "{elapsed_precise} {wide_bar} {pos}/{len} seeds, {per_sec}, {eta} left";
        // Drawn only on a terminal.
        let bar = ProgressBar::new(self.seeds.end - self.seeds.start);
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let swept = sweep.run(
            |seed| run_seed(subject, seed, self.profile).verdict,
            &mut |swept: &Swept| bar.set_position(swept.seeds),
        );
        bar.finish_and_clear();
        if swept.seeds == 0 {
            return Err(Failure::denied(
                "the time was over before the first seed was begun",
                "give a longer --time",
            ));
        }
        say(format_args!(
            "{} seeds of {}, {} events, {} simulated seconds, in {:.1} s",
            swept.seeds,
            self.profile,
            swept.events,
            swept.simulated / 1_000_000,
            swept.took.as_secs_f64()
        ))?;
        for (case, count) in swept.sometimes.iter() {
            say(format_args!("{count:>12}  {case}"))?;
        }
        if let Some((seed, _)) = swept.first {
            let folder = &self.failures.failures;
            return tell(subject, program, seed, self.profile, folder);
        }
        let missing = swept.sometimes.missing();
        if swept.seeds >= ENOUGH && !missing.is_empty() {
            say(format_args!(
                "these cases never came up: {}",
                missing.join("; ")
            ))?;
            return Ok(ExitCode::FAILURE);
        }
        say("nothing broke")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Replay {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that could not be read or written, a plan that is none for the subject.
    pub fn run<S: Subject + Sync>(&self, subject: &S, program: &str) -> Result<ExitCode, Failure> {
        let plan = read_plan::<S>(&self.plan, program)?;
        self.run_plan(subject, program, &plan)
    }

    /// Runs the command on a plan that was read.
    ///
    /// # Errors
    /// A plan that is none for the subject.
    pub fn run_plan<S: Subject>(
        &self,
        subject: &S,
        program: &str,
        plan: &Plan,
    ) -> Result<ExitCode, Failure> {
        let unfit = |error| unfit(&self.plan, program, error);
        let judged = judge(subject, plan).map_err(unfit)?;
        if judged.verdict.violation.is_none() {
            say(format_args!(
                "nothing broke in {} events, hash {:016x}",
                judged.verdict.events, judged.hash
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        // Not made smaller: what is shown is this plan's own run.
        let budget = Budget {
            runs: 0,
            time: Duration::ZERO,
        };
        let broken = Broken::of_plan(subject, plan, budget, &replay(program, subject));
        if let Some(mut broken) = broken.map_err(unfit)? {
            broken.path = Some(self.plan.clone());
            say(&broken)?;
        }
        Ok(ExitCode::FAILURE)
    }
}

impl Shrink {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that could not be read or written, a plan that is none for the subject.
    pub fn run<S: Subject + Sync>(&self, subject: &S, program: &str) -> Result<ExitCode, Failure> {
        let plan = read_plan::<S>(&self.plan, program)?;
        let judged = judge(subject, &plan).map_err(|e| unfit(&self.plan, program, e))?;
        let Some(violation) = judged.verdict.violation else {
            return Err(Failure::denied(
                format!("{} breaks nothing", self.plan.display()),
                "only a failing plan can be made smaller",
            ));
        };
        let budget = Budget {
            time: self.time,
            ..Budget::default()
        };
        let property = violation.property;
        let shrunk = smaller(subject, &plan, property, budget);
        let into = self.into.as_ref().unwrap_or(&self.plan);
        fs::write(into, shrunk.plan.to_string()).map_err(|e| unwritten(into, &e))?;
        say(format_args!(
            "{}: from {} events on {} servers to {} on {}, in {} runs{}",
            violation.property,
            plan.events.len(),
            plan.hosts,
            shrunk.plan.events.len(),
            shrunk.plan.hosts,
            shrunk.runs,
            if shrunk.minimal {
                ", nothing left to take out"
            } else {
                ""
            }
        ))?;
        say(format_args!(
            "replay: {} {}",
            replay(program, subject),
            into.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Trace {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that could not be read or written, a plan that is none for the subject.
    pub fn run<S: Subject + Sync>(&self, subject: &S, program: &str) -> Result<ExitCode, Failure> {
        let plan = read_plan::<S>(&self.plan, program)?;
        self.run_plan(subject, program, &plan)
    }

    /// Runs the command on a plan that was read.
    ///
    /// # Errors
    /// A plan that is none for the subject.
    pub fn run_plan<S: Subject>(
        &self,
        subject: &S,
        program: &str,
        plan: &Plan,
    ) -> Result<ExitCode, Failure> {
        let recorded = record(subject, plan).map_err(|e| unfit(&self.plan, program, e))?;
        self.draw(subject, program, plan, recorded, Vec::new())
    }

    /// Writes a run of the plan that was recorded, with further notes on it.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn draw<S: Subject>(
        &self,
        subject: &S,
        program: &str,
        plan: &Plan,
        (recorder, violation): (Recorder, Option<Violation>),
        mut notes: Vec<(&'static str, String)>,
    ) -> Result<ExitCode, Failure> {
        let path = self.plan.display();
        notes.insert(
            0,
            ("replay", format!("{} {path}", replay(program, subject))),
        );
        let page = Page {
            title: &format!("A run of {path}"),
            plan: Some(plan),
            recorder: &recorder,
            violation: violation.as_ref(),
            log: &S::log,
            notes: &notes,
        };
        print(self.format.write(&page).as_bytes())?;
        if let Some(violation) = violation {
            let said = format!(
                "{}: {} {:?}\n",
                violation.property, violation.text, violation.events
            );
            remark(said.as_bytes());
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl CheckDeterminism {
    /// Runs the command.
    ///
    /// # Errors
    /// What was found can't be printed.
    pub fn run<S: Subject>(&self, subject: &S) -> Result<ExitCode, Failure> {
        let (mut events, mut all) = (0, 0_u64);
        for seed in self.seeds.clone() {
            let [one, other] = [(), ()].map(|()| run_seed(subject, seed, self.profile));
            if one.hash != other.hash {
                say(format_args!(
                    "seed {seed}: {:016x}, then {:016x}",
                    one.hash, other.hash
                ))?;
                return Ok(ExitCode::FAILURE);
            }
            events += one.verdict.events;
            all = all.rotate_left(7) ^ one.hash;
        }
        say(format_args!(
            "the same twice: {events} events, hash of all {all:016x}"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
