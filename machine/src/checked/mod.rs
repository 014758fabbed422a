//! The contract between a machine and its driver, executed.

mod call;
mod look;
mod machine;
mod output;
mod rule;
mod table;

pub use rule::{Breach, Rule, Side};

use crate::{Conn, Time};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use table::{Listeners, Table};

/// The most breaches that are kept.
const MAX_BREACHES: usize = 64;

/// How closely a [`Checked`] looks, and what becomes of a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    thorough: bool,
    panics: bool,
    only: Option<Side>,
}

impl Checks {
    /// Every rule, and the bytes pending on every connection (the first 64 KiB of each) at every
    /// drain: for tests. Breaches are collected.
    #[must_use]
    pub const fn thorough() -> Self {
        Self {
            thorough: true,
            panics: false,
            only: None,
        }
    }

    /// What costs next to nothing: no look at pending bytes, repeated actions, notices, or what a
    /// call changes that ought to change nothing. Breaches are collected.
    #[must_use]
    pub const fn quick() -> Self {
        Self {
            thorough: false,
            ..Self::thorough()
        }
    }

    /// The same, with a panic at the first breach.
    #[must_use]
    pub const fn panicking(self) -> Self {
        Self {
            panics: true,
            ..self
        }
    }

    /// The same, for the rules of one side: for a test that plays the other and breaks rules on
    /// purpose.
    #[must_use]
    pub const fn only(self, side: Side) -> Self {
        Self {
            only: Some(side),
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// Asked to end.
    Ending,
    Halted,
}

/// A machine whose contract with its driver is checked on both sides: every [`Rule`], at every
/// call. It is a [`Machine`](crate::Machine) itself, stands between the two, and changes nothing.
///
/// After a breach it goes on as well as it can, but what it says then may follow from the first.
/// Two that hold equal machines hash alike.
///
/// ```
/// use chatroom_machine::{Checked, Checks, Machine, Rule, Time};
/// # use chatroom_machine::*;
/// # #[derive(Debug)] struct Quiet;
/// # impl std::fmt::Display for Quiet {
/// #     fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) }
/// # }
/// # impl Notice for Quiet { fn level(&self) -> Level { Level::Info } }
/// # struct Insists(Time);
/// # impl Machine for Insists {
/// #     type Notice = Quiet;
/// #     fn handle_start(&mut self, _: Time) {}
/// #     fn handle_accepted(&mut self, _: Time, _: Door, _: Remote) -> Result<Conn, Refused> { Err(Refused) }
/// #     fn handle_starved(&mut self, _: Time, _: Door) {}
/// #     fn handle_dialled(&mut self, _: Time, _: Conn, _: Dialled) -> Result<(), Misuse> { Err(Misuse::Stale) }
/// #     fn handle_bytes(&mut self, _: Time, _: Conn, _: &[u8]) -> Result<(), Misuse> { Err(Misuse::Stale) }
/// #     fn handle_sent(&mut self, _: Time, _: Conn, _: usize) -> Result<(), Misuse> { Err(Misuse::Stale) }
/// #     fn handle_lost(&mut self, _: Time, _: Conn, _: Loss) -> Result<(), Misuse> { Err(Misuse::Stale) }
/// #     fn handle_timeout(&mut self, now: Time) { self.0 = now }
/// #     fn handle_shutdown(&mut self, _: Time) {}
/// #     fn poll(&mut self) -> Option<Action<Quiet>> { None }
/// #     fn pending(&self, _: Conn, _: usize) -> &[u8] { &[] }
/// #     fn poll_timeout(&self) -> Option<Timeout> {
/// #         Some(Timeout { at: self.0, why: "insists", judges_at: None })
/// #     }
/// # }
/// // A machine that wants its timeout again at once.
/// let mut machine = Checked::new(Insists(Time::ZERO), Checks::thorough());
/// machine.handle_start(Time::ZERO);
/// machine.handle_timeout(Time::ZERO);
/// assert_eq!(machine.poll(), None);
/// assert_eq!(machine.take_breaches()[0].rule, Rule::TimeoutNotAhead);
/// # impl PartialEq for Quiet { fn eq(&self, _: &Self) -> bool { true } }
/// ```
#[derive(Clone, Debug)]
pub struct Checked<M> {
    machine: M,
    checks: Checks,
    breaches: Vec<Breach>,
    phase: Phase,
    now: Time,
    table: Table,
    shut: Listeners,
    /// Those whose accept failed, and that have not been shut since.
    starved: Listeners,
    /// Actions since time moved.
    actions: u32,
    /// Whether there was nothing more to poll, and nothing was told since.
    drained: bool,
    /// The last call that may bring output was a timeout at this moment.
    timeout: Option<Time>,
    /// Nothing may come out: what was told last must change nothing.
    quiet: Option<&'static str>,
    /// What the machine wanted after the last call; `None` if it was not asked.
    wanted: Option<Option<Time>>,
    /// Connections whose end was reported while there was output to be polled.
    late: Vec<Conn>,
    /// Calls that were answered `Stale` although the connection was not closed: its `Close` must
    /// be on its way.
    excused: Vec<(Conn, String)>,
}

impl<M> Checked<M> {
    /// Checks a machine that has done nothing yet.
    #[must_use]
    pub fn new(machine: M, checks: Checks) -> Self {
        Self {
            machine,
            checks,
            breaches: Vec::new(),
            phase: Phase::New,
            now: Time::ZERO,
            table: Table::default(),
            shut: Listeners::default(),
            starved: Listeners::default(),
            actions: 0,
            drained: true,
            timeout: None,
            quiet: None,
            wanted: None,
            late: Vec::new(),
            excused: Vec::new(),
        }
    }

    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, to be told something that is not checked. What is open or pending afterwards
    /// must be as it was before.
    #[must_use]
    pub const fn unchecked(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The machine, without the checks.
    #[must_use]
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// The breaches so far, or since they were taken last: the first 64 of them.
    #[must_use]
    #[inline]
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Takes the breaches.
    #[must_use]
    pub fn take_breaches(&mut self) -> Vec<Breach> {
        core::mem::take(&mut self.breaches)
    }

    #[cold]
    fn breach(&mut self, rule: Rule, detail: String) {
        if self.checks.only.is_some_and(|only| only != rule.side()) {
            return;
        }
        let breach = Breach { rule, detail };
        assert!(!self.checks.panics, "{breach}");
        if self.breaches.len() < MAX_BREACHES {
            self.breaches.push(breach);
        }
    }

    /// Begins a call. True if the machine runs.
    #[inline]
    fn enter(&mut self, now: Time, call: &'static str) -> bool {
        if now > self.now {
            self.now = now;
            self.actions = 0;
        } else if now < self.now {
            let detail = format!("{call} at {now}, after {}", self.now);
            self.breach(Rule::TimeWentBack, detail);
        }
        self.quiet = None;
        self.wanted = None;
        matches!(self.phase, Phase::Running | Phase::Ending)
    }

    /// Begins a call that needs a machine that runs.
    #[inline]
    fn enter_running(&mut self, now: Time, call: &'static str) -> bool {
        let runs = self.enter(now, call);
        if !runs {
            let (rule, when) = match self.phase {
                Phase::New => (Rule::CallBeforeStart, "before handle_start"),
                Phase::Running | Phase::Ending | Phase::Halted => {
                    (Rule::CallAfterHalt, "after the halt")
                }
            };
            self.breach(rule, format!("{call} {when}"));
        }
        runs
    }
}

/// To ask the machine what only it knows.
impl<M> Deref for Checked<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

/// The machine's alone: what the checks know follows from what the machine was told.
impl<M: Hash> Hash for Checked<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.machine.hash(state);
    }
}
