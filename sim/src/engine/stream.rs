//! How bytes and ends move along a link that stands.

use super::host::Slot;
use super::queue::Kind;
use super::{Engine, Flow, World};
use crate::names::Peer;
use crate::net::link::State;
use crate::observer::{Cause, Fact, Observer};
use crate::random::Choice;
use chatroom_machine::{Loss, Machine, gather};

/// The longest that a transport which took only a part of a write waits before it takes the rest.
const SHORT_WRITE_WAIT: u64 = 500;
/// How long the news of room waits when it does not get through.
const WINDOW_PROBE: u64 = 50_000;

// The choices of one write.
const SPLIT: u64 = 0;
const SHORT: u64 = 1;
const SHORT_BY: u64 = 2;
const SHORT_WAIT: u64 = 3;
const PIECES: u64 = 4;
const PIECE: u64 = 16;
const CUT: u64 = 32;
const DAMAGE: u64 = 48;

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    /// Lets the transport take what a machine has pending, as far as there is room.
    pub(super) fn pump(&mut self, host: usize, slot: Slot) -> Flow {
        let Slot { conn, link, side } = slot;
        if self.links[link].sides[side].state != State::Live {
            return Ok(());
        }
        let who = self.who(host);
        self.doing = (who.host.0, "pending");
        loop {
            let Some(machine) = self.machines[host].as_ref() else {
                return Ok(());
            };
            let pipe = &mut self.links[link].pipes[side];
            let room = pipe.room();
            // One byte at least, to know whether there is any.
            let pending = gather(machine, conn, room.max(1));
            if pending.is_empty() {
                return Ok(());
            }
            if room == 0 {
                pipe.writer_waits = true;
                return Ok(());
            }
            let choice = pipe.draw();
            let mut count = pending.len();
            let short = choice.at(SHORT).chance(self.plan.net.short_write);
            if short {
                let part = choice.at(SHORT_BY).between(1, count as u64);
                count = usize::try_from(part).unwrap_or(count);
            }
            let bytes = &pending[..count];
            let offset = pipe.sent;
            pipe.append(bytes);
            let link_serial = self.links[link].serial;
            let fact = Fact::Sent {
                who,
                conn,
                link: link_serial,
                offset,
                bytes,
            };
            self.watch.see(self.now, &self.machines, &fact)?;
            self.transmit(link, side, count, choice);
            if let Some((machine, now)) = self.call(host, "handle_sent")
                && machine.handle_sent(now, conn, count).is_err()
            {
                return self.keeps_contract(host);
            }
            if short {
                let wait = choice.at(SHORT_WAIT).between(1, SHORT_WRITE_WAIT);
                let at = self.at(link, side);
                self.queue.push(self.now + wait, Kind::Room(at));
                return Ok(());
            }
        }
    }

    /// Sends the last `count` appended bytes on their way, whole or in pieces.
    pub(super) fn transmit(&mut self, link: usize, side: usize, count: usize, choice: Choice) {
        if self.links[link].pipes[side].severed {
            return;
        }
        let mut pieces = 1;
        if choice.at(SPLIT).chance(self.plan.net.split) {
            pieces = choice.at(PIECES).between(2, 4);
        }
        let damage = self.way(link, side).map_or(0, |way| way.damage);
        let mut left = count;
        for piece in 0..pieces {
            if left == 0 {
                break;
            }
            let len = if piece + 1 == pieces {
                left
            } else {
                let len = choice.at(CUT + piece).between(1, left as u64);
                usize::try_from(len).unwrap_or(left)
            };
            let at = self.flight(link, side, choice.at(PIECE + piece));
            let pipe = &mut self.links[link].pipes[side];
            let harm = choice.at(DAMAGE + piece);
            if harm.chance(damage) {
                pipe.damage(left, len, harm.at(0));
            }
            pipe.schedule(at, len);
            left -= len;
        }
        self.arm(link, side);
    }

    /// Makes sure that an event comes when the next piece that `side` sent arrives.
    #[inline]
    pub(super) fn arm(&mut self, link: usize, side: usize) {
        let now = self.now;
        let pipe = &mut self.links[link].pipes[side];
        if pipe.armed {
            return;
        }
        if let Some(at) = pipe.next_at() {
            pipe.armed = true;
            let name = self.at(link, side);
            self.queue.push(at.max(now), Kind::Arrive(name));
        }
    }

    /// What was held up by a cut is sent again.
    pub(super) fn send_again(&mut self, link: usize, side: usize) {
        let resend = self.plan.net.resend.as_micros();
        let now = self.now;
        let pipe = &mut self.links[link].pipes[side];
        if pipe.next_at().is_some() && !pipe.armed {
            let wait = pipe.draw().between(1, resend.max(1));
            pipe.hold(now + wait);
            self.arm(link, side);
        }
    }

    /// Something that `side` sent arrives.
    pub(super) fn arrive(&mut self, link: usize, side: usize) -> Flow {
        self.links[link].pipes[side].armed = false;
        if self.blocked(link, side) {
            return Ok(());
        }
        let reader = &self.links[link].sides[1 - side];
        match reader.state {
            State::Waiting | State::Coming | State::Queued | State::Dark => Ok(()),
            State::Gone => {
                self.answer_with_reset(link, 1 - side);
                Ok(())
            }
            State::Live => match reader.peer {
                Peer::Client(client) => self.client_receive(client, link),
                Peer::Host(who) => {
                    let slot = Slot {
                        conn: reader.conn,
                        link,
                        side: 1 - side,
                    };
                    self.receive(who.host.index(), slot)
                }
            },
        }
    }

    /// Bytes came for a side that nobody holds: its kernel says so.
    fn answer_with_reset(&mut self, link: usize, side: usize) {
        let pipe = &mut self.links[link].pipes[1 - side];
        let count = pipe.arrived(self.now, usize::MAX);
        pipe.consume(count);
        if pipe.at_end(self.now) {
            pipe.take_end();
        }
        self.made_room(link, 1 - side);
        self.arm(link, 1 - side);
        if count > 0 {
            self.send_reset(link, side);
        }
    }

    /// Hands a machine what has arrived for it, if it is awake and reads.
    pub(super) fn receive(&mut self, host: usize, slot: Slot) -> Flow {
        let Slot { conn, link, side } = slot;
        let serial = self.links[link].serial;
        let limit = self.plan.net.read as usize;
        loop {
            let held = &self.links[link];
            if held.sides[side].state != State::Live
                || !held.sides[side].reading
                || !self.hosts[host].awake()
                || self.blocked(link, 1 - side)
            {
                return Ok(());
            }
            let count = held.pipes[1 - side].arrived(self.now, limit);
            if count == 0 {
                break;
            }
            let who = self.who(host);
            let pipe = &held.pipes[1 - side];
            let bytes = pipe.front(count);
            let fact = Fact::Received {
                who,
                conn,
                link: serial,
                offset: pipe.read,
                bytes,
            };
            self.watch.see(self.now, &self.machines, &fact)?;
            self.doing = (who.host.0, "handle_bytes");
            let now = self.hosts[host].clock.local(self.now);
            if let Some(machine) = self.machines[host].as_mut() {
                // A wrong answer is a breach, which the drain finds.
                let _ = machine.handle_bytes(now, conn, bytes);
            }
            self.links[link].pipes[1 - side].consume(count);
            self.made_room(link, 1 - side);
            self.drain(host)?;
        }
        if self.links[link].pipes[1 - side].at_end(self.now) {
            self.links[link].pipes[1 - side].take_end();
            self.tell_lost(host, slot, Loss::Finished)?;
        } else {
            self.arm(link, 1 - side);
        }
        Ok(())
    }

    /// Tells a machine that nothing more will come.
    fn tell_lost(&mut self, host: usize, slot: Slot, loss: Loss) -> Flow {
        let held = &self.links[slot.link];
        let fact = Fact::Lost {
            who: self.who(host),
            conn: slot.conn,
            link: held.serial,
            loss,
            cause: held.sides[slot.side].cause,
        };
        self.watch.see(self.now, &self.machines, &fact)?;
        let conn = slot.conn;
        if loss == Loss::Broken {
            self.hosts[host].unbind(conn);
            self.links[slot.link].sides[slot.side].state = State::Gone;
            self.release(slot.link);
        }
        if let Some((machine, now)) = self.call(host, "handle_lost") {
            // A wrong answer is a breach, which the drain finds.
            let _ = machine.handle_lost(now, conn, loss);
        }
        self.drain(host)
    }

    /// The reader took bytes that `side` sent: a writer that waits learns of it once a third of
    /// the buffer is free, as from Linux.
    #[inline]
    pub(super) fn made_room(&mut self, link: usize, side: usize) {
        let pipe = &self.links[link].pipes[side];
        if pipe.writer_waits && pipe.is_writable() {
            self.links[link].pipes[side].writer_waits = false;
            let arrival = self.arrival(link, 1 - side);
            let at = self.at(link, side);
            self.queue.push(arrival, Kind::Room(at));
        }
    }

    /// A writer learns that there is room.
    pub(super) fn room(&mut self, link: usize, side: usize) -> Flow {
        if self.blocked(link, 1 - side) {
            let at = self.at(link, side);
            self.queue.push(self.now + WINDOW_PROBE, Kind::Room(at));
            return Ok(());
        }
        if self.links[link].sides[side].state != State::Live {
            return Ok(());
        }
        if let Peer::Client(client) = self.links[link].sides[side].peer {
            return self.client_pump(client);
        }
        match self.holder(link, side) {
            Some((host, slot)) if self.hosts[host].awake() => {
                self.pump(host, slot)?;
                self.drain(host)
            }
            // What is pending is seen to when the host goes on.
            Some(_) | None => Ok(()),
        }
    }

    /// A machine closes a connection, or calls a dial off.
    pub(super) fn close(&mut self, host: usize, slot: Slot) -> Flow {
        let Slot { conn, link, side } = slot;
        let fact = Fact::Closed {
            who: self.who(host),
            conn,
            link: self.links[link].serial,
        };
        self.hosts[host].unbind(conn);
        let held = &mut self.links[link];
        if held.sides.iter().all(|side| side.state == State::Waiting) {
            held.sides[side].state = State::Gone;
            self.release(link);
        } else {
            self.drop_side(link, side);
        }
        self.watch.see(self.now, &self.machines, &fact)
    }

    /// A side is closed: in order, or, as a kernel does it, with a reset if bytes were left
    /// unread.
    pub(super) fn drop_side(&mut self, link: usize, side: usize) {
        if self.links[link].pipes[1 - side].arrived(self.now, 1) > 0 {
            let pipe = &mut self.links[link].pipes[side];
            let choice = pipe.draw();
            pipe.truncate(self.now, choice);
            self.send_reset(link, side);
        } else {
            self.hang_up(link, side);
        }
    }

    /// A side ends the stream after what it sent, and is held by nobody any more.
    pub(super) fn hang_up(&mut self, link: usize, side: usize) {
        let arrival = self.arrival(link, side);
        let held = &mut self.links[link];
        held.sides[side].state = State::Gone;
        if !held.pipes[side].severed {
            held.pipes[side].finish(arrival);
        }
        self.arm(link, side);
        // What came in after all is answered.
        self.arm(link, 1 - side);
        self.release(link);
    }

    /// A side resets the link, behind what it sent before, and is held by nobody any more.
    pub(super) fn send_reset(&mut self, link: usize, side: usize) {
        let arrival = self.arrival(link, side);
        let held = &mut self.links[link];
        held.sides[side].state = State::Gone;
        if !held.resets[1 - side] && !held.pipes[side].severed {
            held.resets[1 - side] = true;
            let at = arrival.max(held.pipes[side].last_at());
            let name = self.at(link, 1 - side);
            self.queue.push(at, Kind::Reset(name));
        }
        self.arm(link, side);
        self.release(link);
    }

    /// The plan breaks a link: news of it goes to a side.
    pub(super) fn plan_reset(&mut self, link: usize, side: usize) {
        let arrival = self.arrival(link, 1 - side);
        let held = &mut self.links[link];
        held.sides[side].cause = Cause::Plan;
        if !held.resets[side] {
            held.resets[side] = true;
            let at = arrival.max(held.pipes[1 - side].last_at());
            let name = self.at(link, side);
            self.queue.push(at, Kind::Reset(name));
        }
    }

    /// A reset reaches a side.
    pub(super) fn reset(&mut self, link: usize, side: usize) -> Flow {
        self.links[link].resets[side] = false;
        if self.blocked(link, 1 - side) {
            // Lost, and nobody sends it again; but what this side sends is answered with another.
            return Ok(());
        }
        let held = &mut self.links[link];
        match held.sides[side].state {
            State::Gone | State::Dark => Ok(()),
            State::Waiting if side == 0 => self.refusal(link),
            State::Waiting | State::Coming | State::Queued => {
                held.sides[side].broken = true;
                Ok(())
            }
            State::Live => match held.sides[side].peer {
                Peer::Client(client) => self.client_lost(client, Loss::Broken),
                Peer::Host(who) if self.hosts[who.host.index()].paused => {
                    held.sides[side].broken = true;
                    Ok(())
                }
                Peer::Host(_) => self.break_off(link, side),
            },
        }
    }

    /// Tells a machine that a link broke, after what arrived before if it reads.
    pub(super) fn break_off(&mut self, link: usize, side: usize) -> Flow {
        let Some((host, slot)) = self.holder(link, side) else {
            return Ok(());
        };
        self.receive(host, slot)?;
        if self.links[link].sides[side].state == State::Live {
            self.tell_lost(host, slot, Loss::Broken)?;
        }
        Ok(())
    }
}
