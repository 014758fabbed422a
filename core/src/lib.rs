//! What every protocol of ours stands on: a [`Node`] has the listeners, the links of a full mesh,
//! failure detection, clients with their replies, limits and shutdown; a [`Protocol`] has its rules
//! and nothing else. Bytes and moments in, bytes and actions out: no I/O, no clock, no threads, no
//! entropy.
//!
//! Here is a protocol that counts: `add` of a client adds one on every server that is up, `get`
//! asks for the sum.
//!
//! ```
//! use chatroom_core::{Config, ConfigError, Context, Limits, MASTERS, NoEvent, Node, Protocol, Receipt, Why};
//! use chatroom_machine::{Conn, Machine, Remote, Time};
//!
//! #[derive(Clone, Debug, Hash)]
//! struct Counter(u64);
//!
//! enum Command {
//!     Add,
//!     Get,
//! }
//!
//! impl Protocol for Counter {
//!     const WORD: &'static str = "count";
//!     type Event = NoEvent;
//!     type Options = ();
//!     type Command<'a> = Command;
//!
//!     fn new(_: &Config) -> Self {
//!         Self(0)
//!     }
//!
//!     fn longest_command(_: &Limits) -> usize {
//!         16
//!     }
//!
//!     fn parse(_: &Limits, line: &str) -> Result<Command, String> {
//!         match line {
//!             "add" => Ok(Command::Add),
//!             "get" => Ok(Command::Get),
//!             _ => Err(format!("unknown command {line:?}: expected add or get")),
//!         }
//!     }
//!
//!     fn message(
//!         &mut self,
//!         _: &mut Context<'_, NoEvent>,
//!         _peer: u32,
//!         _conn: Conn,
//!         body: &[u8],
//!     ) -> Result<Receipt, Why> {
//!         if body != b"add" {
//!             return Err(Why::Malformed);
//!         }
//!         self.0 += 1;
//!         Ok(Receipt::Kept)
//!     }
//!
//!     fn command(&mut self, cx: &mut Context<'_, NoEvent>, client: Conn, command: Command) {
//!         match command {
//!             Command::Add => {
//!                 self.0 += 1;
//!                 cx.broadcast(b"add");
//!             }
//!             Command::Get => cx.reply(client, format!("sum {}\n", self.0).as_bytes()),
//!         }
//!     }
//! }
//!
//! let now = Time::ZERO;
//! let mut server = Node::<Counter>::new(Config::new(0, 3))?;
//! server.handle_start(now);
//! let client = server.handle_accepted(now, MASTERS, Remote::default()).expect("there is room");
//! server.handle_bytes(now, client, b"add\nadd\nget\n").expect("it is open");
//! assert_eq!(server.pending(client, 0), b"sum 2\n");
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! # Time
//! [`Time`](chatroom_machine::Time) is what the driver says it is: microseconds since an origin of its own. It reads its
//! clock once before it hands over what arrived. First what arrived, then
//! [`handle_timeout`](chatroom_machine::Machine::handle_timeout): bytes that wait in a socket are no silence, and
//! [`Timeout::judges_at`](chatroom_machine::Timeout::judges_at) says from when on that order matters.
//!
//! # Bytes
//! The server keeps what it owes to each connection. The driver writes a piece of
//! [`pending`](chatroom_machine::Machine::pending), says with [`handle_sent`](chatroom_machine::Machine::handle_sent) how much was
//! taken, and stops where the socket would block. So the server sees who reads slowly, bounds what
//! is kept for it, and lets it hold up nobody. A broadcast is encoded once, whatever the number of
//! links. [`Action::Pause`](chatroom_machine::Action::Pause) is how a server holds off a master that is faster than the grid.
//!
//! # Connections
//! A [`Conn`](chatroom_machine::Conn) names one connection for as long as it is open and never again: news of a dead one
//! is [`Misuse::Stale`](chatroom_machine::Misuse::Stale). There are three kinds of wrong. What the other side does wrong closes its
//! connection, for a [`Why`] that is told as [`News`]; what the driver does wrong is a [`Misuse`](chatroom_machine::Misuse)
//! and changes nothing; what the server does wrong is a panic, and no input leads there.
//!
//! # Names, times, limits
//! [`Config`] holds all of them, with what happens at each. [`Node::counters`] and
//! [`Node::gauges`] say what was done and how things stand.
//!
//! # Layers
//! From the bytes upward: frames (bytes to lines), wire (lines to messages), links (one connection
//! each), the mesh (who is linked, dialled, suspected), and beside it the clients. What is sent to
//! all and what is sent to one peer keeps one order on each link.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod clients;
mod config;
mod counters;
mod frame;
mod gate;
mod http;
mod link;
mod mesh;
mod news;
mod node;
mod outputs;
mod protocol;
mod rng;
mod send_log;
mod slots;
mod timers;
mod volumes;
mod wire;

pub use config::*;
pub use counters::{Counters, Gauges};
pub use news::{News, NoEvent, Why};
pub use node::{LINKS, MASTERS, Node};
pub use protocol::{Context, Protocol, Receipt};
pub use wire::push_id;
