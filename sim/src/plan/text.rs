//! Plans as text, one thing a line.

use super::{Plan, PlanError};
use std::fmt;

/// Written so that [`Plan::parse`] reads the same plan back.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        unimplemented!()
    }
}

impl Plan {
    /// Reads a plan from its text.
    ///
    /// # Errors
    /// The first line that is not as expected, or a bound that is broken. No input panics.
    pub fn parse(text: &[u8]) -> Result<Self, PlanError> {
        let _ = text;
        unimplemented!()
    }
}
