//! What the plan does to the grid.

use super::{Engine, Flow, World};
use crate::net::way::WayState;
use crate::observer::{Ending, Fact, Observer};
use crate::plan::{Change, Connects, Way};

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    /// Makes a change; one that makes no sense now does nothing.
    pub(super) fn change(&mut self, change: &Change) -> Flow {
        self.watch
            .see(self.now, &self.machines, &Fact::Change { change })?;
        match change {
            Change::Start(host) => self.start(host.index()),
            Change::Kill(host, fate) => self.end(host.index(), Ending::Killed(*fate)),
            Change::Pause(host) => self.pause(host.index()),
            Change::Resume(host) => self.resume(host.index()),
            Change::Stop(host) => self.stop(host.index()),
            Change::Jump(host, by) => {
                let now = self.now;
                self.set_clock(host.index(), |clock| clock.jump(now, by.as_micros()));
                Ok(())
            }
            Change::Drift(host, ppm) => {
                let now = self.now;
                self.set_clock(host.index(), |clock| clock.drift(now, *ppm));
                Ok(())
            }
            Change::Starve(host, on) => self.starve(host.index(), *on),
            Change::Cut(way) => {
                self.each_way(*way, |state| state.cut = true);
                Ok(())
            }
            Change::Clog(way) => {
                self.each_way(*way, |state| state.clogged = true);
                Ok(())
            }
            Change::Mend(way) => {
                self.each_way(*way, |state| state.cut = false);
                self.unblock(Some(*way), true);
                Ok(())
            }
            Change::Unclog(way) => {
                self.each_way(*way, |state| state.clogged = false);
                self.unblock(Some(*way), false);
                Ok(())
            }
            Change::Lag(way, by) => {
                self.each_way(*way, |state| state.lag = by.as_micros());
                Ok(())
            }
            Change::Connects(way, connects) => {
                self.each_way(*way, |state| state.connects = *connects);
                Ok(())
            }
            Change::Damage(way, permille) => {
                self.each_way(*way, |state| state.damage = *permille);
                Ok(())
            }
            Change::Buffer(way, bytes) => {
                self.each_way(*way, |state| state.buffer = *bytes);
                self.set_buffers();
                Ok(())
            }
            Change::Reset(way) => {
                self.tear(*way, true);
                Ok(())
            }
            Change::HalfOpen(way) => {
                self.tear(*way, false);
                Ok(())
            }
            Change::Disk(host, fault) => self.disk_fault(*host, *fault),
            Change::Heal => self.heal(),
            Change::Open(client, door) => self.client_open(*client, *door),
            Change::Say(client, bytes) => self.client_say(*client, bytes),
            Change::Finish(client) => self.client_finish(*client),
            Change::Leave(client) => self.client_leave(*client),
            Change::Deaf(client, deaf) => {
                self.client_deaf(*client, *deaf);
                Ok(())
            }
        }
    }

    fn each_way(&mut self, way: Way, set: impl Fn(&mut WayState)) {
        let there = self.between(way.from, way.to);
        set(&mut self.ways[there]);
        if way.both {
            let back = self.between(way.to, way.from);
            set(&mut self.ways[back]);
        }
    }

    /// Whether what leaves a side goes that way.
    fn goes(&self, link: usize, side: usize, way: Way) -> bool {
        let link = &self.links[link];
        let from = link.host(side);
        let to = link.host(1 - side);
        let there = from == Some(way.from) && to == Some(way.to);
        let back = from == Some(way.to) && to == Some(way.from);
        link.used && (there || (way.both && back))
    }

    /// What was held up on a way (or on all) goes on: sent again, or let through as it is.
    fn unblock(&mut self, way: Option<Way>, again: bool) {
        for link in 0..self.links.len() {
            for side in 0..2 {
                let meant = way.map_or(self.links[link].used, |way| self.goes(link, side, way));
                // Nothing ever holds up what a client sent or is sent.
                let between_hosts = self.way(link, side).is_some();
                if !meant || !between_hosts || self.blocked(link, side) {
                    continue;
                }
                if again {
                    self.send_again(link, side);
                } else {
                    self.arm(link, side);
                }
            }
        }
    }

    fn set_buffers(&mut self) {
        for link in 0..self.links.len() {
            for side in 0..2 {
                if !self.links[link].used {
                    continue;
                }
                let capacity = self.capacity(link, side);
                self.links[link].pipes[side].capacity = capacity;
                if self.links[link].pipes[side].room() > 0 {
                    self.made_room(link, side);
                }
            }
        }
    }

    /// Breaks all links between two hosts: what is under way on them is lost from some byte on.
    fn tear(&mut self, way: Way, tell_both: bool) {
        let both = Way { both: true, ..way };
        for link in 0..self.links.len() {
            if !self.goes(link, 0, both) {
                continue;
            }
            for side in 0..2 {
                let pipe = &mut self.links[link].pipes[side];
                if pipe.severed {
                    continue;
                }
                let choice = pipe.draw();
                pipe.truncate(self.now, choice);
                if tell_both || self.links[link].host(side) == Some(way.to) {
                    self.plan_reset(link, side);
                }
            }
            for pipe in &mut self.links[link].pipes {
                pipe.severed = true;
            }
        }
    }

    fn starve(&mut self, host: usize, on: bool) -> Flow {
        self.hosts[host].starved = on;
        for door in 0..self.hosts[host].doors.len() {
            if !on && let Ok(door) = u8::try_from(door) {
                self.look_at_door(host, chatroom_machine::Door(door));
            }
        }
        Ok(())
    }

    /// Every fault of the network ends, and paused hosts go on; clocks run true.
    fn heal(&mut self) -> Flow {
        for way in &mut self.ways {
            way.cut = false;
            way.clogged = false;
            way.connects = Connects::Work;
            way.lag = 0;
            way.damage = 0;
            way.buffer = 0;
        }
        self.unblock(None, true);
        self.set_buffers();
        for host in 0..self.hosts.len() {
            let now = self.now;
            self.set_clock(host, |clock| clock.drift(now, 0));
            self.heal_disk(host);
            self.starve(host, false)?;
            self.resume(host)?;
        }
        Ok(())
    }
}
