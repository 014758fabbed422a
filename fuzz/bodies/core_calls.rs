//! Any calls in any order to one server, right and wrong: no panic, it keeps its side of the
//! contract, and no limit is ever exceeded.

use chatroom_chat::*;
use chatroom_machine::*;
use std::collections::BTreeSet;

const LINES: [&[u8]; 26] = [
    b"ping 0\n",
    b"ping 1\n",
    b"ping 2\n",
    b"ping 3\n",
    b"msg 0 a\n",
    b"msg 2 bcd\n",
    b"msg 3 efghijklmnop\n",
    b"msg 2 qrstuvwxyzabcdefg\n",
    b"pong\n",
    b"msg 2",
    b" x\nping ",
    b"3\n\xff\n",
    b"get\n",
    b"alive\nalive\nalive\nalive\nalive\nalive\nalive\n",
    b"broadcast abc\n",
    b"broadcast 0123456789abcdef\nget\n",
    b"watch\n",
    b"crash\n",
    b"broadcast",
    b" 1\nbroadcast 2\nbroadcast 3\nbroadcast 4\nget\n",
    b"ping 2\nhello msg 1 4 9 resume\n",
    b"ping 3\nhello msg 1 4 9 resume=7.1.9\n",
    b"hello msg 1 5 9 resume\n",
    b"from 0 0\n",
    b"from 5 40\n",
    b"ack 9\n",
];

struct Caller<'a> {
    data: &'a [u8],
    server: Checked<ChatServer>,
    limits: Limits,
    now: Time,
    /// Every handle that was ever given out.
    known: BTreeSet<Conn>,
}

/// Bytes that a log may have.
const LOG: u64 = 300;

/// Takes `data` for a list of calls and makes them.
pub(crate) fn core_calls(data: &[u8]) {
    let mut config = Config::new(1, 4);
    config.incarnation = 7;
    config.limits = Limits {
        text: 16,
        nameless: 4,
        masters: 2,
        accepts: 40,
        high_water: 20,
        lag: 60,
        replies: 40,
        watch: 80,
    };
    config.protocol.log = LOG;
    let limits = config.limits.clone();
    let server = ChatServer::new(config).expect("a valid configuration");
    let checks = Checks::thorough().panicking().only(Side::Machine);
    let mut caller = Caller {
        data,
        server: Checked::new(server, checks),
        limits,
        now: Time::ZERO,
        known: BTreeSet::new(),
    };
    while !caller.data.is_empty() {
        caller.call();
        caller.check();
    }
    caller.drain();
    caller.check();
}

impl Caller<'_> {
    fn byte(&mut self) -> usize {
        match self.data.split_first() {
            Some((&byte, rest)) => {
                self.data = rest;
                usize::from(byte)
            }
            None => 0,
        }
    }

    /// Any handle that was ever given out, or one that never was.
    fn conn(&mut self) -> Conn {
        let which = self.byte();
        let known = self.known.len();
        match self.known.iter().nth(which % (known + 1)) {
            Some(&conn) => conn,
            None => Conn::new(which as u32 % 5, 1000),
        }
    }

    fn call(&mut self) {
        match self.byte() % 16 {
            0 => self.server.handle_start(self.now),
            1 | 2 => {
                let door = Door(self.byte() as u8 % 3);
                let remote = Remote::default();
                if let Ok(conn) = self.server.handle_accepted(self.now, door, remote) {
                    self.known.insert(conn);
                }
            }
            3 => {
                let door = Door(self.byte() as u8 % 3);
                if door == LINKS || door == MASTERS {
                    self.server.handle_starved(self.now, door);
                } else {
                    // It has no such door, and cannot shut it.
                    self.server.unchecked().handle_starved(self.now, door);
                }
            }
            4 => {
                let conn = self.conn();
                let failed = self.byte().is_multiple_of(4);
                let outcome = match failed {
                    true => Dialled::Failed,
                    false => Dialled::Connected,
                };
                let _ = self.server.handle_dialled(self.now, conn, outcome);
            }
            5..=8 => {
                let conn = self.conn();
                let which = self.byte();
                let (bytes, rest) = match LINES.get(which % 32) {
                    Some(&line) => (line, self.data),
                    None => self.data.split_at(self.data.len().min(which % 64)),
                };
                self.data = rest;
                let _ = self.server.handle_bytes(self.now, conn, bytes);
            }
            9 | 10 => {
                let conn = self.conn();
                let first = self.server.pending(conn, 0).len();
                let owed = pieces(&self.server, conn, usize::MAX);
                let owed: usize = owed.map(<[u8]>::len).sum();
                let count = match self.byte() {
                    few @ 0..128 => owed.min(few),
                    // All of the first piece, and a little of what follows.
                    some @ 128..192 => owed.min(first + some % 3),
                    some => owed + some % 3,
                };
                let _ = self.server.handle_sent(self.now, conn, count);
            }
            11 => {
                let conn = self.conn();
                let loss = match self.byte() % 2 {
                    0 => Loss::Finished,
                    _ => Loss::Broken,
                };
                let _ = self.server.handle_lost(self.now, conn, loss);
            }
            12 => {
                self.server.handle_timeout(self.now);
                self.drain();
                // A repeated timeout does nothing.
                self.server.handle_timeout(self.now);
                self.drain();
            }
            13 => {
                let ms = self.byte() as u64;
                self.now = self.now + Span::from_millis(ms * ms / 40);
            }
            14 => {
                // Seldom, for little comes after it.
                if self.byte() > 240 {
                    self.server.handle_shutdown(self.now);
                }
            }
            // A driver that drains late: the next call finds what is left.
            _ => return,
        }
        if self.byte() > 32 {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut actions = 0;
        while let Some(action) = self.server.poll() {
            actions += 1;
            assert!(actions < 1000, "actions without end");
            match action {
                Action::Dial { conn, to } => {
                    assert!(to.0 < 1, "only ids below are dialled");
                    self.known.insert(conn);
                }
                Action::Shut(door) | Action::Open(door) => assert!(door.0 < 2),
                Action::Store(_) | Action::Discard { .. } => panic!("a chat has no volumes"),
                Action::Send(_)
                | Action::Pause(_)
                | Action::Resume(_)
                | Action::Close(_)
                | Action::Notice(_)
                | Action::Halt(_) => {}
            }
        }
    }

    fn check(&self) {
        const BLOCK: u64 = 64 << 10;
        let (g, l) = (self.server.gauges(), &self.limits);
        let log = self.server.protocol();
        // With a place, without one, and idle ones on their way out.
        let masters = l.nameless + 2 * l.masters;
        assert!(g.peers <= 3 && g.nameless <= l.nameless && g.masters <= masters);
        assert!(log.bytes() <= LOG && log.bytes() == log.log().len() as u64);
        assert!(g.lag_bytes <= l.lag as u64 + BLOCK);
        let reply = 200 + LOG;
        let owed = l.replies.max(l.watch) as u64 + reply;
        assert!(g.owed_bytes <= masters as u64 * owed);
        let alive = self.server.alive();
        assert!(alive.contains(&1) && alive.is_sorted() && alive.len() == g.peers + 1);
    }
}
