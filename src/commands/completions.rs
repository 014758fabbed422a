//! `chatroom completions`.

use chatroom_cli::failure::Failure;
use chatroom_cli::output;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the completions for a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    chatroom completions bash > ~/.local/share/bash-completion/completions/chatroom

EXIT STATUS
    0  printed
    1  standard output could not be written
    2  the command line is wrong")]
pub(crate) struct Completions {
    /// The shell to print them for.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let mut command = crate::Arguments::command();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "chatroom", &mut script);
        output::print(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
