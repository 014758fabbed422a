//! Who belongs together: elections, servers that start or come back, and total failure.

use crate::coordinator::{Kind, Step};
use crate::ledger::Playlist;
use crate::message::{Message, Mode, Status};
use crate::pending::Then;
use crate::servers::Servers;
use crate::transaction::{Decision, Rank};
use crate::{Commit, Cx, Event, PLAYLIST_MAX, Why};
use alloc::collections::BTreeMap;

/// A playlist that arrives entry by entry.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Incoming {
    from: u32,
    rank: Rank,
    last: Option<Decision>,
    playlist: Playlist,
    bytes: usize,
}

impl Commit {
    /// Does what a message says.
    pub(crate) fn handle(
        &mut self,
        cx: &mut Cx<'_>,
        from: u32,
        message: Message,
    ) -> Result<(), Why> {
        match message {
            Message::Status(status) => self.hear_status(cx, from, status),
            Message::VoteReq(rank, pending) => self.vote_req(cx, from, rank, pending),
            Message::Vote(txn, yes) => self.voted(cx, from, txn, yes),
            Message::PreCommit(rank, pending) => self.pre_commit(cx, from, rank, pending),
            Message::Ack(rank, txn) => self.acked(cx, from, rank, txn),
            Message::Decide(rank, decision) => self.decided(cx, from, rank, decision),
            Message::Done(rank) => self.answered(cx, from, rank, &[Step::CatchUp, Step::Decide]),
            Message::StateReq(rank) => self.state_req(cx, from, rank),
            Message::Report(rank, report) => self.reported(cx, from, rank, report),
            Message::Pull(rank) => self.pull(cx, from, rank),
            Message::State(rank, last) => self.state_begins(cx, from, rank, last),
            Message::Song(song, url) => return self.state_entry(from, song, url),
            Message::StateEnd(rank) => self.state_ends(cx, from, rank),
            Message::Install(rank, servers) => self.install(cx, from, rank, servers),
            Message::Installed(rank) => self.answered(cx, from, rank, &[Step::Install]),
            Message::Begin(rank) => self.begin(cx, from, rank),
            Message::Propose(number, op) => self.proposed(cx, from, number, op),
            Message::Outcome(number, commit) => self.outcome(cx, number, commit),
        }
        Ok(())
    }

    fn state_begins(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, last: Option<Decision>) {
        if self.is_donor(from, rank) || self.obeys(cx, from, rank) {
            self.incoming = Some(Incoming {
                from,
                rank,
                last,
                playlist: Playlist::new(),
                bytes: 0,
            });
        }
    }

    /// Whether this server, as a coordinator, waits for the playlist of `from`.
    fn is_donor(&self, from: u32, rank: Rank) -> bool {
        let work = self.work.as_ref();
        work.is_some_and(|work| work.rank == rank && work.donor == Some(from))
    }

    fn state_entry(
        &mut self,
        from: u32,
        song: alloc::string::String,
        url: alloc::string::String,
    ) -> Result<(), Why> {
        if let Some(incoming) = self.incoming.as_mut().filter(|it| it.from == from) {
            incoming.bytes += song.len() + url.len();
            if incoming.bytes > PLAYLIST_MAX {
                return Err(Why::TooLong);
            }
            incoming.playlist.insert(song, url);
        }
        Ok(())
    }

    fn state_ends(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank) {
        let ours = |it: &mut Incoming| it.from == from && it.rank == rank;
        let Some(Incoming { last, playlist, .. }) = self.incoming.take_if(ours) else {
            return;
        };
        let donor = self.is_donor(from, rank);
        if !donor && !self.obeys(cx, from, rank) {
            return;
        }
        self.disarm_participant();
        self.ledger.store_state(cx, last.clone(), &playlist);
        self.after(cx, Then::Replace(last, playlist));
        let then = match donor {
            true => Then::Own(rank, crate::coordinator::Own::CaughtUp),
            false => Then::Send(from, Message::Done(rank), None),
        };
        self.after(cx, then);
    }

    /// How this server stands.
    pub(crate) fn status(&self, cx: &Cx<'_>) -> Status {
        Status {
            mode: self.mode,
            rank: self.ledger.rank,
            known: self.ledger.known,
            claimed: self.claimed,
            alive: cx.alive().into_iter().collect(),
            up: match self.mode {
                Mode::Member => self.members.clone(),
                Mode::Out | Mode::Lead => self.ledger.up.clone(),
            },
            report: self.ledger.report.clone(),
        }
    }

    /// Whether it is a member, or waits with others for one that failed last: nothing changes any
    /// more by itself.
    pub(crate) fn settled_in(&self) -> bool {
        let leads = |status: &Status| status.mode == Mode::Lead;
        let led = self.mode == Mode::Lead || self.statuses.values().any(leads);
        self.mode == Mode::Member || led && !self.missing().is_empty()
    }

    /// After a total failure: the servers that are not back, of which one may have failed last. That
    /// one is in the set of every server that was ever a member.
    fn missing(&self) -> Servers {
        let others = self
            .statuses
            .values()
            .map(|status| (status.known, &status.up));
        let known = others.chain([(self.ledger.known, &self.ledger.up)]);
        let sets = known.filter(|(known, _)| *known).map(|(_, up)| up);
        let last = sets.fold(None, |both: Option<Servers>, up| match both {
            Some(both) => Some(both.and(up)),
            None => Some(up.clone()),
        });
        let back = |&server: &u32| server != self.id && !self.statuses.contains_key(&server);
        last.unwrap_or_default().iter().filter(back).collect()
    }

    /// A session with a peer began.
    pub(crate) fn meet(&mut self, cx: &mut Cx<'_>, peer: u32) {
        // Whoever admits a server wants to know whom that one is linked with.
        let to = (self.mode == Mode::Member).then_some(peer);
        self.after(cx, Then::Tell(to));
    }

    fn hear_status(&mut self, cx: &mut Cx<'_>, from: u32, status: Status) {
        let went_on = status.mode == Mode::Member
            && status.rank > self.ledger.rank
            && !status.up.has(self.id);
        self.statuses.insert(from, status);
        if self.mode != Mode::Member {
            self.consider(cx);
        } else if went_on {
            self.leave(cx);
        } else {
            self.pump(cx);
        }
    }

    /// A session with a peer ended: as servers only crash, it is dead.
    pub(crate) fn miss(&mut self, cx: &mut Cx<'_>, peer: u32) {
        self.bury(cx, peer);
        if let Some((from, rank)) = self.held_question.take_if(|(from, _)| *from != peer) {
            self.state_req(cx, from, rank);
        }
    }

    fn bury(&mut self, cx: &mut Cx<'_>, peer: u32) {
        self.held_question = self.held_question.filter(|(from, _)| *from != peer);
        self.statuses.remove(&peer);
        if self.incoming.as_ref().is_some_and(|it| it.from == peer) {
            self.incoming = None;
        }
        let was_coordinator = self.coordinator() == Some(peer);
        if was_coordinator {
            // Masters hear of the next one instead of an answer.
            self.forwarded.clear();
        }
        if self.mode == Mode::Member {
            self.members.remove(peer);
            if let Some(rank) = self.ledger.rank.filter(|_| self.ledger.up.has(peer)) {
                let up = self.ledger.up.without(peer);
                self.ledger.store_up(cx, rank, up);
            }
            if was_coordinator {
                return self.elect_next(cx);
            }
        } else {
            self.after(cx, Then::Tell(None));
        }
        let Some(work) = self.work.as_mut().filter(|work| work.servers.has(peer)) else {
            return self.consider(cx);
        };
        work.servers.remove(peer);
        match work.kind {
            Kind::Transaction { .. } => {
                // It dies before it could be asked.
                if work.step == Step::Begin {
                    work.count(false);
                }
                if work.waiting.remove(peer) {
                    if work.step == Step::Votes {
                        work.count(false);
                    }
                    self.advance(cx);
                }
            }
            Kind::Elect => self.elect_again(cx),
            Kind::Form => {
                self.work = None;
                self.consider(cx);
            }
            Kind::Admit { .. } => {
                // Answers to what it said so far are void.
                self.work = None;
                if let Some(rank) = &mut self.ledger.rank {
                    rank.number += 1;
                }
                self.pump(cx);
            }
        }
    }

    /// The first turn from `from` on that one of `servers` has.
    fn turn_of(&self, servers: &Servers, from: u64) -> Option<u64> {
        let n = u64::from(self.servers);
        (from..from + n).find(|turn| servers.has((turn % n) as u32))
    }

    /// The coordinator is dead: its office goes to the next member, round robin.
    pub(crate) fn elect_next(&mut self, cx: &mut Cx<'_>) {
        let from = self.ledger.rank.map_or(0, |rank| rank.turn + 1);
        let Some(turn) = self.turn_of(&self.members, from) else {
            return;
        };
        self.ledger.rank = Some(Rank { turn, number: 0 });
        (self.installing, self.work, self.claimed) = (None, None, false);
        if self.is_coordinator() {
            self.elect(cx);
        }
    }

    /// Other members went on without this one: it joins them.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        self.mode = Mode::Out;
        self.members = Servers::default();
        (self.installing, self.work) = (None, None);
        cx.emit(Event::Left);
        self.after(cx, Then::Tell(None));
        self.consider(cx);
    }

    /// Admits the servers that came back and are linked with all members. Whether there are any.
    pub(crate) fn admit(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut servers = self.members.clone();
        let mut reports = BTreeMap::new();
        let mut claims = false;
        let mut latest = None;
        for (&peer, status) in &self.statuses {
            let comes = !self.members.has(peer) && status.mode != Mode::Member;
            // Each must be linked with each: otherwise nobody would notice a death.
            let linked = |other: u32| {
                self.members.has(other)
                    || self.statuses.get(&other).is_some_and(|s| s.alive.has(peer))
            };
            if comes && status.alive.covers(&servers) && servers.iter().all(linked) {
                servers.insert(peer);
                reports.insert(peer, status.report.clone());
                claims |= status.claimed;
                latest = latest.max(status.rank);
            }
        }
        let (Some(mut rank), false) = (self.ledger.rank, reports.is_empty()) else {
            return false;
        };
        rank.number += 1;
        // A server that was alone may know a later turn. It obeys none before.
        if let Some(latest) = latest.filter(|latest| *latest >= rank)
            && let Some(turn) = self.turn_of(&Servers::from_iter([self.id]), latest.turn + 1)
        {
            rank = Rank { turn, number: 0 };
        }
        self.ledger.rank = Some(rank);
        self.assemble(Kind::Admit { claimed: claims }, rank, servers, reports);
        self.evaluate(cx);
        true
    }

    /// What a server does that is no member: it waits for members, or for whoever leads those that
    /// came back, or leads them itself.
    pub(crate) fn consider(&mut self, cx: &mut Cx<'_>) {
        if self.mode == Mode::Member || self.work.is_some() || self.ended {
            return;
        }
        let mode = |mode| move |status: &&Status| status.mode == mode;
        let leads = self.mode == Mode::Lead;
        // Members admit it by themselves.
        if self
            .statuses
            .values()
            .any(|status| status.mode == Mode::Member)
        {
            if leads {
                self.mode = Mode::Out;
                self.after(cx, Then::Tell(None));
            }
            return;
        }
        let all_met = self.statuses.len() as u32 + 1 == self.servers;
        if self.grace.is_some() && !all_met {
            return;
        }
        self.grace = None;
        let lead = self.statuses.values().filter(mode(Mode::Lead));
        let lead = lead.filter_map(|status| status.rank).max();
        if lead.is_some() && (!leads || lead > self.ledger.rank) {
            self.ledger.rank = self.ledger.rank.max(lead);
            if leads {
                self.mode = Mode::Out;
                self.after(cx, Then::Tell(None));
            }
            return;
        }
        if !leads && !self.take_lead(cx) {
            return;
        }
        self.form(cx);
    }

    /// Leads those that came back if it is its turn.
    fn take_lead(&mut self, cx: &mut Cx<'_>) -> bool {
        let back: Servers = self.statuses.keys().copied().chain([self.id]).collect();
        let ranks = self.statuses.values().map(|status| status.rank);
        let latest = ranks.chain([self.ledger.rank]).max().flatten();
        let from = latest.map_or(0, |rank| rank.turn + 1);
        let turn = self.turn_of(&back, from);
        let Some(turn) = turn.filter(|turn| turn % u64::from(self.servers) == u64::from(self.id))
        else {
            return false;
        };
        self.ledger.rank = Some(Rank { turn, number: 0 });
        self.mode = Mode::Lead;
        self.claimed = false;
        self.after(cx, Then::Tell(None));
        true
    }

    /// Makes members of those that came back if the last to fail is among them.
    fn form(&mut self, cx: &mut Cx<'_>) {
        let own = self.status(cx);
        let mut back: BTreeMap<u32, &Status> = self.statuses.iter().map(|(&p, s)| (p, s)).collect();
        back.insert(self.id, &own);
        let servers: Servers = back.keys().copied().collect();
        let missing = self.missing();
        if !missing.is_empty() {
            if !self.claimed {
                cx.emit(Event::Waits { missing });
                self.announce(cx);
            }
            return;
        }
        // Each is linked with each, and all have said so since the last of their links changed: what
        // they said of their logs holds.
        if own.alive != servers || back.values().any(|status| status.alive != servers) {
            return;
        }
        let reports = back.iter().map(|(&p, s)| (p, s.report.clone())).collect();
        let ranks = back.values().filter_map(|status| status.rank).max();
        let from = ranks.map_or(0, |rank| rank.turn + 1);
        let me = Servers::from_iter([self.id]);
        // Its own turn if nobody knows a later one.
        let turn = match self
            .ledger
            .rank
            .filter(|rank| Some(*rank) >= ranks && rank.number == 0)
        {
            Some(rank) => Some(rank.turn),
            None => self.turn_of(&me, from),
        };
        let Some(turn) = turn else {
            return;
        };
        let rank = Rank { turn, number: 1 };
        self.ledger.rank = Some(rank);
        self.assemble(Kind::Form, rank, servers, reports);
        self.evaluate(cx);
    }
}
