//! Every order in which things can happen to a small grid of chat servers.
//!
//! Where the [engine](chatroom_sim::engine) follows one plan, this tries them all, within [`Bounds`]: an
//! explicit-state search, breadth first, over a model in which
//!
//! - servers are the real machines, copied at every branch, and told apart by their [`Hash`];
//! - a link is two reliable FIFO streams of whole lines. Dials and accepts take steps of their own;
//! - a server may be killed at any moment. Of what is in flight from it, any prefix arrives, also
//!   one that ends within a line, then the end of the stream; what is in flight to it is lost. It
//!   may be started again, before or after others notice;
//! - a record that a server stores becomes durable at any later step, one at a time, and the
//!   server is told; a kill loses what was not stored, and a start finds what was;
//! - a link between two live servers may break, with the same effect on both directions;
//! - masters broadcast, at any server that is up, at any moment;
//! - time stands still but for dials: each server has a clock of its own, which jumps to the next
//!   dial that is due. No heartbeat is sent after the first of a link, and silence is never
//!   suspected. A dial of a server that is down is refused once, and then stays without an answer
//!   until that server is up again: else there were no end to it.
//!
//! States that are equal are merged, by a hash of 64 bits ("hash compaction": Wolper and Leroy,
//! "Reliable hashing without collision detection", 1993): `n` states collide with a chance of some
//! `n² / 2^65`. [`Reduction::SleepSets`] leaves out orders of steps that commute: sleep sets with
//! state matching (Godefroid, "Partial-order methods for the verification of concurrent systems",
//! 1996, chapters 5 and 6). Sleep sets leave out transitions and no state, so that the reduced
//! search and the full one must find the same states, and [`Report::digest`] says whether they do.
//!
//! In every state the safety properties are checked on the reply to a `get` and an `alive`, by the
//! identity of each message; where nothing is in flight, who is alive for whom, and whether all
//! that was broadcast in a standing session arrived.

mod act;
mod disk;
mod judge;
mod path;
mod search;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use path::{Found, Path, Walked, walk};
pub use step::{Step, Wire};

use crate::chat::Chat;
use chatroom_chat::Config;
use chatroom_machine::{Machine, Time};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{PlanError, excerpt, fault};
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

/// A server that can be explored: what [`Chat`] asks for, and copies that can be told apart.
pub trait Explorable: Chat + Clone + Hash {}

impl<M: Chat + Clone + Hash> Explorable for M {}

/// The largest grid.
pub const MAX_SERVERS: u8 = 8;
/// The most messages, crashes, restarts and losses each.
pub const MAX_EVENTS: u8 = 16;

/// What may happen, and how often at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many servers: 1 to [`MAX_SERVERS`].
    pub servers: u8,
    /// Broadcasts in all, by any server: at most [`MAX_EVENTS`], as all that follows.
    pub messages: u8,
    /// Kills in all.
    pub crashes: u8,
    /// Starts of servers that were killed.
    pub restarts: u8,
    /// Breaks of links between live servers.
    pub losses: u8,
    /// Where it begins.
    pub start: Start,
}

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All servers are up and linked. New links are made after crashes and losses only.
    Linked,
    /// No server was started yet: every order of starts and of dials is explored too.
    Down,
}

/// Written as in a plan, but for the servers: those are its hosts.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            crashes,
            restarts,
            losses,
            ..
        } = self;
        let start = match self.start {
            Start::Linked => "linked",
            Start::Down => "down",
        };
        write!(
            f,
            "messages {messages}, crashes {crashes}, restarts {restarts}, losses {losses}, from {start}"
        )
    }
}

impl Bounds {
    fn read(hosts: u16, text: &str) -> Result<Self, PlanError> {
        let number = |word| {
            let value = text
                .split(", ")
                .find_map(|part| part.strip_prefix(word)?.strip_prefix(' '));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let bounds = Self {
            servers: hosts.try_into().unwrap_or(u8::MAX),
            messages: number("messages"),
            crashes: number("crashes"),
            restarts: number("restarts"),
            losses: number("losses"),
            start: match text.ends_with("from down") {
                true => Start::Down,
                false => Start::Linked,
            },
        };
        if bounds.to_string() != text {
            return fault(
                0,
                format!(
                    "the note explore is {:?}, expected {:?} or the like",
                    excerpt(text),
                    bounds.to_string()
                ),
            );
        }
        bounds.check()?;
        Ok(bounds)
    }

    fn check(&self) -> Result<(), PlanError> {
        for (name, value, least, most) in [
            ("servers", self.servers, 1, MAX_SERVERS),
            ("messages", self.messages, 0, MAX_EVENTS),
            ("crashes", self.crashes, 0, MAX_EVENTS),
            ("restarts", self.restarts, 0, MAX_EVENTS),
            ("losses", self.losses, 0, MAX_EVENTS),
        ] {
            if !(least..=most).contains(&value) {
                let text = format!("{name} is {value}, expected {least} to {most} to explore");
                return fault(0, text);
            }
        }
        Ok(())
    }
}

/// Which orders are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// All.
    None,
    /// One of those that differ in the order of independent steps only.
    SleepSets,
}

/// Where a search gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// After so many states.
    pub states: usize,
    /// After so long.
    pub time: Option<Duration>,
}

/// What a search saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// States that differ.
    pub states: u64,
    /// Steps that were tried.
    pub transitions: u64,
    /// Steps of the longest of the shortest paths to each state.
    pub depth: u64,
    /// States in which nothing was in flight: there, what must arrive had arrived.
    pub rests: u64,
    /// States in which nothing more could happen.
    pub finals: u64,
    /// The sum of the hashes of all states, and of the final ones: equal for two searches that saw
    /// the same.
    pub digest: u64,
    /// See [`digest`](Report::digest).
    pub finals_digest: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether there was nothing left to try.
    pub exhausted: bool,
}

/// Tries everything within `bounds` on servers made by `make`, until a property breaks. Calls
/// `progress` after every level of depth.
///
/// # Panics
/// If `bounds` are out of their own bounds, or a server panics.
pub fn explore<M: Explorable>(
    make: impl Fn(Config) -> M,
    bounds: &Bounds,
    reduction: Reduction,
    limit: Limit,
    progress: &mut dyn FnMut(&Report),
) -> (Report, Option<Found>) {
    let search = search::Search::new(reduction, limit);
    let (report, broken) = search.run(&make, bounds, progress);
    let found = broken.map(|broken| Found {
        steps: broken.path,
        violation: broken.violation,
    });
    (report, found)
}

/// Hands facts to an observer, with the moments and numbers of a run.
#[derive(Debug, Default)]
struct Watch<O> {
    observer: O,
    now: Time,
    step: u64,
}

impl<O> Watch<O> {
    fn see<M: Machine>(&mut self, fact: &Fact<'_, M::Notice>) -> Result<(), Violation>
    where
        O: Observer<M>,
    {
        let scene = Scene::without_machines(self.now, self.step);
        self.step += 1;
        self.observer.see(&scene, fact)
    }
}
