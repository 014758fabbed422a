//! What stands on the replicated log.

use alloc::string::String;
use core::fmt;
use core::hash::Hash;

/// A deterministic service whose commands every server applies in the order of the log.
///
/// The log gives each command an identity and applies it once, however often a client or a server
/// that lost a link sent it again.
pub trait StateMachine: Clone + fmt::Debug + Default + Hash {
    /// What tells a command from all others.
    type Id: Clone + Ord + Hash + fmt::Debug;

    /// A question that is answered from the state of one server, outside the log.
    type Query<'a>;

    /// Reads a line of a client, of which a command may have at most `most` bytes. Changes nothing.
    ///
    /// # Errors
    /// What is wrong with it and what was expected: one line.
    fn parse(line: &str, most: usize) -> Result<Order<'_, Self::Query<'_>>, String>;

    /// The identity of a command; `None` if it is no command of this service.
    fn id(command: &str) -> Option<Self::Id>;

    /// Applies a command. It is one for which [`id`](Self::id) gave an identity, and none with that
    /// identity was applied before.
    fn apply(&mut self, command: &str);

    /// What clients are told once a command was decided, without an end of line: at most 64 bytes.
    fn acknowledgement(id: &Self::Id, slot: u64) -> String;

    /// The answer to a question, without an end of line.
    fn answer(&self, query: &Self::Query<'_>) -> Answer;

    /// The first contiguous piece of what an [`Answer`] promised: see
    /// [`Protocol::shared`](chatroom_core::Protocol::shared).
    fn shared(&self, from: u64, to: u64) -> &[u8] {
        let _ = (from, to);
        &[]
    }
}

/// What a client asks a service for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order<'a, Q> {
    /// To put a command into the log.
    Command(&'a str),
    /// To answer a question.
    Query(Q),
}

/// An answer: some text, then bytes of the service's own that are not copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The text.
    pub head: String,
    /// From where on [shared](StateMachine::shared) bytes follow.
    pub from: u64,
    /// Up to where.
    pub to: u64,
}
