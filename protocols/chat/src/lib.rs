//! The chat as a protocol on a [`Node`]: what servers broadcast goes into the log of each, in the
//! order of each sender, and clients ask for it.
//!
//! Here are two servers and a driver whose network is a variable:
//!
//! ```
//! use chatroom_chat::{ChatServer, Config, ConfigError, LINKS, MASTERS};
//! use chatroom_machine::{Action, Conn, Dialled, Machine, Remote, Time};
//!
//! /// Drains a server. Gives the dial that it asks for, if it asks for one.
//! fn drain(server: &mut ChatServer) -> Option<Conn> {
//!     let mut dial = None;
//!     while let Some(action) = server.poll() {
//!         match action {
//!             Action::Dial { conn, to: _ } => dial = Some(conn),
//!             // The loop below looks at `pending` anyway; a driver with sockets would begin to
//!             // write, to stop reading, to close, to listen, to log, to end.
//!             Action::Send(_) | Action::Pause(_) | Action::Resume(_) | Action::Close(_) => {}
//!             Action::Shut(_) | Action::Open(_) | Action::Notice(_) | Action::Halt(_) => {}
//!             // The chat keeps nothing across its incarnations.
//!             Action::Store(_) | Action::Discard { .. } => {}
//!         }
//!     }
//!     dial
//! }
//!
//! /// Moves what `from` owes on its connection `out` to `to`, where that connection is `into`.
//! fn carry(now: Time, from: &mut ChatServer, out: Conn, to: &mut ChatServer, into: Conn) {
//!     loop {
//!         let bytes = from.pending(out, 0).to_vec();
//!         if bytes.is_empty() {
//!             break;
//!         }
//!         from.handle_sent(now, out, bytes.len()).expect("it was pending");
//!         drain(from);
//!         to.handle_bytes(now, into, &bytes).expect("it is open");
//!         drain(to);
//!     }
//! }
//!
//! let now = Time::ZERO;
//! let mut zero = ChatServer::new(Config::new(0, 2))?;
//! let mut one = ChatServer::new(Config::new(1, 2))?;
//! zero.handle_start(now);
//! assert_eq!(drain(&mut zero), None);
//! one.handle_start(now);
//! let dial = drain(&mut one).expect("a server dials the ids below its own");
//!
//! // The network connects them: each end has a handle of its own.
//! let link = zero.handle_accepted(now, LINKS, Remote::default()).expect("there is room");
//! drain(&mut zero);
//! one.handle_dialled(now, dial, Dialled::Connected).expect("it is being dialled");
//! drain(&mut one);
//! assert_eq!(one.pending(dial, 0), b"ping 1\n");
//! carry(now, &mut one, dial, &mut zero, link);
//! carry(now, &mut zero, link, &mut one, dial);
//! assert_eq!((zero.alive(), one.alive()), (vec![0, 1], vec![0, 1]));
//!
//! // A master tells server 1 to broadcast; one of server 0 asks what it received.
//! let speaker = one.handle_accepted(now, MASTERS, Remote::default()).expect("there is room");
//! one.handle_bytes(now, speaker, b"broadcast hello, grid\n").expect("it is open");
//! drain(&mut one);
//! carry(now, &mut one, dial, &mut zero, link);
//! let reader = zero.handle_accepted(now, MASTERS, Remote::default()).expect("there is room");
//! zero.handle_bytes(now, reader, b"get\n").expect("it is open");
//! drain(&mut zero);
//! let mut reply = Vec::new();
//! while let piece @ [_, ..] = zero.pending(reader, 0) {
//!     reply.extend_from_slice(piece);
//!     let count = piece.len();
//!     zero.handle_sent(now, reader, count).expect("it was pending");
//!     drain(&mut zero);
//! }
//! assert_eq!(reply, b"messages hello, grid\n");
//!
//! // Nothing more to do until the next heartbeat.
//! let next = zero.poll_timeout().expect("it has not ended");
//! assert_eq!((next.at, next.why), (now + chatroom_chat::HEARTBEAT, "heartbeat"));
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! [`Config`] holds all names, times and limits, with what happens at each; [`Options`] are the
//! chat's own. What the node has is exported here too.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod command;
mod event;
mod log;

pub use chatroom_core::*;
pub use event::ChatEvent;

use crate::command::Command;
use crate::log::Log;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use chatroom_machine::{Conn, Span, Time};

/// One server of a chat grid.
pub type ChatServer = Node<Chat>;
/// Who a server is and how it behaves.
pub type Config = chatroom_core::Config<Options>;
/// What a server tells people, metrics and checkers.
pub type News = chatroom_core::News<ChatEvent>;

/// The time between two announcements of messages that were not kept.
pub const GAPS: Span = Span::from_millis(500);

/// What is configured of the chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Bytes of the log. At the limit a broadcast is answered with an error; a peer's message
    /// that does not fit, and every later one of that peer, is not kept, and the gap is announced.
    pub log: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { log: 1 << 30 }
    }
}

/// The log of one life, and what was not kept in it.
#[derive(Clone, Debug, Hash)]
pub struct Chat {
    id: u32,
    log: Log,
    limit: u64,
    /// Whether it was told that the log is full.
    full: bool,
    /// Peers of whose messages some were not kept: no later one is, so that what is kept of a
    /// peer has no gap in it. At most one entry a peer.
    gaps: Vec<Gap>,
    /// When gaps are to be announced.
    announces_at: Option<Time>,
}

/// Messages of a peer that were not kept.
#[derive(Clone, Debug, Hash)]
struct Gap {
    peer: u32,
    /// How many were not announced yet.
    count: u64,
}

type Cx<'a> = Context<'a, ChatEvent>;

impl Chat {
    /// The log's texts joined by commas, as a `get` would name them now.
    #[must_use]
    pub fn log(&self) -> Vec<u8> {
        let (mut out, end) = (Vec::new(), self.log.len());
        while (out.len() as u64) < end {
            out.extend_from_slice(self.log.piece(out.len() as u64, end));
        }
        out
    }

    /// How many texts the log has.
    #[must_use]
    pub const fn texts(&self) -> u64 {
        self.log.count()
    }

    /// How many bytes the log has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.log.len()
    }

    /// Appends one text and tells who watches; false if the log is full.
    #[inline]
    fn record(&mut self, cx: &mut Cx<'_>, sender: u32, conn: Option<Conn>, text: &[u8]) -> bool {
        if self.log.len_with(text) > self.limit {
            if !self.full {
                let bytes = self.limit;
                cx.emit(ChatEvent::LogFull { bytes });
            }
            self.full = true;
            return false;
        }
        self.log.append(text);
        if cx.observes()
            && let Ok(text) = core::str::from_utf8(text)
        {
            cx.emit(ChatEvent::Delivered {
                sender,
                conn,
                text: text.into(),
            });
        }
        if cx.has_subscribers() {
            let mut head = b"delivered ".to_vec();
            push_id(&mut head, sender);
            head.push(b' ');
            cx.publish(&[&head, text, b"\n"]);
        }
        true
    }

    /// Counts a message of a peer that is not kept.
    fn miss(&mut self, now: Time, peer: u32) {
        // The first of a peer is announced at once.
        let mut by = now;
        match self.gaps.iter_mut().find(|gap| gap.peer == peer) {
            Some(gap) => {
                gap.count += 1;
                by = now + GAPS;
            }
            None => self.gaps.push(Gap { peer, count: 1 }),
        }
        self.announces_at = Some(self.announces_at.map_or(by, |at| at.min(by)));
    }

    /// Announces what was not kept since the last time.
    fn announce_gaps(&mut self, cx: &mut Cx<'_>) {
        self.announces_at = None;
        for gap in &mut self.gaps {
            let (peer, count) = (gap.peer, core::mem::take(&mut gap.count));
            if count == 0 {
                continue;
            }
            cx.emit(ChatEvent::Gap { peer, count });
            cx.publish(&[format!("gap {peer} {count}\n").as_bytes()]);
        }
    }
}

impl Protocol for Chat {
    const WORD: &'static str = "msg";
    const RESUMES: bool = true;

    type Event = ChatEvent;
    type Options = Options;
    type Command<'a> = Command<'a>;

    fn check(options: &Options) -> Result<(), ConfigError> {
        ConfigError::limit("log", options.log, 1, 1 << 50)
    }

    fn new(config: &Config) -> Self {
        Self {
            id: config.id,
            log: Log::default(),
            limit: config.protocol.log,
            full: false,
            gaps: Vec::new(),
            announces_at: None,
        }
    }

    fn longest_command(limits: &Limits) -> usize {
        command::longest(limits.text)
    }

    fn longest_published(limits: &Limits) -> usize {
        command::longest_delivered(limits.text)
    }

    fn parse<'a>(limits: &Limits, line: &'a str) -> Result<Command<'a>, String> {
        command::parse(line, limits.text)
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, peer: u32) {
        if cx.has_subscribers() {
            cx.publish(&[format!("up {peer}\n").as_bytes()]);
        }
    }

    fn peer_down(&mut self, cx: &mut Cx<'_>, peer: u32) {
        if cx.has_subscribers() {
            cx.publish(&[format!("down {peer}\n").as_bytes()]);
        }
    }

    fn lost(&mut self, cx: &mut Cx<'_>, peer: u32, count: u64) {
        if cx.has_subscribers() {
            cx.publish(&[format!("gap {peer} {count}\n").as_bytes()]);
        }
    }

    #[inline]
    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        peer: u32,
        conn: Conn,
        text: &[u8],
    ) -> Result<Receipt, Why> {
        let missed = !self.gaps.is_empty() && self.gaps.iter().any(|gap| gap.peer == peer);
        if !missed && self.record(cx, peer, Some(conn), text) {
            return Ok(Receipt::Kept);
        }
        self.miss(cx.now(), peer);
        Ok(Receipt::Missed)
    }

    fn command(&mut self, cx: &mut Cx<'_>, client: Conn, command: Command<'_>) {
        match command {
            Command::Get => {
                cx.reply(client, b"messages ");
                cx.reply_shared(client, 0, self.log.len());
                cx.reply(client, b"\n");
            }
            Command::Alive => {
                let mut line = b"alive ".to_vec();
                for id in cx.alive() {
                    push_id(&mut line, id);
                    line.push(b',');
                }
                // The own id is always there, so a comma is too.
                line.pop();
                line.push(b'\n');
                cx.reply(client, &line);
            }
            Command::Broadcast(text) => {
                if self.record(cx, self.id, None, text.as_bytes()) {
                    cx.broadcast(text.as_bytes());
                } else {
                    cx.refuse(client, &format!("the log is full: {} bytes", self.limit));
                }
            }
            Command::Watch => cx.subscribe(client),
            Command::Crash => {
                self.announce_gaps(cx);
                cx.crash();
            }
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) {
        self.announce_gaps(cx);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.announces_at
    }

    fn ending(&mut self, cx: &mut Cx<'_>) {
        self.announce_gaps(cx);
    }

    fn shared(&self, from: u64, to: u64) -> &[u8] {
        self.log.piece(from, to)
    }
}
