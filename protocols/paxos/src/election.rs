//! Who leads: a server that sees a majority, asks it first, and stays.
//!
//! Every server tells its peers whether it leads, whether it has sessions with a majority, and
//! whether it knows a leader. A leader that loses its majority steps down and says so. A server
//! stands if it has a majority and knows no leader, unless a peer with a lower id is in the same
//! state; and it first asks whether a majority would promise it a ballot, which nobody does who has
//! a session with a leader. So a server that can't see the leader does not depose one that works
//! for others, as Ng et al. (2023) ask for, and ballots do not race each other.

use crate::leader::Role;
use crate::message::{Message, Status};
use crate::rules::Rules;
use crate::state_machine::StateMachine;
use crate::{Cx, Paxos};
use alloc::collections::BTreeSet;
use chatroom_machine::Span;

/// How long a server waits between two attempts to lead.
const BACKOFF: Span = Span::from_millis(200);
/// How long it waits for a peer with a lower id to lead.
const PATIENCE: Span = Span::from_millis(600);
/// How long phase 1 may take.
const SCOUT: Span = Span::from_millis(1_000);

/// A peer, as far as this server knows.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Peer {
    /// Whether there is a session with it.
    pub(crate) up: bool,
    /// What it said of itself in this session.
    pub(crate) status: Status,
}

impl<S: StateMachine, R: Rules> Paxos<S, R> {
    /// Whether it has a session with a majority, itself included.
    pub(crate) fn quorate(&self) -> bool {
        let up = self.peers.iter().filter(|peer| peer.up).count();
        up + 1 >= self.majority()
    }

    /// The leader among the peers that are up: the one with the highest ballot.
    pub(crate) fn leader(&self) -> Option<u32> {
        let peers = (0..).zip(&self.peers);
        let leaders = peers.filter(|(_, peer)| peer.up && peer.status.quorate);
        let leaders = leaders.filter_map(|(id, peer)| Some((peer.status.leading?, id)));
        leaders.max().map(|(_, id)| id)
    }

    /// Whether it leads, or has a session with a leader.
    pub(crate) fn led(&self) -> bool {
        matches!(self.role, Role::Leading(_)) || self.leader().is_some()
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            leading: match &self.role {
                Role::Leading(leader) => Some(leader.ballot),
                Role::Follower | Role::Canvassing { .. } | Role::Scouting(_) => None,
            },
            quorate: self.quorate(),
            led: self.led(),
            frontier: self.log.frontier(),
        }
    }

    pub(crate) fn handle_status(&mut self, cx: &mut Cx<'_>, peer: u32, status: Status) {
        let led_by = self.leader();
        self.peers[peer as usize].status = status;
        if let Some(ballot) = status.leading {
            self.seen = self.seen.max(ballot.round);
            let promised = self.acceptor.promised;
            if ballot < promised {
                self.tell(cx, peer, &Message::Nack { promised });
            }
            if self.own_ballot().is_some_and(|own| own < ballot) {
                self.depose(cx);
            }
        }
        if self.leader() != led_by {
            self.request_all(cx);
        }
        if status.frontier > self.log.frontier() {
            self.seek(cx, peer);
        }
        // It may have said no as it had not noticed yet that the leader is gone.
        if let Role::Canvassing { number, .. } = self.role
            && !status.led
        {
            self.tell(cx, peer, &Message::Ask(number));
        }
    }

    pub(crate) fn handle_ask(&mut self, cx: &mut Cx<'_>, peer: u32, number: u64) {
        let led_by_another = self.led() && self.leader() != Some(peer);
        if !led_by_another && !matches!(self.role, Role::Scouting(_)) {
            self.tell(cx, peer, &Message::Yes(number));
        }
    }

    pub(crate) fn handle_yes(&mut self, cx: &mut Cx<'_>, peer: u32, number: u64) {
        let majority = self.majority();
        if let Role::Canvassing { number: own, yes } = &mut self.role
            && *own == number
        {
            yes.insert(peer);
            if yes.len() >= majority {
                self.stand(cx);
            }
        }
    }

    /// Whether a peer with a lower id is to lead.
    fn defers(&self) -> bool {
        let lower = self.peers.iter().take(self.id as usize);
        lower
            .filter(|peer| peer.up)
            .any(|peer| peer.status.quorate && !peer.status.led)
    }

    /// Stands, steps down or waits, as the peers that are up ask for.
    pub(crate) fn consider(&mut self, cx: &mut Cx<'_>) {
        let (now, quorate) = (cx.now(), self.quorate());
        match &self.role {
            Role::Leading(_) if quorate => return,
            Role::Scouting(scout) if quorate && now.since(scout.since) < SCOUT => return,
            Role::Leading(_) | Role::Scouting(_) => self.depose(cx),
            Role::Follower | Role::Canvassing { .. } => {}
        }
        if !quorate || self.leader().is_some() {
            self.role = Role::Follower;
            self.leaderless_since = None;
            return;
        }
        let since = *self.leaderless_since.get_or_insert(now);
        let waits = self.defers() && now.since(since) < PATIENCE;
        if waits || now < self.stands_after {
            return;
        }
        self.stands_after = now + BACKOFF;
        self.asked += 1;
        let number = self.asked;
        self.role = Role::Canvassing {
            number,
            yes: BTreeSet::new(),
        };
        self.tell_all(cx, &Message::Ask(number));
        self.handle_yes(cx, self.id, number);
    }

    /// Tells the peers how it stands, if that changed in more than the frontier.
    pub(crate) fn announce(&mut self, cx: &mut Cx<'_>) {
        let status = self.status();
        let said = Status {
            frontier: status.frontier,
            ..self.announced
        };
        if status != said {
            self.announced = status;
            self.tell_all(cx, &Message::Status(status));
        }
    }
}
