//! Why a command ends without having done what was asked, as a person reads it.

use crate::output;
use std::fmt;
use std::process::ExitCode;

/// One sentence, a hint, and the exit status.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    hint: String,
    status: u8,
}

impl Failure {
    /// The command line is wrong.
    pub fn usage(sentence: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self {
            sentence: sentence.to_string(),
            hint: hint.to_string(),
            status: 2,
        }
    }

    /// The command line is right, the machine does not allow it.
    pub fn denied(sentence: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self {
            status: 1,
            ..Self::usage(sentence, hint)
        }
    }

    /// Says it on standard error.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        output::remark(format!("error: {}\nhint: {}\n", self.sentence, self.hint).as_bytes());
        ExitCode::from(self.status)
    }
}
