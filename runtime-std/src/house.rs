//! The threads and the lock between them.

use crate::waiting::{Event, Waiting, until_readable};
use chatroom_core::machine::{Conn, Machine};
use chatroom_core::time::Time;
use chatroom_driver::{Change, Error, Observer, Outcome, Progress, Shell, Stop};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::Scope;

/// Enough for a machine's calls, an observer's formatting included. Only touched pages count.
const STACK: usize = 256 * 1024;
/// No deadline at all.
const NEVER: Time = Time::from_micros(u64::MAX);

/// What the threads share.
pub(crate) struct House<M, O> {
    state: Mutex<State<M, O>>,
    waiting: Waiting,
}

struct State<M, O> {
    shell: Shell<M, O>,
    /// By slot: where the reader of a paused connection sleeps.
    gates: Vec<Option<Arc<Condvar>>>,
    /// What the timer is set to.
    armed: Time,
    /// What a reader met that ends the run.
    failure: Option<Error>,
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
            gates: Vec::new(),
            armed: NEVER,
            failure: None,
        });
        Ok(Self { state, waiting })
    }

    /// The caller's thread.
    pub(crate) fn keep<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<Outcome, Error> {
        let mut state = self.state.lock();
        state.shell.start();
        let mut events = Vec::new();
        let end = loop {
            self.settle(&mut state, scope);
            if let Some(failure) = state.failure.take() {
                break Err(failure);
            }
            if let Some(outcome) = state.shell.outcome() {
                break Ok(outcome);
            }
            let waited = MutexGuard::unlocked(&mut state, || self.waiting.wait(&mut events));
            if let Err(failure) = waited {
                break Err(failure);
            }
            for event in &events {
                match Event::of(event) {
                    Event::Timer => state.armed = NEVER,
                    Event::Stop => state.shell.stop(),
                    Event::Door(door) => {
                        // Whoever is left shows up in the next wait.
                        let _ = state.shell.accept(door);
                    }
                    Event::Conn(conn) => state.shell.writable(conn),
                }
            }
            state.shell.expire();
        };
        state.shell.farewell();
        self.settle(&mut state, scope);
        end
    }

    /// A reader's thread.
    fn read<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        conn: Conn,
        socket: &TcpStream,
        gate: &Condvar,
    ) {
        loop {
            let sound = until_readable(socket);
            let mut state = self.state.lock();
            if !sound {
                state.shell.abandon(conn);
                self.settle(&mut state, scope);
                return;
            }
            loop {
                let progress = state.shell.readable(conn);
                self.settle(&mut state, scope);
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
    fn settle<'scope>(&'scope self, state: &mut State<M, O>, scope: &'scope Scope<'scope, '_>) {
        while let Some(changes) = state.shell.take_changes() {
            for change in changes {
                self.take_in(state, scope, change);
            }
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

    fn take_in<'scope>(
        &'scope self,
        state: &mut State<M, O>,
        scope: &'scope Scope<'scope, '_>,
        change: Change,
    ) {
        match change {
            Change::Opened(conn) => {
                if self.spawn(state, scope, conn).is_err() {
                    state.shell.abandon(conn);
                }
            }
            Change::Write(conn) => {
                if let Some(socket) = state.shell.socket(conn)
                    && self.waiting.until_writable(conn, socket).is_err()
                {
                    state.shell.abandon(conn);
                }
            }
            // Its reader finds out when it asks.
            Change::Paused(_) => {}
            Change::Resumed(conn) => {
                if let Some(Some(gate)) = state.gates.get(conn.slot()) {
                    gate.notify_one();
                }
            }
            Change::Closed(conn) => {
                if let Some(gate) = state.gates.get_mut(conn.slot()).and_then(Option::take) {
                    gate.notify_one();
                }
            }
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

    /// Starts the reader of a connection, if it is still there.
    fn spawn<'scope>(
        &'scope self,
        state: &mut State<M, O>,
        scope: &'scope Scope<'scope, '_>,
        conn: Conn,
    ) -> std::io::Result<()> {
        let Some(socket) = state.shell.socket(conn) else {
            return Ok(());
        };
        let socket = Arc::clone(socket);
        let gate = Arc::new(Condvar::new());
        let slot = conn.slot();
        if state.gates.len() <= slot {
            state.gates.resize_with(slot + 1, || None);
        }
        state.gates[slot] = Some(Arc::clone(&gate));
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, move || self.read(scope, conn, &socket, &gate))
            .map(|_| ())
    }
}
