//! Records of a run: kept by an observer, only when somebody wants to read them.

use crate::names::Peer;
use crate::observer::{Fact, Observer, Scene, Violation};
use chatroom_core::machine::Machine;
use chatroom_core::time::Time;

/// One fact, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fact's number in the run.
    pub step: u64,
    /// When.
    pub at: Time,
    /// Whose fact it is; `None` for the network's and the plan's.
    pub lane: Option<Peer>,
    /// The kind of fact, one word: `sent`, `received`, `started`, …
    pub kind: &'static str,
    /// The link it is about.
    pub link: Option<u64>,
    /// The other side of that link.
    pub peer: Option<Peer>,
    /// The range of the link's bytes in this direction (`sent`, `received`, `said`, `heard`).
    pub range: Option<(u64, u64)>,
    /// What happened, in words.
    pub text: String,
    /// For a receipt: the steps of the sendings that its bytes come from.
    pub from: Vec<u64>,
    /// The vector clock of the lane after the fact: lane index to count. See [`Recorder::lanes`].
    pub clock: Vec<(u32, u64)>,
}

/// An observer that keeps a [`Record`] of every fact.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// The records.
    pub records: Vec<Record>,
    /// The lanes, in the order in which they first did something.
    pub lanes: Vec<Peer>,
}

/// A format of [`Recorder::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line a fact, for people.
    Text,
    /// A JSON object a line.
    JsonLines,
    /// ShiViz: `(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`.
    ShiViz,
}

impl<M: Machine> Observer<M> for Recorder {
    fn see(&mut self, _: &Scene<'_, M>, _: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        unimplemented!()
    }
}

impl Recorder {
    /// Writes all records.
    #[must_use]
    pub fn write(&self, format: Format) -> String {
        let _ = format;
        unimplemented!()
    }
}
