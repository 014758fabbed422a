//! Protocols on a network that one seed decides.
//!
//! A [`Plan`](plan::Plan) says what happens to a grid of hosts: starts, deaths, pauses, wrong
//! clocks, cuts, clogs, resets, slow readers, and what clients from outside send. The
//! [`Engine`](engine::Engine) follows it with the machines of a [`World`](engine::World), and an
//! [`Observer`](observer::Observer) sees every [`Fact`](observer::Fact) and judges. One plan gives
//! one run: there is no clock, no thread and no entropy in it, only integers, and every choice that
//! the plan leaves open is a hash of the seed and of what the choice is for
//! ([`random`]). So a failing seed can be replayed, [shrunk](shrink) and [drawn](trace); a
//! [`sweep`] tries many.
//!
//! # Putting a protocol on the simulator
//!
//! 1. Have its state machine implement [`Machine`](chatroom_machine::Machine), the same
//!    trait that the runtimes drive.
//! 2. Implement [`World`](engine::World): how to make the machine of one life of a host, and who
//!    stands at which place. Doors are the machine's own; clients name the one they connect to.
//! 3. Write an [`Observer`](observer::Observer) for each property: it is told who is connected to
//!    whom, what every machine has to say, every byte, and what broke a connection; it may look
//!    into the machines, and ends the run with a [`Violation`](observer::Violation). Pairs of
//!    observers are observers. Count the cases that a check lives from with
//!    [`Sometimes`](sometimes::Sometimes).
//! 4. Write a generator from seeds to plans, drawing from [`Choice`](random::Choice). Any list of
//!    events is a plan that can be run, so it need not be careful.
//!
//! ```
//! use chatroom_machine::*;
//! use chatroom_machine::{Span, Time};
//! use chatroom_sim::engine::{Birth, World, run};
//! use chatroom_sim::names::{Client, Host};
//! use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
//! use chatroom_sim::plan::{Change, Plan};
//!
//! /// Counts the bytes that come in, on one connection, and says so.
//! #[derive(Default)]
//! struct Counter {
//!     count: usize,
//!     actions: Vec<Action<Count>>,
//!     opens: Option<(Door, Time)>,
//! }
//!
//! #[derive(Debug)]
//! struct Count(usize);
//! impl std::fmt::Display for Count {
//!     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
//!         write!(f, "{} bytes", self.0)
//!     }
//! }
//! impl Notice for Count {
//!     fn level(&self) -> Level {
//!         Level::Debug
//!     }
//! }
//!
//! impl Machine for Counter {
//!     type Notice = Count;
//!     fn handle_start(&mut self, _: Time) {}
//!     fn handle_accepted(&mut self, _: Time, _: Door, _: Remote) -> Result<Conn, Refused> {
//!         Ok(Conn::new(0, 0))
//!     }
//!     fn handle_starved(&mut self, now: Time, door: Door) {
//!         // A driver that waits for readiness would ask again at once.
//!         self.actions.push(Action::Shut(door));
//!         self.opens = Some((door, now + Span::from_millis(100)));
//!     }
//!     fn handle_dialled(&mut self, _: Time, _: Conn, _: Dialled) -> Result<(), Misuse> {
//!         Err(Misuse::WrongState)
//!     }
//!     fn handle_bytes(&mut self, _: Time, _: Conn, bytes: &[u8]) -> Result<(), Misuse> {
//!         self.count += bytes.len();
//!         self.actions.push(Action::Notice(Count(self.count)));
//!         Ok(())
//!     }
//!     fn handle_sent(&mut self, _: Time, _: Conn, _: usize) -> Result<(), Misuse> {
//!         Err(Misuse::TooMuch)
//!     }
//!     fn handle_lost(&mut self, _: Time, _: Conn, _: Loss) -> Result<(), Misuse> {
//!         Ok(())
//!     }
//!     fn handle_timeout(&mut self, now: Time) {
//!         if let Some((door, _)) = self.opens.take_if(|(_, at)| *at <= now) {
//!             self.actions.push(Action::Open(door));
//!         }
//!     }
//!     fn handle_shutdown(&mut self, _: Time) {
//!         self.actions.push(Action::Halt(Halt::Done));
//!     }
//!     fn poll(&mut self) -> Option<Action<Count>> {
//!         self.actions.pop()
//!     }
//!     fn pending(&self, _: Conn, _: usize) -> &[u8] {
//!         &[]
//!     }
//!     fn poll_timeout(&self) -> Option<Timeout> {
//!         let (_, at) = self.opens?;
//!         Some(Timeout { at, why: "open", judges_at: None })
//!     }
//! }
//!
//! struct Counters;
//! impl World for Counters {
//!     type Machine = Counter;
//!     fn spawn(&self, _: &Birth) -> Counter {
//!         Counter::default()
//!     }
//! }
//!
//! /// Objects when more is counted than five.
//! struct AtMostFive;
//! impl Observer<Counter> for AtMostFive {
//!     fn see(&mut self, scene: &Scene<'_, Counter>, fact: &Fact<'_, Count>) -> Result<(), Violation> {
//!         match fact {
//!             Fact::Notice { who, notice, .. } if notice.0 > 5 => Err(Violation {
//!                 property: "at-most-five",
//!                 text: format!("{who} counted {notice}"),
//!                 events: vec![scene.step],
//!             }),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! let client = Client { host: Host(0), number: 0 };
//! let mut plan = Plan::new(7, 1, Time::from_micros(1_000_000));
//! plan.push(Time::ZERO, Change::Start(Host(0)));
//! plan.push(Time::ZERO + Span::from_millis(1), Change::Open(client, Door(0)));
//! plan.push(Time::ZERO + Span::from_millis(2), Change::Say(client, b"hello".to_vec()));
//! assert_eq!(run(&Counters, &plan, AtMostFive).violation, None);
//!
//! plan.push(Time::ZERO + Span::from_millis(3), Change::Say(client, b"!".to_vec()));
//! let violation = run(&Counters, &plan, AtMostFive).violation.expect("six bytes");
//! assert_eq!(violation.property, "at-most-five");
//! # // A plan is text as well.
//! # assert_eq!(Plan::parse(plan.to_string().as_bytes()), Ok(plan));
//! ```
//!
//! # What the network does
//!
//! A link is two streams of bytes between two lives. A write is taken as far as there is room for
//! it, travels whole or in pieces, each with a latency of its own but none overtaking, and may be
//! read in other pieces. Kernels are simulated as far as one can see them from outside: they
//! complete handshakes for a host that stands still, send what a cut swallowed again, answer bytes
//! for a connection that nobody holds with a reset, and close what a dead process leaves behind.
//! The driver keeps to the rules of [`Machine`](chatroom_machine::Machine): it drains after
//! every call, and before a timeout that passes judgement it hands over what has arrived. In
//! return it checks the machine's side of the contract: see [`Engine`](engine::Engine).
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod disk;
pub mod engine;
pub mod failure;
pub mod generate;
pub mod lines;
pub mod names;
mod net;
pub mod observer;
pub mod plan;
pub mod random;
pub mod shrink;
pub mod sometimes;
pub mod subject;
pub mod sweep;
pub mod trace;
pub mod view;
