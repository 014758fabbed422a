//! `chatroom sim`: the grid on a simulated network.

use super::explore::{self, Explore};
use super::script::Script;
use chatroom_chat::Config;
use chatroom_cli::failure::Failure;
use chatroom_cli::output::say;
use chatroom_cli::sim::{
    Called, CheckDeterminism, Replay, Run, Shrink, SweepSeeds, Trace, read_plan,
};
use chatroom_sim::plan::Plan;
use chatroom_worlds::chat::broken::{Broken as BrokenServer, Defect};
use chatroom_worlds::chat::{ChatServers, server};
use chatroom_worlds::explore::{Path as Explored, walk};
use clap::{Args, Subcommand};
use std::path::Path;
use std::process::ExitCode;

/// Simulate grids: many seeds, one plan, or the lab's scripts.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    Ten thousand seeds, and what became of a failing one:

        chatroom sim sweep --seeds 0..10000
        chatroom sim replay sim-failures/3-fifo-seed-77.plan
        chatroom sim trace sim-failures/3-fifo-seed-77.plan

EXIT STATUS
    0  nothing broke
    1  a property broke, or the plan or script could not be read
    2  the command line is wrong")]
pub(crate) struct Sim {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run one seed.
    #[command(after_long_help = "\
EXAMPLE
    A seed that a sweep found, its plan kept:

        chatroom sim run --seed 77 --profile chaos --save 77.plan

EXIT STATUS
    0  nothing broke
    1  a property broke, or a file could not be written
    2  the command line is wrong")]
    Run(With<Run>),
    /// Run many seeds.
    #[command(after_long_help = "\
EXAMPLE
    As many of a million seeds as ten minutes allow, on two threads:

        chatroom sim sweep --seeds 0..1000000 --jobs 2 --time 10m

EXIT STATUS
    0  nothing broke
    1  a property broke, a case that many seeds ought to meet never came up, or no seed was run
    2  the command line is wrong")]
    Sweep(With<SweepSeeds>),
    /// Run a saved plan.
    #[command(after_long_help = "\
EXAMPLE
    chatroom sim replay sim-failures/3-fifo-seed-77.plan

EXIT STATUS
    0  nothing broke
    1  a property broke, or the plan could not be read
    2  the command line is wrong")]
    Replay(With<Replay>),
    /// Make a failing plan smaller.
    #[command(after_long_help = "\
EXAMPLE
    chatroom sim shrink sim-failures/3-fifo-seed-77.plan --into small.plan --time 60s

EXIT STATUS
    0  the plan that was written breaks the same property
    1  the plan breaks nothing, or a file could not be read or written
    2  the command line is wrong")]
    Shrink(With<Shrink>),
    /// Run scripts for master.py, in simulated time.
    Script(Script),
    /// Print everything that happens in the run of a plan.
    #[command(after_long_help = "\
EXAMPLE
    A page for a browser:

        chatroom sim trace sim-failures/3-fifo-seed-77.plan --format html > 77.html

EXIT STATUS
    0  nothing broke
    1  a property broke, or the plan could not be read
    2  the command line is wrong")]
    Trace(With<Trace>),
    /// Run seeds twice, and compare everything that happened.
    #[command(after_long_help = "\
EXAMPLE
    chatroom sim check-determinism --seeds 0..1000 --profile chaos

EXIT STATUS
    0  every seed did the same twice
    1  one did not
    2  the command line is wrong")]
    CheckDeterminism(CheckDeterminism),
    Explore(Explore),
    /// List the servers that are broken on purpose, for --broken.
    #[command(after_long_help = "\
EXAMPLE
    The names, and what becomes of one of them:

        chatroom sim broken
        chatroom sim sweep --broken twice

EXIT STATUS
    0  they were listed
    1  they could not be printed
    2  the command line is wrong")]
    Broken,
}

#[derive(Clone, Copy, Debug, Args)]
struct Which {
    /// Run servers that are broken on purpose: `chatroom sim broken` lists them.
    #[arg(long, value_name = "NAME")]
    broken: Option<Defect>,
}

#[derive(Debug, Args)]
struct With<A: Args> {
    #[command(flatten)]
    command: A,
    #[command(flatten)]
    servers: Which,
}

/// Runs an expression with `subject` bound to the servers: those that ship, or broken ones.
macro_rules! with_servers {
    ($broken:expr, |$subject:ident| $body:expr) => {
        match $broken {
            None => {
                let $subject = &ChatServers(server);
                $body
            }
            Some(defect) => {
                let $subject =
                    &ChatServers(move |config: Config| BrokenServer::new(config, defect));
                $body
            }
        }
    };
}

/// A plan, and the path that it is if the explorer made it.
fn explored(path: &Path, called: Called<'_>) -> Result<(Plan, Option<Explored>), Failure> {
    let plan = read_plan::<ChatServers>(path, called)?;
    let explored = Explored::of(&plan).map_err(|e| {
        Failure::denied(
            format!("{}: {e}", path.display()),
            "plans are made by `chatroom sim run --save FILE` and by failures",
        )
    })?;
    Ok((plan, explored))
}

impl Sim {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.what {
            What::Run(run) => run.run(),
            What::Sweep(sweep) => sweep.run(),
            What::Replay(replay) => replay.run(),
            What::Shrink(shrink) => shrink.run(),
            What::Script(script) => script.run(),
            What::Trace(trace) => trace.run(),
            What::CheckDeterminism(twice) => twice.run(&ChatServers(server), CALLED),
            What::Explore(explore) => explore.run(),
            What::Broken => list_broken(),
        }
    }
}

/// How the commands are called for the servers that ship.
const CALLED: Called<'_> = Called {
    program: "chatroom sim",
    options: "",
};

impl Which {
    /// The option that asks for these servers, and a blank before it.
    fn options(self) -> String {
        self.broken
            .map_or_else(String::new, |defect| format!(" --broken {defect}"))
    }
}

/// How the commands are called for these servers; `$options` holds their option.
macro_rules! called {
    ($options:expr) => {
        Called {
            options: &$options,
            ..CALLED
        }
    };
}

impl With<Run> {
    fn run(&self) -> Result<ExitCode, Failure> {
        let options = self.servers.options();
        with_servers!(self.servers.broken, |subject| self
            .command
            .run(subject, called!(options)))
    }
}

impl With<SweepSeeds> {
    fn run(&self) -> Result<ExitCode, Failure> {
        let options = self.servers.options();
        with_servers!(self.servers.broken, |subject| self
            .command
            .run(subject, called!(options)))
    }
}

impl With<Replay> {
    fn run(&self) -> Result<ExitCode, Failure> {
        let options = self.servers.options();
        let called = called!(options);
        let (plan, explored) = explored(&self.command.plan, called)?;
        with_servers!(self.servers.broken, |subject| match explored {
            Some(path) => explore::replay(subject.0, &path),
            None => self.command.run_plan(subject, called, &plan),
        })
    }
}

impl With<Shrink> {
    fn run(&self) -> Result<ExitCode, Failure> {
        let options = self.servers.options();
        let path = &self.command.plan;
        if explored(path, CALLED)?.1.is_some() {
            return Err(Failure::denied(
                format!("{} is a path of the explorer", path.display()),
                "it is one of the shortest already",
            ));
        }
        with_servers!(self.servers.broken, |subject| self
            .command
            .run(subject, called!(options)))
    }
}

impl With<Trace> {
    fn run(&self) -> Result<ExitCode, Failure> {
        let options = self.servers.options();
        let called = called!(options);
        let (plan, explored) = explored(&self.command.plan, called)?;
        let Some(path) = explored else {
            return with_servers!(self.servers.broken, |subject| self
                .command
                .run_plan(subject, called, &plan));
        };
        let walked = with_servers!(self.servers.broken, |subject| walk(
            subject.0,
            &path.bounds,
            &path.steps
        ));
        let lines = walked.lines.iter().enumerate();
        let steps: Vec<_> = lines
            .map(|(step, line)| format!("{step}. {line}"))
            .collect();
        self.command.draw::<ChatServers>(
            called,
            &plan,
            (walked.recorder, walked.violation),
            vec![("path", steps.join("; "))],
        )
    }
}

fn list_broken() -> Result<ExitCode, Failure> {
    for defect in Defect::ALL {
        say(format_args!(
            "{:<16}{:<19}{}",
            defect.name(),
            defect.property(),
            defect.about()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
