//! Shrinking: from a failing plan to a small one that fails the same way.

use crate::plan::Plan;
use std::time::Duration;

/// How much work shrinking may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most runs.
    pub runs: u64,
    /// No new run is begun after this long.
    pub time: Duration,
}

/// What shrinking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that was found to fail.
    pub plan: Plan,
    /// How many plans were run.
    pub runs: u64,
    /// Whether nothing smaller was left to try when it ended.
    pub minimal: bool,
}

/// Makes a failing plan smaller for as long as `fails` says that it still fails the same way.
pub fn shrink(plan: &Plan, budget: Budget, fails: &mut dyn FnMut(&Plan) -> bool) -> Shrunk {
    let _ = (budget, fails(plan));
    unimplemented!()
}
