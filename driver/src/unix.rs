//! What Linux has ways of its own for, in the ways that every Unix has: `poll(2)` instead of epoll,
//! a wake-up through a pair of sockets. Used by macOS, and by Linux with the feature `portable`.
//! The same interface as `linux`.
//!
//! Nothing here tells what the other host has acknowledged, so that the end of a run waits by time
//! alone ([`Unacknowledged`]), and what lies unsent in the system is not bounded.

use crate::poller::{AT_ONCE, DAY, Event, Interest, PollMode, Source};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How bytes are sent: without waiting, and without a SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// How bytes are sent: without waiting. That no SIGPIPE comes is an option of the socket, which
/// socket2 sets.
#[cfg(target_vendor = "apple")]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;
/// Whether [`gone`] tells of one that finished with input unread: not on every system.
#[cfg(feature = "testing")]
pub(crate) const TELLS_WHO_LEFT: bool = false;
/// Whether [`Unacknowledged`] tells.
#[cfg(feature = "testing")]
pub(crate) const TELLS_WHAT_ARRIVED: bool = false;

/// A TCP socket that does not block.
pub(crate) fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The options of a connection that this system has besides those of all systems: none.
pub(crate) fn configure(_socket: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}

/// Takes the next connection that waits, blocking or not, with the options of a connection.
pub(crate) fn accept(
    listener: &TcpListener,
    blocks: bool,
) -> Result<(TcpStream, Option<SocketAddr>), Errno> {
    let (socket, from) = SockRef::from(listener).accept().map_err(|error| {
        // The system's own number, where there is one.
        Errno::from_io_error(&error).unwrap_or(Errno::CONNABORTED)
    })?;
    // Some systems hand the listener's mode and options down, others do not.
    socket
        .set_nonblocking(!blocks)
        .and_then(|()| crate::socket::configure(&socket))
        .map_err(|_| Errno::CONNABORTED)?;
    Ok((socket.into(), from.as_socket()))
}

/// Whether the other side has finished or reset the connection already. Of one that finished with
/// input unread, systems differ in whether they tell.
pub(crate) fn gone(socket: &TcpStream) -> bool {
    match recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => true,
        Ok(_) => {
            let ends = PollFlags::HUP | PollFlags::ERR;
            let mut polled = [PollFd::new(socket, ends)];
            matches!(poll(&mut polled, Some(&AT_ONCE)), Ok(1..))
                && polled[0].revents().intersects(ends)
        }
        Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
    }
}

/// Waits for many sources at a time, each known by a key that its owner chose. Any thread may add,
/// modify and delete while another waits. Each wait looks at every source once.
#[derive(Debug)]
pub struct Poller {
    shared: Arc<Shared>,
    woken: UnixStream,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wakes: UnixStream,
}

#[derive(Debug, Default)]
struct State {
    sources: BTreeMap<u64, Waited>,
    /// Grows with every change of a source.
    changes: u64,
    timer: Option<TimerState>,
    /// A thread waits, with what it knew when it began to.
    waits: bool,
}

#[derive(Clone)]
struct Waited {
    source: Arc<dyn Source>,
    interest: Interest,
    mode: PollMode,
    /// The change that made it what it is.
    change: u64,
}

impl fmt::Debug for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waited")
            .field("source", &self.source.as_fd())
            .field("interest", &self.interest)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct TimerState {
    key: u64,
    at: Option<Instant>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread that waits, if one does, look again.
    fn wake(&self, state: &State) {
        if state.waits {
            // If it is full, there is a wake-up in it.
            let _ = (&self.wakes).write(&[1]);
        }
    }
}

impl Poller {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let (wakes, woken) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let shared = Shared {
            state: Mutex::default(),
            wakes,
        };
        Ok(Self {
            shared: Arc::new(shared),
            woken,
        })
    }

    /// Begins to wait for `interest` on `source`.
    ///
    /// # Errors
    /// `AlreadyExists` if it was added before.
    pub fn add<S: Source>(
        &self,
        source: &Arc<S>,
        key: u64,
        interest: Interest,
        mode: PollMode,
    ) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.sources.contains_key(&key) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.changes += 1;
        let waited = Waited {
            source: Arc::clone(source) as Arc<dyn Source>,
            interest,
            mode,
            change: state.changes,
        };
        state.sources.insert(key, waited);
        self.shared.wake(&state);
        Ok(())
    }

    /// Waits for something else on `source` from now on.
    ///
    /// # Errors
    /// `NotFound` if it was not added or has been deleted.
    pub fn modify<S: Source>(
        &self,
        _source: &Arc<S>,
        key: u64,
        interest: Interest,
        mode: PollMode,
    ) -> io::Result<()> {
        let mut state = self.shared.state();
        state.changes += 1;
        let change = state.changes;
        let waited = state.sources.get_mut(&key).ok_or(ErrorKind::NotFound)?;
        (waited.interest, waited.mode, waited.change) = (interest, mode, change);
        self.shared.wake(&state);
        Ok(())
    }

    /// Waits for nothing more on `source`, which was added with `key`.
    ///
    /// # Errors
    /// `NotFound` if it was not added or has been deleted.
    pub fn delete<S: Source>(&self, _source: &Arc<S>, key: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        let removed = state.sources.remove(&key).map(drop);
        // A thread that waits still holds the socket.
        self.shared.wake(&state);
        removed.ok_or(ErrorKind::NotFound.into())
    }

    /// Lets go of the source that was added with `key`, if there is one; to be called when a
    /// source that may not have been deleted is closed.
    pub fn forget(&self, key: u64) {
        let mut state = self.shared.state();
        if state.sources.remove(&key).is_some() {
            self.shared.wake(&state);
        }
    }

    /// A timer whose events have `key`. There is one at most for each poller.
    ///
    /// # Errors
    /// `AlreadyExists` if there was one before.
    pub fn timer(&self, key: u64) -> io::Result<Timer> {
        let mut state = self.shared.state();
        if state.timer.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.timer = Some(TimerState { key, at: None });
        Ok(Timer {
            shared: Arc::clone(&self.shared),
        })
    }

    /// Waits until something is ready, for no longer than `most` if that is given, and puts what
    /// is into `events` instead of what was there. May come back with nothing too early.
    ///
    /// # Errors
    /// What the system says; nothing that happens on a connection.
    pub fn wait(&self, events: &mut Events, most: Option<Duration>) -> io::Result<()> {
        events.list.clear();
        let mut state = self.shared.state();
        let waited: Vec<_> = state
            .sources
            .iter()
            .filter(|(_, waited)| !waited.interest.is_none())
            .map(|(&key, waited)| (key, waited.clone()))
            .collect();
        let rings = state.timer.as_ref().and_then(|timer| timer.at);
        let rings = rings.map(|at| at.saturating_duration_since(Instant::now()));
        let most = [rings, most].into_iter().flatten().min();
        state.waits = true;
        drop(state);

        let mut polled = Vec::with_capacity(1 + waited.len());
        polled.push(PollFd::new(&self.woken, PollFlags::IN));
        polled.extend(waited.iter().map(|(_, waited)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, waited.interest.read);
            flags.set(PollFlags::OUT, waited.interest.write);
            PollFd::from_borrowed_fd(waited.source.as_fd(), flags)
        }));
        let most = most.map(|most| Timespec::try_from(most).unwrap_or(DAY));
        let found = poll(&mut polled, most.as_ref());

        let mut state = self.shared.state();
        state.waits = false;
        match found {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut found = polled.iter().map(PollFd::revents);
        if found.next().is_some_and(|flags| !flags.is_empty()) {
            // As many as were asked for are forgotten with one look.
            while let Ok(1..) = (&self.woken).read(&mut [0; 64]) {}
        }
        for ((key, waited), flags) in waited.iter().zip(found) {
            if flags.is_empty() {
                continue;
            }
            // Whoever changed it meanwhile wants to know of what is true after that.
            let known = state.sources.get_mut(key);
            let Some(known) = known.filter(|known| known.change == waited.change) else {
                continue;
            };
            if known.mode == PollMode::Oneshot {
                known.interest = Interest::NONE;
            }
            events.list.push(Event {
                key: *key,
                ready: Interest {
                    read: flags.contains(PollFlags::IN),
                    write: flags.contains(PollFlags::OUT),
                },
                broken: flags.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
            });
        }
        if let Some(timer) = &mut state.timer
            && let Some(_) = timer.at.take_if(|at| *at <= Instant::now())
        {
            events.list.push(Event {
                key: timer.key,
                ready: Interest::READ,
                broken: false,
            });
        }
        Ok(())
    }
}

/// What wakes a [`Poller`] at a moment.
#[derive(Debug)]
pub struct Timer {
    shared: Arc<Shared>,
}

impl Timer {
    /// Has it ring once, `after` from now, a day at most, instead of when it was to ring before.
    ///
    /// # Errors
    /// None on this system.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let day = Duration::from_secs(DAY.tv_sec.unsigned_abs());
        let at = Instant::now() + after.min(day);
        let mut state = self.shared.state();
        let before = state.timer.as_mut().and_then(|timer| timer.at.replace(at));
        if before.is_none_or(|before| at < before) {
            self.shared.wake(&state);
        }
        Ok(())
    }
}

/// What a wait of a [`Poller`] found.
#[derive(Debug)]
pub struct Events {
    list: Vec<Event>,
}

impl Events {
    /// Room for what one wait finds, `most` events to begin with.
    #[must_use]
    pub fn with_capacity(most: usize) -> Self {
        let list = Vec::with_capacity(most);
        Self { list }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.list.iter().copied()
    }
}

/// On Linux, a way to ask the kernel whether the other host has everything that was sent over a
/// socket. Here nobody tells, so that who asks has to wait.
#[derive(Debug)]
pub(crate) struct Unacknowledged;

impl Unacknowledged {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Whether nothing waits for an acknowledgement: not known.
    pub(crate) fn is_empty(&self, _socket: &TcpStream) -> Option<bool> {
        None
    }
}
