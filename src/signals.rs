//! SIGINT and SIGTERM as a request to stop; SIGXFSZ as nothing.

use chatroom_driver::{Stop, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A stop that SIGINT and SIGTERM request, from now on.
pub(crate) fn stop() -> io::Result<Stop> {
    let (stopper, stop) = Stop::new()?;
    for signal in [SIGINT, SIGTERM] {
        let asking: Stopper = stopper.try_clone()?;
        pipe::register(signal, UnixStream::from(asking))?;
    }
    // A file that may not grow further is an error of the write, as a full disk is.
    flag::register(SIGXFSZ, Arc::default())?;
    Ok(stop)
}
