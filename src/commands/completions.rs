//! `chatroom completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io;
use std::process::ExitCode;

/// Print the completions for a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    chatroom completions bash > ~/.local/share/bash-completion/completions/chatroom")]
pub(crate) struct Completions {
    /// The shell to print them for.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> ExitCode {
        let mut command = crate::Arguments::command();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "chatroom", &mut script);
        // Whoever closed the pipe early has read what it wanted.
        match io::Write::write_all(&mut io::stdout(), &script) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}
