//! A server of a grid: a protocol on top of a mesh and its clients, in front of a driver.

mod calls;

use crate::clients::Clients;
use crate::config::{Config, ConfigError, Limits, SHUTDOWN};
use crate::counters::{Counters, Gauges};
use crate::frame::TooLong;
use crate::http;
use crate::mesh::{Mesh, Report};
use crate::news::{News, Why};
use crate::outputs::Outputs;
use crate::protocol::{Context, Protocol, Receipt};
use crate::slots::{Owner, Slots};
use crate::timers::Timer;
use crate::volumes::Volumes;
use alloc::format;
use alloc::vec::Vec;
use chatroom_machine::{Action, Conn, Door, Halt, Misuse, Time};

/// The listener at which other servers connect.
pub const LINKS: Door = Door(0);
/// The listener at which clients connect.
pub const MASTERS: Door = Door(1);

/// One server of a grid that runs the protocol `P`. See [`Machine`](chatroom_machine::Machine) for
/// how to drive it.
///
/// It can be copied and hashed, so that an explorer of states can go back to one and know it again.
#[derive(Clone, Debug, Hash)]
pub struct Node<P: Protocol> {
    id: u32,
    limits: Limits,
    out: Outputs<P::Event>,
    mesh: Mesh,
    clients: Clients,
    volumes: Volumes,
    protocol: P,
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

impl<P: Protocol> Node<P> {
    /// Makes a server that has done nothing yet.
    ///
    /// # Errors
    /// [`ConfigError`] names a value of `config` that is out of its bounds.
    pub fn new(config: Config<P::Options>) -> Result<Self, ConfigError> {
        Self::check(&config)?;
        Ok(Self {
            id: config.id,
            out: Outputs::new(&config),
            mesh: Mesh::new(&config, P::WORD, P::RESUMES),
            clients: Clients::new(&config.limits, P::longest_command(&config.limits)),
            volumes: Volumes::new(P::VOLUMES),
            protocol: P::new(&config),
            limits: config.limits,
            phase: Phase::Running,
            started: false,
        })
    }

    /// Whether a server can be made of `config`.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that is out of its bounds.
    pub fn check(config: &Config<P::Options>) -> Result<(), ConfigError> {
        config.check(P::WORD, P::longest_published(&config.limits))?;
        let least = P::longest_message() as u64;
        ConfigError::limit("text", config.limits.text as u64, least, 1 << 30)?;
        P::check(&config.protocol)
    }

    /// Its own id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The protocol's state.
    #[must_use]
    pub const fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Sums since it began.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// How things stand now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            peers: self.mesh.up_count(),
            nameless: self.out.gates()[0].newcomers(),
            masters: self.clients.count(),
            lag_bytes: self.mesh.lag(),
            owed_bytes: self.clients.owed(),
        }
    }

    /// The own id and those of the peers that are up, ascending.
    #[must_use]
    pub fn alive(&self) -> Vec<u32> {
        self.mesh.alive()
    }

    /// Takes in the moment of a call. Every call comes within a heartbeat of the one before,
    /// unless this process did not run.
    fn set_now(&mut self, now: Time) {
        let gap = now.since(self.out.now);
        self.out.now = self.out.now.max(now);
        if self.started && self.mesh.was_away(gap) {
            self.mesh.excuse(now);
        }
    }

    fn owner(&self, conn: Conn) -> Result<Owner, Misuse> {
        self.out.slots.owner(conn)
    }

    /// Has the protocol do something.
    fn with<R>(&mut self, call: impl FnOnce(&mut P, &mut Context<'_, P::Event>) -> R) -> R {
        let mut cx = Context {
            out: &mut self.out,
            mesh: &mut self.mesh,
            clients: &mut self.clients,
            volumes: &mut self.volumes,
        };
        let result = call(&mut self.protocol, &mut cx);
        if self.out.crashed {
            self.crash();
        }
        result
    }

    /// Tells the protocol what became of links, and reads those that waited.
    fn dispatch(&mut self) {
        while self.phase != Phase::Halted
            && let Some(report) = self.mesh.report()
        {
            match report {
                Report::Up(peer) => self.with(|protocol, cx| protocol.peer_up(cx, peer)),
                Report::Lost(peer, count) => {
                    let missed = &mut self.out.counters.missed;
                    *missed = missed.saturating_add(count);
                    self.with(|protocol, cx| protocol.lost(cx, peer, count));
                }
                Report::Down(peer) => self.with(|protocol, cx| protocol.peer_down(cx, peer)),
                Report::Promoted(conn) => {
                    let unprocessed = self.mesh.unprocessed(conn);
                    self.read_link(conn, &unprocessed);
                }
            }
        }
    }

    /// Does what the lines say that `bytes` complete. What is to be reported of the last of them is
    /// left to the caller, since one link that ends may have the next one read.
    #[inline]
    fn read_link(&mut self, conn: Conn, mut bytes: &[u8]) {
        let Some(mut reader) = self.mesh.reader(conn) else {
            return;
        };
        // Nearly always all of it is UTF-8; then no line that lies in it needs a look of its own.
        let clean = core::str::from_utf8(bytes).is_ok();
        let why = loop {
            let within = clean && reader.framer.is_empty();
            let line = match reader.framer.next(&mut bytes) {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.mesh.put_back(conn, reader);
                    return;
                }
                Err(TooLong) => break Why::TooLong,
            };
            if reader.unidentified && !(reader.gone && line.starts_with(b"ping ")) {
                reader.unidentified = false;
                if let Some(peer) = self.mesh.contends(conn, line) {
                    let unprocessed = [line, b"\n", bytes].concat();
                    return self.mesh.contend(&mut self.out, conn, peer, unprocessed);
                }
            }
            match self.mesh.handle_line(&mut self.out, conn, line, within) {
                Ok(message) => {
                    if self.mesh.has_reports() {
                        self.dispatch();
                        if self.phase == Phase::Halted {
                            return;
                        }
                    }
                    if let Some((peer, body)) = message {
                        let result =
                            self.with(|protocol, cx| protocol.message(cx, peer, conn, body));
                        match result {
                            Ok(Receipt::Kept) => self.out.counters.deliveries += 1,
                            Ok(Receipt::Missed) => self.out.counters.missed += 1,
                            Err(why) => break why,
                        }
                        if self.phase == Phase::Halted {
                            return;
                        }
                    }
                    reader.framer.done();
                }
                Err(why) => break why,
            }
        };
        self.mesh.end(&mut self.out, conn, why, false);
    }

    /// Does what a client says until a reply that it owes reading stops it, or until it has to
    /// wait for a place.
    fn read_client(&mut self, conn: Conn, mut bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        let mut framer = core::mem::take(&mut client.framer);
        let mut skipping = client.skipping;
        let (broadcasts, cost) = (self.out.counters.broadcasts, self.volumes.cost());
        loop {
            if skipping {
                skipping = !framer.skip(&mut bytes);
                if skipping {
                    break;
                }
            }
            if self.clients.backpressured(conn) && !bytes.is_empty() {
                if let Some(client) = self.clients.get_mut(conn) {
                    client.unprocessed = bytes.to_vec();
                }
                break;
            }
            let line = match framer.next(&mut bytes) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(TooLong) => {
                    let most = self.clients.longest();
                    let reason = format!("a line longer than {most} bytes");
                    self.clients.refuse(&mut self.out, conn, &reason);
                    skipping = !framer.skip(&mut bytes);
                    continue;
                }
            };
            if !self.client_line(conn, line) {
                let unprocessed = [line, b"\n", bytes].concat();
                framer.done();
                if let Some(client) = self.clients.get_mut(conn)
                    && client.waits_for_place()
                {
                    client.unprocessed = unprocessed;
                }
                break;
            }
            framer.done();
            let gone = self.clients.at(conn.slot()).is_none();
            if gone || self.phase == Phase::Halted {
                return;
            }
        }
        let spoke = self.out.counters.broadcasts != broadcasts || self.volumes.cost() > cost;
        let congested = spoke && (self.stores() || self.mesh.congested(self.out.now).is_some());
        let backpressured = self.clients.backpressured(conn);
        if let Some(client) = self.clients.get_mut(conn) {
            client.framer = framer;
            client.skipping = skipping;
            client.congesting |= congested;
            if congested || backpressured {
                self.clients.pause(&mut self.out, conn);
            }
        }
    }

    /// Does what one line of a client says. False if the client needs a place first.
    fn client_line(&mut self, conn: Conn, line: &[u8]) -> bool {
        let Ok(text) = core::str::from_utf8(trimmed(line)) else {
            self.clients
                .refuse(&mut self.out, conn, "the line is not UTF-8");
            return true;
        };
        match P::parse(&self.limits, text) {
            Ok(command) => {
                if !self.clients.place(&mut self.out, conn) {
                    return false;
                }
                self.with(|protocol, cx| protocol.command(cx, conn, command));
                self.dispatch();
            }
            Err(_) if http::is_request(text) => {
                self.clients.end(&mut self.out, conn, Why::Http, false);
            }
            Err(reason) => self.clients.refuse(&mut self.out, conn, &reason),
        }
        true
    }

    /// Ends at once, as a killed process would.
    fn crash(&mut self) {
        // What happened before is told of; nothing of it is sent any more.
        let out = &mut self.out;
        out.actions.retain(|a| matches!(a, Action::Notice(_)));
        out.timers.clear();
        out.slots = Slots::default();
        out.push(Action::Halt(Halt::Crash));
        out.crashed = false;
        self.phase = Phase::Halted;
    }

    /// Lets go on who waited, once what it waited for has come; ends when all is flushed.
    fn settle(&mut self) {
        self.dispatch();
        if self.phase == Phase::Halted {
            return;
        }
        if core::mem::take(&mut self.out.shutdown) && self.phase == Phase::Running {
            self.begin_shutdown();
        }
        let timeout = self.protocol.next_timeout();
        self.out.timers.set(Timer::Protocol, timeout);
        if self.phase == Phase::Ending {
            let stored = self.volumes.cost() == 0;
            if stored && !self.mesh.owes() && self.clients.owed() == 0 {
                // Who watches is owed this as well.
                self.with(P::ending);
                if self.clients.owed() == 0 && self.phase == Phase::Ending {
                    self.halt(Halt::Done);
                }
            }
            return;
        }
        if !self.clients.waiting.is_empty() {
            self.settle_clients();
        }
        // What one of them had sent before may have been a `crash`.
        if self.phase == Phase::Running {
            self.out.settle_gates();
        }
    }

    /// Whether so much is unsaved that clients have to wait.
    const fn stores(&self) -> bool {
        self.volumes.cost() > self.limits.high_water
    }

    fn settle_clients(&mut self) {
        let mut until = self.mesh.congested(self.out.now);
        let mut waits = false;
        let mut next = 0;
        while let Some(&conn) = self.clients.waiting.get(next) {
            next += 1;
            let client = self.clients.at(conn.slot());
            let Some(client) = client.filter(|c| c.conn == conn && c.paused) else {
                continue;
            };
            if client.is_dismissed() {
                continue;
            }
            if client.congesting && (until.is_some() || self.stores()) {
                waits = true;
                continue;
            }
            if !self.clients.has_read(conn) {
                continue;
            }
            if client.waits_for_place() && !self.clients.place(&mut self.out, conn) {
                continue;
            }
            if let Some(client) = self.clients.get_mut(conn) {
                client.congesting = false;
                let unprocessed = core::mem::take(&mut client.unprocessed);
                self.read_client(conn, &unprocessed);
            }
            if self.phase == Phase::Halted {
                return;
            }
            until = self.mesh.congested(self.out.now);
            let backpressured = self.clients.backpressured(conn);
            if let Some(client) = self.clients.get_mut(conn) {
                if client.congesting {
                    waits = true;
                } else if client.is_dismissed() || client.waits_for_place() {
                } else if client.finished && client.unprocessed.is_empty() && client.owed() == 0 {
                    self.clients.end(&mut self.out, conn, Why::Finished, false);
                } else if !backpressured && !client.finished {
                    self.clients.resume(&mut self.out, conn);
                }
            }
        }
        self.clients.forget_resumed();
        let until = until.filter(|_| waits);
        self.out.timers.set(Timer::Stall, until);
    }

    /// Begins the end in good order: nobody new is taken in, and what was accepted is flushed.
    fn begin_shutdown(&mut self) {
        self.phase = Phase::Ending;
        let out = &mut self.out;
        out.emit(News::Ending);
        for owner in [Owner::Mesh, Owner::Clients] {
            out.gate(owner).close();
        }
        out.settle_gates();
        self.mesh.retire(out);
        self.clients.retire(out);
        out.timers.by(Timer::Shutdown, out.now + SHUTDOWN);
    }

    /// The end in good order: everything is closed.
    fn halt(&mut self, how: Halt) {
        self.with(P::ending);
        if self.phase != Phase::Halted {
            self.mesh.leave(&mut self.out, Why::Ending);
            self.dispatch();
        }
        // The protocol may have crashed.
        if self.phase == Phase::Halted {
            return;
        }
        for slot in 0..self.clients.slots() {
            if let Some(client) = self.clients.at(slot) {
                let conn = client.conn;
                self.clients.end(&mut self.out, conn, Why::Ending, false);
            }
        }
        self.out.timers.clear();
        self.out.push(Action::Halt(how));
        self.phase = Phase::Halted;
    }
}

/// The line without the white space at its ends; a vertical tab counts, as it does not for
/// [`trim_ascii`](slice::trim_ascii).
fn trimmed(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | 0x0b | 0x0c, rest @ ..]
    | [rest @ .., b' ' | b'\t' | b'\r' | 0x0b | 0x0c] = line
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::trimmed;

    #[test]
    fn white_space_around_a_line_goes_and_blanks_inside_stay() {
        assert_eq!(trimmed(b" \tget\r"), b"get");
        assert_eq!(trimmed(b"\x0b\x0ca  b\x0c\x0b"), b"a  b");
        assert_eq!(trimmed(b" \r"), b"");
    }
}
