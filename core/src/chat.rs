//! The log and those who read it, between the mesh, which carries texts, and the masters, who ask
//! for them.

use crate::config::{GAPS, Limits};
use crate::desk::Desk;
use crate::log::Log;
use crate::mesh::Above;
use crate::news::News;
use crate::timers::Timer;
use crate::turn::Turn;
use crate::wire;
use alloc::format;
use alloc::vec::Vec;
use chatroom_machine::Conn;

/// The log and those who read it: what lies above the mesh.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Chat {
    pub(crate) log: Log,
    pub(crate) limit: u64,
    /// Whether it was told that the log is full.
    full: bool,
    /// Peers of whose messages some were not kept: no later one is, so that what is kept of a
    /// peer has no gap in it. At most one entry a peer.
    gaps: Vec<Gap>,
    pub(crate) desk: Desk,
}

/// Messages of a peer that were not kept.
#[derive(Clone, Debug, Hash)]
struct Gap {
    peer: u32,
    /// How many were not announced yet.
    count: u64,
}

impl Chat {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            log: Log::default(),
            limit: limits.log,
            full: false,
            gaps: Vec::new(),
            desk: Desk::new(limits),
        }
    }

    /// Appends one text and tells who watches; false if the log is full.
    #[inline]
    pub(crate) fn record(
        &mut self,
        turn: &mut Turn,
        sender: u32,
        conn: Option<Conn>,
        text: &[u8],
    ) -> bool {
        if self.log.len_with(text) > self.limit {
            if !self.full {
                let bytes = self.limit;
                turn.tell(News::LogFull { bytes });
            }
            self.full = true;
            return false;
        }
        self.log.append(text);
        if turn.observe
            && let Ok(text) = core::str::from_utf8(text)
        {
            turn.tell(News::Delivered {
                sender,
                conn,
                text: text.into(),
            });
        }
        if self.desk.watched() {
            let mut head = b"delivered ".to_vec();
            wire::push_id(&mut head, sender);
            head.push(b' ');
            self.desk.tell(turn, &[&head, text, b"\n"]);
        }
        true
    }

    /// Counts a message of a peer that is not kept.
    fn miss(&mut self, turn: &mut Turn, peer: u32) {
        let gap = match self.gaps.iter_mut().position(|gap| gap.peer == peer) {
            Some(at) => &mut self.gaps[at],
            None => {
                self.gaps.push(Gap { peer, count: 0 });
                // The first is announced at once.
                turn.timers.by(Timer::Gap, turn.now);
                self.gaps.last_mut().expect("it was pushed")
            }
        };
        gap.count += 1;
        turn.timers.by(Timer::Gap, turn.now + GAPS);
    }

    /// Announces what was not kept since the last time.
    pub(crate) fn announce_gaps(&mut self, turn: &mut Turn) {
        for at in 0..self.gaps.len() {
            let gap = &mut self.gaps[at];
            let (peer, count) = (gap.peer, core::mem::take(&mut gap.count));
            if count == 0 {
                continue;
            }
            turn.tell(News::Gap { peer, count });
            self.desk
                .tell(turn, &[format!("gap {peer} {count}\n").as_bytes()]);
        }
    }

    fn tell_peer(&mut self, turn: &mut Turn, word: &[u8], peer: u32) {
        let mut line = word.to_vec();
        wire::push_id(&mut line, peer);
        line.push(b'\n');
        self.desk.tell(turn, &[&line]);
    }
}

impl Above for Chat {
    #[inline]
    fn deliver(&mut self, turn: &mut Turn, peer: u32, conn: Conn, text: &[u8]) -> bool {
        let missed = !self.gaps.is_empty() && self.gaps.iter().any(|gap| gap.peer == peer);
        let kept = !missed && self.record(turn, peer, Some(conn), text);
        if !kept {
            self.miss(turn, peer);
        }
        kept
    }

    fn up(&mut self, turn: &mut Turn, peer: u32) {
        self.tell_peer(turn, b"up ", peer);
    }

    fn down(&mut self, turn: &mut Turn, peer: u32) {
        self.tell_peer(turn, b"down ", peer);
    }
}
