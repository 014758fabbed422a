//! Where facts go: into the running hash, and to the observer.

use crate::names::{Peer, Who};
use crate::observer::{Fact, Observer, Scene, Violation};
use crate::plan::Change;
use chatroom_machine::Time;
use chatroom_machine::{Checked, Conn, Machine};
use std::fmt::{self, Write};

/// A hash of all facts so far. It takes numbers of a fixed width and bytes in a fixed order, so it
/// is the same on every machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(u64);

impl Digest {
    #[inline]
    fn word(&mut self, word: u64) {
        let x = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ (x >> 29);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        // A long text goes four words at a time: one chain of multiplications would be waited for.
        let (blocks, rest) = bytes.as_chunks::<32>();
        if !blocks.is_empty() {
            let mut lanes = [Self(1), Self(2), Self(3), Self(4)];
            for block in blocks {
                for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                    lane.word(u64::from_le_bytes(*word));
                }
            }
            for lane in lanes {
                self.word(lane.0);
            }
        }
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    fn peer(peer: &Peer) -> u64 {
        match peer {
            Peer::Host(who) => Self::who(*who),
            Peer::Client(client) => {
                (1 << 63) + (u64::from(client.host.0) << 8) + u64::from(client.number)
            }
        }
    }

    #[inline]
    fn who(who: Who) -> u64 {
        (u64::from(who.life) << 16) + u64::from(who.host.0)
    }

    #[inline]
    fn conn(conn: Conn) -> u64 {
        ((conn.slot() as u64) << 32) + u64::from(conn.generation())
    }

    /// The fact's kind, whose it is and which link it is about.
    #[inline]
    fn head(&mut self, kind: u64, peer: u64, link: u64) {
        self.word((kind << 56) + peer);
        self.word(link);
    }

    // Inlined, so that each caller is left with the arm of its own fact.
    #[inline(always)]
    fn fact<N: fmt::Display>(&mut self, now: u64, fact: &Fact<'_, N>) {
        const NO_LINK: u64 = u64::MAX;
        self.word(now);
        match fact {
            Fact::Change { change } => {
                self.head(1, 0, NO_LINK);
                if let Change::Say(client, bytes) = change {
                    self.word(Self::peer(&Peer::Client(*client)));
                    self.bytes(bytes);
                } else {
                    self.text(format_args!("{change:?}"));
                }
            }
            Fact::Started { who } => self.head(2, Self::who(*who), NO_LINK),
            Fact::Ended { who, how } => {
                self.head(3, Self::who(*who), NO_LINK);
                self.text(format_args!("{how:?}"));
            }
            Fact::Paused { who } => self.head(4, Self::who(*who), NO_LINK),
            Fact::Resumed { who } => self.head(5, Self::who(*who), NO_LINK),
            Fact::Notice { who, local, notice } => {
                self.head(6, Self::who(*who), local.as_micros());
                self.text(format_args!("{notice}"));
            }
            Fact::Dialling {
                who,
                conn,
                to,
                host: _,
                link,
            } => {
                self.head(7, Self::who(*who), *link);
                self.word(Self::conn(*conn) + (u64::from(to.0) << 16));
            }
            Fact::DialFailed { who, conn, link } => {
                self.head(8, Self::who(*who), *link);
                self.word(Self::conn(*conn));
            }
            Fact::Opened {
                who,
                conn,
                link,
                peer,
                door,
            } => {
                self.head(9, Self::who(*who), *link);
                self.word(Self::conn(*conn));
                self.word(Self::peer(peer));
                self.word(door.map_or(256, |door| u64::from(door.0)));
            }
            Fact::TurnedAway { who, door, link } => {
                self.head(10, Self::who(*who), *link);
                self.word(u64::from(door.0));
            }
            Fact::Sent {
                who,
                conn: _,
                link,
                offset: _,
                bytes,
            } => {
                self.head(11, Self::who(*who), *link);
                self.bytes(bytes);
            }
            Fact::Received {
                who,
                conn: _,
                link,
                offset: _,
                bytes,
            } => {
                self.head(12, Self::who(*who), *link);
                self.bytes(bytes);
            }
            Fact::Lost {
                who,
                conn,
                link,
                loss,
                cause,
            } => {
                self.head(13, Self::who(*who), *link);
                self.word(Self::conn(*conn));
                self.text(format_args!("{loss:?}{cause:?}"));
            }
            Fact::Closed { who, conn, link } => {
                self.head(14, Self::who(*who), *link);
                self.word(Self::conn(*conn));
            }
            Fact::ClientOpened { client, link } => {
                self.head(15, Self::peer(&Peer::Client(*client)), *link);
            }
            Fact::ClientSaid {
                client,
                link,
                offset: _,
                bytes,
            } => {
                self.head(16, Self::peer(&Peer::Client(*client)), *link);
                self.bytes(bytes);
            }
            Fact::ClientHeard {
                client,
                link,
                offset: _,
                bytes,
            } => {
                self.head(17, Self::peer(&Peer::Client(*client)), *link);
                self.bytes(bytes);
            }
            Fact::ClientLost { client, link, loss } => {
                self.head(18, Self::peer(&Peer::Client(*client)), *link);
                self.text(format_args!("{loss:?}"));
            }
            Fact::ClientLeft { client, link } => {
                self.head(19, Self::peer(&Peer::Client(*client)), *link);
            }
            Fact::Over => self.head(20, 0, NO_LINK),
            Fact::Disk { who, event } => {
                self.head(21, Self::who(*who), NO_LINK);
                self.text(format_args!("{event}"));
            }
        }
    }

    fn text(&mut self, text: fmt::Arguments<'_>) {
        // A digest takes everything, so this fails only if a notice's own formatting does.
        let _ = self.write_fmt(text);
    }
}

impl Write for Digest {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes(s.as_bytes());
        Ok(())
    }
}

/// The observer, the hash and the count of facts.
pub(super) struct Watch<O> {
    pub(super) observer: O,
    digest: Digest,
    pub(super) steps: u64,
}

impl<O> Watch<O> {
    pub(super) const fn new(observer: O) -> Self {
        Self {
            observer,
            digest: Digest(0x6a09_e667_f3bc_c908),
            steps: 0,
        }
    }

    pub(super) const fn hash(&self) -> u64 {
        self.digest.0
    }

    /// Shows a fact.
    #[inline(always)]
    pub(super) fn see<M: Machine>(
        &mut self,
        now: u64,
        machines: &[Option<Checked<M>>],
        fact: &Fact<'_, M::Notice>,
    ) -> Result<(), Box<Violation>>
    where
        O: Observer<M>,
    {
        self.digest.fact(now, fact);
        let scene = Scene {
            now: Time::from_micros(now),
            step: self.steps,
            machines,
        };
        self.steps += 1;
        self.observer.see(&scene, fact).map_err(Box::new)
    }
}
