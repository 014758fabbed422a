//! What is measured: our binary on one of its runtimes, or a foreign server.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Master port of server 0.
const MASTERS: usize = 10_000;

/// A kind of server.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Ours { binary: PathBuf, runtime: String },
    Foreign(PathBuf),
}

impl Subject {
    pub(crate) fn ours(binary: PathBuf, runtime: &str) -> Self {
        let (name, runtime) = (runtime.to_owned(), runtime.to_owned());
        let how = How::Ours { binary, runtime };
        Self { name, how }
    }

    /// From `NAME=DIR` or `DIR`, which holds an executable `process ID N PORT` that becomes the
    /// server (by `exec`: its process is the one that is measured).
    pub(crate) fn foreign(text: &str) -> Self {
        let (name, dir) = match text.split_once('=') {
            Some((name, dir)) => (name.to_owned(), PathBuf::from(dir)),
            None => {
                let dir = PathBuf::from(text);
                let name = dir.file_name().map_or(text.into(), |n| n.to_string_lossy());
                (name.into_owned(), dir)
            }
        };
        let how = How::Foreign(dir);
        Self { name, how }
    }

    /// Whether it understands what only our servers understand.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.how, How::Ours { .. })
    }

    pub(crate) fn master_port(id: usize) -> u16 {
        u16::try_from(MASTERS + id).expect("a small grid")
    }

    pub(crate) fn command(&self, id: usize, n: usize) -> Command {
        let mut command = match &self.how {
            How::Ours { binary, runtime } => {
                let mut command = Command::new(binary);
                command.args(["serve", "--runtime", runtime]);
                command
            }
            How::Foreign(dir) => {
                let mut command = Command::new("./process");
                command.current_dir(dir);
                command
            }
        };
        command
            .args([id, n, MASTERS + id].map(|number| number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}
