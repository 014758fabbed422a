//! What waits for the disk: nothing that depends on a record is sent, and no `get` sees it, before
//! the record is durable.

use crate::coordinator::Own;
use crate::ledger::Playlist;
use crate::message::Message;
use crate::transaction::{Decision, Pending, Rank};
use crate::{Commit, Cx, Event};
use alloc::format;

/// At which point of a participant a crash can be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    Vote,
    Ack,
}

/// What is done once all records up to now are durable.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Then {
    /// A message goes to a server, which may be the point of an armed crash.
    Send(u32, Message, Option<Point>),
    /// The own status goes to one server, or to all.
    Tell(Option<u32>),
    /// The whole playlist goes to a server.
    SendState(u32, Rank),
    /// It is told how far a transaction has come.
    Recorded(Pending),
    /// A decision takes effect.
    Apply(Decision),
    /// A playlist takes effect, as of that decision.
    Replace(Option<Decision>, Playlist),
    /// The own part of a step of the coordinator's work is done.
    Own(Rank, Own),
}

impl Commit {
    /// Does something once all records up to now are durable.
    pub(crate) fn after(&mut self, cx: &mut Cx<'_>, then: Then) {
        if self.thens.is_empty() && self.ledger.settled() {
            self.run(cx, then);
        } else {
            self.thens.push_back((self.ledger.last_record(), then));
        }
    }

    pub(crate) fn run(&mut self, cx: &mut Cx<'_>, then: Then) {
        match then {
            Then::Send(to, message, point) => {
                self.send(cx, to, &message);
                let crashes = match point {
                    Some(Point::Vote) => self.armed.after_vote,
                    Some(Point::Ack) => self.armed.after_ack,
                    None => false,
                };
                if crashes {
                    self.crash_after_sending(cx);
                }
            }
            // What they say must be durable, all of it.
            Then::Tell(_) | Then::SendState(..) if !self.ledger.settled() => {
                self.thens.push_back((self.ledger.last_record(), then));
            }
            Then::Tell(to) => {
                let status = Message::Status(self.status(cx));
                match to {
                    Some(to) => self.send(cx, to, &status),
                    None => cx.broadcast(format!("{status}").as_bytes()),
                }
            }
            Then::SendState(to, rank) => {
                let last = self.ledger.report.last.clone();
                self.send(cx, to, &Message::State(rank, last));
                for (song, url) in &self.ledger.playlist {
                    let entry = Message::Song(song.clone(), url.clone());
                    cx.send(to, format!("{entry}").as_bytes());
                }
                self.send(cx, to, &Message::StateEnd(rank));
            }
            Then::Recorded(pending) => {
                if cx.observes() {
                    cx.emit(Event::Recorded { pending });
                }
            }
            Then::Apply(decision) => {
                self.ledger.apply(&decision);
                cx.emit(Event::Decided { decision });
                self.ledger.compact(cx);
            }
            Then::Replace(last, playlist) => {
                self.ledger.replace(playlist);
                cx.emit(Event::Copied { last });
            }
            Then::Own(rank, own) => self.own(cx, rank, own),
        }
    }

    /// Sends a message to a server; nothing if it is down.
    pub(crate) fn send(&self, cx: &mut Cx<'_>, to: u32, message: &Message) {
        cx.send(to, format!("{message}").as_bytes());
    }

    /// Stores how far a transaction has come.
    pub(crate) fn record(&mut self, cx: &mut Cx<'_>, pending: Pending) {
        self.ledger.store_pending(cx, pending.clone());
        self.after(cx, Then::Recorded(pending));
    }

    /// Stores a decision, which takes effect once it is durable.
    pub(crate) fn decide(&mut self, cx: &mut Cx<'_>, decision: Decision) {
        self.ledger.store_decision(cx, decision.clone());
        self.after(cx, Then::Apply(decision));
    }
}
