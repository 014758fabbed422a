//! The clients: one connection each, with the replies owed to it. Knows no grid; what a command
//! means is the protocol's business.

use crate::config::{IDLE, Limits, PLACE};
use crate::frame::Framer;
use crate::news::{News, Why};
use crate::outputs::Outputs;
use crate::slots::Owner;
use crate::timers::Timer;
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

/// Something owed to a client.
#[derive(Clone, Debug, Hash)]
enum Item {
    Text(Vec<u8>),
    /// A range of the protocol's own store, never copied.
    Shared {
        from: u64,
        to: u64,
    },
}

impl Item {
    fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Shared { from, to } => to - from,
        }
    }
}

/// One connection of a client.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Client {
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
    owed_shared: u64,
    /// Whether the driver was told not to read.
    pub(crate) paused: bool,
    /// Whether it waits for slow peers.
    pub(crate) congesting: bool,
    /// What was read but must wait: at most a line and one piece that a driver read.
    pub(crate) unprocessed: Vec<u8>,
    /// Whether it will send no more.
    pub(crate) finished: bool,
    sending: bool,
}

impl Client {
    /// What it costs to keep what is owed to it, or to read it from the log.
    pub(crate) fn owed(&self) -> u64 {
        self.owed_bytes() + (self.owed.len() * OVERHEAD) as u64
    }

    /// How many bytes are owed to it.
    const fn owed_bytes(&self) -> u64 {
        self.owed_text as u64 + self.owed_shared
    }

    /// Whether it waits for a place.
    pub(crate) const fn waits_for_place(&self) -> bool {
        self.place_by.is_some()
    }

    /// Whether it is on its way out and nothing more of it counts.
    pub(crate) const fn is_dismissed(&self) -> bool {
        self.dismissed.is_some()
    }

    fn pending<'a>(&'a self, skip: usize, shared: impl FnOnce(u64, u64) -> &'a [u8]) -> &'a [u8] {
        let mut skip = self.sent + skip as u64;
        for item in &self.owed {
            let length = item.len();
            if skip < length {
                return match item {
                    Item::Text(text) => &text[skip as usize..],
                    Item::Shared { from, to } => shared(from + skip, *to),
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
                Item::Shared { .. } => self.owed_shared -= now,
            }
            if self.sent == item.len() {
                self.owed.pop_front();
                self.sent = 0;
            }
        }
    }
}

/// All clients of one server.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Clients {
    limits: Limits,
    /// Bytes of the longest line.
    longest: usize,
    /// By slot; a slot that the mesh has is empty here.
    clients: Vec<Option<Client>>,
    count: usize,
    /// How many have a place: at most `limits.masters`.
    placed: usize,
    /// How many wait for a place: at most `limits.masters`.
    candidates: usize,
    watchers: usize,
    /// Clients that are not read from, and some that were not until a moment ago.
    pub(crate) waiting: Vec<Conn>,
}

impl Clients {
    pub(crate) fn new(limits: &Limits, longest: usize) -> Self {
        Self {
            limits: limits.clone(),
            longest,
            clients: Vec::new(),
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

    /// Bytes of the longest line.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    pub(crate) const fn slots(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn at(&self, slot: usize) -> Option<&Client> {
        self.clients.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, conn: Conn) -> Option<&mut Client> {
        self.clients.get_mut(conn.slot())?.as_mut()
    }

    /// How many bytes are owed to all clients.
    pub(crate) fn owed(&self) -> u64 {
        self.clients.iter().flatten().map(Client::owed_bytes).sum()
    }

    /// Takes in a client that was accepted. It has no place yet.
    pub(crate) fn handle_accepted<E>(&mut self, out: &mut Outputs<E>, remote: Remote) -> Conn {
        let conn = out.slots.take(Owner::Clients);
        let now = out.now;
        out.gate(Owner::Clients).admit(now, conn, remote.source);
        if self.clients.len() <= conn.slot() {
            self.clients.resize_with(conn.slot() + 1, || None);
        }
        self.clients[conn.slot()] = Some(Client {
            conn,
            source: remote.source,
            framer: Framer::new(self.longest),
            skipping: false,
            placed: false,
            place_by: None,
            dismissed: None,
            busy: out.now,
            watching: false,
            owed: VecDeque::new(),
            sent: 0,
            owed_text: 0,
            owed_shared: 0,
            paused: false,
            congesting: false,
            unprocessed: Vec::new(),
            finished: false,
            sending: false,
        });
        self.count += 1;
        conn
    }

    /// Gives a client that said something valid a place. If all are taken, it waits until one is
    /// free or [`PLACE`] has passed. False if it has none.
    pub(crate) fn place<E>(&mut self, out: &mut Outputs<E>, conn: Conn) -> bool {
        let now = out.now;
        if let Some(client) = self.get_mut(conn).filter(|client| client.placed) {
            client.busy = now;
            return true;
        }
        let (free, crowded) = (self.has_place(), self.candidates >= self.limits.masters);
        let Some(client) = self.get_mut(conn) else {
            return false;
        };
        if free {
            self.give_place(out, conn);
            return true;
        }
        if client.waits_for_place() {
            return false;
        }
        if crowded {
            self.refuse_place(out, conn);
            return false;
        }
        client.place_by = Some(now + PLACE);
        self.candidates += 1;
        out.gate(Owner::Clients).wait(conn);
        // Who seems idle is judged by a timeout: what it sent may wait in a socket.
        let judges_now = self.idlest(now).is_some();
        let at = if judges_now { now } else { now + PLACE };
        out.timers.by(Timer::Place, at);
        self.pause(out, conn);
        false
    }

    const fn has_place(&self) -> bool {
        self.placed < self.limits.masters
    }

    fn give_place<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        let Some(client) = self.get_mut(conn) else {
            return;
        };
        client.placed = true;
        client.busy = out.now;
        let waited = client.place_by.take().is_some();
        self.candidates -= usize::from(waited);
        self.placed += 1;
        out.gate(Owner::Clients).remove(conn, false);
    }

    fn refuse_place<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        let line = format!(
            "error all {} places for masters are taken: try again later\n",
            self.limits.masters
        );
        self.dismiss(out, conn, Why::Full, line.as_bytes());
    }

    /// Of the clients that were idle for [`IDLE`], the idlest of the source that has most places.
    /// One that watches is never idle.
    fn idlest(&self, now: Time) -> Option<Conn> {
        let placed = || self.clients.iter().flatten().filter(|m| m.placed);
        let places = |source| placed().filter(|m| m.source == source).count();
        placed()
            .filter(|m| !m.watching && m.owed.is_empty() && !m.paused && m.busy + IDLE <= now)
            .min_by_key(|m| (core::cmp::Reverse(places(m.source)), m.busy, m.conn.slot()))
            .map(|m| m.conn)
    }

    /// Tells a client why it has to go; it is closed once it took that.
    fn dismiss<E>(&mut self, out: &mut Outputs<E>, conn: Conn, why: Why, line: &[u8]) {
        self.owe(out, conn, line);
        self.pause(out, conn);
        let (now, by) = (out.now, out.now + PLACE);
        out.gate(Owner::Clients).refuse(now, conn);
        let Some(client) = self.get_mut(conn) else {
            return;
        };
        client.dismissed = Some((why, by));
        client.unprocessed = Vec::new();
        let (placed, waited) = (client.placed, client.place_by.take().is_some());
        client.placed = false;
        self.placed -= usize::from(placed);
        self.candidates -= usize::from(waited);
        out.timers.by(Timer::Place, by);
    }

    /// Ends what was dismissed and did not take the reason in time. Then gives the places of idle
    /// clients to those that wait, in the order in which they came, and refuses who has waited for
    /// too long. To be called once a driver has handed over all that had arrived.
    pub(crate) fn handle_place_timeout<E>(&mut self, out: &mut Outputs<E>) {
        let now = out.now;
        let late = |m: &Client| m.dismissed.filter(|&(_, by)| by <= now);
        let late: Vec<_> = (self.clients.iter().flatten())
            .filter_map(|m| late(m).map(|(why, _)| (m.conn, why)))
            .collect();
        for (conn, why) in late {
            self.end(out, conn, why, false);
        }
        for at in 0..self.waiting.len() {
            let conn = self.waiting[at];
            let client = self.at(conn.slot()).filter(|m| m.conn == conn);
            let Some(by) = client.and_then(|m| m.place_by) else {
                continue;
            };
            if !self.has_place()
                && let Some(idlest) = self.idlest(now)
            {
                let line =
                    format!("error idle for {IDLE} or more: the place went to another client\n");
                self.dismiss(out, idlest, Why::Idle, line.as_bytes());
            }
            if self.has_place() {
                self.give_place(out, conn);
            } else if by <= now {
                self.refuse_place(out, conn);
            }
        }
        let next = |m: &Client| m.dismissed.map(|(_, by)| by).or(m.place_by);
        let next = self.clients.iter().flatten().filter_map(next).min();
        out.timers.set(Timer::Place, next);
    }

    pub(crate) fn end<E>(&mut self, out: &mut Outputs<E>, conn: Conn, why: Why, gone: bool) {
        let Some(client) = self.clients[conn.slot()].take() else {
            return;
        };
        self.count -= 1;
        self.placed -= usize::from(client.placed);
        self.candidates -= usize::from(client.waits_for_place());
        self.watchers -= usize::from(client.watching);
        out.end(conn, why, gone);
        out.emit(News::Closed { conn, why });
    }

    /// Reads from nobody any more, and gives no more places: the server ends.
    pub(crate) fn retire<E>(&mut self, out: &mut Outputs<E>) {
        for slot in 0..self.clients.len() {
            if let Some(client) = self.clients[slot].as_mut() {
                let waited = client.place_by.take().is_some();
                self.candidates -= usize::from(waited);
                let conn = client.conn;
                self.pause(out, conn);
            }
        }
    }

    /// Tells the driver not to read from it.
    pub(crate) fn pause<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        if let Some(client) = self.get_mut(conn)
            && !client.paused
        {
            client.paused = true;
            self.waiting.push(conn);
            out.push(Action::Pause(conn));
        }
    }

    /// Tells the driver to read from it again.
    pub(crate) fn resume<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        if let Some(client) = self.get_mut(conn)
            && client.paused
        {
            client.paused = false;
            out.push(Action::Resume(conn));
        }
    }

    /// Forgets those that are read from again, or gone.
    pub(crate) fn forget_resumed(&mut self) {
        let clients = &self.clients;
        self.waiting.retain(|conn| {
            let client = clients.get(conn.slot()).and_then(Option::as_ref);
            client.is_some_and(|m| m.conn == *conn && m.paused)
        });
    }

    /// A client said something, be it part of a line.
    pub(crate) fn hear<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        let now = out.now;
        if let Some(client) = self.get_mut(conn) {
            client.busy = now;
            if !client.placed {
                out.gate(Owner::Clients).hear(now, conn);
            }
        }
    }

    /// What may be owed to a client before it is not read from. There may be many more newcomers
    /// than places, and nothing is owed to one but errors.
    fn replies(&self, client: &Client) -> u64 {
        let most = match client.placed {
            true => self.limits.replies,
            false => self.limits.replies.min(NEWCOMER_REPLIES),
        };
        most as u64
    }

    /// Whether it owes so much reading that nothing more is done for it.
    pub(crate) fn backpressured(&self, conn: Conn) -> bool {
        let client = self.at(conn.slot());
        client.is_some_and(|m| m.owed() > self.replies(m))
    }

    /// Whether it has read so much of what it was owed that more is done for it.
    pub(crate) fn has_read(&self, conn: Conn) -> bool {
        let client = self.at(conn.slot());
        client.is_some_and(|m| m.owed() <= self.replies(m) / 2)
    }

    /// Whether any client watches.
    pub(crate) const fn watched(&self) -> bool {
        self.watchers != 0
    }

    pub(crate) fn watch(&mut self, conn: Conn) {
        if let Some(client) = self.get_mut(conn)
            && !client.watching
        {
            client.watching = true;
            self.watchers += 1;
        }
    }

    /// Owes `text` to a client.
    pub(crate) fn owe<E>(&mut self, out: &mut Outputs<E>, conn: Conn, text: &[u8]) {
        if let Some(client) = self.get_mut(conn) {
            if let Some(Item::Text(last)) = client.owed.back_mut()
                && last.len() < PIECE
            {
                last.extend_from_slice(text);
            } else {
                client.owed.push_back(Item::Text(text.to_vec()));
            }
            client.owed_text += text.len();
            Self::send(out, client);
        }
    }

    /// Owes a range of the protocol's own store to a client.
    pub(crate) fn owe_shared<E>(&mut self, out: &mut Outputs<E>, conn: Conn, from: u64, to: u64) {
        if let Some(client) = self.get_mut(conn)
            && from < to
        {
            client.owed.push_back(Item::Shared { from, to });
            client.owed_shared += to - from;
            Self::send(out, client);
        }
    }

    fn send<E>(out: &mut Outputs<E>, client: &mut Client) {
        client.busy = out.now;
        if !client.sending {
            client.sending = true;
            out.push(Action::Send(client.conn));
        }
    }

    /// Answers a client with what was wrong.
    pub(crate) fn refuse<E>(&mut self, out: &mut Outputs<E>, conn: Conn, reason: &str) {
        out.counters.errors += 1;
        self.owe(out, conn, format!("error {reason}\n").as_bytes());
    }

    /// Sends `bytes` to every client.
    pub(crate) fn announce<E>(&mut self, out: &mut Outputs<E>, bytes: &[u8]) {
        self.send_to_each(out, &[bytes], |client| !client.is_dismissed());
    }

    /// Sends a line to every client that watches.
    pub(crate) fn publish<E>(&mut self, out: &mut Outputs<E>, line: &[&[u8]]) {
        self.send_to_each(out, line, |client| client.watching);
    }

    /// Sends a line, given in pieces, to every client of a kind. One that does not keep up is
    /// dropped.
    fn send_to_each<E>(
        &mut self,
        out: &mut Outputs<E>,
        line: &[&[u8]],
        is_meant: impl Fn(&Client) -> bool,
    ) {
        for slot in 0..self.clients.len() {
            let Some(client) = self.clients[slot].as_ref().filter(|m| is_meant(m)) else {
                continue;
            };
            let conn = client.conn;
            let length: usize = line.iter().map(|piece| piece.len()).sum();
            // One text never drops a client that had taken all before it: Config::check sees to it.
            if client.owed_text + length > self.limits.watch {
                self.end(out, conn, Why::FellBehind, false);
                continue;
            }
            for piece in line {
                self.owe(out, conn, piece);
            }
        }
    }

    pub(crate) fn pending<'a>(
        &'a self,
        conn: Conn,
        skip: usize,
        shared: impl FnOnce(u64, u64) -> &'a [u8],
    ) -> &'a [u8] {
        self.at(conn.slot())
            .map_or(&[], |client| client.pending(skip, shared))
    }

    pub(crate) fn handle_sent<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        count: usize,
    ) -> Result<(), Misuse> {
        let client = self.get_mut(conn).ok_or(Misuse::Stale)?;
        if count as u64 > client.owed_bytes() {
            return Err(Misuse::TooMuch);
        }
        if count == 0 {
            return Ok(());
        }
        client.took(count);
        client.busy = out.now;
        if client.owed.is_empty() {
            client.sending = false;
            if let Some((why, _)) = client.dismissed {
                self.end(out, conn, why, false);
            } else if client.finished && client.unprocessed.is_empty() {
                self.end(out, conn, Why::Finished, false);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn new() -> (Clients, Outputs<()>) {
        let config = Config::<()>::new(0, 1);
        (Clients::new(&config.limits, 100), Outputs::new(&config))
    }

    fn none<'a>(_: u64, _: u64) -> &'a [u8] {
        &[]
    }

    #[test]
    fn short_replies_go_out_together_and_a_piece_at_its_size_grows_no_more() {
        let (mut clients, mut out) = new();
        let conn = clients.handle_accepted(&mut out, Remote::default());
        clients.owe(&mut out, conn, b"one\n");
        clients.owe(&mut out, conn, &[b'x'; PIECE - 5]);
        clients.owe(&mut out, conn, b"\n");
        assert_eq!(clients.pending(conn, 0, none).len(), PIECE);
        clients.owe(&mut out, conn, b"two\n");
        assert_eq!(clients.pending(conn, 0, none).len(), PIECE);
        clients
            .handle_sent(&mut out, conn, PIECE)
            .expect("it was pending");
        assert_eq!(clients.pending(conn, 0, none), b"two\n");
    }

    #[test]
    fn a_master_that_is_always_a_little_behind_costs_what_it_is_owed() {
        let (mut clients, mut out) = new();
        let conn = clients.handle_accepted(&mut out, Remote::default());
        for _ in 0..1000 {
            clients.owe(&mut out, conn, &[b'x'; 4000]);
            while clients.at(conn.slot()).expect("it is there").owed() > 6000 {
                let count = clients.pending(conn, 0, none).len().min(1000);
                clients
                    .handle_sent(&mut out, conn, count)
                    .expect("it was pending");
            }
        }
        let client = clients.at(conn.slot()).expect("it is there");
        let capacity = |item: &Item| match item {
            Item::Text(text) => text.capacity(),
            Item::Shared { .. } => 0,
        };
        let held: usize = client.owed.iter().map(capacity).sum();
        assert!(held <= 4 * PIECE, "{held} bytes are held for 6000");
    }
}
