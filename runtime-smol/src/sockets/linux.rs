//! A poller that a task can wait for: async-io watches its descriptor.

use crate::watch::make_room;
use async_io::Async;
use chatroom_driver::{Error, Poller, Stop};
use std::future::Future;
use std::io;
use std::ops::Deref;

/// The driver's poller, watched.
pub(crate) struct Sockets {
    poller: Async<Poller>,
}

impl Sockets {
    pub(crate) fn new(stop: &Stop) -> Result<Self, Error> {
        let poller = Poller::new().map_err(Error::system("make a poller"))?;
        make_room(stop)?;
        // Its own mode does not matter: each wait says how long it may take.
        let poller = Async::new_nonblocking(poller).map_err(Error::system("watch a poller"))?;
        Ok(Self { poller })
    }

    /// Waits until some source is ready.
    pub(crate) fn ready(&self) -> impl Future<Output = io::Result<()>> {
        self.poller.readable()
    }
}

impl Deref for Sockets {
    type Target = Poller;

    fn deref(&self) -> &Poller {
        self.poller.get_ref()
    }
}
