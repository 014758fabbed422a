//! The calls of a driver: each goes to the layer that has the connection, then the node settles.

use super::{LINKS, MASTERS, Node, Phase};
use crate::news::{News, Why};
use crate::protocol::Protocol;
use crate::slots::Owner;
use crate::timers::Timer;
use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Misuse, Refused, Remote, Time, Timeout,
    Volume, VolumeId,
};

/// The timers that judge a connection by what it has not said: a driver reads from all before.
const JUDGING: [Timer; 6] = [
    Timer::Silence,
    Timer::Greeting,
    Timer::Evict,
    Timer::Contest,
    Timer::Place,
    Timer::Hello,
];

/// Who takes what is accepted at a listener.
const fn owner_behind(door: Door) -> Option<Owner> {
    match door {
        LINKS => Some(Owner::Mesh),
        MASTERS => Some(Owner::Clients),
        Door(_) => None,
    }
}

impl<P: Protocol> Machine for Node<P> {
    type Notice = News<P::Event>;

    fn handle_start(&mut self, now: Time) {
        self.set_now(now);
        if self.started || self.phase != Phase::Running {
            return;
        }
        self.started = true;
        self.mesh.start(&mut self.out);
        self.with(P::start);
        self.settle();
    }

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        self.set_now(now);
        let owner = owner_behind(door).ok_or(Refused)?;
        let out = &mut self.out;
        let conn = match owner {
            _ if self.phase != Phase::Running || !out.gate(owner).has_room() => None,
            Owner::Mesh => self.mesh.handle_accepted(out, remote),
            Owner::Clients => Some(self.clients.handle_accepted(out, remote)),
        };
        match conn {
            Some(_) => out.counters.accepted += 1,
            None => out.counters.refused += 1,
        }
        if self.phase == Phase::Running {
            out.settle_gates();
        }
        conn.ok_or(Refused)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.set_now(now);
        let Some(owner) = owner_behind(door) else {
            return;
        };
        if self.phase != Phase::Running {
            return;
        }
        let out = &mut self.out;
        out.counters.starved += 1;
        let now = out.now;
        if out.gate(owner).starve(now) {
            out.emit(News::Starved { door });
        }
        out.settle_gates();
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.set_now(now);
        match self.owner(conn)? {
            Owner::Mesh => self.mesh.handle_dialled(&mut self.out, conn, outcome),
            Owner::Clients => Err(Misuse::WrongState),
        }
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.set_now(now);
        match self.owner(conn)? {
            Owner::Mesh => {
                if self.mesh.handle_bytes(&mut self.out, conn, bytes)? {
                    self.read_link(conn, bytes);
                    self.dispatch();
                    self.mesh.end_excuse(conn);
                }
            }
            Owner::Clients => match self.clients.get_mut(conn) {
                Some(client) if client.finished => return Err(Misuse::WrongState),
                Some(client) if client.is_dismissed() => {}
                // Read before the pause was heard of: it waits with the rest.
                Some(client) if !client.unprocessed.is_empty() => {
                    client.unprocessed.extend_from_slice(bytes)
                }
                Some(_) | None => {
                    self.clients.hear(&mut self.out, conn);
                    if self.phase == Phase::Running {
                        self.read_client(conn, bytes);
                    }
                }
            },
        }
        self.out.counters.bytes_in += bytes.len() as u64;
        self.settle();
        Ok(())
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.set_now(now);
        match self.owner(conn)? {
            Owner::Mesh => self.mesh.handle_sent(&mut self.out, conn, count)?,
            Owner::Clients => {
                self.clients.handle_sent(&mut self.out, conn, count)?;
            }
        }
        self.out.counters.bytes_out += count as u64;
        self.settle();
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.set_now(now);
        let (out, clients) = (&mut self.out, &mut self.clients);
        match out.slots.owner(conn)? {
            Owner::Mesh => {
                self.mesh.handle_lost(out, conn, loss)?;
            }
            Owner::Clients => match loss {
                Loss::Broken => clients.end(out, conn, Why::Broken, true),
                Loss::Finished => match clients.get_mut(conn) {
                    Some(client) if client.finished => return Err(Misuse::WrongState),
                    Some(client) if client.owed() > 0 || !client.unprocessed.is_empty() => {
                        client.finished = true;
                    }
                    Some(_) | None => clients.end(out, conn, Why::Finished, false),
                },
            },
        }
        self.settle();
        Ok(())
    }

    fn volumes(&self) -> &'static [Volume] {
        P::VOLUMES
    }

    fn handle_recovered(&mut self, now: Time, volume: VolumeId, number: u64, record: &[u8]) {
        self.set_now(now);
        self.protocol.recovered(volume, number, record);
    }

    fn handle_recovery_done(&mut self, now: Time, volume: VolumeId, next: u64) {
        self.set_now(now);
        self.volumes.continue_at(volume, next);
    }

    fn handle_stored(&mut self, now: Time, volume: VolumeId, count: usize) -> Result<(), Misuse> {
        self.set_now(now);
        let next = self.volumes.stored(volume, count)?;
        if self.phase != Phase::Halted {
            self.with(|protocol, cx| protocol.stored(cx, volume, next));
            self.settle();
        }
        Ok(())
    }

    fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        self.volumes.unsaved(volume, skip)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.set_now(now);
        if self.phase == Phase::Halted {
            return;
        }
        let now = self.out.now;
        self.mesh.handle_timeout(&mut self.out);
        self.dispatch();
        let out = &mut self.out;
        if out.timers.fired(Timer::Evict, now) {
            for owner in [Owner::Mesh, Owner::Clients] {
                for conn in out.gate(owner).evict(now) {
                    match owner {
                        Owner::Mesh => self.mesh.end(out, conn, Why::Crowded, false),
                        Owner::Clients => self.clients.end(out, conn, Why::Crowded, false),
                    }
                }
            }
        }
        if out.timers.fired(Timer::Place, now) {
            self.clients.handle_place_timeout(out);
        }
        if out.timers.fired(Timer::Protocol, now) {
            self.with(P::timeout);
        }
        if self.out.timers.fired(Timer::Shutdown, now) {
            self.halt(Halt::Unfinished);
        }
        self.out.timers.fired(Timer::Stall, now);
        if self.out.timers.fired(Timer::Door, now) {
            self.out.touch_gates();
        }
        self.settle();
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.set_now(now);
        if self.phase != Phase::Running {
            return;
        }
        self.begin_shutdown();
        self.settle();
    }

    fn poll(&mut self) -> Option<Action<News<P::Event>>> {
        let action = self.out.actions.pop_front();
        if let Some(Action::Close(conn)) = action {
            self.out.slots.free(conn);
        }
        action
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        match self.owner(conn) {
            Ok(Owner::Mesh) => self.mesh.pending(conn, skip),
            Ok(Owner::Clients) => {
                let shared = |from, to| self.protocol.shared(from, to);
                self.clients.pending(conn, skip, shared)
            }
            Err(_) => &[],
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let timers = &self.out.timers;
        let judges_at = timers.first(&JUDGING);
        if !self.out.actions.is_empty() {
            return Some(Timeout {
                at: self.out.now,
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
