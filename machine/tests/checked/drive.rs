//! A small correct driver that does what its input says, and breaks one rule when told to.

use crate::echo::{Echo, Says};
use chatroom_machine::{
    Action, Checked, Checks, Conn, Dialled, Door, Loss, Machine, Remote, Rule, Side, Span, Time,
    gather,
};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialling,
    Open,
    Finished,
}

/// What a driver knows of a connection.
#[derive(Clone, Copy, Debug)]
struct Socket {
    stage: Stage,
    paused: bool,
}

pub(crate) struct Driver<'a> {
    input: &'a [u8],
    fault: Option<Rule>,
    pub(crate) machine: Checked<Echo>,
    now: Time,
    sockets: BTreeMap<Conn, Socket>,
    closed: Option<Conn>,
    shut: bool,
    pub(crate) halted: bool,
}

/// Has the machine and the driver run on `input`; gives the first rule that is broken.
pub(crate) fn run(fault: Option<Rule>, input: &[u8], checks: Checks) -> Option<Rule> {
    let of = |side| fault.filter(|rule| rule.side() == side);
    let mut driver = Driver {
        input,
        fault: of(Side::Driver),
        machine: Checked::new(Echo::new(of(Side::Machine)), checks),
        now: Time::ZERO,
        sockets: BTreeMap::new(),
        closed: None,
        shut: false,
        halted: false,
    };
    driver.begin();
    while !driver.input.is_empty() && driver.machine.breaches().is_empty() {
        driver.step();
    }
    driver.drain();
    driver.machine.breaches().first().map(|breach| breach.rule)
}

impl Driver<'_> {
    fn byte(&mut self) -> usize {
        match self.input.split_first() {
            Some((&byte, rest)) => {
                self.input = rest;
                usize::from(byte)
            }
            None => 0,
        }
    }

    fn breaks(&self, rule: Rule) -> bool {
        self.fault == Some(rule)
    }

    fn begin(&mut self) {
        if self.breaks(Rule::CallBeforeStart) {
            self.machine.handle_timeout(self.now);
        }
        self.machine.handle_start(self.now);
    }

    fn pick(&mut self, stages: &[Stage]) -> Option<(Conn, Socket)> {
        let which = self.byte();
        let fit = self
            .sockets
            .iter()
            .filter(|(_, it)| stages.contains(&it.stage));
        let fit: Vec<_> = fit.map(|(conn, socket)| (*conn, *socket)).collect();
        fit.get(which % fit.len().max(1)).copied()
    }

    /// How right calls are answered is the checker's business.
    fn step(&mut self) {
        let kind = self.byte() % 16;
        if self.halted && !self.breaks(Rule::CallAfterHalt) {
            match kind {
                0 => self.machine.handle_start(self.now),
                1 => self.machine.handle_timeout(self.now),
                2 => self.machine.handle_shutdown(self.now),
                _ => {}
            }
            return self.drain();
        }
        match kind {
            0 | 1 if !self.shut || self.breaks(Rule::AcceptedWhileShut) => {
                let remote = Remote::default();
                if let Ok(conn) = self.machine.handle_accepted(self.now, Door(0), remote) {
                    let socket = Socket {
                        stage: Stage::Open,
                        paused: false,
                    };
                    self.sockets.insert(conn, socket);
                }
            }
            2 if !self.shut => self.machine.handle_starved(self.now, Door(0)),
            3 => {
                if let Some((conn, _)) = self.pick(&[Stage::Dialling]) {
                    let connects = !self.byte().is_multiple_of(3);
                    let outcome = match connects {
                        true => Dialled::Connected,
                        false => Dialled::Failed,
                    };
                    match (self.sockets.get_mut(&conn), connects) {
                        (Some(socket), true) => socket.stage = Stage::Open,
                        _ => drop(self.sockets.remove(&conn)),
                    }
                    let _ = self.machine.handle_dialled(self.now, conn, outcome);
                }
            }
            4..=7 => self.read(),
            8 | 9 => {
                if let Some((conn, _)) = self.pick(&[Stage::Open, Stage::Finished]) {
                    self.send(conn);
                }
            }
            10 => {
                if let Some((conn, socket)) = self.pick(&[Stage::Open])
                    && (!socket.paused || self.breaks(Rule::ReadWhilePaused))
                {
                    self.sockets
                        .entry(conn)
                        .and_modify(|it| it.stage = Stage::Finished);
                    let _ = self.machine.handle_lost(self.now, conn, Loss::Finished);
                }
            }
            11 => {
                if let Some((conn, _)) = self.pick(&[Stage::Open, Stage::Finished]) {
                    self.sockets.remove(&conn);
                    let _ = self.machine.handle_lost(self.now, conn, Loss::Broken);
                }
            }
            12 => {
                let early = self.breaks(Rule::TimeWentBack) && self.now > Time::ZERO;
                let by = Span::from_millis(u64::from(early));
                self.machine.handle_timeout(self.now - by);
            }
            13 | 14 => {
                let next = self.machine.poll_timeout().map_or(self.now, |next| next.at);
                let ms = self.byte() as u64 / 8;
                self.now = self.now.max(next.min(self.now + Span::from_millis(8 * ms)));
                self.machine.handle_timeout(self.now);
            }
            15 if self.byte() > 250 => self.machine.handle_shutdown(self.now),
            15 if self.byte() < 20 => self.machine.handle_start(self.now),
            _ => {}
        }
        // Now and then it drains late.
        if self.byte() > 40 {
            self.drain();
        }
    }

    fn read(&mut self) {
        let bytes = match self.byte() {
            255 => &b"crash!"[..],
            240.. => b"q",
            other => &b"abcdefghijklmnoprstuvwxyz"[..other % 25],
        };
        if let Some(dead) = self.closed.filter(|_| self.breaks(Rule::CallOnDead)) {
            let _ = self.machine.handle_bytes(self.now, dead, bytes);
        }
        let open = match self.fault {
            Some(Rule::CallInWrongState) => &[Stage::Open, Stage::Finished, Stage::Dialling][..],
            _ => &[Stage::Open],
        };
        if let Some((conn, socket)) = self.pick(open)
            && (!socket.paused || self.breaks(Rule::ReadWhilePaused))
        {
            let _ = self.machine.handle_bytes(self.now, conn, bytes);
        } else if self.halted {
            let _ = self.machine.handle_bytes(self.now, Conn::new(0, 0), bytes);
        }
    }

    fn send(&mut self, conn: Conn) {
        let most = self.byte();
        let count = gather(&self.machine, conn, most).len();
        let count = count + usize::from(self.breaks(Rule::SentTooMuch));
        if count > 0 {
            let _ = self.machine.handle_sent(self.now, conn, count);
        }
    }

    fn drain(&mut self) {
        while self.machine.breaches().is_empty()
            && let Some(action) = self.machine.poll()
        {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action<Says>) {
        match action {
            Action::Dial { conn, .. } => {
                let socket = Socket {
                    stage: Stage::Dialling,
                    paused: false,
                };
                self.sockets.insert(conn, socket);
            }
            Action::Send(conn) if self.sockets.contains_key(&conn) => {
                let dialling = self.sockets[&conn].stage == Stage::Dialling;
                if !dialling && self.byte() > 100 {
                    self.send(conn);
                }
            }
            Action::Pause(conn) => {
                self.sockets.entry(conn).and_modify(|it| it.paused = true);
            }
            Action::Resume(conn) => {
                self.sockets.entry(conn).and_modify(|it| it.paused = false);
            }
            Action::Close(conn) => {
                self.sockets.remove(&conn);
                self.closed = Some(conn);
            }
            Action::Shut(_) => self.shut = true,
            Action::Open(_) => self.shut = false,
            Action::Halt(_) => {
                self.halted = true;
                self.sockets.clear();
            }
            Action::Send(_) | Action::Notice(_) => {}
            Action::Store(_) | Action::Discard { .. } => panic!("the echo has no volumes"),
        }
    }
}
