//! Whether the system allows the threads that a server needs: found out before anything begins,
//! since some of the libraries below panic where they can't have theirs.

use std::fs;
use std::io;
use std::sync::RwLock;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

/// The stack of a probing thread: that of a reader in runtime-std, so that the C library gives
/// the memory of the one to the other.
const STACK: usize = 256 << 10;
/// How many are tried: a thread costs up to a tenth of a millisecond, which the servers of a large
/// grid would pay all at once. A limit that lies between this and what such a server needs shows
/// later, as connections that can't be served.
const TRIED: usize = 8;
/// How long the system may take to forget threads that have ended.
const PATIENCE: Duration = Duration::from_millis(200);

/// Makes `count` threads that stand at the same time, though no more than a few, and ends them
/// again.
///
/// # Errors
/// How many there could be besides the present ones, and the system's reason.
pub(crate) fn probe(count: usize) -> Result<(), (usize, io::Error)> {
    let count = count.min(TRIED);
    let before = present();
    // Held for writing while they are made: each waits until all are.
    let gate = RwLock::new(());
    let made = thread::scope(|scope| {
        let closed = gate.write();
        let mut threads = Vec::with_capacity(count);
        let made = (0..count).try_for_each(|made| {
            let one = Builder::new().stack_size(STACK);
            let one = one.spawn_scoped(scope, || drop(gate.read()));
            threads.push(one.map_err(|cause| (made, cause))?);
            Ok(())
        });
        drop(closed);
        for one in threads {
            // Dropping a guard doesn't panic.
            let _ = one.join();
        }
        made
    });
    // A joined thread counts until the system has done away with it, a moment later.
    let begin = Instant::now();
    while present() > before && begin.elapsed() < PATIENCE {
        thread::yield_now();
    }
    made
}

/// How many threads this process has; 0 if the system doesn't tell.
fn present() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_can_be_had_are_gone_afterwards() {
        assert!(probe(0).is_ok());
        let before = present();
        assert!(probe(3).is_ok() && probe(usize::MAX).is_ok());
        // Other tests have theirs, which may begin meanwhile.
        assert!(present() < before + 64, "{before} {}", present());
    }
}
