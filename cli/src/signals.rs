//! SIGINT, SIGTERM and SIGHUP as a request to stop; SIGXFSZ as nothing.

use chatroom_driver::{Stop, Stopper};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A stop that SIGINT, SIGTERM and SIGHUP request, from now on.
///
/// There is no configuration to read again, so a SIGHUP is what a closing terminal sends: it ends
/// the server in good order too. One that was ignored before, as by `nohup`, stays ignored
/// on Linux; other systems do not tell.
pub fn stop() -> io::Result<Stop> {
    let (stopper, stop) = Stop::new()?;
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
        let asking: Stopper = stopper.try_clone()?;
        pipe::register(signal, UnixStream::from(asking))?;
    }
    // A file that may not grow further is an error of the write, as a full disk is.
    flag::register(SIGXFSZ, Arc::default())?;
    Ok(stop)
}

/// Whether whoever started this process had `signal` ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> (signal - 1) & 1 == 1)
}
