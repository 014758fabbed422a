//! Sockets that the machine has closed but whose last bytes may not have arrived.
//!
//! A socket that is dropped with unread input resets its connection, and the peer loses what it
//! had not read yet. So a closed socket says that it is finished and is kept for a moment, its
//! input thrown away, until the peer finishes too.

use crate::Clock;
use crate::socket::{self, Came};
use chatroom_core::time::{Span, Time};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// How many are kept; the oldest goes when one more comes.
const MOST: usize = 64;
/// How long each is kept.
const STAY: Span = Span::from_millis(500);
/// How often input is thrown away.
const SWEEP: Span = Span::from_millis(20);

/// A silence after which nothing more is expected.
const QUIET: Span = Span::from_millis(25);

/// The sockets on their way out, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    sockets: VecDeque<(Arc<TcpStream>, Time)>,
    sweep_at: Time,
    heard_at: Time,
}

impl Leaving {
    /// Takes a socket that the machine has closed.
    pub(crate) fn take(&mut self, now: Time, socket: Arc<TcpStream>) {
        socket::finish(&socket);
        if self.sockets.is_empty() {
            self.sweep_at = now + SWEEP;
        }
        if self.sockets.len() == MOST
            && let Some((oldest, _)) = self.sockets.pop_front()
        {
            socket::end(&oldest);
        }
        self.sockets.push_back((socket, now + STAY));
    }

    /// When to sweep next, if there is anything to sweep.
    pub(crate) fn sweep_at(&self) -> Option<Time> {
        (!self.sockets.is_empty()).then_some(self.sweep_at)
    }

    /// Throws input away and lets go of every socket that is finished or has stayed long enough.
    pub(crate) fn sweep(&mut self, now: Time, buffer: &mut [u8]) {
        if self.sweep_at().is_none_or(|at| now < at) {
            return;
        }
        self.sweep_at = now + SWEEP;
        self.sockets.retain(|(socket, until)| {
            let goes_on = match socket::receive(socket, buffer) {
                Came::Done(0) | Came::Broken => false,
                Came::Done(_) => {
                    self.heard_at = now;
                    now < *until
                }
                Came::Blocked => now < *until,
            };
            if !goes_on {
                socket::end(socket);
            }
            goes_on
        });
    }

    /// Sweeps often, until every socket is finished, all were quiet for a moment, or `most` has
    /// passed; then lets go of all of them.
    pub(crate) fn wait(&mut self, clock: Clock, most: Span, buffer: &mut [u8]) {
        let begin = clock.now();
        self.heard_at = begin;
        let mut now = begin;
        while !self.sockets.is_empty() && now < begin + most && now < self.heard_at + QUIET {
            std::thread::sleep(Duration::from_millis(1));
            now = clock.now();
            self.sweep_at = now;
            self.sweep(now, buffer);
        }
        for (socket, _) in self.sockets.drain(..) {
            socket::end(&socket);
        }
    }
}
