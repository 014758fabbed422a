//! Where the masters stand: one connection each, with the replies owed to it. Knows no grid; what
//! a command means is the server's business.

use crate::command;
use crate::config::{IDLE, Limits, PLACE};
use crate::frame::Framer;
use crate::log::Log;
use crate::news::{News, Why};
use crate::slots::Owner;
use crate::timers::Timer;
use crate::turn::Turn;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use chatroom_machine::Time;
use chatroom_machine::{Action, Conn, Misuse, Remote};

/// From this size on a text grows no more: what was sent of one is freed only when all of it was.
const PIECE: usize = 64 << 10;
/// What an item costs beside its bytes: its place in the queue, and an allocation.
const OVERHEAD: usize = 64;
/// Bytes of errors owed to a connection that gave no valid command yet, from which on it is not
/// read from until it reads.
const NEWCOMER_REPLIES: usize = 4 << 10;

/// Something owed to a master.
#[derive(Clone, Debug, Hash)]
enum Item {
    Text(Vec<u8>),
    /// So much of the log, never copied.
    Log(u64),
}

impl Item {
    fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Log(len) => *len,
        }
    }
}

/// One connection of a master.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Master {
    pub(crate) conn: Conn,
    source: u128,
    pub(crate) framer: Framer,
    /// Whether the rest of a line that was too long is being skipped.
    pub(crate) skipping: bool,
    /// Whether it gave a valid command and got a place.
    placed: bool,
    /// Until when it waits for a place.
    place_by: Option<Time>,
    /// Why it is closed as soon as what is owed to it was sent, and by when at the latest.
    dismissed: Option<(Why, Time)>,
    /// When it last said something or was owed something.
    busy: Time,
    pub(crate) watching: bool,
    owed: VecDeque<Item>,
    /// How much of the first was sent.
    sent: u64,
    owed_text: usize,
    owed_log: u64,
    /// Whether the driver was told not to read.
    pub(crate) paused: bool,
    /// Whether it waits for slow peers.
    pub(crate) congesting: bool,
    /// What was read but must wait: at most a line and one piece that a driver read.
    pub(crate) held: Vec<u8>,
    /// Whether it will send no more.
    pub(crate) finished: bool,
    sending: bool,
}

impl Master {
    /// What it costs to keep what is owed to it, or to read it from the log.
    pub(crate) fn owed(&self) -> u64 {
        self.owed_bytes() + (self.owed.len() * OVERHEAD) as u64
    }

    /// How many bytes are owed to it.
    const fn owed_bytes(&self) -> u64 {
        self.owed_text as u64 + self.owed_log
    }

    /// Whether it waits for a place.
    pub(crate) const fn waits_for_place(&self) -> bool {
        self.place_by.is_some()
    }

    /// Whether it is on its way out and nothing more of it counts.
    pub(crate) const fn is_dismissed(&self) -> bool {
        self.dismissed.is_some()
    }

    fn pending<'a>(&'a self, skip: usize, log: &'a Log) -> &'a [u8] {
        let mut skip = self.sent + skip as u64;
        for item in &self.owed {
            let length = item.len();
            if skip < length {
                return match item {
                    Item::Text(text) => &text[skip as usize..],
                    Item::Log(len) => log.piece(skip, *len),
                };
            }
            skip -= length;
        }
        &[]
    }

    fn took(&mut self, count: usize) {
        let mut left = count as u64;
        while left > 0
            && let Some(item) = self.owed.front()
        {
            let now = left.min(item.len() - self.sent);
            left -= now;
            self.sent += now;
            match item {
                Item::Text(_) => self.owed_text -= now as usize,
                Item::Log(_) => self.owed_log -= now,
            }
            if self.sent == item.len() {
                self.owed.pop_front();
                self.sent = 0;
            }
        }
    }
}

/// All masters of one server.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Desk {
    limits: Limits,
    /// By slot; a slot that the mesh holds is empty here.
    masters: Vec<Option<Master>>,
    count: usize,
    /// How many have a place: at most `limits.masters`.
    placed: usize,
    /// How many wait for a place: at most `limits.masters`.
    candidates: usize,
    watchers: usize,
    /// Masters that are not read from, and some that were not until a moment ago.
    pub(crate) waiting: Vec<Conn>,
}

impl Desk {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            masters: Vec::new(),
            count: 0,
            placed: 0,
            candidates: 0,
            watchers: 0,
            waiting: Vec::new(),
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) const fn slots(&self) -> usize {
        self.masters.len()
    }

    pub(crate) fn at(&self, slot: usize) -> Option<&Master> {
        self.masters.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, conn: Conn) -> Option<&mut Master> {
        self.masters.get_mut(conn.slot())?.as_mut()
    }

    /// How many bytes are owed to all masters.
    pub(crate) fn owed(&self) -> u64 {
        self.masters.iter().flatten().map(Master::owed_bytes).sum()
    }

    /// Takes in a master that was accepted. It has no place yet.
    pub(crate) fn handle_accepted(&mut self, turn: &mut Turn, remote: Remote) -> Conn {
        let conn = turn.slots.take(Owner::Desk);
        let now = turn.now;
        turn.gate(Owner::Desk).admit(now, conn, remote.source);
        if self.masters.len() <= conn.slot() {
            self.masters.resize_with(conn.slot() + 1, || None);
        }
        self.masters[conn.slot()] = Some(Master {
            conn,
            source: remote.source,
            framer: Framer::new(command::longest(self.limits.text)),
            skipping: false,
            placed: false,
            place_by: None,
            dismissed: None,
            busy: turn.now,
            watching: false,
            owed: VecDeque::new(),
            sent: 0,
            owed_text: 0,
            owed_log: 0,
            paused: false,
            congesting: false,
            held: Vec::new(),
            finished: false,
            sending: false,
        });
        self.count += 1;
        conn
    }

    /// Gives a master that said something valid a place. If all are taken, it waits until one is
    /// free or [`PLACE`] has passed. False if it has none.
    pub(crate) fn place(&mut self, turn: &mut Turn, conn: Conn) -> bool {
        let now = turn.now;
        if let Some(master) = self.get_mut(conn).filter(|master| master.placed) {
            master.busy = now;
            return true;
        }
        let (free, crowded) = (self.has_place(), self.candidates >= self.limits.masters);
        let Some(master) = self.get_mut(conn) else {
            return false;
        };
        if free {
            self.give_place(turn, conn);
            return true;
        }
        if master.waits_for_place() {
            return false;
        }
        if crowded {
            self.refuse_place(turn, conn);
            return false;
        }
        master.place_by = Some(now + PLACE);
        self.candidates += 1;
        turn.gate(Owner::Desk).wait(conn);
        // Who seems idle is judged by a timeout: what it sent may wait in a socket.
        let judges_now = self.idlest(now).is_some();
        let at = if judges_now { now } else { now + PLACE };
        turn.timers.by(Timer::Place, at);
        self.pause(turn, conn);
        false
    }

    const fn has_place(&self) -> bool {
        self.placed < self.limits.masters
    }

    fn give_place(&mut self, turn: &mut Turn, conn: Conn) {
        let Some(master) = self.get_mut(conn) else {
            return;
        };
        master.placed = true;
        master.busy = turn.now;
        let waited = master.place_by.take().is_some();
        self.candidates -= usize::from(waited);
        self.placed += 1;
        turn.gate(Owner::Desk).remove(conn, false);
    }

    fn refuse_place(&mut self, turn: &mut Turn, conn: Conn) {
        let line = format!(
            "error all {} places for masters are taken: try again later\n",
            self.limits.masters
        );
        self.dismiss(turn, conn, Why::Full, line.as_bytes());
    }

    /// Of the masters that were idle for [`IDLE`], the idlest of the source that has most places.
    /// One that watches is never idle.
    fn idlest(&self, now: Time) -> Option<Conn> {
        let placed = || self.masters.iter().flatten().filter(|m| m.placed);
        let places = |source| placed().filter(|m| m.source == source).count();
        placed()
            .filter(|m| !m.watching && m.owed.is_empty() && !m.paused && m.busy + IDLE <= now)
            .min_by_key(|m| (core::cmp::Reverse(places(m.source)), m.busy, m.conn.slot()))
            .map(|m| m.conn)
    }

    /// Tells a master why it has to go; it is closed once it took that.
    fn dismiss(&mut self, turn: &mut Turn, conn: Conn, why: Why, line: &[u8]) {
        self.owe(turn, conn, line);
        self.pause(turn, conn);
        let (now, by) = (turn.now, turn.now + PLACE);
        turn.gate(Owner::Desk).refuse(now, conn);
        let Some(master) = self.get_mut(conn) else {
            return;
        };
        master.dismissed = Some((why, by));
        master.held = Vec::new();
        let (placed, waited) = (master.placed, master.place_by.take().is_some());
        master.placed = false;
        self.placed -= usize::from(placed);
        self.candidates -= usize::from(waited);
        turn.timers.by(Timer::Place, by);
    }

    /// Ends what was dismissed and did not take the reason in time. Then gives the places of idle
    /// masters to those that wait, in the order in which they came, and refuses who has waited for
    /// too long. To be called once a driver has handed over all that had arrived.
    pub(crate) fn handle_place_timeout(&mut self, turn: &mut Turn) {
        let now = turn.now;
        let late = |m: &Master| m.dismissed.filter(|&(_, by)| by <= now);
        let late: Vec<_> = (self.masters.iter().flatten())
            .filter_map(|m| late(m).map(|(why, _)| (m.conn, why)))
            .collect();
        for (conn, why) in late {
            self.end(turn, conn, why, false);
        }
        for at in 0..self.waiting.len() {
            let conn = self.waiting[at];
            let master = self.at(conn.slot()).filter(|m| m.conn == conn);
            let Some(by) = master.and_then(|m| m.place_by) else {
                continue;
            };
            if !self.has_place()
                && let Some(idlest) = self.idlest(now)
            {
                let line =
                    format!("error idle for {IDLE} or more: the place went to another client\n");
                self.dismiss(turn, idlest, Why::Idle, line.as_bytes());
            }
            if self.has_place() {
                self.give_place(turn, conn);
            } else if by <= now {
                self.refuse_place(turn, conn);
            }
        }
        let next = |m: &Master| m.dismissed.map(|(_, by)| by).or(m.place_by);
        let next = self.masters.iter().flatten().filter_map(next).min();
        turn.timers.set(Timer::Place, next);
    }

    pub(crate) fn end(&mut self, turn: &mut Turn, conn: Conn, why: Why, gone: bool) {
        let Some(master) = self.masters[conn.slot()].take() else {
            return;
        };
        self.count -= 1;
        self.placed -= usize::from(master.placed);
        self.candidates -= usize::from(master.waits_for_place());
        self.watchers -= usize::from(master.watching);
        turn.end(conn, why, gone);
        turn.tell(News::Closed { conn, why });
    }

    /// Reads from nobody any more, and gives no more places: the server ends.
    pub(crate) fn retire(&mut self, turn: &mut Turn) {
        for slot in 0..self.masters.len() {
            if let Some(master) = self.masters[slot].as_mut() {
                let waited = master.place_by.take().is_some();
                self.candidates -= usize::from(waited);
                let conn = master.conn;
                self.pause(turn, conn);
            }
        }
    }

    /// Tells the driver not to read from it.
    pub(crate) fn pause(&mut self, turn: &mut Turn, conn: Conn) {
        if let Some(master) = self.get_mut(conn)
            && !master.paused
        {
            master.paused = true;
            self.waiting.push(conn);
            turn.act(Action::Pause(conn));
        }
    }

    /// Tells the driver to read from it again.
    pub(crate) fn resume(&mut self, turn: &mut Turn, conn: Conn) {
        if let Some(master) = self.get_mut(conn)
            && master.paused
        {
            master.paused = false;
            turn.act(Action::Resume(conn));
        }
    }

    /// Forgets those that are read from again, or gone.
    pub(crate) fn forget_resumed(&mut self) {
        let masters = &self.masters;
        self.waiting.retain(|conn| {
            let master = masters.get(conn.slot()).and_then(Option::as_ref);
            master.is_some_and(|m| m.conn == *conn && m.paused)
        });
    }

    /// A master said something, be it part of a line.
    pub(crate) fn hear(&mut self, turn: &mut Turn, conn: Conn) {
        let now = turn.now;
        if let Some(master) = self.get_mut(conn) {
            master.busy = now;
            if !master.placed {
                turn.gate(Owner::Desk).hear(now, conn);
            }
        }
    }

    /// What may be owed to a master before it is not read from. There may be many more newcomers
    /// than places, and nothing is owed to one but errors.
    fn replies(&self, master: &Master) -> u64 {
        let most = match master.placed {
            true => self.limits.replies,
            false => self.limits.replies.min(NEWCOMER_REPLIES),
        };
        most as u64
    }

    /// Whether it owes so much reading that nothing more is done for it.
    pub(crate) fn stuffed(&self, conn: Conn) -> bool {
        let master = self.at(conn.slot());
        master.is_some_and(|m| m.owed() > self.replies(m))
    }

    /// Whether it has read so much of what it was owed that more is done for it.
    pub(crate) fn has_read(&self, conn: Conn) -> bool {
        let master = self.at(conn.slot());
        master.is_some_and(|m| m.owed() <= self.replies(m) / 2)
    }

    /// Whether any master watches.
    pub(crate) const fn watched(&self) -> bool {
        self.watchers != 0
    }

    pub(crate) fn watch(&mut self, conn: Conn) {
        if let Some(master) = self.get_mut(conn)
            && !master.watching
        {
            master.watching = true;
            self.watchers += 1;
        }
    }

    /// Owes `text` to a master.
    pub(crate) fn owe(&mut self, turn: &mut Turn, conn: Conn, text: &[u8]) {
        if let Some(master) = self.get_mut(conn) {
            if let Some(Item::Text(last)) = master.owed.back_mut()
                && last.len() < PIECE
            {
                last.extend_from_slice(text);
            } else {
                master.owed.push_back(Item::Text(text.to_vec()));
            }
            master.owed_text += text.len();
            Self::send(turn, master);
        }
    }

    /// Owes the whole present log to a master.
    pub(crate) fn owe_log(&mut self, turn: &mut Turn, conn: Conn, log: &Log) {
        if let Some(master) = self.get_mut(conn)
            && log.len() > 0
        {
            master.owed.push_back(Item::Log(log.len()));
            master.owed_log += log.len();
            Self::send(turn, master);
        }
    }

    fn send(turn: &mut Turn, master: &mut Master) {
        master.busy = turn.now;
        if !master.sending {
            master.sending = true;
            turn.act(Action::Send(master.conn));
        }
    }

    /// Tells every master that watches; the line is given in pieces. One that does not keep up
    /// is dropped.
    pub(crate) fn tell(&mut self, turn: &mut Turn, line: &[&[u8]]) {
        for slot in 0..self.masters.len() {
            let Some(master) = self.masters[slot].as_ref().filter(|m| m.watching) else {
                continue;
            };
            let conn = master.conn;
            let length: usize = line.iter().map(|piece| piece.len()).sum();
            // One text never drops a master that had taken all before it: Config::check sees to it.
            if master.owed_text + length > self.limits.watch {
                self.end(turn, conn, Why::FellBehind, false);
                continue;
            }
            for piece in line {
                self.owe(turn, conn, piece);
            }
        }
    }

    pub(crate) fn pending<'a>(&'a self, conn: Conn, skip: usize, log: &'a Log) -> &'a [u8] {
        self.at(conn.slot()).map_or(&[], |m| m.pending(skip, log))
    }

    pub(crate) fn handle_sent(
        &mut self,
        turn: &mut Turn,
        conn: Conn,
        count: usize,
    ) -> Result<(), Misuse> {
        let master = self.get_mut(conn).ok_or(Misuse::Stale)?;
        if count as u64 > master.owed_bytes() {
            return Err(Misuse::TooMuch);
        }
        if count == 0 {
            return Ok(());
        }
        master.took(count);
        master.busy = turn.now;
        if master.owed.is_empty() {
            master.sending = false;
            if let Some((why, _)) = master.dismissed {
                self.end(turn, conn, why, false);
            } else if master.finished && master.held.is_empty() {
                self.end(turn, conn, Why::Finished, false);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn short_replies_go_out_together_and_a_piece_at_its_size_grows_no_more() {
        let (mut desk, mut turn) = (Desk::new(&Limits::default()), Turn::new(&Config::new(0, 1)));
        let log = Log::default();
        let conn = desk.handle_accepted(&mut turn, Remote::default());
        desk.owe(&mut turn, conn, b"one\n");
        desk.owe(&mut turn, conn, &[b'x'; PIECE - 5]);
        desk.owe(&mut turn, conn, b"\n");
        assert_eq!(desk.pending(conn, 0, &log).len(), PIECE);
        desk.owe(&mut turn, conn, b"two\n");
        assert_eq!(desk.pending(conn, 0, &log).len(), PIECE);
        desk.handle_sent(&mut turn, conn, PIECE)
            .expect("it was pending");
        assert_eq!(desk.pending(conn, 0, &log), b"two\n");
    }

    #[test]
    fn a_master_that_is_always_a_little_behind_costs_what_it_is_owed() {
        let (mut desk, mut turn) = (Desk::new(&Limits::default()), Turn::new(&Config::new(0, 1)));
        let log = Log::default();
        let conn = desk.handle_accepted(&mut turn, Remote::default());
        for _ in 0..1000 {
            desk.owe(&mut turn, conn, &[b'x'; 4000]);
            while desk.at(conn.slot()).expect("it is there").owed() > 6000 {
                let count = desk.pending(conn, 0, &log).len().min(1000);
                desk.handle_sent(&mut turn, conn, count)
                    .expect("it was pending");
            }
        }
        let master = desk.at(conn.slot()).expect("it is there");
        let capacity = |item: &Item| match item {
            Item::Text(text) => text.capacity(),
            Item::Log(_) => 0,
        };
        let held: usize = master.owed.iter().map(capacity).sum();
        assert!(held <= 4 * PIECE, "{held} bytes are held for 6000");
    }
}
