//! Hosts: their lives, their clocks and timers, and what their machines ask for.

use super::clock::Clock;
use super::queue::Kind;
use super::{Birth, Engine, Flow, World};
use super::{client::ClientState, disk::DiskState};
use crate::names::{Host, Peer, Who};
use crate::net::link::State;
use crate::observer::{Cause, Ending, Fact, Observer};
use crate::plan::Fate;
use crate::random::Choice;
use chatroom_machine::{Action, Checked, Checks, Conn, Door, Halt, Machine, Timeout};
use std::collections::VecDeque;

/// What an open handle of a machine stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) conn: Conn,
    pub(super) link: usize,
    pub(super) side: usize,
}

/// A place where a host listens.
#[derive(Debug, Default)]
pub(super) struct DoorState {
    pub(super) shut: bool,
    /// Links that wait to be accepted.
    pub(super) queue: VecDeque<usize>,
}

/// A host, apart from its machine.
pub(super) struct HostState {
    /// How many lives it had, the present one included.
    pub(super) lives: u32,
    pub(super) up: bool,
    pub(super) paused: bool,
    /// It fell silent: nobody answers.
    pub(super) dark: bool,
    pub(super) starved: bool,
    /// A shutdown that it was asked for while paused.
    pub(super) stop: bool,
    /// What its machine's handles stand for, by slot.
    pub(super) slots: Vec<Option<Slot>>,
    pub(super) doors: Vec<DoorState>,
    pub(super) clock: Clock,
    pub(super) clients: Vec<ClientState>,
    /// What the machine last asked for.
    timeout: Option<Timeout>,
    /// The moment that the armed timer event stands for; `u64::MAX` if there is none.
    timer_at: u64,
    timer_stamp: u32,
    /// How many timers were armed: the key of their lateness.
    timers: u64,
    /// How often it went on after a pause: the key of an order.
    resumes: u64,
    /// Once a machine of it had volumes, or the plan did something to it.
    pub(super) disk: Option<Box<DiskState>>,
}

impl HostState {
    pub(super) fn new() -> Self {
        Self {
            lives: 0,
            up: false,
            paused: false,
            dark: false,
            starved: false,
            stop: false,
            slots: Vec::new(),
            doors: Vec::new(),
            clock: Clock::new(0),
            clients: Vec::new(),
            timeout: None,
            timer_at: u64::MAX,
            timer_stamp: 0,
            timers: 0,
            resumes: 0,
            disk: None,
        }
    }

    /// Whether its machine can be told anything.
    #[inline]
    pub(super) const fn awake(&self) -> bool {
        self.up && !self.paused
    }

    pub(super) fn door(&mut self, door: Door) -> &mut DoorState {
        let index = usize::from(door.0);
        if self.doors.len() <= index {
            self.doors.resize_with(index + 1, DoorState::default);
        }
        &mut self.doors[index]
    }

    /// What an open handle stands for.
    #[inline]
    pub(super) fn slot(&self, conn: Conn) -> Option<Slot> {
        let slot = self.slots.get(conn.slot()).copied().flatten()?;
        (slot.conn == conn).then_some(slot)
    }

    /// Gives up a handle.
    pub(super) fn unbind(&mut self, conn: Conn) {
        if self.slot(conn).is_some() {
            self.slots[conn.slot()] = None;
        }
    }
}

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    /// The present life of a host that is up, or the last one.
    #[inline]
    pub(super) fn who(&self, host: usize) -> Who {
        Who {
            host: Host(u16::try_from(host).unwrap_or(u16::MAX)),
            life: self.hosts[host].lives.saturating_sub(1),
        }
    }

    /// The machine of a host that is up, and its own moment. Says who is to blame for a panic.
    #[inline]
    pub(super) fn call(
        &mut self,
        host: usize,
        what: &'static str,
    ) -> Option<(&mut Checked<W::Machine>, chatroom_machine::Time)> {
        self.doing = (u16::try_from(host).unwrap_or(u16::MAX), what);
        let local = self.hosts[host].clock.local(self.now);
        Some((self.machines[host].as_mut()?, local))
    }

    /// Writes down what an open handle stands for.
    pub(super) fn bind(&mut self, host: usize, slot: Slot) {
        let index = slot.conn.slot();
        let slots = &mut self.hosts[host].slots;
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        slots[index] = Some(slot);
    }

    /// A host that is down begins its next life.
    pub(super) fn start(&mut self, host: usize) -> Flow {
        if self.hosts[host].up {
            return Ok(());
        }
        let was_dark = self.hosts[host].dark;
        let state = &mut self.hosts[host];
        state.lives += 1;
        state.up = true;
        state.paused = false;
        state.dark = false;
        state.stop = false;
        state.starved = false;
        state.clock = Clock::new(self.now);
        state.timeout = None;
        state.timer_at = u64::MAX;
        for door in &mut state.doors {
            door.shut = false;
        }
        if was_dark {
            self.answer_again(host)?;
        }
        let who = self.who(host);
        let birth = Birth {
            host: who.host,
            life: who.life,
            hosts: self.plan.hosts,
            seed: Choice::seed(self.plan.seed)
                .on("birth")
                .at(u64::from(who.host.0))
                .at(u64::from(who.life))
                .bits(),
        };
        self.watch
            .see(self.now, &self.machines, &Fact::Started { who })?;
        self.doing = (who.host.0, "spawn");
        let machine = self.world.spawn(&birth);
        self.machines[host] = Some(Checked::new(machine, Checks::quick()));
        self.recover(host)?;
        if let Some((machine, now)) = self.call(host, "handle_start") {
            machine.handle_start(now);
        }
        self.drain(host)
    }

    /// A life ends: its connections end by the ending's fate.
    pub(super) fn end(&mut self, host: usize, how: Ending) -> Flow {
        if !self.hosts[host].up {
            return Ok(());
        }
        let who = self.who(host);
        self.leave_disk(host, how);
        let state = &mut self.hosts[host];
        state.up = false;
        state.paused = false;
        state.timeout = None;
        state.timer_at = u64::MAX;
        state.timer_stamp = state.timer_stamp.wrapping_add(1);
        state.dark = how == Ending::Killed(Fate::Silence);
        let slots = std::mem::take(&mut state.slots);
        let mut queued = Vec::new();
        for door in &mut state.doors {
            queued.extend(door.queue.drain(..));
        }
        for slot in slots.into_iter().flatten() {
            self.leave_behind(slot.link, slot.side, how);
        }
        for link in queued {
            self.leave_behind(link, 1, how);
        }
        self.machines[host] = None;
        self.watch
            .see(self.now, &self.machines, &Fact::Ended { who, how })
    }

    /// A side of a link loses its holder by the end of a life.
    fn leave_behind(&mut self, link: usize, side: usize, how: Ending) {
        let held = &mut self.links[link];
        if held.sides.iter().all(|side| side.state == State::Waiting) {
            // Nothing stands yet: the other side has not heard of it.
            held.sides[side].state = State::Gone;
            return self.release(link);
        }
        held.sides[1 - side].cause = Cause::Ended(how);
        let queued = held.sides[side].state == State::Queued;
        if how != Ending::Done {
            let choice = held.pipes[side].draw();
            held.pipes[side].truncate(self.now, choice);
        }
        match how {
            Ending::Killed(Fate::Fin) | Ending::Crashed | Ending::Failed | Ending::Done => {
                // A kernel resets what nobody accepted.
                if queued {
                    self.send_reset(link, side);
                } else {
                    self.hang_up(link, side);
                }
            }
            Ending::Killed(Fate::Rst) => self.send_reset(link, side),
            Ending::Killed(Fate::Silence) => {
                self.links[link].sides[side].state = State::Dark;
                self.arm(link, side);
                self.release(link);
            }
        }
    }

    /// A host that was silent answers again: it knows nothing of its former life's connections.
    fn answer_again(&mut self, host: usize) -> Flow {
        for link in 0..self.links.len() {
            for side in 0..2 {
                let held = &mut self.links[link];
                if held.used
                    && held.sides[side].state == State::Dark
                    && held.host(side).is_some_and(|at| at.index() == host)
                {
                    held.sides[side].state = State::Gone;
                    held.sides[1 - side].cause = Cause::Unknown;
                    self.send_again(link, 1 - side);
                    self.release(link);
                }
            }
        }
        Ok(())
    }

    /// Does what the machine asks for until it asks for nothing, then sees to its timer.
    #[inline]
    pub(super) fn drain(&mut self, host: usize) -> Flow {
        loop {
            let Some((machine, local)) = self.call(host, "poll") else {
                return Ok(());
            };
            let action = machine.poll();
            self.keeps_contract(host)?;
            let Some(action) = action else {
                break;
            };
            match action {
                Action::Send(conn) => {
                    if let Some(slot) = self.hosts[host].slot(conn) {
                        self.pump(host, slot)?;
                    }
                }
                Action::Notice(notice) => {
                    let who = self.who(host);
                    let fact = Fact::Notice {
                        who,
                        local,
                        notice: &notice,
                    };
                    self.watch.see(self.now, &self.machines, &fact)?;
                }
                Action::Dial { conn, to } => self.dial(host, conn, to)?,
                Action::Pause(conn) => {
                    if let Some(slot) = self.hosts[host].slot(conn) {
                        self.links[slot.link].sides[slot.side].reading = false;
                    }
                }
                Action::Resume(conn) => {
                    if let Some(slot) = self.hosts[host].slot(conn) {
                        self.links[slot.link].sides[slot.side].reading = true;
                        self.arm(slot.link, 1 - slot.side);
                    }
                }
                Action::Close(conn) => {
                    if let Some(slot) = self.hosts[host].slot(conn) {
                        self.close(host, slot)?;
                    }
                }
                Action::Shut(door) => self.hosts[host].door(door).shut = true,
                Action::Open(door) => {
                    self.hosts[host].door(door).shut = false;
                    self.look_at_door(host, door);
                }
                Action::Store(volume) => self.store(host, volume)?,
                Action::Discard { volume, through } => self.discard(host, volume, through)?,
                Action::Halt(halt) => {
                    return self.end(
                        host,
                        match halt {
                            Halt::Crash => Ending::Crashed,
                            Halt::Done | Halt::Unfinished => Ending::Done,
                        },
                    );
                }
            }
        }
        if self.hosts[host].disk.is_some() {
            self.commit(host)?;
        }
        self.rearm(host);
        Ok(())
    }

    /// Has the host look at a door's queue, at this moment but not inside another call.
    pub(super) fn look_at_door(&mut self, host: usize, door: Door) {
        if !self.hosts[host].door(door).queue.is_empty() {
            let host = u16::try_from(host).unwrap_or(u16::MAX);
            let door = door.0;
            self.queue.push(self.now, Kind::Accept { host, door });
        }
    }

    /// Makes sure that an event comes at or before the moment that the machine asks for. There is
    /// one event a host: when the machine wants to be called later than that, the event finds
    /// nothing due and is put off then.
    #[inline]
    pub(super) fn rearm(&mut self, host: usize) {
        let Some(machine) = self.machines[host].as_ref() else {
            return;
        };
        let timeout = machine.poll_timeout();
        let state = &mut self.hosts[host];
        state.timeout = timeout;
        let Some(timeout) = timeout else {
            return;
        };
        let at = state.clock.global(timeout.at).max(self.now);
        if at >= state.timer_at || state.paused {
            return;
        }
        state.timer_at = at;
        state.timer_stamp = state.timer_stamp.wrapping_add(1);
        let late = self.plan.net.timer_late.as_micros();
        let late = if late == 0 {
            0
        } else {
            state.timers += 1;
            Choice::seed(self.plan.seed)
                .on("timer")
                .at(host as u64)
                .at(state.timers)
                .below(late + 1)
        };
        let host = u16::try_from(host).unwrap_or(u16::MAX);
        let stamp = state.timer_stamp;
        self.queue
            .push(at.saturating_add(late), Kind::Timer { host, stamp });
    }

    /// A timer event comes up.
    #[inline]
    pub(super) fn timer(&mut self, host: u16, stamp: u32) -> Flow {
        let host = usize::from(host);
        let state = &mut self.hosts[host];
        if !state.up || state.timer_stamp != stamp {
            return Ok(());
        }
        state.timer_at = u64::MAX;
        if state.paused {
            return Ok(());
        }
        self.expire(host)
    }

    /// Calls the timeout if it is due.
    pub(super) fn expire(&mut self, host: usize) -> Flow {
        let local = self.hosts[host].clock.local(self.now);
        let Some(timeout) = self.hosts[host].timeout.filter(|due| due.at <= local) else {
            self.rearm(host);
            return Ok(());
        };
        if timeout.judges_at.is_some_and(|at| at <= local) {
            self.read_all(host)?;
        }
        if let Some((machine, now)) = self.call(host, "handle_timeout") {
            machine.handle_timeout(now);
        }
        self.drain(host)
    }

    /// Hands over what has arrived on all connections that are being read.
    fn read_all(&mut self, host: usize) -> Flow {
        for index in 0..self.hosts[host].slots.len() {
            if let Some(slot) = self.hosts[host].slots.get(index).copied().flatten() {
                self.receive(host, slot)?;
            }
        }
        Ok(())
    }

    /// A host stands still.
    pub(super) fn pause(&mut self, host: usize) -> Flow {
        if !self.hosts[host].awake() {
            return Ok(());
        }
        self.hosts[host].paused = true;
        let who = self.who(host);
        self.watch
            .see(self.now, &self.machines, &Fact::Paused { who })
    }

    /// A paused host goes on: with outcomes of dials, bytes, ends and strangers in a drawn order,
    /// then with its timer.
    pub(super) fn resume(&mut self, host: usize) -> Flow {
        if !self.hosts[host].up || !self.hosts[host].paused {
            return Ok(());
        }
        let state = &mut self.hosts[host];
        state.paused = false;
        state.timer_at = u64::MAX;
        state.timer_stamp = state.timer_stamp.wrapping_add(1);
        state.resumes += 1;
        let choice = Choice::seed(self.plan.seed)
            .on("resume")
            .at(host as u64)
            .at(state.resumes);
        let mut slots: Vec<Slot> = state.slots.iter().copied().flatten().collect();
        choice.shuffle(&mut slots);
        let who = self.who(host);
        self.watch
            .see(self.now, &self.machines, &Fact::Resumed { who })?;
        for door in 0..self.hosts[host].doors.len() {
            self.accept_all(host, Door(u8::try_from(door).unwrap_or(u8::MAX)))?;
        }
        for slot in slots {
            self.catch_up(host, slot)?;
        }
        if !self.hosts[host].awake() {
            return Ok(());
        }
        self.commit_resumes(host)?;
        if self.hosts[host].stop {
            self.stop(host)?;
        }
        if self.hosts[host].awake() {
            self.rearm(host);
        }
        Ok(())
    }

    /// A side of a host that was paused: what its kernel knows, its machine is told.
    fn catch_up(&mut self, host: usize, slot: Slot) -> Flow {
        let current = self.hosts[host].slot(slot.conn);
        if current.is_none_or(|now| now.link != slot.link) {
            return Ok(());
        }
        let side = &self.links[slot.link].sides[slot.side];
        match side.dialled {
            Some(true) if side.state == State::Waiting => self.connected(slot.link)?,
            Some(false) => return self.dial_failed(slot.link),
            Some(true) | None => {}
        }
        if self.hosts[host].slot(slot.conn).is_none() {
            return Ok(());
        }
        if self.links[slot.link].sides[slot.side].broken {
            return self.break_off(slot.link, slot.side);
        }
        self.receive(host, slot)?;
        match self.hosts[host].slot(slot.conn) {
            Some(slot) => {
                self.pump(host, slot)?;
                self.drain(host)
            }
            None => Ok(()),
        }
    }

    /// A host is asked to end in good order.
    pub(super) fn stop(&mut self, host: usize) -> Flow {
        let state = &mut self.hosts[host];
        if !state.up {
            return Ok(());
        }
        state.stop = state.paused;
        if state.paused {
            return Ok(());
        }
        if let Some((machine, now)) = self.call(host, "handle_shutdown") {
            machine.handle_shutdown(now);
        }
        self.drain(host)
    }

    /// Changes a host's clock; what that makes due comes up at once.
    pub(super) fn set_clock(&mut self, host: usize, set: impl FnOnce(&mut Clock)) {
        if self.hosts[host].up {
            set(&mut self.hosts[host].clock);
            self.rearm(host);
        }
    }

    /// The side's holder, if it is a host that is awake.
    pub(super) fn holder(&self, link: usize, side: usize) -> Option<(usize, Slot)> {
        let held = &self.links[link].sides[side];
        match held.peer {
            Peer::Host(who) => {
                let host = who.host.index();
                let slot = self.hosts[host].slot(held.conn)?;
                (slot.link == link).then_some((host, slot))
            }
            Peer::Client(_) => None,
        }
    }
}
