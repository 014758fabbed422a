//! How many cases run at one time: as many as the machine can carry.

use std::sync::{Condvar, Mutex};
use std::thread::available_parallelism;

static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// What a case asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// A few processes that mostly wait.
    Light,
    /// Many processes or many bytes: the machine to itself.
    Heavy,
}

/// The right to run, given back when dropped.
pub(crate) struct Turn(usize);

impl Turn {
    /// Waits for it.
    pub(crate) fn take(weight: Weight) -> Self {
        let room = 2 * available_parallelism().map_or(1, usize::from);
        let needs = match weight {
            Weight::Light => 1,
            Weight::Heavy => room,
        };
        // A case that failed has poisoned nothing here.
        let mut taken = TAKEN.0.lock().unwrap_or_else(|e| e.into_inner());
        while *taken + needs > room {
            taken = TAKEN.1.wait(taken).unwrap_or_else(|e| e.into_inner());
        }
        *taken += needs;
        Self(needs)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(|e| e.into_inner()) -= self.0;
        TAKEN.1.notify_all();
    }
}
