//! The way in for a request to end in good order.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The runtime's end: its descriptor becomes readable, and stays so, once a stop was requested.
#[derive(Debug)]
pub struct Stop {
    heard: Arc<UnixStream>,
    // Without one, dropping every `Stopper` would look like a request.
    _kept: UnixStream,
}

/// The asking end. One byte written to it requests the stop, so that a signal handler may hold
/// its [`UnixStream`].
#[derive(Debug)]
pub struct Stopper {
    asks: UnixStream,
}

impl Stop {
    /// Both ends.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<(Stopper, Self)> {
        let (asks, heard) = UnixStream::pair()?;
        asks.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let kept = asks.try_clone()?;
        let heard = Arc::new(heard);
        Ok((Stopper { asks }, Self { heard, _kept: kept }))
    }

    /// What becomes readable, and stays so, once a stop was requested.
    #[must_use]
    pub fn source(&self) -> &Arc<UnixStream> {
        &self.heard
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

impl Stopper {
    /// Requests the stop. Repeated requests do nothing.
    pub fn request(&self) {
        // A full pipe holds a request already, a closed one has nobody left to ask.
        let _ = (&self.asks).write(&[1]);
    }

    /// Another asking end.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let asks = self.asks.try_clone()?;
        Ok(Self { asks })
    }
}

impl From<Stopper> for UnixStream {
    fn from(stopper: Stopper) -> Self {
        stopper.asks
    }
}
