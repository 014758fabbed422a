//! What a server keeps on disk, the log of distributed transactions (DT log), and what that makes
//! of it in memory.
//!
//! Each record is text: `uncertain` before a vote YES or a request to vote is sent, `committable`
//! before a pre-commit is acknowledged or sent (the textbook logs none, and a server that recovers
//! then forgets what it promised), `commit` and `abort`, `up` with the servers that were up, and
//! `state` with the whole playlist, which replaces all before it.

use crate::servers::Servers;
use crate::transaction::{Decision, Op, Pending, Rank, Report};
use crate::words::Words;
use crate::{DT_LOG, Event, PLAYLIST_MAX};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use chatroom_core::Context;

/// Songs and their URLs.
pub(crate) type Playlist = BTreeMap<String, String>;

/// What an entry of the playlist costs beside its words.
const ENTRY: usize = 32;
/// Bytes of records, beside twice the playlist, from which on a `state` takes their place.
const COMPACT: usize = 1 << 20;

/// What an entry costs.
const fn cost(song: &str, url: &str) -> usize {
    song.len() + url.len() + ENTRY
}

/// What a server remembers.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Ledger {
    /// As of the last decision that is durable.
    pub(crate) playlist: Playlist,
    /// What the playlist costs.
    cost: usize,
    /// How far it has come, whether durable or not.
    pub(crate) report: Report,
    /// The servers that were up: itself, and who was a member when it last heard.
    pub(crate) up: Servers,
    /// The highest rank it knows.
    pub(crate) rank: Option<Rank>,
    /// Whether it has been a member in any incarnation.
    pub(crate) known: bool,
    /// The number of the next record, and of the first that is not durable.
    next: u64,
    durable: u64,
    /// Bytes of records since the last `state`.
    grown: usize,
    /// The `state` record behind which all is to be let go.
    compacting: Option<u64>,
}

impl Ledger {
    /// Takes in a record of an earlier incarnation. False if it is none of ours.
    pub(crate) fn recover(&mut self, servers: u32, number: u64, record: &str) -> bool {
        (self.next, self.durable) = (number + 1, number + 1);
        self.grown += record.len();
        self.read(servers, record).is_some()
    }

    fn read(&mut self, servers: u32, record: &str) -> Option<()> {
        let (head, entries) = record.split_once('\n').unwrap_or((record, ""));
        let mut w = Words::new(head, servers);
        let before = w.clone();
        match w.word()? {
            "uncertain" | "committable" => {
                w = before;
                let pending = w.pending()?;
                self.rank = self.rank.max(Some(Rank {
                    turn: pending.txn.turn,
                    number: 0,
                }));
                self.report.pending = Some(pending);
            }
            "commit" | "abort" => {
                w = before;
                let decision = w.decision()?;
                self.apply(&decision);
                self.report = Report {
                    last: Some(decision),
                    pending: None,
                };
            }
            "up" => {
                (self.rank, self.up) = (Some(w.rank()?), w.servers()?);
                self.known = true;
            }
            "state" => {
                let last = w.maybe(Words::decision)?;
                let mut playlist = Playlist::new();
                for entry in entries.lines() {
                    let (song, url) = entry.split_once(' ')?;
                    playlist.insert(song.into(), url.into());
                }
                self.report = Report {
                    last,
                    pending: None,
                };
                self.replace(playlist);
                self.grown = 0;
            }
            _ => return None,
        }
        w.end()
    }

    /// Whether everything that was stored is durable.
    pub(crate) const fn settled(&self) -> bool {
        self.durable == self.next
    }

    /// The number of the last record that was stored.
    pub(crate) const fn last_record(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    fn store(&mut self, cx: &mut Context<'_, Event>, record: &str) {
        let number = cx.store(DT_LOG, record.as_bytes());
        self.next = number + 1;
        self.grown += record.len();
    }

    /// Stores that it is uncertain, or committable.
    pub(crate) fn store_pending(&mut self, cx: &mut Context<'_, Event>, pending: Pending) {
        self.store(cx, &format!("{pending}"));
        self.report.pending = Some(pending);
    }

    /// Stores a decision. The playlist follows once it is durable: see [`apply`](Self::apply).
    pub(crate) fn store_decision(&mut self, cx: &mut Context<'_, Event>, decision: Decision) {
        self.store(cx, &format!("{decision}"));
        self.report = Report {
            last: Some(decision),
            pending: None,
        };
    }

    /// Stores who is up, as of `rank`.
    pub(crate) fn store_up(&mut self, cx: &mut Context<'_, Event>, rank: Rank, up: Servers) {
        self.store(cx, &format!("up {rank} {up}"));
        self.rank = self.rank.max(Some(rank));
        self.up = up;
        self.known = true;
    }

    /// Stores another server's whole playlist in place of the own one, which follows once that is
    /// durable.
    pub(crate) fn store_state(
        &mut self,
        cx: &mut Context<'_, Event>,
        last: Option<Decision>,
        playlist: &Playlist,
    ) {
        self.report = Report {
            last,
            pending: None,
        };
        self.write_state(cx, playlist);
    }

    fn write_state(&mut self, cx: &mut Context<'_, Event>, playlist: &Playlist) {
        let mut record = match &self.report.last {
            Some(last) => format!("state {last}\n"),
            None => String::from("state -\n"),
        };
        for (song, url) in playlist {
            record.extend([song, " ", url, "\n"]);
        }
        self.store(cx, &record);
        // Who was up stands before it and would be let go with the rest.
        if let (true, Some(rank)) = (self.known, self.rank) {
            self.store(cx, &format!("up {rank} {}", self.up));
        }
        self.compacting = Some(self.next - 1 - u64::from(self.known && self.rank.is_some()));
        self.grown = 0;
    }

    /// Puts the whole playlist into one record if the log has grown large, once nothing is pending.
    pub(crate) fn compact(&mut self, cx: &mut Context<'_, Event>) {
        let idle = self.report.pending.is_none() && self.settled();
        if idle && self.grown > COMPACT + 2 * self.cost {
            let playlist = core::mem::take(&mut self.playlist);
            self.write_state(cx, &playlist);
            self.playlist = playlist;
        }
    }

    /// Takes in that all records below `next` are durable.
    pub(crate) fn stored(&mut self, cx: &mut Context<'_, Event>, next: u64) {
        self.durable = next;
        // The record of who was up, right behind it, has to be durable too.
        if let Some(state) = self
            .compacting
            .filter(|&state| next > state + 1 || next == self.next)
        {
            self.compacting = None;
            if let Some(through) = state.checked_sub(1) {
                cx.discard(DT_LOG, through);
            }
        }
    }

    /// Puts a decision that is durable into effect.
    pub(crate) fn apply(&mut self, decision: &Decision) {
        if !decision.commit {
            return;
        }
        match &decision.op {
            Op::Add { song, url } => {
                self.cost += cost(song, url);
                if let Some(old) = self.playlist.insert(song.clone(), url.clone()) {
                    self.cost -= cost(song, &old);
                }
            }
            Op::Delete { song } => {
                if let Some(old) = self.playlist.remove(song) {
                    self.cost -= cost(song, &old);
                }
            }
        }
    }

    /// Puts a playlist that is durable in the place of the own one.
    pub(crate) fn replace(&mut self, playlist: Playlist) {
        self.cost = playlist.iter().map(|(song, url)| cost(song, url)).sum();
        self.playlist = playlist;
    }

    /// Whether there is room for what `op` does.
    pub(crate) fn has_room(&self, op: &Op) -> bool {
        match op {
            Op::Add { song, url } => self.cost + cost(song, url) <= PLAYLIST_MAX,
            Op::Delete { .. } => true,
        }
    }
}
