//! What the command line of a protocol is made of: the [simulator's commands](sim) over a
//! [`Subject`], errors of one sentence and a hint, a log on standard error, and, on Unix, signals
//! as a request to stop.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod failure;
pub mod logging;
pub mod look;
pub mod output;
#[cfg(unix)]
pub mod serve;
#[cfg(unix)]
pub mod signals;
pub mod sim;

use chatroom_machine::Machine;
use chatroom_sim::subject::Subject;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::fmt::Display;
use std::process::ExitCode;

#[derive(Debug, Parser)]
struct Program<S: Subject + Args + Sync> {
    #[command(subcommand)]
    what: What<S>,
}

#[derive(Debug, Subcommand)]
enum What<S: Subject + Args + Sync> {
    #[cfg(unix)]
    Serve(serve::Serve),
    /// Simulate grids: many seeds, one plan.
    #[command(subcommand)]
    Sim(sim::Commands<S>),
}

/// The whole command line of a protocol: `serve` runs the server that `make` makes of an id and a
/// number of servers (on Unix), `sim` simulates it before the judge of `S`.
#[must_use]
pub fn main<S, M, E>(program: &'static str, make: impl FnOnce(u32, u32) -> Result<M, E>) -> ExitCode
where
    S: Subject + Args + Sync,
    M: Machine + Send,
    E: Display,
{
    #[cfg(not(unix))]
    drop(make);
    let matches = Program::<S>::command().name(program).get_matches();
    let result = match Program::<S>::from_arg_matches(&matches) {
        Ok(parsed) => match parsed.what {
            #[cfg(unix)]
            What::Serve(serve) => serve.run(make),
            What::Sim(commands) => commands.run(&format!("{program} sim")),
        },
        Err(error) => error.exit(),
    };
    result.unwrap_or_else(|failure| failure.report())
}
