//! Recordings in files.

use crate::recorder::Recorder;
use chatroom_machine::Machine;
use std::fs::File;
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes the file for a recording, and says where it is: `path` itself or, if that is a
/// directory, a new file in it whose name has `stem`, the time and this process in it.
///
/// # Errors
/// If the file exists (a recording is never overwritten) or can't be made.
pub fn create(path: &Path, stem: &str) -> io::Result<(File, PathBuf)> {
    let path = if path.is_dir() {
        let age = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = age.map_or(0, |age| age.as_micros());
        path.join(format!("{stem}-{micros}-{}.chatrec", process::id()))
    } else {
        path.to_owned()
    };
    Ok((File::create_new(&path)?, path))
}

/// Wraps `machine` in a recorder that writes to `file`, and sees to it that what was recorded is
/// on file when the process panics, the fatal call included. `complain` is called at most once,
/// with the error that ended the recording; the machine goes on.
///
/// Sets the process's panic hook in front of the one there is.
///
/// # Errors
/// If the beginning of the file can't be written.
pub fn record<M: Machine>(
    machine: M,
    file: File,
    header: &[u8],
    complain: impl FnOnce(io::Error) + Send + 'static,
) -> io::Result<Recorder<M, File>> {
    let recorder = Recorder::new(machine, file, header, complain)?;
    let rescue = recorder.rescue();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        rescue.flush();
        before(info);
    }));
    Ok(recorder)
}
