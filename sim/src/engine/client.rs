//! Clients from outside: they connect to a door, send what the plan says, and read.

use super::{Engine, Flow, World};
use crate::names::Client;
use crate::net::link::State;
use crate::observer::{Fact, Observer};
use chatroom_machine::{Door, Loss};

/// A client.
#[derive(Debug, Default)]
pub(super) struct ClientState {
    link: Option<usize>,
    /// What it said that the transport did not take yet: `said[taken..]`.
    said: Vec<u8>,
    taken: usize,
    finishing: bool,
    deaf: bool,
    /// How often it connected: part of the next link's key.
    dials: u64,
}

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    fn client(&mut self, client: Client) -> &mut ClientState {
        let clients = &mut self.hosts[client.host.index()].clients;
        let index = usize::from(client.number);
        if clients.len() <= index {
            clients.resize_with(index + 1, ClientState::default);
        }
        &mut clients[index]
    }

    /// A client connects.
    pub(super) fn client_open(&mut self, client: Client, door: Door) -> Flow {
        self.client_leave(client)?;
        let state = self.client(client);
        state.said.clear();
        state.taken = 0;
        state.finishing = false;
        state.deaf = false;
        let nth = state.dials;
        state.dials += 1;
        let link = self.dial_from_outside(client, door, nth);
        self.client(client).link = Some(link);
        Ok(())
    }

    /// A client is connected.
    pub(super) fn client_connected(&mut self, client: Client, link: usize) -> Flow {
        self.links[link].sides[0].state = State::Live;
        let fact = Fact::ClientOpened {
            client,
            link: self.links[link].serial,
        };
        self.watch.see(self.now, &self.machines, &fact)?;
        self.arm(link, 1);
        self.client_pump(client)
    }

    /// A client has something to say.
    pub(super) fn client_say(&mut self, client: Client, bytes: &[u8]) -> Flow {
        let state = self.client(client);
        if state.link.is_none() || state.finishing {
            return Ok(());
        }
        state.said.extend_from_slice(bytes);
        self.client_pump(client)
    }

    /// A client will send no more.
    pub(super) fn client_finish(&mut self, client: Client) -> Flow {
        self.client(client).finishing = true;
        self.client_pump(client)
    }

    /// Lets the transport take what a client has said, as far as there is room.
    pub(super) fn client_pump(&mut self, client: Client) -> Flow {
        let Some(link) = self.client(client).link else {
            return Ok(());
        };
        if self.links[link].sides[0].state != State::Live {
            return Ok(());
        }
        let state = &mut self.hosts[client.host.index()].clients[usize::from(client.number)];
        let left = &state.said[state.taken..];
        let finish = state.finishing;
        let held = &mut self.links[link];
        let pipe = &mut held.pipes[0];
        let count = left.len().min(pipe.room());
        if count < left.len() {
            pipe.writer_waits = true;
        }
        let all = count == left.len();
        if count > 0 {
            let bytes = &left[..count];
            let choice = pipe.draw();
            let fact = Fact::ClientSaid {
                client,
                link: held.serial,
                offset: pipe.sent,
                bytes,
            };
            pipe.append(bytes);
            self.watch.see(self.now, &self.machines, &fact)?;
            state.taken += count;
            if all {
                state.said.clear();
                state.taken = 0;
            }
            self.transmit(link, 0, count, choice);
        }
        if all && finish {
            let arrival = self.arrival(link, 0);
            self.links[link].pipes[0].finish(arrival);
            self.arm(link, 0);
        }
        Ok(())
    }

    /// A client reads nothing from now on, or reads again.
    pub(super) fn client_deaf(&mut self, client: Client, deaf: bool) {
        let state = self.client(client);
        state.deaf = deaf;
        if let Some(link) = state.link.filter(|_| !deaf) {
            self.arm(link, 1);
        }
    }

    /// What has arrived for a client that listens.
    pub(super) fn client_receive(&mut self, client: Client, link: usize) -> Flow {
        if self.client(client).deaf {
            return Ok(());
        }
        self.client_read(client, link)?;
        if self.links[link].pipes[1].at_end(self.now) {
            return self.client_lost(client, Loss::Finished);
        }
        self.arm(link, 1);
        Ok(())
    }

    fn client_read(&mut self, client: Client, link: usize) -> Flow {
        let held = &self.links[link];
        let pipe = &held.pipes[1];
        let count = pipe.arrived(self.now, usize::MAX);
        if count > 0 {
            let fact = Fact::ClientHeard {
                client,
                link: held.serial,
                offset: pipe.read,
                bytes: pipe.front(count),
            };
            self.watch.see(self.now, &self.machines, &fact)?;
            self.links[link].pipes[1].consume(count);
            self.made_room(link, 1);
        }
        Ok(())
    }

    /// A client's connection came to nothing, or ended from the other side: it closes its own.
    pub(super) fn client_lost(&mut self, client: Client, loss: Loss) -> Flow {
        let state = self.client(client);
        let deaf = state.deaf;
        let Some(link) = state.link.take() else {
            return Ok(());
        };
        if !deaf {
            // What came at the moment of a break, it still reads.
            self.client_read(client, link)?;
        }
        let fact = Fact::ClientLost {
            client,
            link: self.links[link].serial,
            loss,
        };
        match loss {
            Loss::Finished => self.drop_side(link, 0),
            Loss::Broken => {
                self.links[link].sides[0].state = State::Gone;
                self.release(link);
            }
        }
        self.watch.see(self.now, &self.machines, &fact)
    }

    /// A client closes its connection.
    pub(super) fn client_leave(&mut self, client: Client) -> Flow {
        let Some(link) = self.client(client).link.take() else {
            return Ok(());
        };
        let fact = Fact::ClientLeft {
            client,
            link: self.links[link].serial,
        };
        if self.links[link].sides[0].state == State::Live {
            self.drop_side(link, 0);
        } else {
            self.links[link].sides[0].state = State::Gone;
            self.release(link);
        }
        self.watch.see(self.now, &self.machines, &fact)
    }
}
