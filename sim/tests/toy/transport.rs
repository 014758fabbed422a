//! An observer that checks the transport from what it did: each direction of each link is one
//! stream, and only those who are awake are told anything.

use chatroom_machine::{Loss, Machine};
use chatroom_sim::names::{Client, Host, Peer, Who};
use chatroom_sim::observer::{Cause, Ending, Fact, Observer, Scene, Violation};
use std::collections::BTreeMap;

/// Checks the transport from what it did: each direction of each link is one stream.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    streams: BTreeMap<(u64, Peer), Stream>,
    /// Who holds a link's two sides, dialler first.
    peers: BTreeMap<u64, [Peer; 2]>,
    up: BTreeMap<Host, (Who, bool)>,
    pub(crate) finished: u64,
    pub(crate) broken: u64,
    pub(crate) broken_clients: u64,
    pub(crate) opened: u64,
    pub(crate) failed: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) pieces: u64,
    pub(crate) heard: BTreeMap<Client, Vec<u8>>,
}

#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    received: usize,
    closed: bool,
}

fn wrong(scene: u64, property: &'static str, text: String) -> Result<(), Violation> {
    Err(Violation {
        property,
        text,
        events: vec![scene],
    })
}

impl Transport {
    /// The side that sends to `peer`.
    fn other(&self, link: u64, peer: Peer) -> Peer {
        let [one, two] = self.peers[&link];
        if one == peer { two } else { one }
    }

    fn read(
        &mut self,
        step: u64,
        link: u64,
        by: Peer,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let from = self.other(link, by);
        let stream = self.streams.entry((link, from)).or_default();
        let at = stream.received;
        if offset != at as u64 || stream.closed {
            return wrong(step, "order", format!("{by} reads {offset}, expected {at}"));
        }
        if stream.bytes.get(at..at + bytes.len()) != Some(bytes) {
            return wrong(step, "integrity", format!("{by} reads what was not sent"));
        }
        stream.received += bytes.len();
        self.received += bytes.len() as u64;
        self.pieces += 1;
        Ok(())
    }

    fn end(
        &mut self,
        step: u64,
        link: u64,
        by: Peer,
        loss: Loss,
        whole: bool,
    ) -> Result<(), Violation> {
        let from = self.other(link, by);
        let stream = self.streams.entry((link, from)).or_default();
        if stream.closed {
            return wrong(step, "ends-once", format!("{by} is told twice"));
        }
        stream.closed = true;
        if loss == Loss::Finished && whole && stream.received != stream.bytes.len() {
            return wrong(
                step,
                "end-after-data",
                format!("{by} was told before the last byte"),
            );
        }
        Ok(())
    }
}

impl<M: Machine> Observer<M> for Transport {
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        let step = scene.step;
        let awake = |this: &Self, who: Who| {
            if this.up.get(&who.host) == Some(&(who, true)) {
                Ok(())
            } else {
                wrong(step, "awake", format!("{who} is told something: {fact:?}"))
            }
        };
        match fact {
            Fact::Change { .. } | Fact::Disk { .. } | Fact::Over => {}
            Fact::Started { who } => {
                self.up.insert(who.host, (*who, true));
            }
            Fact::Ended { who, .. } => {
                self.up.remove(&who.host);
            }
            Fact::Paused { who } => {
                self.up.insert(who.host, (*who, false));
            }
            Fact::Resumed { who } => {
                self.up.insert(who.host, (*who, true));
            }
            Fact::Notice { who, notice, .. } => {
                return wrong(step, "toy", format!("{who} says {notice}"));
            }
            Fact::Dialling { who, .. } => awake(self, *who)?,
            Fact::DialFailed { who, .. } => {
                self.failed += 1;
                awake(self, *who)?;
            }
            Fact::Opened {
                who,
                link,
                peer,
                door,
                ..
            } => {
                self.opened += 1;
                let me = Peer::Host(*who);
                let pair = if door.is_some() {
                    [*peer, me]
                } else {
                    [me, *peer]
                };
                self.peers.insert(*link, pair);
                awake(self, *who)?;
            }
            Fact::TurnedAway { who, .. } | Fact::Closed { who, .. } => awake(self, *who)?,
            Fact::Sent {
                who,
                link,
                offset,
                bytes,
                ..
            } => {
                awake(self, *who)?;
                let stream = self.streams.entry((*link, Peer::Host(*who))).or_default();
                if *offset != stream.bytes.len() as u64 {
                    return wrong(step, "order", format!("{who} sends at {offset}"));
                }
                stream.bytes.extend_from_slice(bytes);
                self.sent += bytes.len() as u64;
            }
            Fact::Received {
                who,
                link,
                offset,
                bytes,
                ..
            } => {
                awake(self, *who)?;
                self.read(step, *link, Peer::Host(*who), *offset, bytes)?;
            }
            Fact::Lost {
                who,
                link,
                loss,
                cause,
                ..
            } => {
                awake(self, *who)?;
                match loss {
                    Loss::Finished => self.finished += 1,
                    Loss::Broken => self.broken += 1,
                }
                let whole = matches!(cause, Cause::Closed | Cause::Ended(Ending::Done));
                self.end(step, *link, Peer::Host(*who), *loss, whole)?;
            }
            Fact::ClientOpened { client, link } => {
                // The host's side is told apart by being the other one.
                let host = Peer::Host(Who {
                    host: client.host,
                    life: scene_life(self, client.host),
                });
                self.peers.insert(*link, [Peer::Client(*client), host]);
            }
            Fact::ClientSaid {
                client,
                link,
                bytes,
                ..
            } => {
                let stream = self
                    .streams
                    .entry((*link, Peer::Client(*client)))
                    .or_default();
                stream.bytes.extend_from_slice(bytes);
            }
            Fact::ClientHeard {
                client,
                link,
                offset,
                bytes,
            } => {
                self.heard
                    .entry(*client)
                    .or_default()
                    .extend_from_slice(bytes);
                self.read(step, *link, Peer::Client(*client), *offset, bytes)?;
            }
            Fact::ClientLost { loss, .. } => {
                self.broken_clients += u64::from(*loss == Loss::Broken);
            }
            Fact::ClientLeft { .. } => {}
        }
        Ok(())
    }
}

fn scene_life(transport: &Transport, host: Host) -> u32 {
    transport.up.get(&host).map_or(0, |(who, _)| who.life)
}
