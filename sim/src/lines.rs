//! Whole lines instead of pieces of a stream: for checkers of protocols whose clients speak in
//! lines.

use crate::names::Client;
use crate::observer::{Fact, Observer, Scene, Violation};
use chatroom_machine::Machine;
use std::collections::BTreeMap;

/// Sees what clients say and hear, line by line, and every other fact too.
pub trait LineObserver<M: Machine> {
    /// A client sent a line, which is given without its newline. Its server may not have read it
    /// yet, and never will if it dies before.
    ///
    /// # Errors
    /// A [`Violation`] ends the run.
    fn said(&mut self, scene: &Scene<'_, M>, client: Client, line: &[u8]) -> Result<(), Violation> {
        let _ = (scene, client, line);
        Ok(())
    }

    /// A client received a line.
    ///
    /// # Errors
    /// A [`Violation`] ends the run.
    fn heard(&mut self, scene: &Scene<'_, M>, client: Client, line: &[u8])
    -> Result<(), Violation>;

    /// Something happened, lines included.
    ///
    /// # Errors
    /// A [`Violation`] ends the run.
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        let _ = (scene, fact);
        Ok(())
    }
}

/// An observer that puts lines together for a [`LineObserver`].
#[derive(Clone, Debug, Default)]
pub struct ByLine<O> {
    observer: O,
    /// The unfinished lines of the connections that are open, by their number: what their clients
    /// said and heard.
    unfinished: BTreeMap<u64, [Vec<u8>; 2]>,
}

impl<O> ByLine<O> {
    /// Gives lines to `observer`.
    pub const fn new(observer: O) -> Self {
        Self {
            observer,
            unfinished: BTreeMap::new(),
        }
    }

    /// Who is given the lines.
    pub const fn observer(&mut self) -> &mut O {
        &mut self.observer
    }

    /// The whole lines that `bytes` complete on one direction of a connection.
    fn lines(&mut self, link: u64, direction: usize, bytes: &[u8]) -> Vec<Vec<u8>> {
        let rest = &mut self.unfinished.entry(link).or_default()[direction];
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(piece);
            if rest.pop_if(|last| *last == b'\n').is_some() {
                lines.push(std::mem::take(rest));
            }
        }
        lines
    }
}

impl<M: Machine, O: LineObserver<M>> Observer<M> for ByLine<O> {
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        self.observer.see(scene, fact)?;
        match *fact {
            Fact::ClientSaid {
                client,
                link,
                bytes,
                ..
            } => {
                for line in self.lines(link, 0, bytes) {
                    self.observer.said(scene, client, &line)?;
                }
            }
            Fact::ClientHeard {
                client,
                link,
                bytes,
                ..
            } => {
                for line in self.lines(link, 1, bytes) {
                    self.observer.heard(scene, client, &line)?;
                }
            }
            Fact::ClientLost { link, .. } | Fact::ClientLeft { link, .. } => {
                self.unfinished.remove(&link);
            }
            Fact::Change { .. }
            | Fact::Started { .. }
            | Fact::Ended { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Notice { .. }
            | Fact::Dialling { .. }
            | Fact::DialFailed { .. }
            | Fact::Opened { .. }
            | Fact::TurnedAway { .. }
            | Fact::Sent { .. }
            | Fact::Received { .. }
            | Fact::Lost { .. }
            | Fact::Closed { .. }
            | Fact::ClientOpened { .. }
            | Fact::Disk { .. }
            | Fact::Over => {}
        }
        Ok(())
    }
}
