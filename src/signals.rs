//! SIGINT and SIGTERM as a request to stop.

use chatroom_driver::{Stop, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::unix::net::UnixStream;

/// A stop that both signals request, from now on.
pub(crate) fn stop() -> io::Result<Stop> {
    let (stopper, stop) = Stop::new()?;
    for signal in [SIGINT, SIGTERM] {
        let asking: Stopper = stopper.try_clone()?;
        pipe::register(signal, UnixStream::from(asking))?;
    }
    Ok(stop)
}
