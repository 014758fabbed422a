//! Little drivers for tests: one server with a hand at every connection ([`solo`]), and a network
//! of several in memory ([`net`]). Virtual time, no threads.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod net;
pub mod solo;

use chatroom_machine::{Span, Time};

pub fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

pub fn us(us: u64) -> Span {
    Span::from_micros(us)
}

pub fn at_ms(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

/// The pieces of `bytes` between `cuts`, each taken modulo the length.
pub fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = vec![];
    let mut from = 0;
    for cut in cuts {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    pieces.push(&bytes[from..]);
    pieces
}
