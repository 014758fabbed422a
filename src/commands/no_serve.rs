//! `chatroom serve` where its driver has no sockets to stand on.

use chatroom_cli::failure::Failure;
use clap::Args;
use std::env::consts::OS;
use std::ffi::OsString;
use std::process::ExitCode;

/// Run one server of a grid: not on this system, it needs Linux or macOS.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// What a server would be given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _given: Vec<OsString>,
}

impl Serve {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        Err(Failure::denied(
            format!("`chatroom serve` needs Linux or macOS, and this is {OS}"),
            "`chatroom sim` and `chatroom replay` work here",
        ))
    }
}
