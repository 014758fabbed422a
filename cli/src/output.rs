//! What a command prints: results on standard output, remarks on standard error.

use crate::failure::Failure;
use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints `bytes` on standard output.
///
/// A reader that has left has what it wanted: the command goes on, and its status says what came
/// of it.
///
/// # Errors
/// When they cannot be written for another reason.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::denied(
            format!("cannot print: {e}"),
            "is there room where standard output goes?",
        )),
        _ => Ok(()),
    }
}

/// Prints a line on standard output, as [`print()`] does.
pub fn say(line: impl fmt::Display) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Writes `bytes` on standard error, if somebody reads it.
pub fn remark(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}
