//! The one binary: what the command line asks for, handed to the subcommand's own file.
#![forbid(unsafe_code)]
// They panic when nobody reads: what is printed goes through `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commands;
mod recorded;
#[cfg_attr(not(unix), allow(dead_code, reason = "only a server is set up"))]
mod settings;

// What a server needs.
#[cfg(unix)]
mod environment;
#[cfg(unix)]
mod exposition;
#[cfg(unix)]
mod grid;
#[cfg(unix)]
mod hints;
#[cfg(unix)]
mod metrics;
#[cfg(unix)]
mod observer;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod protocols;
#[cfg(unix)]
mod scrape;
#[cfg(unix)]
mod threads;
#[cfg(unix)]
mod windows;

use chatroom_cli::failure::Failure;
use clap::{CommandFactory, FromArgMatches, Parser};
use commands::Command;
use std::env;
use std::ffi::OsStr;
use std::process::ExitCode;

/// A chat over a full mesh of servers, in FIFO order.
///
/// Every server holds one link to every other, and talks to masters on a port of its own. A
/// broadcast reaches every server that is up, and the messages of one server arrive everywhere in
/// the order they were sent.
#[derive(Debug, Parser)]
#[command(
    name = "chatroom",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
#[command(after_long_help = "\
EXAMPLE
    A grid of two, each server with a master port of its own, and a master in bash:

        chatroom serve 0 2 10000 &
        chatroom serve 1 2 10001 &
        sleep 1
        exec 3<>/dev/tcp/127.0.0.1/10000
        printf 'broadcast hello\\nget\\n' >&3
        head -n 1 <&3

EXIT STATUS
    0  ended in good order
    1  could not do what was asked
    2  the command line is wrong
    3  crashed because a master said so")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The command line, in which an empty variable of the environment counts as unset.
fn arguments() -> Result<Arguments, Failure> {
    let unset = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    let mut command = Arguments::command().mut_subcommands(|command| {
        command.mut_args(|arg| match arg.get_env().is_some_and(unset) {
            true => arg.env(None),
            false => arg,
        })
    });
    let matches = command.get_matches_mut();
    let arguments = Arguments::from_arg_matches(&matches)
        .unwrap_or_else(|error| error.format(&mut command).exit());
    #[cfg(unix)]
    if let Some(serve) = matches.subcommand_matches("serve") {
        protocols::check(serve)?;
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| arguments.command.run()) {
        Ok(status) => status,
        Err(failure) => failure.report(),
    }
}
