//! How a link comes to stand: three packets, any of which may be lost, and the door's queue.

use super::host::Slot;
use super::queue::Kind;
use super::{Engine, Flow, World};
use crate::names::{Client, Host, Peer, Who};
use crate::net::link::{Link, State};
use crate::observer::{Cause, Fact, Observer};
use crate::plan::Connects;
use crate::random::Choice;
use chatroom_machine::{Conn, Dialled, Door, Loss, Machine, Place, Remote};

/// How long the first packet of a dial waits for its answer; each further try waits twice as long.
const FIRST_TRY: u64 = 1_000_000;
/// How often it is tried again, as in Linux.
const TRIES: u32 = 6;
/// How long the last packet of a handshake waits when it does not get through.
const LAST_PACKET: u64 = 200_000;

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    /// Takes a free entry for a link, or makes one.
    fn new_link(&mut self, peers: [Peer; 2], door: Door, choice: Choice) -> usize {
        let index = self.free.pop().map_or_else(
            || {
                self.links.push(Link::new());
                self.links.len() - 1
            },
            |index| index as usize,
        );
        let serial = self.serials;
        self.serials += 1;
        self.links[index].begin(serial, peers, door, [0; 2], choice);
        for side in 0..2 {
            self.links[index].pipes[side].capacity = self.capacity(index, side);
        }
        index
    }

    /// How many bytes fit into the direction away from a side.
    pub(super) fn capacity(&self, link: usize, side: usize) -> usize {
        let own = self.way(link, side).map_or(0, |way| way.buffer);
        let bytes = if own == 0 { self.plan.net.buffer } else { own };
        bytes as usize
    }

    /// Gives up a link that matters to nobody any more.
    pub(super) fn release(&mut self, link: usize) {
        let held = &mut self.links[link];
        if held.used && !held.matters() {
            held.used = false;
            held.generation = held.generation.wrapping_add(1);
            if let Ok(index) = u32::try_from(link) {
                self.free.push(index);
            }
        }
    }

    /// A machine dials.
    pub(super) fn dial(&mut self, host: usize, conn: Conn, to: Place) -> Flow {
        let who = self.who(host);
        let target = self
            .world
            .route(who.host, to)
            .filter(|(target, _)| target.index() < self.hosts.len());
        let (at, door) = target.unwrap_or((who.host, Door(0)));
        let way = self.between(who.host, at);
        let way = &mut self.ways[way];
        let nth = way.dials;
        way.dials += 1;
        let choice = Choice::seed(self.plan.seed)
            .on("link")
            .at(host as u64)
            .at(u64::from(at.0))
            .at(nth);
        let other = Who {
            host: at,
            life: self.who(at.index()).life,
        };
        let link = self.new_link([Peer::Host(who), Peer::Host(other)], door, choice);
        self.links[link].sides[0].conn = conn;
        let serial = self.links[link].serial;
        self.bind(
            host,
            Slot {
                conn,
                link,
                side: 0,
            },
        );
        let fact = Fact::Dialling {
            who,
            conn,
            to,
            host: target.map(|(host, _)| host),
            link: serial,
        };
        self.watch.see(self.now, &self.machines, &fact)?;
        let arrival = self.arrival(link, 0);
        let at = self.at(link, 0);
        let packet = match target {
            Some(_) => Kind::Syn(at),
            None => Kind::Refusal(at),
        };
        self.queue.push(arrival, packet);
        Ok(())
    }

    /// A client connects.
    pub(super) fn dial_from_outside(&mut self, client: Client, door: Door, nth: u64) -> usize {
        let choice = Choice::seed(self.plan.seed)
            .on("client")
            .at(u64::from(client.host.0))
            .at(u64::from(client.number))
            .at(nth);
        let other = self.who(client.host.index());
        let link = self.new_link([Peer::Client(client), Peer::Host(other)], door, choice);
        let arrival = self.arrival(link, 0);
        let at = self.at(link, 0);
        self.queue.push(arrival, Kind::Syn(at));
        link
    }

    /// The host that was dialled.
    fn dialled_host(&self, link: usize) -> usize {
        self.links[link].host(1).unwrap_or(Host(0)).index()
    }

    /// Tries a lost packet again, or gives up.
    fn try_again(&mut self, link: usize, packet: Kind) {
        let at = self.at(link, 0);
        let held = &mut self.links[link];
        let wait = FIRST_TRY << held.tries;
        held.tries += 1;
        if held.tries > TRIES {
            self.queue.push(self.now, Kind::Refusal(at));
        } else {
            self.queue.push(self.now + wait, packet);
        }
    }

    /// The first packet of a dial comes in.
    pub(super) fn syn(&mut self, link: usize) -> Flow {
        let at = self.at(link, 0);
        let host = self.dialled_host(link);
        let door = self.links[link].door;
        let connects = self.way(link, 0).map_or(Connects::Work, |way| way.connects);
        let net = &self.plan.net;
        let full = self.hosts[host].door(door).queue.len() >= net.backlog as usize;
        let up = self.hosts[host].up;
        let silent = self.hosts[host].dark || connects == Connects::Hang || (up && full);
        if self.blocked(link, 0) || silent {
            self.try_again(link, Kind::Syn(at));
        } else if connects == Connects::Refused || !up {
            let arrival = self.arrival(link, 1);
            self.queue.push(arrival, Kind::Refusal(at));
        } else {
            self.links[link].sides[1].peer = Peer::Host(self.who(host));
            let arrival = self.arrival(link, 1);
            self.queue.push(arrival, Kind::SynAck(at));
        }
        Ok(())
    }

    /// The answer comes in: for the dialler the link stands.
    pub(super) fn syn_ack(&mut self, link: usize) -> Flow {
        let at = self.at(link, 0);
        // Refused already, though its host is paused and has not been told.
        if self.links[link].sides[0].dialled == Some(false) {
            return Ok(());
        }
        if self.blocked(link, 1) {
            self.try_again(link, Kind::SynAck(at));
            return Ok(());
        }
        if self.links[link].sides[0].state != State::Waiting {
            return Ok(());
        }
        self.links[link].sides[1].state = State::Coming;
        let arrival = self.arrival(link, 0);
        // What the dialler sends is carried by or behind this packet.
        self.links[link].pipes[0].hold(arrival);
        self.queue.push(arrival, Kind::Ack(at));
        self.links[link].sides[0].dialled = Some(true);
        match self.links[link].sides[0].peer {
            Peer::Client(client) => self.client_connected(client, link),
            Peer::Host(who) if self.hosts[who.host.index()].paused => Ok(()),
            Peer::Host(_) => self.connected(link),
        }
    }

    /// Tells a dialling machine that it is connected.
    pub(super) fn connected(&mut self, link: usize) -> Flow {
        let Some((host, slot)) = self.holder(link, 0) else {
            return Ok(());
        };
        let who = self.who(host);
        let held = &mut self.links[link];
        held.sides[0].state = State::Live;
        let fact = Fact::Opened {
            who,
            conn: slot.conn,
            link: held.serial,
            peer: held.sides[1].peer,
            door: None,
        };
        self.watch.see(self.now, &self.machines, &fact)?;
        self.report_dial(host, slot.conn, Dialled::Connected)?;
        if self.hosts[host].slot(slot.conn).is_some() {
            self.arm(link, 1);
            self.pump(host, slot)?;
            self.drain(host)?;
        }
        Ok(())
    }

    fn report_dial(&mut self, host: usize, conn: Conn, outcome: Dialled) -> Flow {
        if let Some((machine, now)) = self.call(host, "handle_dialled") {
            // A wrong answer is a breach, which the drain finds.
            let _ = machine.handle_dialled(now, conn, outcome);
        }
        self.drain(host)
    }

    /// A refusal comes in.
    pub(super) fn refusal(&mut self, link: usize) -> Flow {
        let at = self.at(link, 0);
        let held = &mut self.links[link];
        if held.sides[0].state != State::Waiting {
            return Ok(());
        }
        if held.tries <= TRIES && self.blocked(link, 1) {
            self.try_again(link, Kind::Syn(at));
            return Ok(());
        }
        self.links[link].sides[0].dialled = Some(false);
        match self.links[link].sides[0].peer {
            Peer::Client(client) => self.client_lost(client, Loss::Broken),
            Peer::Host(who) if self.hosts[who.host.index()].paused => Ok(()),
            Peer::Host(_) => self.dial_failed(link),
        }
    }

    /// Tells a dialling machine that there is no connection.
    pub(super) fn dial_failed(&mut self, link: usize) -> Flow {
        let Some((host, slot)) = self.holder(link, 0) else {
            return Ok(());
        };
        let fact = Fact::DialFailed {
            who: self.who(host),
            conn: slot.conn,
            link: self.links[link].serial,
        };
        self.links[link].sides[0].state = State::Gone;
        self.release(link);
        self.hosts[host].unbind(slot.conn);
        self.watch.see(self.now, &self.machines, &fact)?;
        self.report_dial(host, slot.conn, Dialled::Failed)
    }

    /// The last packet of a handshake comes in: the link waits at the door.
    pub(super) fn ack(&mut self, link: usize) -> Flow {
        if self.links[link].sides[1].state != State::Coming {
            return Ok(());
        }
        if self.blocked(link, 0) {
            let at = self.at(link, 0);
            self.queue.push(self.now + LAST_PACKET, Kind::Ack(at));
            return Ok(());
        }
        let host = self.dialled_host(link);
        if self.hosts[host].dark {
            self.links[link].sides[1].state = State::Dark;
            self.release(link);
            return Ok(());
        }
        let same = self.links[link].sides[1].peer == Peer::Host(self.who(host));
        if !self.hosts[host].up || !same {
            self.links[link].sides[0].cause = Cause::Unknown;
            self.send_reset(link, 1);
            return Ok(());
        }
        self.links[link].sides[1].state = State::Queued;
        let door = self.links[link].door;
        self.hosts[host].door(door).queue.push_back(link);
        self.accept_all(host, door)
    }

    /// A host looks at a door's queue.
    pub(super) fn accept(&mut self, host: u16, door: Door) -> Flow {
        self.accept_all(usize::from(host), door)
    }

    /// Hands all that wait at an open door to a machine that is awake.
    pub(super) fn accept_all(&mut self, host: usize, door: Door) -> Flow {
        while self.hosts[host].awake() && !self.hosts[host].door(door).shut {
            let Some(link) = self.hosts[host].door(door).queue.front().copied() else {
                break;
            };
            if self.hosts[host].starved {
                if let Some((machine, now)) = self.call(host, "handle_starved") {
                    machine.handle_starved(now, door);
                }
                // It shuts the listener: else that is a breach.
                return self.drain(host);
            }
            self.hosts[host].door(door).queue.pop_front();
            self.accept_one(host, door, link)?;
        }
        Ok(())
    }

    /// What a driver would know of the dialler of a link that waits in a queue. A host and its
    /// clients are different sources.
    fn remote(&self, link: usize) -> Remote {
        let held = &self.links[link];
        let source = match held.sides[0].peer {
            Peer::Host(who) => 1 << 32 | u128::from(who.host.0),
            Peer::Client(client) => 2 << 32 | u128::from(client.host.0),
        };
        Remote {
            source,
            gone: held.sides[1].broken || held.pipes[0].end_arrived(self.now),
        }
    }

    fn accept_one(&mut self, host: usize, door: Door, link: usize) -> Flow {
        let who = self.who(host);
        let remote = self.remote(link);
        let Some((machine, now)) = self.call(host, "handle_accepted") else {
            return Ok(());
        };
        let answer = machine.handle_accepted(now, door, remote);
        self.keeps_contract(host)?;
        match answer {
            Ok(conn) => {
                self.bind(
                    host,
                    Slot {
                        conn,
                        link,
                        side: 1,
                    },
                );
                let held = &mut self.links[link];
                held.sides[1].conn = conn;
                held.sides[1].state = State::Live;
                let fact = Fact::Opened {
                    who,
                    conn,
                    link: held.serial,
                    peer: held.sides[0].peer,
                    door: Some(door),
                };
                self.watch.see(self.now, &self.machines, &fact)?;
            }
            Err(_) => {
                let fact = Fact::TurnedAway {
                    who,
                    door,
                    link: self.links[link].serial,
                };
                self.watch.see(self.now, &self.machines, &fact)?;
                self.drop_side(link, 1);
                return self.drain(host);
            }
        }
        self.drain(host)?;
        let side = &self.links[link].sides[1];
        if side.state == State::Live {
            if side.broken {
                return self.break_off(link, 1);
            }
            // What it has sent is handed over before the next one is accepted.
            if let Some((host, slot)) = self.holder(link, 1) {
                return self.receive(host, slot);
            }
        }
        Ok(())
    }
}
