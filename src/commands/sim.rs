//! `chatroom sim`: the grid on a simulated network.

use super::explore::{self, Explore};
use super::script::Script;
use chatroom_chat::{ChatServer, Config};
use chatroom_cli::failure::Failure;
use chatroom_cli::output::say;
use chatroom_cli::sim::{CheckDeterminism, Replay, Run, Shrink, SweepSeeds, Trace, read_plan};
use chatroom_sim::plan::Plan;
use chatroom_worlds::chat::broken::Defect;
use chatroom_worlds::chat::{ChatServers, broken_servers, server};
use chatroom_worlds::commit::Playlists;
use chatroom_worlds::explore::{Path as Explored, walk};
use chatroom_worlds::paxos;
use clap::{Args, Subcommand, ValueEnum};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

/// Simulate grids: many seeds, one plan, or the lab's scripts.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    Ten thousand seeds, and what became of a failing one:

        chatroom sim sweep --seeds 0..10000
        chatroom sim replay sim-failures/3-fifo-seed-77.plan
        chatroom sim trace sim-failures/3-fifo-seed-77.plan

    Three-phase commit under crashes, and the replicated log under everything:

        chatroom sim sweep --protocol commit --profile crash
        chatroom sim sweep --protocol paxos --profile chaos

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
    CheckDeterminism(With<CheckDeterminism>),
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
    Broken {
        /// Whose.
        #[arg(long, value_enum, default_value = "chat")]
        protocol: Protocol,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct Which {
    /// What the servers play; that of the broken ones, if not said.
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Run servers that are broken on purpose: `chatroom sim broken` lists them.
    #[arg(long, value_name = "NAME")]
    broken: Option<Flaw>,
}

/// A protocol that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// The chat room: a broadcast in FIFO order.
    Chat,
    /// Three-phase commit of a playlist.
    Commit,
    /// The replicated chat room.
    Paxos,
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Chat(Defect),
    Paxos(paxos::Defect),
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = paxos::Defect::ALL.iter().find(|d| d.name() == name);
        match found {
            Some(defect) => Ok(Self::Paxos(*defect)),
            None => name.parse().map(Self::Chat),
        }
    }
}

impl Flaw {
    const fn protocol(self) -> Protocol {
        match self {
            Self::Chat(_) => Protocol::Chat,
            Self::Paxos(_) => Protocol::Paxos,
        }
    }
}

impl Which {
    /// What the servers play.
    fn protocol(self) -> Result<Protocol, Failure> {
        let broken = self.broken.map(Flaw::protocol);
        match (self.protocol, broken) {
            (Some(chosen), Some(other)) if chosen != other => Err(Failure::usage(
                "--broken names a server of another protocol than --protocol",
                "leave --protocol out, or see `chatroom sim broken`",
            )),
            (Some(chosen), _) => Ok(chosen),
            (None, broken) => Ok(broken.unwrap_or(Protocol::Chat)),
        }
    }
}

#[derive(Debug, Args)]
struct With<A: Args> {
    #[command(flatten)]
    command: A,
    #[command(flatten)]
    servers: Which,
}

/// Runs an expression with `subject` bound to the servers of a chat: those that ship, or broken
/// ones.
macro_rules! with_chats {
    ($with:expr, |$subject:ident| $body:expr) => {
        match $with.servers.broken {
            Some(Flaw::Chat(defect)) => {
                let $subject = &broken_servers(defect);
                $body
            }
            Some(Flaw::Paxos(_)) | None => {
                let $subject = &ChatServers::new(server);
                $body
            }
        }
    };
}

/// The same for the servers of the replicated log.
macro_rules! with_paxos {
    ($with:expr, |$subject:ident| $body:expr) => {
        match $with.servers.broken {
            Some(Flaw::Paxos(defect)) => {
                let $subject = &paxos::broken_servers(defect);
                $body
            }
            Some(Flaw::Chat(_)) | None => {
                let $subject = &paxos::servers();
                $body
            }
        }
    };
}

/// The same for the servers of any protocol.
macro_rules! with_servers {
    ($with:expr, |$subject:ident| $body:expr) => {
        match $with.servers.protocol()? {
            Protocol::Chat => with_chats!($with, |$subject| $body),
            Protocol::Commit => {
                let $subject = &Playlists;
                $body
            }
            Protocol::Paxos => with_paxos!($with, |$subject| $body),
        }
    };
}

/// What comes before the name of a command.
const PROGRAM: &str = "chatroom sim";

/// A plan, and the path that it is if the explorer made it.
fn explored(path: &Path) -> Result<(Plan, Option<Explored>), Failure> {
    let plan = read_plan::<ChatServers<fn(Config) -> ChatServer>>(path, PROGRAM)?;
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
            What::Run(with) => with_servers!(with, |subject| with.command.run(subject, PROGRAM)),
            What::Sweep(with) => with_servers!(with, |subject| with.command.run(subject, PROGRAM)),
            What::Replay(replay) => replay.run(),
            What::Shrink(shrink) => shrink.run(),
            What::Script(script) => script.run(),
            What::Trace(trace) => trace.run(),
            What::CheckDeterminism(with) => {
                with_servers!(with, |subject| with.command.run(subject))
            }
            What::Explore(explore) => explore.run(),
            What::Broken { protocol } => list_broken(protocol),
        }
    }
}

impl With<Replay> {
    fn run(&self) -> Result<ExitCode, Failure> {
        if self.servers.protocol()? != Protocol::Chat {
            return with_servers!(self, |subject| self.command.run(subject, PROGRAM));
        }
        let (plan, explored) = explored(&self.command.plan)?;
        with_chats!(self, |subject| match explored {
            Some(path) => explore::replay(subject.make, &path),
            None => self.command.run_plan(subject, PROGRAM, &plan),
        })
    }
}

impl With<Shrink> {
    fn run(&self) -> Result<ExitCode, Failure> {
        let path = &self.command.plan;
        if self.servers.protocol()? == Protocol::Chat && explored(path)?.1.is_some() {
            return Err(Failure::denied(
                format!("{} is a path of the explorer", path.display()),
                "it is one of the shortest already",
            ));
        }
        with_servers!(self, |subject| self.command.run(subject, PROGRAM))
    }
}

impl With<Trace> {
    fn run(&self) -> Result<ExitCode, Failure> {
        if self.servers.protocol()? != Protocol::Chat {
            return with_servers!(self, |subject| self.command.run(subject, PROGRAM));
        }
        let (plan, explored) = explored(&self.command.plan)?;
        with_chats!(self, |subject| match explored {
            None => self.command.run_plan(subject, PROGRAM, &plan),
            Some(path) => {
                let walked = walk(subject.make, &path.bounds, &path.steps);
                let lines = walked.lines.iter().enumerate();
                let steps: Vec<_> = lines
                    .map(|(step, line)| format!("{step}. {line}"))
                    .collect();
                let recorded = (walked.recorder, walked.violation);
                let notes = vec![("path", steps.join("; "))];
                self.command.draw(subject, PROGRAM, &plan, recorded, notes)
            }
        })
    }
}

fn list_broken(protocol: Protocol) -> Result<ExitCode, Failure> {
    match protocol {
        Protocol::Chat => {
            for defect in Defect::ALL {
                let (property, about) = (defect.property(), defect.about());
                say(format_args!("{:<16}{property:<19}{about}", defect.name()))?;
            }
        }
        Protocol::Commit => {
            return Err(Failure::denied(
                "no servers of --protocol commit are broken on purpose",
                "there are some of chat and of paxos",
            ));
        }
        Protocol::Paxos => {
            for defect in paxos::Defect::ALL {
                say(format_args!("{:<20}{}", defect.name(), defect.about()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
