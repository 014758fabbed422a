//! The chat protocol as a state machine: bytes and moments in, bytes and actions out. No I/O, no
//! clock, no threads, no entropy.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod command;
mod config;
mod counters;
mod desk;
mod frame;
mod link;
mod log;
pub mod machine;
mod mesh;
mod news;
mod rng;
mod server;
mod slots;
mod stream;
pub mod time;
mod timers;
mod turn;
mod wire;

pub use config::*;
pub use counters::{Counters, Gauges};
pub use machine::*;
pub use news::{News, Why};
pub use server::{ChatServer, LINKS, MASTERS};
pub use time::{Span, Time};
