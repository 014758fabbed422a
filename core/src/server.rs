//! The chat server: a log and its masters on top of a mesh, in front of a driver.

use crate::command::{self, Command};
use crate::config::{Config, ConfigError, EPISODE, Limits, SHUTDOWN, STARVED};
use crate::counters::{Counters, Gauges};
use crate::desk::Desk;
use crate::frame::TooLong;
use crate::log::Log;
use crate::machine::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Misuse, Refused, Remote, Timeout,
};
use crate::mesh::{Above, Mesh};
use crate::news::{News, Why};
use crate::slots::{Owner, Slots};
use crate::time::{Span, Time};
use crate::timers::Timer;
use crate::turn::Turn;
use crate::wire;
use alloc::format;
use alloc::vec::Vec;

/// The door at which other servers connect.
pub const LINKS: Door = Door(0);
/// The door at which masters connect.
pub const MASTERS: Door = Door(1);

/// One server of a chat grid. See [`Machine`] for how to drive it, and the crate's front page for
/// an example.
///
/// It can be copied and hashed, so that an explorer of states can go back to one and know it again.
#[derive(Clone, Debug, Hash)]
pub struct ChatServer {
    id: u32,
    limits: Limits,
    turn: Turn,
    mesh: Mesh,
    chat: Chat,
    doors: [DoorState; 2],
    phase: Phase,
    started: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Running,
    /// Flushing what was accepted.
    Ending,
    Halted,
}

#[derive(Clone, Debug, Default, Hash)]
struct DoorState {
    /// When the present second of accepts began, and how many it had.
    window: Time,
    accepts: u32,
    /// Until when it is shut.
    shut: Option<Time>,
    /// When an accept last failed for want of a resource.
    starved: Option<Time>,
}

/// The log and those who read it: what lies above the mesh.
#[derive(Clone, Debug, Hash)]
struct Chat {
    log: Log,
    limit: u64,
    /// Whether it was told that the log is full.
    full: bool,
    desk: Desk,
}

impl Chat {
    /// Appends one text and tells who watches; false if the log is full.
    fn record(&mut self, turn: &mut Turn, sender: u32, conn: Option<Conn>, text: &[u8]) -> bool {
        if self.log.len_with(text) > self.limit {
            let left = conn.is_some();
            if left || !self.full {
                let bytes = self.limit;
                turn.tell(News::LogFull { bytes, left });
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

    fn tell_peer(&mut self, turn: &mut Turn, word: &[u8], peer: u32) {
        let mut line = word.to_vec();
        wire::push_id(&mut line, peer);
        line.push(b'\n');
        self.desk.tell(turn, &[&line]);
    }
}

impl Above for Chat {
    fn deliver(&mut self, turn: &mut Turn, peer: u32, conn: Conn, text: &[u8]) -> bool {
        self.record(turn, peer, Some(conn), text)
    }

    fn up(&mut self, turn: &mut Turn, peer: u32) {
        self.tell_peer(turn, b"up ", peer);
    }

    fn down(&mut self, turn: &mut Turn, peer: u32) {
        self.tell_peer(turn, b"down ", peer);
    }
}

impl ChatServer {
    /// Makes a server that has done nothing yet.
    ///
    /// # Errors
    /// [`ConfigError`] names a value of `config` that is out of its bounds.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            id: config.id,
            turn: Turn {
                observe: config.observe,
                ..Turn::default()
            },
            mesh: Mesh::new(&config),
            chat: Chat {
                log: Log::default(),
                limit: config.limits.log,
                full: false,
                desk: Desk::new(&config.limits),
            },
            limits: config.limits,
            doors: [DoorState::default(), DoorState::default()],
            phase: Phase::Running,
            started: false,
        })
    }

    /// Its own id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Sums since it began.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.turn.counters
    }

    /// How things stand now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            peers: self.mesh.up_count(),
            nameless: self.mesh.nameless_count(),
            masters: self.chat.desk.count(),
            log_texts: self.chat.log.count(),
            log_bytes: self.chat.log.len(),
            lag_bytes: self.mesh.lag(),
            owed_bytes: self.chat.desk.owed(),
        }
    }

    /// The ids that an `alive` would name now: the own one and the peers that are up, ascending.
    #[must_use]
    pub fn alive(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.mesh.up().collect();
        let (Ok(at) | Err(at)) = ids.binary_search(&self.id);
        ids.insert(at, self.id);
        ids
    }

    /// The log's texts joined by commas, as a `get` would name them now.
    #[must_use]
    pub fn log(&self) -> Vec<u8> {
        let (mut out, end) = (Vec::new(), self.chat.log.len());
        while (out.len() as u64) < end {
            out.extend_from_slice(self.chat.log.piece(out.len() as u64, end));
        }
        out
    }

    fn enter(&mut self, now: Time) {
        self.turn.now = self.turn.now.max(now);
    }

    fn owner(&self, conn: Conn) -> Result<Owner, Misuse> {
        self.turn.slots.owner(conn)
    }

    /// Does what a master says until a reply that it owes reading stops it.
    fn master_bytes(&mut self, conn: Conn, mut bytes: &[u8]) {
        let Some(master) = self.chat.desk.get_mut(conn) else {
            return;
        };
        let mut framer = core::mem::take(&mut master.framer);
        let mut skipping = master.skipping;
        let mut spoke = false;
        loop {
            if skipping {
                skipping = !framer.skip(&mut bytes);
                if skipping {
                    break;
                }
            }
            if self.chat.desk.stuffed(conn) && !bytes.is_empty() {
                if let Some(master) = self.chat.desk.get_mut(conn) {
                    master.held = bytes.to_vec();
                }
                break;
            }
            match framer.next(&mut bytes) {
                Ok(Some(line)) => {
                    spoke |= self.command(conn, line);
                    framer.done();
                    let gone = self.chat.desk.at(conn.slot()).is_none();
                    if gone || self.phase == Phase::Halted {
                        return;
                    }
                }
                Ok(None) => break,
                Err(TooLong) => {
                    let most = command::longest(self.limits.text);
                    let reason = format!("a line longer than {most} bytes");
                    self.refuse(conn, &reason);
                    skipping = !framer.skip(&mut bytes);
                }
            }
        }
        let congested = spoke && self.mesh.congested(self.turn.now).is_some();
        let stuffed = self.chat.desk.stuffed(conn);
        if let Some(master) = self.chat.desk.get_mut(conn) {
            master.framer = framer;
            master.skipping = skipping;
            master.congesting |= congested;
            if congested || stuffed {
                self.chat.desk.pause(&mut self.turn, conn);
            }
        }
    }

    fn refuse(&mut self, conn: Conn, reason: &str) {
        self.turn.counters.errors += 1;
        let line = format!("error {reason}\n");
        self.chat.desk.owe(&mut self.turn, conn, line.as_bytes());
    }

    /// Does one command; true if it was a broadcast.
    fn command(&mut self, conn: Conn, line: &[u8]) -> bool {
        let command = match command::parse(line, self.limits.text) {
            Ok(command) => command,
            Err(reason) => {
                self.refuse(conn, &reason);
                return false;
            }
        };
        let (turn, desk) = (&mut self.turn, &mut self.chat.desk);
        if let Some(master) = desk.get_mut(conn) {
            master.valid = true;
        }
        match command {
            Command::Get => {
                desk.owe(turn, conn, b"messages ");
                desk.owe_log(turn, conn, &self.chat.log);
                desk.owe(turn, conn, b"\n");
            }
            Command::Alive => {
                let mut line = b"alive ".to_vec();
                for id in self.alive() {
                    wire::push_id(&mut line, id);
                    line.push(b',');
                }
                // The own id is always there, so a comma is too.
                line.pop();
                line.push(b'\n');
                self.chat.desk.owe(&mut self.turn, conn, &line);
            }
            Command::Broadcast(text) => {
                let text = text.as_bytes();
                if self.chat.record(turn, self.id, None, text) {
                    turn.counters.broadcasts += 1;
                    self.mesh.broadcast(turn, &mut self.chat, text);
                } else {
                    let reason = format!("the log is full: {} bytes", self.chat.limit);
                    self.refuse(conn, &reason);
                }
                return true;
            }
            Command::Watch => desk.watch(conn),
            Command::Crash => {
                // What happened before is told of; nothing of it is sent any more.
                turn.actions.retain(|a| matches!(a, Action::Notice(_)));
                turn.timers.clear();
                turn.slots = Slots::default();
                turn.act(Action::Halt(Halt::Crash));
                self.phase = Phase::Halted;
            }
        }
        false
    }

    /// Lets go on who waited, once what it waited for has come; ends when all is flushed.
    fn settle(&mut self) {
        match self.phase {
            Phase::Halted => return,
            Phase::Ending => {
                if !self.mesh.owes() && self.chat.desk.owed() == 0 {
                    self.halt();
                }
                return;
            }
            Phase::Running => {}
        }
        if self.chat.desk.waiting == 0 {
            return;
        }
        let mut waits = false;
        for slot in 0..self.chat.desk.slots() {
            let until = self.mesh.congested(self.turn.now);
            let Some(master) = self.chat.desk.at(slot).filter(|m| m.paused) else {
                continue;
            };
            let (conn, congesting) = (master.conn, master.congesting);
            if congesting && until.is_some() {
                waits = true;
                continue;
            }
            if master.owed() > self.limits.replies as u64 / 2 {
                continue;
            }
            if let Some(master) = self.chat.desk.get_mut(conn) {
                master.congesting = false;
                let held = core::mem::take(&mut master.held);
                self.master_bytes(conn, &held);
            }
            if self.phase == Phase::Halted {
                return;
            }
            let stuffed = self.chat.desk.stuffed(conn);
            if let Some(master) = self.chat.desk.get_mut(conn) {
                if master.congesting {
                    waits = true;
                } else if master.finished && master.held.is_empty() && master.owed() == 0 {
                    self.chat
                        .desk
                        .end(&mut self.turn, conn, Why::Finished, false);
                } else if !stuffed && !master.finished {
                    self.chat.desk.resume(&mut self.turn, conn);
                }
            }
        }
        let until = match waits {
            true => self.mesh.congested(self.turn.now),
            false => None,
        };
        self.turn.timers.set(Timer::Stall, until);
    }

    /// The end in good order: everything is closed.
    fn halt(&mut self) {
        let (turn, chat) = (&mut self.turn, &mut self.chat);
        self.mesh.leave(turn, chat, Why::Ending);
        for slot in 0..chat.desk.slots() {
            if let Some(master) = chat.desk.at(slot) {
                let conn = master.conn;
                chat.desk.end(turn, conn, Why::Ending, false);
            }
        }
        turn.timers.clear();
        turn.act(Action::Halt(Halt::Done));
        self.phase = Phase::Halted;
    }

    /// Keeps a door shut until `until` at least.
    fn shut(&mut self, door: Door, until: Time) {
        let state = &mut self.doors[usize::from(door.0)];
        if state.shut.is_none() {
            self.turn.act(Action::Shut(door));
        }
        state.shut = Some(state.shut.map_or(until, |t| t.max(until)));
        self.turn.timers.by(Timer::Door, until);
    }

    fn open_doors(&mut self) {
        let now = self.turn.now;
        for (number, state) in (0..).zip(&mut self.doors) {
            if state.shut.is_some_and(|until| until <= now) {
                state.shut = None;
                self.turn.act(Action::Open(Door(number)));
            }
        }
        let next = self.doors.iter().filter_map(|state| state.shut).min();
        self.turn.timers.set(Timer::Door, next);
    }
}

impl Machine for ChatServer {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.enter(now);
        if self.started || self.phase != Phase::Running {
            return;
        }
        self.started = true;
        self.mesh.start(&mut self.turn);
    }

    fn handle_accepted(&mut self, now: Time, door: Door, _: Remote) -> Result<Conn, Refused> {
        self.enter(now);
        if self.phase != Phase::Running {
            return Err(Refused);
        }
        let second = Span::from_millis(1000);
        let state = self.doors.get_mut(usize::from(door.0)).ok_or(Refused)?;
        if self.turn.now.since(state.window) >= second {
            state.window = self.turn.now;
            state.accepts = 0;
        }
        state.accepts += 1;
        if state.accepts >= self.limits.accepts {
            let until = state.window + second;
            self.shut(door, until);
        }
        let turn = &mut self.turn;
        let conn = if door == LINKS {
            self.mesh.handle_accepted(turn, &mut self.chat)
        } else {
            self.chat.desk.handle_accepted(turn)
        };
        match conn {
            Some(conn) => {
                turn.counters.accepted += 1;
                Ok(conn)
            }
            None => {
                turn.counters.refused += 1;
                Err(Refused)
            }
        }
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.enter(now);
        let now = self.turn.now;
        let Some(state) = self.doors.get_mut(usize::from(door.0)) else {
            return;
        };
        if self.phase != Phase::Running {
            return;
        }
        self.turn.counters.starved += 1;
        let again = state.starved.is_some_and(|t| now.since(t) < EPISODE);
        state.starved = Some(now);
        if !again {
            self.turn.tell(News::Starved { door });
        }
        self.shut(door, now + STARVED);
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.enter(now);
        match self.owner(conn)? {
            Owner::Mesh => self
                .mesh
                .handle_dialled(&mut self.turn, &mut self.chat, conn, outcome),
            Owner::Desk => Err(Misuse::WrongState),
        }
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.enter(now);
        match self.owner(conn)? {
            Owner::Mesh => {
                self.mesh
                    .handle_bytes(&mut self.turn, &mut self.chat, conn, bytes)?;
            }
            Owner::Desk => match self.chat.desk.get_mut(conn) {
                Some(master) if master.finished => return Err(Misuse::WrongState),
                // Read before the pause was heard of: it waits with the rest.
                Some(master) if !master.held.is_empty() => master.held.extend_from_slice(bytes),
                Some(_) | None => {
                    if self.phase == Phase::Running {
                        self.master_bytes(conn, bytes);
                    }
                }
            },
        }
        self.turn.counters.bytes_in += bytes.len() as u64;
        self.settle();
        Ok(())
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.enter(now);
        match self.owner(conn)? {
            Owner::Mesh => self.mesh.handle_sent(&mut self.turn, conn, count)?,
            Owner::Desk => {
                self.chat.desk.handle_sent(&mut self.turn, conn, count)?;
            }
        }
        self.turn.counters.bytes_out += count as u64;
        self.settle();
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.enter(now);
        let (turn, desk) = (&mut self.turn, &mut self.chat.desk);
        match turn.slots.owner(conn)? {
            Owner::Mesh => {
                self.mesh.handle_lost(turn, &mut self.chat, conn, loss)?;
            }
            Owner::Desk => match loss {
                Loss::Broken => desk.end(turn, conn, Why::Broken, true),
                Loss::Finished => match desk.get_mut(conn) {
                    Some(master) if master.finished => return Err(Misuse::WrongState),
                    Some(master) if master.owed() > 0 || !master.held.is_empty() => {
                        master.finished = true;
                    }
                    Some(_) | None => desk.end(turn, conn, Why::Finished, false),
                },
            },
        }
        self.settle();
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        self.enter(now);
        if self.phase == Phase::Halted {
            return;
        }
        let now = self.turn.now;
        self.mesh.handle_timeout(&mut self.turn, &mut self.chat);
        if self.turn.timers.fired(Timer::Door, now) && self.phase == Phase::Running {
            self.open_doors();
        }
        if self.turn.timers.fired(Timer::Shutdown, now) {
            self.halt();
        }
        self.turn.timers.fired(Timer::Stall, now);
        self.settle();
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.enter(now);
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Ending;
        let (turn, chat) = (&mut self.turn, &mut self.chat);
        turn.tell(News::Ending);
        for door in [LINKS, MASTERS] {
            turn.act(Action::Shut(door));
        }
        self.mesh.retire(turn, chat);
        for slot in 0..chat.desk.slots() {
            if let Some(master) = chat.desk.at(slot) {
                let conn = master.conn;
                chat.desk.pause(turn, conn);
            }
        }
        turn.timers.by(Timer::Shutdown, turn.now + SHUTDOWN);
        self.settle();
    }

    fn poll(&mut self) -> Option<Action<News>> {
        let action = self.turn.actions.pop_front();
        if let Some(Action::Close(conn)) = action {
            self.turn.slots.free(conn);
        }
        action
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        match self.owner(conn) {
            Ok(Owner::Mesh) => self.mesh.pending(conn, skip),
            Ok(Owner::Desk) => self.chat.desk.pending(conn, skip, &self.chat.log),
            Err(_) => &[],
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let timers = &self.turn.timers;
        let judges = [Timer::Silence, Timer::Greeting];
        let judges_at = judges.into_iter().filter_map(|t| timers.at(t)).min();
        if !self.turn.actions.is_empty() {
            return Some(Timeout {
                at: self.turn.now,
                why: "undrained",
                judges_at,
            });
        }
        timers.next().map(|(at, timer)| Timeout {
            at,
            why: timer.name(),
            judges_at,
        })
    }
}
