//! `chatroom replay`.

use crate::failure::Failure;
use crate::output::say;
use crate::settings;
use chatroom_chat::ChatServer;
use chatroom_record::Failure as Broken;
use clap::Args;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Feed recordings to fresh servers, and compare all that they do.
///
/// `chatroom serve --record FILE` makes a recording. A replay makes the same calls again, at the
/// recorded moments but without waiting, and must get the same outputs byte for byte; the first
/// difference is shown with the call that led to it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    chatroom serve 0 1 10000 --record zero.chatrec
    chatroom replay zero.chatrec

EXIT STATUS
    0  every server did again what was recorded
    1  one did not, or a file is no sound recording")]
pub(crate) struct Replay {
    /// Recordings.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Replay {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let mut status = ExitCode::SUCCESS;
        for path in &self.files {
            let shown = path.display();
            match replay(path) {
                Ok(report) => say(format_args!("{shown}: {report}"))?,
                Err(Refusal::Differs(what)) => {
                    status = ExitCode::FAILURE;
                    say(format_args!("{shown}: {what}"))?;
                }
                Err(Refusal::Unread(why)) => {
                    let hint = "`chatroom serve --record FILE` makes a recording";
                    status = Failure::denied(format!("{shown}: {why}"), hint).report();
                }
            }
        }
        Ok(status)
    }
}

/// Why a replay did not succeed, for people.
enum Refusal {
    Differs(String),
    Unread(String),
}

fn replay(path: &Path) -> Result<String, Refusal> {
    let file = File::open(path).map_err(|error| Refusal::Unread(error.to_string()))?;
    let mut recorded_by = String::new();
    let replayed = chatroom_record::replay(file, |header| {
        let (config, version) = settings::parse(header)?;
        recorded_by = version;
        ChatServer::new(config).map_err(|error| error.to_string())
    });
    match replayed {
        Ok(report) => Ok(report.to_string()),
        Err(Broken::Differs(difference)) => {
            let mut what = difference.to_string();
            if recorded_by != settings::VERSION {
                what.push_str(&format!(
                    "\n(recorded by version {recorded_by}, replayed by version {})",
                    settings::VERSION
                ));
            }
            Err(Refusal::Differs(what))
        }
        Err(Broken::Format(error)) => Err(Refusal::Unread(error.to_string())),
    }
}
