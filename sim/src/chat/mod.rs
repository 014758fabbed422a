//! The chat on the simulator: what plans are made of, who judges a run, and the lab's scripts.
//! All that the simulator knows of a chat is in here and in the [explorer](crate::explore), whose
//! model and checkers are the chat's. The engine, the plans and the views know none.

mod advice;
pub mod broken;
pub mod cases;
mod drift;
pub mod failure;
mod generate;
pub mod judge;
mod profile;
pub mod script;
mod setup;
mod text;

pub use advice::unfinished_lines;
pub use generate::generate;
pub use judge::Judge;
pub use profile::Profile;
pub use setup::Setup;

use crate::engine::{self, Birth, World};
use crate::plan::{Plan, PlanError};
use crate::sweep::Verdict;
use crate::trace::Record;
use chatroom_chat::{ChatServer, Config, Counters, Gauges, News};
use chatroom_machine::Machine;

/// A server that the judge can judge: the chat itself, or a broken variant of it.
pub trait Chat: Machine<Notice = News> {
    /// How things stand now.
    fn gauges(&self) -> Gauges;
    /// Sums since it began.
    fn counters(&self) -> &Counters;
    /// How many bytes its log has.
    fn log_bytes(&self) -> u64;
}

impl Chat for ChatServer {
    fn gauges(&self) -> Gauges {
        Self::gauges(self)
    }

    fn counters(&self) -> &Counters {
        Self::counters(self)
    }

    fn log_bytes(&self) -> u64 {
        self.protocol().bytes()
    }
}

/// A grid of servers, each made by a function from its configuration.
#[derive(Clone, Debug)]
pub struct Grid<F> {
    setup: Setup,
    make: F,
}

impl<M: Chat, F: Fn(Config) -> M> Grid<F> {
    /// A grid in which every server has the limits of `setup`.
    pub const fn new(setup: Setup, make: F) -> Self {
        Self { setup, make }
    }
}

impl<M: Chat, F: Fn(Config) -> M> World for Grid<F> {
    type Machine = M;

    fn spawn(&self, birth: &Birth) -> M {
        (self.make)(self.setup.config(birth))
    }
}

/// The chat as it ships. The function to give where a broken variant could stand.
///
/// # Panics
/// If the configuration is out of its bounds, which [`Setup`] does not allow.
#[must_use]
pub fn server(config: Config) -> ChatServer {
    match ChatServer::new(config) {
        Ok(server) => server,
        Err(error) => panic!("a setup was checked and is out of its bounds: {error}"),
    }
}

/// The entry that a record adds to its server's log: whose broadcast it is, and its text. For the
/// log beside a diagram.
#[must_use]
pub fn delivery(record: &Record) -> Option<String> {
    if record.kind != "notice" {
        return None;
    }
    let (from, text) = record.text.strip_prefix("delivered ")?.split_once(": ")?;
    let sender = from.split(' ').next()?;
    Some(format!("{sender}: {text}"))
}

/// What became of one judged run.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What broke, what interesting cases came up, how much was simulated.
    pub verdict: Verdict,
    /// A hash of everything that happened.
    pub hash: u64,
}

/// Runs a plan on servers made by `make`, before the judge.
///
/// # Errors
/// The plan is out of its bounds, or its notes are not a [`Setup`].
pub fn judge<M: Chat>(make: impl Fn(Config) -> M, plan: &Plan) -> Result<Judged, PlanError> {
    plan.check()?;
    let setup = Setup::of(plan)?;
    let judge = Judge::new(plan, setup.clone());
    let outcome = engine::run(&Grid::new(setup, make), plan, judge);
    Ok(Judged {
        verdict: Verdict {
            violation: outcome.violation,
            sometimes: outcome.observer.into_sometimes(),
            events: outcome.steps,
            simulated: outcome.ended.as_micros(),
        },
        hash: outcome.hash,
    })
}

/// Runs the plan of a seed: what a sweep does.
///
/// # Panics
/// If the generator made a plan that is out of bounds.
pub fn run_seed<M: Chat>(make: impl Fn(Config) -> M, seed: u64, profile: Profile) -> Judged {
    match judge(make, &generate(seed, profile)) {
        Ok(judged) => judged,
        Err(error) => panic!("the plan of seed {seed} is out of bounds: {error}"),
    }
}
