//! A toy protocol for tests of the simulator: each host dials those below it, sends a numbered
//! stream on every connection, and checks the one that comes in.

use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Level, Loss, Machine, Misuse, Notice, Place, Refused,
    Remote, Timeout,
};
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::{Birth, World};
use chatroom_sim::names::Host;
use std::collections::VecDeque;
use std::fmt;

/// The door for clients: what comes in there is echoed.
pub(crate) const ECHO: Door = Door(1);

/// How a toy goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// Not at all.
    None,
    /// It panics on the tenth byte.
    Panic,
    /// It wants its timeout again at once.
    Insist,
    /// It wants so much done at once.
    Asks(u32),
    /// It sends on a connection that it closed.
    Ghost,
    /// It calls bytes a misuse.
    Object,
    /// It calls the outcome of a dial a misuse.
    ObjectToDials,
    /// It calls it a misuse that its bytes were taken.
    ObjectToSent,
    /// It calls the end of a connection a misuse.
    ObjectToEnds,
    /// It gives out a handle twice.
    Twice,
    /// It gives out too large a handle.
    Large,
    /// It closes each connection at once.
    Shy,
    /// It wants no timeout.
    Timeless,
    /// It crashes after a second.
    Crash,
}

/// What a toy says: that a stream was not as it must be.
#[derive(Debug)]
pub(crate) struct Says(pub(crate) String);

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Notice for Says {
    fn level(&self) -> Level {
        Level::Warn
    }
}

/// One connection of a toy.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its handle.
    pub(crate) conn: Conn,
    dialling: Option<u32>,
    echo: bool,
    /// How many bytes came in.
    pub(crate) received: u64,
    /// How many bytes went into `owed`.
    pub(crate) written: u64,
    owed: Vec<u8>,
    finished: bool,
}

/// The toy.
#[derive(Debug)]
pub(crate) struct Toy {
    birth: Birth,
    quirk: Quirk,
    every: Span,
    size: u64,
    /// Its connections by slot.
    pub(crate) lines: Vec<Option<Line>>,
    generations: Vec<u32>,
    redial: Vec<u32>,
    tick: Time,
    actions: VecDeque<Action<Says>>,
    halted: bool,
}

/// The `index`-th byte of every stream.
fn byte(index: u64) -> u8 {
    (index % 251) as u8
}

impl Toy {
    fn take_slot(&mut self, dialling: Option<u32>, echo: bool) -> Conn {
        let slot = match self.lines.iter().position(Option::is_none) {
            Some(slot) if self.quirk != Quirk::Twice => slot,
            Some(_) | None => {
                self.lines.push(None);
                self.generations.push(0);
                self.lines.len() - 1
            }
        };
        let slot = if self.quirk == Quirk::Twice { 0 } else { slot };
        if self.quirk == Quirk::Large {
            return Conn::new(65_536, 0);
        }
        let conn = Conn::new(u32::try_from(slot).unwrap(), self.generations[slot]);
        self.generations[slot] += 1;
        self.lines[slot] = Some(Line {
            conn,
            dialling,
            echo,
            received: 0,
            written: 0,
            owed: Vec::new(),
            finished: false,
        });
        conn
    }

    fn dial(&mut self, place: u32) {
        let conn = self.take_slot(Some(place), false);
        self.actions.push_back(Action::Dial {
            conn,
            to: Place(place),
        });
    }

    fn line(&mut self, conn: Conn) -> Result<&mut Line, Misuse> {
        self.lines
            .get_mut(conn.slot())
            .and_then(Option::as_mut)
            .filter(|line| line.conn == conn)
            .ok_or(Misuse::Stale)
    }

    fn drop_line(&mut self, conn: Conn) {
        if let Some(line) = self.lines[conn.slot()].take()
            && let Some(place) = line.dialling
        {
            self.redial.push(place);
        }
    }

    fn shy_away(&mut self, conn: Conn) {
        if self.quirk == Quirk::Shy {
            self.drop_line(conn);
            self.actions.push_back(Action::Close(conn));
        }
    }

    fn owe(&mut self, conn: Conn, bytes: &[u8]) {
        let Ok(line) = self.line(conn) else { return };
        let idle = line.owed.is_empty();
        line.owed.extend_from_slice(bytes);
        line.written += bytes.len() as u64;
        if idle && !line.owed.is_empty() {
            self.actions.push_back(Action::Send(conn));
        }
    }
}

impl Machine for Toy {
    type Notice = Says;

    fn handle_start(&mut self, now: Time) {
        self.tick = now + self.every;
        for place in 0..u32::from(self.birth.host.0) {
            self.dial(place);
        }
    }

    fn handle_accepted(&mut self, _: Time, door: Door, _: Remote) -> Result<Conn, Refused> {
        if self.lines.len() >= 200 {
            return Err(Refused);
        }
        let conn = self.take_slot(None, door == ECHO);
        self.shy_away(conn);
        Ok(conn)
    }

    fn handle_starved(&mut self, _: Time, door: Door) {
        self.actions.push_back(Action::Shut(door));
        self.actions
            .push_back(Action::Notice(Says("starved".into())));
    }

    fn handle_dialled(&mut self, _: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.line(conn)?;
        if self.quirk == Quirk::ObjectToDials {
            return Err(Misuse::WrongState);
        }
        match outcome {
            Dialled::Connected => self.shy_away(conn),
            Dialled::Failed => self.drop_line(conn),
        }
        Ok(())
    }

    fn handle_bytes(&mut self, _: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        let quirk = self.quirk;
        let line = self.line(conn)?;
        if quirk == Quirk::Object {
            return Err(Misuse::WrongState);
        }
        if line.finished {
            return Err(Misuse::WrongState);
        }
        if line.echo {
            line.received += bytes.len() as u64;
            self.owe(conn, bytes);
            return Ok(());
        }
        for each in bytes {
            if *each != byte(line.received) {
                let text = format!("byte {} of {conn} is {each}", line.received);
                self.actions.push_back(Action::Notice(Says(text)));
                return Ok(());
            }
            line.received += 1;
            assert!(
                quirk != Quirk::Panic || line.received < 10,
                "ten bytes are too many"
            );
        }
        if quirk == Quirk::Ghost && line.received > 50 {
            self.drop_line(conn);
            self.actions.push_back(Action::Close(conn));
            self.actions.push_back(Action::Send(conn));
        }
        Ok(())
    }

    fn handle_sent(&mut self, _: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        let quirk = self.quirk;
        let line = self.line(conn)?;
        if count > line.owed.len() || quirk == Quirk::ObjectToSent {
            return Err(Misuse::TooMuch);
        }
        line.owed.drain(..count);
        Ok(())
    }

    fn handle_lost(&mut self, _: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        let quirk = self.quirk;
        let line = self.line(conn)?;
        if quirk == Quirk::ObjectToEnds {
            return Err(Misuse::Stale);
        }
        line.finished = true;
        let open = loss == Loss::Finished;
        self.drop_line(conn);
        if open {
            self.actions.push_back(Action::Close(conn));
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        if now < self.tick || self.halted {
            return;
        }
        self.tick = now + self.every;
        if self.quirk == Quirk::Insist && now > Time::from_micros(1_000_000) {
            self.tick = now;
        }
        if self.quirk == Quirk::Crash && now > Time::from_micros(1_000_000) {
            self.halted = true;
            self.actions.push_back(Action::Halt(Halt::Crash));
            return;
        }
        for place in std::mem::take(&mut self.redial) {
            self.dial(place);
        }
        for slot in 0..self.lines.len() {
            let Some(line) = &self.lines[slot] else {
                continue;
            };
            if !line.echo && line.owed.len() < 10_000 {
                let conn = line.conn;
                let from = line.written;
                let bytes: Vec<u8> = (from..from + self.size).map(byte).collect();
                // What is owed before the dial succeeds is sent then.
                self.owe(conn, &bytes);
            }
        }
    }

    fn handle_shutdown(&mut self, _: Time) {
        if !self.halted {
            self.halted = true;
            self.actions.push_back(Action::Halt(Halt::Done));
        }
    }

    fn poll(&mut self) -> Option<Action<Says>> {
        if let Quirk::Asks(left @ 1..) = self.quirk {
            self.quirk = Quirk::Asks(left - 1);
            return Some(match left % 2 {
                0 => Action::Shut(Door(0)),
                _ => Action::Open(Door(0)),
            });
        }
        self.actions.pop_front()
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.lines
            .get(conn.slot())
            .and_then(Option::as_ref)
            .filter(|line| line.conn == conn)
            .and_then(|line| line.owed.get(skip..))
            .unwrap_or(&[])
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let timeless = self.halted || self.quirk == Quirk::Timeless;
        (!timeless).then_some(Timeout {
            at: self.tick,
            why: "tick",
            judges_at: Some(self.tick),
        })
    }
}

/// A grid of toys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toys {
    /// How the last host goes wrong.
    pub(crate) quirk: Quirk,
    /// How often they send.
    pub(crate) every: Span,
    /// How much they send.
    pub(crate) size: u64,
}

impl Default for Toys {
    fn default() -> Self {
        Self {
            quirk: Quirk::None,
            every: Span::from_millis(100),
            size: 20,
        }
    }
}

impl World for Toys {
    type Machine = Toy;

    fn spawn(&self, birth: &Birth) -> Toy {
        let last = birth.host == Host(birth.hosts - 1);
        Toy {
            birth: *birth,
            quirk: if last { self.quirk } else { Quirk::None },
            every: self.every,
            size: self.size,
            lines: Vec::new(),
            generations: Vec::new(),
            redial: Vec::new(),
            tick: Time::ZERO,
            actions: VecDeque::new(),
            halted: false,
        }
    }
}
