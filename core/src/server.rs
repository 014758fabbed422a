//! The chat server: a log and its masters on top of a mesh, in front of a driver.

use crate::chat::Chat;
use crate::command::{self, Bad, Command};
use crate::config::{Config, ConfigError, Limits, SHUTDOWN};
use crate::counters::{Counters, Gauges};
use crate::frame::TooLong;
use crate::mesh::Mesh;
use crate::news::{News, Why};
use crate::slots::{Owner, Slots};
use crate::timers::Timer;
use crate::turn::Turn;
use crate::wire;
use alloc::format;
use alloc::vec::Vec;
use chatroom_machine::Time;
use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Misuse, Refused, Remote, Timeout,
};

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

impl ChatServer {
    /// Makes a server that has done nothing yet.
    ///
    /// # Errors
    /// [`ConfigError`] names a value of `config` that is out of its bounds.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            id: config.id,
            turn: Turn::new(&config),
            mesh: Mesh::new(&config),
            chat: Chat::new(&config.limits),
            limits: config.limits,
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
            nameless: self.turn.gates()[0].newcomers(),
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

    /// Takes in the moment of a call. Every call comes within a heartbeat of the one before,
    /// unless this process did not run.
    fn enter(&mut self, now: Time) {
        let gap = now.since(self.turn.now);
        self.turn.now = self.turn.now.max(now);
        if self.started && self.mesh.was_away(gap) {
            self.mesh.excuse(now);
        }
    }

    fn owner(&self, conn: Conn) -> Result<Owner, Misuse> {
        self.turn.slots.owner(conn)
    }

    /// Does what a master says until a reply that it owes reading stops it, or until it has to
    /// wait for a place.
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
            let line = match framer.next(&mut bytes) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(TooLong) => {
                    let most = command::longest(self.limits.text);
                    let reason = format!("a line longer than {most} bytes");
                    self.refuse(conn, &reason);
                    skipping = !framer.skip(&mut bytes);
                    continue;
                }
            };
            match command::parse(line, self.limits.text) {
                Ok(command) => {
                    if !self.chat.desk.place(&mut self.turn, conn) {
                        let held = [line, b"\n", bytes].concat();
                        framer.done();
                        if let Some(master) = self.chat.desk.get_mut(conn)
                            && master.waits_for_place()
                        {
                            master.held = held;
                        }
                        break;
                    }
                    spoke |= self.command(conn, command);
                }
                Err(Bad::Http) => {
                    let desk = &mut self.chat.desk;
                    desk.end(&mut self.turn, conn, Why::Http, false);
                }
                Err(Bad::Line(reason)) => self.refuse(conn, &reason),
            }
            framer.done();
            let gone = self.chat.desk.at(conn.slot()).is_none();
            if gone || self.phase == Phase::Halted {
                return;
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
    fn command(&mut self, conn: Conn, command: Command<'_>) -> bool {
        let (turn, desk) = (&mut self.turn, &mut self.chat.desk);
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
                self.chat.announce_gaps(turn);
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
                    // Who watches is owed this as well.
                    self.chat.announce_gaps(&mut self.turn);
                    if self.chat.desk.owed() == 0 {
                        self.halt(Halt::Done);
                    }
                }
                return;
            }
            Phase::Running => {}
        }
        if !self.chat.desk.waiting.is_empty() {
            self.settle_masters();
        }
        // What one of them had sent before may have been a `crash`.
        if self.phase == Phase::Running {
            self.turn.settle_gates();
        }
    }

    fn settle_masters(&mut self) {
        let mut until = self.mesh.congested(self.turn.now);
        let mut waits = false;
        let mut next = 0;
        while let Some(&conn) = self.chat.desk.waiting.get(next) {
            next += 1;
            let master = self.chat.desk.at(conn.slot());
            let Some(master) = master.filter(|m| m.conn == conn && m.paused) else {
                continue;
            };
            if master.is_dismissed() {
                continue;
            }
            if master.congesting && until.is_some() {
                waits = true;
                continue;
            }
            if !self.chat.desk.has_read(conn) {
                continue;
            }
            if master.waits_for_place() && !self.chat.desk.place(&mut self.turn, conn) {
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
            until = self.mesh.congested(self.turn.now);
            let stuffed = self.chat.desk.stuffed(conn);
            if let Some(master) = self.chat.desk.get_mut(conn) {
                if master.congesting {
                    waits = true;
                } else if master.is_dismissed() || master.waits_for_place() {
                } else if master.finished && master.held.is_empty() && master.owed() == 0 {
                    let desk = &mut self.chat.desk;
                    desk.end(&mut self.turn, conn, Why::Finished, false);
                } else if !stuffed && !master.finished {
                    self.chat.desk.resume(&mut self.turn, conn);
                }
            }
        }
        self.chat.desk.forget_resumed();
        let until = until.filter(|_| waits);
        self.turn.timers.set(Timer::Stall, until);
    }

    /// The end in good order: everything is closed.
    fn halt(&mut self, how: Halt) {
        let (turn, chat) = (&mut self.turn, &mut self.chat);
        chat.announce_gaps(turn);
        self.mesh.leave(turn, chat, Why::Ending);
        for slot in 0..chat.desk.slots() {
            if let Some(master) = chat.desk.at(slot) {
                let conn = master.conn;
                chat.desk.end(turn, conn, Why::Ending, false);
            }
        }
        turn.timers.clear();
        turn.act(Action::Halt(how));
        self.phase = Phase::Halted;
    }
}

/// The timers that may end a connection which was silent: a driver reads from all before.
const JUDGING: [Timer; 5] = [
    Timer::Silence,
    Timer::Greeting,
    Timer::Evict,
    Timer::Contest,
    Timer::Place,
];

/// Who takes what is accepted at a door.
const fn owner_behind(door: Door) -> Option<Owner> {
    match door {
        LINKS => Some(Owner::Mesh),
        MASTERS => Some(Owner::Desk),
        Door(_) => None,
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

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        self.enter(now);
        let owner = owner_behind(door).ok_or(Refused)?;
        let turn = &mut self.turn;
        let conn = match owner {
            _ if self.phase != Phase::Running || !turn.gate(owner).has_room() => None,
            Owner::Mesh => self.mesh.handle_accepted(turn, remote),
            Owner::Desk => Some(self.chat.desk.handle_accepted(turn, remote)),
        };
        match conn {
            Some(_) => turn.counters.accepted += 1,
            None => turn.counters.refused += 1,
        }
        if self.phase == Phase::Running {
            turn.settle_gates();
        }
        conn.ok_or(Refused)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.enter(now);
        let Some(owner) = owner_behind(door) else {
            return;
        };
        if self.phase != Phase::Running {
            return;
        }
        let turn = &mut self.turn;
        turn.counters.starved += 1;
        let now = turn.now;
        let told = turn.gate(owner).starve(now);
        if let Some(news) = told {
            turn.tell(news);
        }
        turn.settle_gates();
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
                Some(master) if master.is_dismissed() => {}
                // Read before the pause was heard of: it waits with the rest.
                Some(master) if !master.held.is_empty() => master.held.extend_from_slice(bytes),
                Some(_) | None => {
                    self.chat.desk.hear(&mut self.turn, conn);
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
        let turn = &mut self.turn;
        if turn.timers.fired(Timer::Evict, now) {
            for owner in [Owner::Mesh, Owner::Desk] {
                for conn in turn.gate(owner).evict(now) {
                    match owner {
                        Owner::Mesh => self.mesh.crowd_out(turn, &mut self.chat, conn),
                        Owner::Desk => self.chat.desk.end(turn, conn, Why::Crowded, false),
                    }
                }
            }
        }
        if turn.timers.fired(Timer::Place, now) {
            self.chat.desk.handle_place_timeout(turn);
        }
        if turn.timers.fired(Timer::Gap, now) {
            self.chat.announce_gaps(turn);
        }
        if turn.timers.fired(Timer::Shutdown, now) {
            self.halt(Halt::Unfinished);
        }
        self.turn.timers.fired(Timer::Stall, now);
        if self.turn.timers.fired(Timer::Door, now) {
            self.turn.touch_gates();
        }
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
        for owner in [Owner::Mesh, Owner::Desk] {
            turn.gate(owner).close();
        }
        turn.settle_gates();
        self.mesh.retire(turn, chat);
        chat.desk.retire(turn);
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
        let judges_at = timers.first(&JUDGING);
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
