//! Sockets that the machine has closed but whose last bytes may not have arrived.
//!
//! A socket that is dropped with unread input, or that is met by more of it, resets its connection:
//! what waits to be sent is thrown away, and the other side may lose what it had not read yet. So
//! a closed socket says that it is finished and is kept for a while, its input thrown away, until
//! the other side finishes too.

use crate::Clock;
use crate::socket::{self, Came};
use crate::system::Unacknowledged;
use chatroom_machine::{Span, Time};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// How many are kept. One more closes the one that has been there longest, at once: what its other
/// side has not taken by then may be lost to it. A run's end closes as many as the machine had, and
/// none of them for this reason.
const MOST: usize = 2048;
/// How long each is kept, while the run goes on.
const STAY: Span = Span::from_millis(500);
/// How often input is thrown away, while the run goes on.
const SWEEP: Span = Span::from_millis(20);

/// At the end of the run: how often the kernel is asked.
const ASK: Span = Span::from_millis(5);
/// How long, after the other host has everything, its process may be silent before it is left.
const QUIET: Span = Span::from_millis(25);
/// How long after that it may go on sending before it is left.
const GRACE: Span = Span::from_millis(250);

/// The sockets on their way out, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    sockets: VecDeque<Leaver>,
    sweep_at: Time,
}

#[derive(Debug)]
struct Leaver {
    socket: Arc<TcpStream>,
    since: Time,
    /// When something last came.
    heard: Time,
    /// The other side has finished.
    finished: bool,
    /// When the other host was found to have everything.
    arrived: Option<Time>,
}

impl Leaver {
    /// Throws away what came; `false` if the connection broke.
    fn discard(&mut self, now: Time, buffer: &mut [u8]) -> bool {
        match socket::receive(&self.socket, buffer) {
            Came::Done(0) => self.finished = true,
            Came::Done(_) => self.heard = now,
            Came::Blocked => {}
            Came::Broken => return false,
        }
        true
    }

    /// Whether nothing can be lost any more, as far as can be known.
    fn is_done(&mut self, now: Time, kernel: &Unacknowledged) -> bool {
        if self.arrived.is_none() {
            match kernel.is_empty(&self.socket) {
                Some(true) => self.arrived = Some(now),
                Some(false) => {}
                // Then a longer silence has to do.
                None => return self.finished || now >= self.heard.max(self.since) + GRACE,
            }
        }
        self.arrived.is_some_and(|at| {
            self.finished || now >= at.max(self.heard) + QUIET || now >= at + GRACE
        })
    }
}

impl Leaving {
    /// Takes a socket that the machine has closed.
    pub(crate) fn take(&mut self, now: Time, socket: Arc<TcpStream>) {
        socket::finish(&socket);
        if self.sockets.is_empty() {
            self.sweep_at = now + SWEEP;
        }
        self.sockets.push_back(Leaver {
            socket,
            since: now,
            heard: now,
            finished: false,
            arrived: None,
        });
    }

    /// Keeps the bound on their number; not to be called at the end of the run.
    pub(crate) fn bound(&mut self) {
        while self.sockets.len() > MOST {
            self.let_go();
        }
    }

    /// Closes the one that has been there longest; `false` if there is none.
    pub(crate) fn let_go(&mut self) -> bool {
        let oldest = self.sockets.pop_front();
        if let Some(oldest) = &oldest {
            socket::end(&oldest.socket);
        }
        oldest.is_some()
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
        self.discard(now, Span::ZERO, buffer);
        self.sockets.retain(|leaver| {
            let stays = !leaver.finished && now < leaver.since + STAY;
            if !stays {
                socket::end(&leaver.socket);
            }
            stays
        });
    }

    /// Waits until nothing can be lost on any of them any more, or `until` has come, and lets go of
    /// all of them; `false` if something may be lost.
    pub(crate) fn wait(&mut self, clock: Clock, until: Time, buffer: &mut [u8]) -> bool {
        let kernel = Unacknowledged::new();
        let mut now = clock.now();
        loop {
            self.sockets.retain_mut(|leaver| {
                let done = leaver.is_done(now, &kernel);
                if done {
                    socket::end(&leaver.socket);
                }
                !done
            });
            if self.sockets.is_empty() || now >= until {
                break;
            }
            // With many of them, asking the kernel must not take all of the time.
            let asked = clock.now().since(now);
            let next = (clock.now() + ASK.max(asked)).min(until);
            now = clock.now();
            while now < next {
                self.discard(now, next.since(now), buffer);
                now = clock.now();
            }
        }
        let all = self.sockets.is_empty();
        while self.let_go() {}
        all
    }

    /// Waits for input at most `most` and throws it away, with every socket that broke.
    fn discard(&mut self, now: Time, most: Span, buffer: &mut [u8]) {
        let awaited: Vec<_> = (0..self.sockets.len())
            .filter(|&i| !self.sockets[i].finished)
            .collect();
        let sockets: Vec<_> = awaited.iter().map(|&i| &*self.sockets[i].socket).collect();
        let mut broken = Vec::new();
        for i in socket::ready_within(&sockets, Duration::from_micros(most.as_micros())) {
            if !self.sockets[awaited[i]].discard(now, buffer) {
                broken.push(awaited[i]);
            }
        }
        // The last first, so that the others stay where they are.
        for i in broken.into_iter().rev() {
            self.sockets.remove(i);
        }
    }
}
