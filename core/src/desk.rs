//! Where the masters stand: one connection each, with the replies owed to it. Knows no grid; what
//! a command means is the server's business.

use crate::command;
use crate::config::Limits;
use crate::frame::Framer;
use crate::log::Log;
use crate::machine::{Action, Conn, Misuse};
use crate::news::{News, Why};
use crate::slots::Owner;
use crate::turn::Turn;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// From this size on a text grows no more: what was sent of one is freed only when all of it was.
const PIECE: usize = 64 << 10;

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
    /// Its place in the order in which masters came.
    number: u64,
    pub(crate) framer: Framer,
    /// Whether the rest of a line that was too long is being skipped.
    pub(crate) skipping: bool,
    /// Whether it ever gave a valid command.
    pub(crate) valid: bool,
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
    /// What was read but must wait: at most one piece that a driver read.
    pub(crate) held: Vec<u8>,
    /// Whether it will send no more.
    pub(crate) finished: bool,
    sending: bool,
}

impl Master {
    pub(crate) const fn owed(&self) -> u64 {
        self.owed_text as u64 + self.owed_log
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
    /// How many came so far.
    taken: u64,
    watchers: usize,
    /// Masters that are not read from.
    pub(crate) waiting: usize,
}

impl Desk {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            masters: Vec::new(),
            count: 0,
            taken: 0,
            watchers: 0,
            waiting: 0,
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

    pub(crate) fn owed(&self) -> u64 {
        self.masters.iter().flatten().map(Master::owed).sum()
    }

    /// Takes a master, at the cost of the oldest that never gave a valid command; if all did,
    /// takes none.
    pub(crate) fn handle_accepted(&mut self, turn: &mut Turn) -> Option<Conn> {
        if self.count >= self.limits.masters {
            let idle = self.masters.iter().flatten().filter(|m| !m.valid);
            let oldest = idle.min_by_key(|m| m.number)?.conn;
            self.end(turn, oldest, Why::Crowded, false);
        }
        let conn = turn.slots.take(Owner::Desk);
        self.taken += 1;
        if self.masters.len() <= conn.slot() {
            self.masters.resize_with(conn.slot() + 1, || None);
        }
        self.masters[conn.slot()] = Some(Master {
            conn,
            number: self.taken,
            framer: Framer::new(command::longest(self.limits.text)),
            skipping: false,
            valid: false,
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
        Some(conn)
    }

    pub(crate) fn end(&mut self, turn: &mut Turn, conn: Conn, why: Why, gone: bool) {
        let Some(master) = self.masters[conn.slot()].take() else {
            return;
        };
        self.count -= 1;
        self.watchers -= usize::from(master.watching);
        self.waiting -= usize::from(master.paused);
        turn.end(conn, why, gone);
        turn.tell(News::Closed { conn, why });
    }

    /// Tells the driver not to read from it.
    pub(crate) fn pause(&mut self, turn: &mut Turn, conn: Conn) {
        if let Some(master) = self.get_mut(conn)
            && !master.paused
        {
            master.paused = true;
            self.waiting += 1;
            turn.act(Action::Pause(conn));
        }
    }

    /// Tells the driver to read from it again.
    pub(crate) fn resume(&mut self, turn: &mut Turn, conn: Conn) {
        if let Some(master) = self.get_mut(conn)
            && master.paused
        {
            master.paused = false;
            self.waiting -= 1;
            turn.act(Action::Resume(conn));
        }
    }

    /// Whether it owes so much reading that nothing more is done for it.
    pub(crate) fn stuffed(&mut self, conn: Conn) -> bool {
        let limit = self.limits.replies as u64;
        self.get_mut(conn).is_some_and(|m| m.owed() > limit)
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
        if let Some(master) = self.get_mut(conn) {
            master.owed.push_back(Item::Log(log.len()));
            master.owed_log += log.len();
            Self::send(turn, master);
        }
    }

    fn send(turn: &mut Turn, master: &mut Master) {
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
        if count as u64 > master.owed() {
            return Err(Misuse::TooMuch);
        }
        if count == 0 {
            return Ok(());
        }
        master.took(count);
        if master.owed.is_empty() {
            master.sending = false;
            if master.finished && master.held.is_empty() {
                self.end(turn, conn, Why::Finished, false);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_replies_go_out_together_and_a_piece_at_its_size_grows_no_more() {
        let (mut desk, mut turn) = (Desk::new(&Limits::default()), Turn::default());
        let log = Log::default();
        let conn = desk.handle_accepted(&mut turn).expect("there is room");
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
        let (mut desk, mut turn) = (Desk::new(&Limits::default()), Turn::default());
        let log = Log::default();
        let conn = desk.handle_accepted(&mut turn).expect("there is room");
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
