//! A poller that a task can wait for, where it has no descriptor: async-io watches every source.
//! To wait costs a look at each, as it does in the driver's poller there.

use crate::watch::make_room;
use async_io::Async;
use chatroom_driver::{Error, Events, Interest, PollMode, Poller, Source, Stop};
use smol::future;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The driver's poller, and its sources once more, watched.
pub(crate) struct Sockets {
    poller: Poller,
    watched: RefCell<BTreeMap<u64, Watched>>,
}

struct Watched {
    source: Async<Arc<dyn Source>>,
    interest: Interest,
}

impl Watched {
    /// Whether something is ready, or cannot be waited for; if not, the task is woken when it is.
    fn is_ready(&self, cx: &mut Context<'_>) -> bool {
        self.interest.read && self.source.poll_readable(cx).is_ready()
            || self.interest.write && self.source.poll_writable(cx).is_ready()
    }
}

impl Sockets {
    pub(crate) fn new(stop: &Stop) -> Result<Self, Error> {
        let poller = Poller::new().map_err(Error::system("make a poller"))?;
        make_room(stop)?;
        Ok(Self {
            poller,
            watched: RefCell::default(),
        })
    }

    /// As [`Poller::add`].
    pub(crate) fn add<S: Source>(
        &self,
        source: &Arc<S>,
        key: u64,
        interest: Interest,
        mode: PollMode,
    ) -> io::Result<()> {
        self.poller.add(source, key, interest, mode)?;
        // Sockets of this runtime never block.
        let source = Async::new_nonblocking(Arc::clone(source) as Arc<dyn Source>);
        let source = source.inspect_err(|_| self.poller.forget(key))?;
        self.watched
            .borrow_mut()
            .insert(key, Watched { source, interest });
        Ok(())
    }

    /// As [`Poller::modify`].
    pub(crate) fn modify<S: Source>(
        &self,
        source: &Arc<S>,
        key: u64,
        interest: Interest,
        mode: PollMode,
    ) -> io::Result<()> {
        self.poller.modify(source, key, interest, mode)?;
        if let Some(watched) = self.watched.borrow_mut().get_mut(&key) {
            watched.interest = interest;
        }
        Ok(())
    }

    /// As [`Poller::delete`].
    pub(crate) fn delete<S: Source>(&self, source: &Arc<S>, key: u64) -> io::Result<()> {
        self.watched.borrow_mut().remove(&key);
        self.poller.delete(source, key)
    }

    /// As [`Poller::wait`].
    pub(crate) fn wait(&self, events: &mut Events, most: Option<Duration>) -> io::Result<()> {
        self.poller.wait(events, most)
    }

    /// Waits until some source is ready.
    pub(crate) fn ready(&self) -> impl Future<Output = io::Result<()>> {
        future::poll_fn(|cx| {
            let watched = self.watched.borrow();
            if watched.values().any(|watched| watched.is_ready(cx)) {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
    }
}
