//! The subcommands, one file each.

mod completions;
mod explore;
mod replay;
mod script;
#[cfg_attr(not(unix), path = "no_serve.rs")]
pub(crate) mod serve;
mod sim;

use chatroom_cli::failure::Failure;
use clap::Subcommand;
use std::process::ExitCode;

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<serve::Serve>),
    Replay(replay::Replay),
    Sim(sim::Sim),
    Completions(completions::Completions),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Replay(replay) => replay.run(),
            Self::Sim(sim) => sim.run(),
            Self::Completions(completions) => completions.run(),
        }
    }
}
