//! The chat protocol as a state machine: bytes and moments in, bytes and actions out. No I/O, no
//! clock, no threads, no entropy.
//!
//! A driver owns the sockets and the clock and knows nothing of the chat; a [`Machine`] knows the
//! chat and owns neither. The driver's loop is always the same: tell the machine what happened
//! (`handle_*`), drain [`poll`](Machine::poll) and do each [`Action`], then ask
//! [`poll_timeout`](Machine::poll_timeout) how long to wait. Here are two servers and a driver
//! whose network is a variable:
//!
//! ```
//! use chatroom_core::{ChatServer, Config, ConfigError};
//! use chatroom_machine::{Action, Conn, Dialled, Machine, Remote, Time};
//! use chatroom_core::{LINKS, MASTERS};
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
//! assert_eq!((next.at, next.why), (now + chatroom_core::HEARTBEAT, "heartbeat"));
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! # Time
//! [`Time`] is what the driver says it is: microseconds since an origin of its own. It reads its
//! clock once before it hands over what arrived. First what arrived, then
//! [`handle_timeout`](Machine::handle_timeout): bytes that wait in a socket are no silence, and
//! [`Timeout::judges_at`] says from when on that order matters.
//!
//! # Bytes
//! The server keeps what it owes to each connection. The driver writes a piece of
//! [`pending`](Machine::pending), says with [`handle_sent`](Machine::handle_sent) how much was
//! taken, and stops where the socket would block. So the server sees who reads slowly, bounds what
//! is kept for it, and lets it hold up nobody. A broadcast is encoded once, whatever the number of
//! links. [`Action::Pause`] is how a server holds off a master that is faster than the grid.
//!
//! # Connections
//! A [`Conn`] names one connection for as long as it is open and never again: news of a dead one
//! is [`Misuse::Stale`]. There are three kinds of wrong. What the other side does wrong closes its
//! connection, for a [`Why`] that is told as [`News`]; what the driver does wrong is a [`Misuse`]
//! and changes nothing; what the server does wrong is a panic, and no input leads there.
//!
//! # Names, times, limits
//! [`Config`] holds all of them, with what happens at each. [`ChatServer::counters`] and
//! [`ChatServer::gauges`] say what was done and how things stand.
//!
//! # Layers
//! Inside, from the bytes upward: frames (bytes to lines), wire (lines to messages), links (one
//! connection each), the mesh (who is linked, dialled, suspected), and the chat (log, broadcasts,
//! masters). Whatever gives stronger promises of order or delivery belongs between the last two.
//! Another protocol belongs beside [`ChatServer`], behind the same [`Machine`]: no driver would
//! know the difference.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod chat;
mod command;
mod config;
mod counters;
mod desk;
mod frame;
mod gate;
mod link;
mod log;
mod mesh;
mod news;
mod rng;
mod server;
mod slots;
mod stream;
mod timers;
mod turn;
mod wire;

pub use config::*;
pub use counters::{Counters, Gauges};
pub use news::{News, Why};
pub use server::{ChatServer, LINKS, MASTERS};
