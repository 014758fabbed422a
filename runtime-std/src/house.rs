//! The threads and the lock between them.

use crate::waiting::{BATCH, Event, Waiting, until_readable};
use chatroom_driver::{
    self as driver, Change, Error, Events, Files, Interest, Observer, Outcome, Progress, Shell,
    Stop,
};
use chatroom_machine::{Conn, Machine};
use chatroom_machine::{Span, Time};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::Scope;

/// Enough for a machine's calls, an observer's formatting included. Only touched pages count.
const STACK: usize = 256 * 1024;
/// How long no reader is started for a connection after one could not be.
const RETRY: Span = Span::from_millis(100);
/// No deadline at all.
const NEVER: Time = Time::from_micros(u64::MAX);

/// What the threads share.
pub(crate) struct House<M, O> {
    state: Mutex<State<M, O>>,
    waiting: Waiting,
    /// Where the thread that stores sleeps while there is nothing to store.
    stores: Condvar,
}

struct State<M, O> {
    shell: Shell<M, O>,
    /// By slot.
    watched: Vec<Option<Watched>>,
    /// What the timer is set to.
    armed: Time,
    /// What another thread met that ends the run.
    failure: Option<Error>,
    /// The machine's files, unless somebody commits or there are none.
    files: Option<Files>,
    /// There is something to store that nobody was told of.
    store_due: bool,
    /// The run is over: nothing is stored any more.
    over: bool,
}

/// What the keeper knows of a connection.
struct Watched {
    conn: Conn,
    /// It waits until the socket takes bytes.
    writes: bool,
    reads: Reads,
}

/// Who reads from a connection.
enum Reads {
    /// Nobody yet: it is being dialled.
    Nobody,
    /// The keeper, until bytes come and a thread can be had; for the first time, or not before a
    /// moment if one could not.
    Keeper(Option<Time>),
    /// A thread of its own. While the connection is paused it sleeps here.
    Thread(Arc<Condvar>),
}

impl<M, O> State<M, O> {
    fn watched(&mut self, conn: Conn) -> Option<&mut Watched> {
        let watched = self.watched.get_mut(conn.slot())?.as_mut()?;
        (watched.conn == conn).then_some(watched)
    }

    fn watched_or_new(&mut self, conn: Conn) -> &mut Watched {
        let slot = conn.slot();
        if self.watched.len() <= slot {
            self.watched.resize_with(slot + 1, || None);
        }
        self.watched[slot].get_or_insert(Watched {
            conn,
            writes: false,
            reads: Reads::Nobody,
        })
    }
}

impl<M, O> House<M, O>
where
    M: Machine + Send,
    O: Observer<M> + Send,
{
    pub(crate) fn new(shell: Shell<M, O>, stop: &Stop) -> Result<Self, Error> {
        let waiting = Waiting::new(stop)?;
        for (door, socket) in shell.doors() {
            waiting.add_door(door, socket)?;
        }
        let state = Mutex::new(State {
            shell,
            watched: Vec::new(),
            armed: NEVER,
            failure: None,
            files: None,
            store_due: false,
            over: false,
        });
        Ok(Self {
            state,
            waiting,
            stores: Condvar::new(),
        })
    }

    /// The caller's thread.
    pub(crate) fn keep<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<Outcome, Error> {
        let mut state = self.state.lock();
        state.shell.start()?;
        state.files = state.shell.take_files();
        if state.files.is_some() {
            std::thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, move || self.store())
                .map_err(Error::system("start the thread that stores"))?;
        }
        let mut events = Events::with_capacity(BATCH);
        let end = loop {
            self.settle(&mut state);
            if let Some(failure) = state.failure.take() {
                break Err(failure);
            }
            if state.shell.outcome().is_some() {
                break Ok(());
            }
            let waited = MutexGuard::unlocked(&mut state, || self.waiting.wait(&mut events));
            if let Err(failure) = waited {
                break Err(failure);
            }
            for event in events.iter() {
                match Event::of(event.key) {
                    Event::Timer => state.armed = NEVER,
                    Event::Stop => state.shell.stop(),
                    Event::Door(door) => {
                        // Whoever is left shows up in the next wait.
                        let _ = state.shell.accept(door);
                    }
                    Event::Conn(conn) => self.serve(&mut state, scope, conn, event),
                }
            }
            state.shell.expire();
        };
        state.over = true;
        self.stores.notify_one();
        for (door, _) in state.shell.doors() {
            self.waiting.forget(Event::Door(door));
        }
        let outcome = state.shell.farewell();
        self.settle(&mut state);
        end.map(|()| outcome)
    }

    /// The thread that stores what no reader does.
    fn store(&self) {
        let mut state = self.state.lock();
        while !state.over {
            if !self.commit(&mut state) {
                self.stores.wait(&mut state);
            }
        }
    }

    /// Makes all that is unsaved durable, with the lock given up meanwhile, reports it and goes on
    /// with what follows from that; what becomes unsaved meanwhile is for the next commit. `false`
    /// if there is nothing, or somebody else commits, or a commit has failed.
    fn commit(&self, state: &mut MutexGuard<'_, State<M, O>>) -> bool {
        if state.files.is_none() {
            return false;
        }
        let Some(batch) = state.shell.take_batch() else {
            return false;
        };
        let Some(mut files) = state.files.take() else {
            return false;
        };
        match MutexGuard::unlocked(state, || files.commit(&batch)) {
            Ok(()) => {
                state.files = Some(files);
                state.shell.stored(batch);
            }
            Err(failure) => state.failure = Some(failure),
        }
        self.settle(state);
        true
    }

    /// What the keeper does for one connection.
    fn serve<'scope>(
        &'scope self,
        state: &mut State<M, O>,
        scope: &'scope Scope<'scope, '_>,
        conn: Conn,
        event: driver::Event,
    ) {
        // Its socket may have passed to another since.
        let Some(watched) = state.watched(conn) else {
            return;
        };
        let writes = watched.writes && (event.broken || event.ready.write);
        if writes {
            watched.writes = false;
            state.shell.writable(conn);
            self.settle(state);
        }
        let keeps = |state: &mut State<M, O>| {
            let watched = state.watched(conn);
            watched.is_some_and(|watched| matches!(watched.reads, Reads::Keeper(_)))
        };
        if (event.broken || event.ready.read) && keeps(state) {
            let progress = state.shell.readable(conn);
            self.settle(state);
            if progress != Progress::Over && keeps(state) {
                self.begin_reader(state, scope, conn);
            }
        }
        // The event was the only one. After a write the shell has said whether it wants another.
        if !writes || keeps(state) {
            self.watch(state, conn);
        }
    }

    /// A reader's thread.
    fn read(&self, conn: Conn, socket: &TcpStream, gate: &Condvar) {
        loop {
            let sound = until_readable(socket);
            let mut state = self.state.lock();
            if !sound {
                state.shell.abandon(conn);
                self.settle(&mut state);
                return;
            }
            loop {
                let progress = state.shell.readable(conn);
                self.take_in_changes(&mut state);
                let commits = progress == Progress::Wait && std::mem::take(&mut state.store_due);
                self.settle(&mut state);
                if commits {
                    // Nothing else waits here, and to wake another thread would take longer.
                    self.commit(&mut state);
                }
                match progress {
                    Progress::More => MutexGuard::bump(&mut state),
                    Progress::Wait => break,
                    Progress::Idle => {
                        while state.shell.is_paused(conn) {
                            gate.wait(&mut state);
                        }
                    }
                    Progress::Over => return,
                }
            }
        }
    }

    /// Takes in what changed, and sets the timer if the deadline came nearer. A deadline that
    /// went further away costs one wake-up for nothing at most, which is cheaper.
    fn settle(&self, state: &mut State<M, O>) {
        self.take_in_changes(state);
        if std::mem::take(&mut state.store_due) {
            self.stores.notify_one();
        }
        let deadline = match state.failure {
            Some(_) => Time::ZERO,
            None => state.shell.deadline(),
        };
        if deadline < state.armed {
            match self.waiting.set_timer(state.shell.clock().until(deadline)) {
                Ok(()) => state.armed = deadline,
                Err(failure) => state.failure = Some(failure),
            }
        }
    }

    fn take_in_changes(&self, state: &mut State<M, O>) {
        while let Some(changes) = state.shell.take_changes() {
            for change in changes {
                self.take_in(state, change);
            }
        }
    }

    fn take_in(&self, state: &mut State<M, O>, change: Change) {
        match change {
            Change::Opened(conn) => {
                // One that was closed in the same breath costs nothing.
                if state.shell.socket(conn).is_some() {
                    state.watched_or_new(conn).reads = Reads::Keeper(None);
                    self.watch(state, conn);
                }
            }
            Change::Write(conn) => {
                if state.shell.socket(conn).is_some() {
                    state.watched_or_new(conn).writes = true;
                    self.watch(state, conn);
                }
            }
            // Who reads it finds out when it asks.
            Change::Paused(_) => {}
            Change::Resumed(conn) => match state.watched(conn).map(|w| &w.reads) {
                Some(Reads::Thread(gate)) => {
                    gate.notify_one();
                }
                Some(Reads::Keeper(_)) => self.watch(state, conn),
                Some(Reads::Nobody) | None => {}
            },
            Change::Closed(conn) => {
                self.waiting.forget(Event::Conn(conn));
                if state.watched(conn).is_some()
                    && let Some(watched) = state.watched[conn.slot()].take()
                    && let Reads::Thread(gate) = watched.reads
                {
                    gate.notify_one();
                }
            }
            Change::Store => state.store_due = true,
            Change::Shut(door) | Change::Reopened(door) => {
                let open = matches!(change, Change::Reopened(_));
                for (at, socket) in state.shell.doors() {
                    if at == door
                        && let Err(cause) = self.waiting.set_door(door, socket, open)
                    {
                        state.failure = Some(Error::system("watch a door")(cause));
                    }
                }
            }
        }
    }

    /// Has the keeper wait for what is wanted of a connection, if anything is.
    fn watch(&self, state: &mut State<M, O>, conn: Conn) {
        let paused = state.shell.is_paused(conn);
        let Some(watched) = state.watched(conn) else {
            return;
        };
        let wants = Interest {
            read: matches!(watched.reads, Reads::Keeper(_)) && !paused,
            write: watched.writes,
        };
        if !wants.is_none()
            && let Some(socket) = state.shell.socket(conn)
            && self.waiting.watch(conn, socket, wants).is_err()
        {
            state.shell.abandon(conn);
        }
    }

    /// Gives a connection that has spoken a reader of its own. If none can be had the keeper goes
    /// on reading, and tries again with what comes later.
    fn begin_reader<'scope>(
        &'scope self,
        state: &mut State<M, O>,
        scope: &'scope Scope<'scope, '_>,
        conn: Conn,
    ) {
        let now = state.shell.clock().now();
        let Some(socket) = state.shell.socket(conn).map(Arc::clone) else {
            return;
        };
        let Some(watched) = state.watched(conn) else {
            return;
        };
        let Reads::Keeper(not_before) = watched.reads else {
            return;
        };
        if not_before.is_some_and(|at| now < at) {
            return;
        }
        let gate = Arc::new(Condvar::new());
        let sleeps = Arc::clone(&gate);
        let begun = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, move || self.read(conn, &socket, &sleeps));
        if begun.is_ok() {
            watched.reads = Reads::Thread(gate);
            return;
        }
        watched.reads = Reads::Keeper(Some(now + RETRY));
        // Told once for each connection, or doors would not open again while threads are short.
        if not_before.is_none() {
            state.shell.starve();
            self.settle(state);
        }
    }
}
