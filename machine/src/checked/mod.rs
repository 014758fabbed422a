//! The contract between a machine and its driver, executed.

mod look;
mod rule;
mod table;

pub use rule::{Breach, Rule, Side};

use crate::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Misuse, Refused, Remote, Time, Timeout,
    pieces,
};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use table::{Listeners, Stage, Table};

/// The most actions of one machine without time moving: more than any bounded input can ask for.
const MAX_ACTIONS: u32 = 4_000_000;
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
/// call. It is a [`Machine`] itself, stands between the two, and changes nothing.
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
                _ => (Rule::CallAfterHalt, "after the halt"),
            };
            self.breach(rule, format!("{call} {when}"));
        }
        runs
    }
}

/// How a wrong call must be answered.
#[derive(Clone, Copy)]
enum Answer {
    Any,
    Err,
    Exactly(Misuse),
}

/// A call that the driver ought not to make.
#[derive(Clone, Copy)]
struct Wrong {
    /// The rule that it breaks.
    rule: Rule,
    answer: Answer,
}

impl Wrong {
    const fn new(rule: Rule, answer: Answer) -> Option<Self> {
        Some(Self { rule, answer })
    }

    const DEAD: Option<Self> = Self::new(Rule::CallOnDead, Answer::Exactly(Misuse::Stale));
    const STATE: Option<Self> =
        Self::new(Rule::CallInWrongState, Answer::Exactly(Misuse::WrongState));
    const TOO_MUCH: Option<Self> = Self::new(Rule::SentTooMuch, Answer::Exactly(Misuse::TooMuch));
    const PAUSED: Option<Self> = Self::new(Rule::ReadWhilePaused, Answer::Any);
}

/// A call on a connection.
#[derive(Clone, Copy)]
enum Call {
    Dialled(Conn, Dialled),
    Bytes(Conn, usize),
    Sent(Conn, usize),
    Lost(Conn, Loss),
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Dialled(..) => "handle_dialled",
            Self::Bytes(..) => "handle_bytes",
            Self::Sent(..) => "handle_sent",
            Self::Lost(..) => "handle_lost",
        }
    }

    const fn conn(self) -> Conn {
        match self {
            Self::Dialled(conn, _)
            | Self::Bytes(conn, _)
            | Self::Sent(conn, _)
            | Self::Lost(conn, _) => conn,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Dialled(conn, outcome) => write!(f, "{name}({conn}, {outcome:?})"),
            Self::Bytes(conn, count) => write!(f, "{name}({conn}, {count} bytes)"),
            Self::Sent(conn, count) => write!(f, "{name}({conn}, {count})"),
            Self::Lost(conn, loss) => write!(f, "{name}({conn}, {loss:?})"),
        }
    }
}

/// What was so before a call.
#[derive(Clone, Copy)]
struct Before {
    drained: bool,
    /// What the machine wanted, where the call must not change that.
    timeout: Option<Option<Timeout>>,
}

impl<M: Machine> Checked<M> {
    /// Ends a call that may bring output.
    #[inline]
    fn told(&mut self) {
        self.drained = false;
        if self.checks.thorough {
            self.wanted = Some(self.machine.poll_timeout().map(|timeout| timeout.at));
        }
    }

    /// What must be the same after a call at `now` that changes nothing. Time alone may change
    /// what is due when.
    fn before(&self, now: Time) -> Before {
        let looks = self.checks.thorough && self.drained && now <= self.now;
        Before {
            drained: self.drained,
            timeout: looks.then(|| self.machine.poll_timeout()),
        }
    }

    /// Ends a call that changes nothing.
    fn nothing_told(&mut self, call: &'static str, before: Before) {
        if !before.drained {
            return;
        }
        self.quiet = Some(call);
        if before
            .timeout
            .is_some_and(|it| it != self.machine.poll_timeout())
        {
            let detail = format!("{call} changes the timeout");
            self.breach(Rule::OutputForNothing, detail);
        }
    }

    /// Begins a call on a connection.
    #[inline]
    fn begin_call(&mut self, now: Time, call: Call, wrong: Option<Wrong>) -> Before {
        let before = match wrong {
            Some(_) => self.before(now),
            None => Before {
                drained: self.drained,
                timeout: None,
            },
        };
        if self.enter_running(now, call.name())
            && let Some(wrong) = wrong
        {
            self.breach(wrong.rule, format!("{call}"));
        }
        before
    }

    /// Judges how a call was answered. True if it took place.
    #[inline]
    fn judge(
        &mut self,
        call: Call,
        wrong: Option<Wrong>,
        before: Before,
        answer: Result<(), Misuse>,
    ) -> bool {
        let Err(given) = answer else {
            self.told();
            let taken = wrong.is_none_or(|wrong| matches!(wrong.answer, Answer::Any));
            if !taken {
                self.breach(Rule::WrongCallTaken, format!("{call}"));
            }
            return taken;
        };
        self.refused(call, wrong, before, given);
        false
    }

    #[cold]
    fn refused(&mut self, call: Call, wrong: Option<Wrong>, before: Before, given: Misuse) {
        // Closed meanwhile, which is still to be polled.
        let closed = given == Misuse::Stale && !before.drained;
        match wrong.map(|wrong| wrong.answer) {
            None if closed => self.excused.push((call.conn(), format!("{call}: {given}"))),
            None => {
                if let Call::Sent(conn, count) = call
                    && given == Misuse::TooMuch
                    && !self.has_pending(conn, count)
                {
                    self.breach(Rule::SentTooMuch, format!("{call}"));
                } else {
                    self.breach(Rule::RightCallRefused, format!("{call}: {given}"));
                }
            }
            Some(Answer::Exactly(right)) if right != given && !closed => {
                let detail = format!("{call}: {given:?} instead of {right:?}");
                self.breach(Rule::WrongError, detail);
            }
            Some(Answer::Exactly(_) | Answer::Any | Answer::Err) => {}
        }
        self.nothing_told("a call that was an error", before);
    }

    fn has_pending(&self, conn: Conn, count: usize) -> bool {
        let most = pieces(&self.machine, conn, count);
        most.map(<[u8]>::len).sum::<usize>() >= count
    }

    /// The driver reported the end of a connection.
    fn gone(&mut self, conn: Conn, drained: bool) {
        if let Some(entry) = self.table.get(conn) {
            entry.stage = Stage::Dead;
        }
        if !drained {
            self.late.push(conn);
        }
        self.look_at_dead(conn);
    }

    fn begin(&mut self, conn: Conn, stage: Stage) {
        if let Err((rule, detail)) = self.table.begin(conn, stage) {
            self.breach(rule, detail);
        }
    }

    /// An action on a connection, which must be open.
    #[inline]
    fn on_open(&mut self, conn: Conn, what: &str) {
        if self.table.get(conn).is_none() && !self.late.contains(&conn) {
            let detail = format!("it wants to {what} {conn}, which is not open");
            self.breach(Rule::DeadHandle, detail);
        }
    }

    fn repeated(&mut self, what: fmt::Arguments<'_>) {
        if self.checks.thorough {
            self.breach(Rule::RepeatedAction, format!("it is {what} already"));
        }
    }

    /// The machine asks for something.
    #[inline]
    fn asked(&mut self, action: &Action<M::Notice>) {
        if let Some(call) = self.quiet.take() {
            let detail = format!("{call} led to {}", named(action));
            self.breach(Rule::OutputForNothing, detail);
        }
        if let Some(wanted) = self.wanted.take()
            && wanted.is_none_or(|at| at > self.now)
        {
            let detail = format!(
                "{} waited, and the next timeout was {wanted:?}",
                named(action)
            );
            self.breach(Rule::UndrainedNotDue, detail);
        }
        if self.phase == Phase::Halted {
            let detail = format!("it asks for {} after the halt", named(action));
            self.breach(Rule::ActiveAfterHalt, detail);
        }
        self.drained = false;
        self.actions += 1;
        if self.actions == MAX_ACTIONS + 1 {
            let detail = String::from("it asks for ever more without time moving");
            self.breach(Rule::Livelock, detail);
        }
        match *action {
            Action::Dial { conn, .. } => self.begin(conn, Stage::Dialling),
            Action::Send(conn) => {
                self.on_open(conn, "send on");
                if self.checks.thorough {
                    self.look_at_send(conn);
                }
            }
            Action::Pause(conn) => {
                self.on_open(conn, "pause");
                let before = self.table.get(conn);
                if before.is_some_and(|entry| core::mem::replace(&mut entry.paused, true)) {
                    self.repeated(format_args!("paused: {conn}"));
                }
            }
            Action::Resume(conn) => {
                self.on_open(conn, "resume");
                let before = self.table.get(conn);
                if before.is_some_and(|entry| !core::mem::take(&mut entry.paused)) {
                    self.repeated(format_args!("read from: {conn}"));
                }
            }
            Action::Close(conn) => {
                match self.table.get(conn) {
                    Some(entry) => entry.stage = Stage::Dead,
                    None => {
                        let detail = format!("it wants to close {conn}, which is not open");
                        self.breach(Rule::DeadHandle, detail);
                    }
                }
                self.look_at_dead(conn);
            }
            Action::Shut(door) => {
                self.starved.remove(door);
                if !self.shut.insert(door) {
                    self.repeated(format_args!("shut: listener {}", door.0));
                }
            }
            Action::Open(door) => {
                if !self.shut.remove(door) {
                    self.repeated(format_args!("open: listener {}", door.0));
                }
            }
            Action::Notice(ref notice) => {
                if self.checks.thorough {
                    self.look_at_notice(notice);
                }
            }
            Action::Halt(halt) => {
                if halt != Halt::Crash && self.phase != Phase::Ending {
                    self.breach(Rule::HaltUnasked, format!("{halt:?} without a shutdown"));
                }
                self.phase = Phase::Halted;
                self.table.end_all();
                self.starved = Listeners::default();
                self.timeout = None;
            }
        }
    }

    /// The machine asks for nothing more.
    #[inline]
    fn rests(&mut self) {
        self.quiet = None;
        if core::mem::replace(&mut self.drained, true) {
            return;
        }
        if let Some(now) = self.timeout.take()
            && let Some(next) = self.machine.poll_timeout().filter(|next| next.at <= now)
        {
            let detail = format!(
                "after a timeout at {now} and a drain, the next one is due at {} ({})",
                next.at, next.why
            );
            self.breach(Rule::TimeoutNotAhead, detail);
        }
        if self.phase == Phase::Halted
            && let Some(next) = self.machine.poll_timeout()
        {
            let detail = format!("it wants a timeout after the halt ({})", next.why);
            self.breach(Rule::ActiveAfterHalt, detail);
        }
        while let Some(door) = self.starved.pop() {
            let detail = format!(
                "it goes on accepting at listener {} after an accept failed",
                door.0
            );
            self.breach(Rule::AcceptsOn, detail);
        }
        if let Some(slot) = self.table.passed_over() {
            let detail = format!("it passed over slot {slot}");
            self.breach(Rule::SlotsNotDense, detail);
        }
        for (conn, detail) in core::mem::take(&mut self.excused) {
            if self.table.stage(conn) != Stage::Dead {
                self.breach(Rule::RightCallRefused, detail);
            }
        }
        self.late.clear();
        if self.checks.thorough {
            self.look_at_pending();
        }
    }
}

/// An action in words.
fn named<N: fmt::Debug>(action: &Action<N>) -> String {
    format!("{action:?}")
}

impl<M: Machine> Machine for Checked<M> {
    type Notice = M::Notice;

    fn handle_start(&mut self, now: Time) {
        let before = self.before(now);
        self.enter(now, "handle_start");
        self.machine.handle_start(now);
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            self.told();
        } else {
            self.nothing_told("a repeated handle_start", before);
        }
    }

    #[inline]
    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        let before = match self.phase {
            Phase::Halted => Some(self.before(now)),
            Phase::New | Phase::Running | Phase::Ending => None,
        };
        let runs = self.enter_running(now, "handle_accepted");
        if runs && self.shut.contains(door) {
            let detail = format!("handle_accepted at listener {}", door.0);
            self.breach(Rule::AcceptedWhileShut, detail);
        }
        self.timeout = None;
        let answer = self.machine.handle_accepted(now, door, remote);
        match (answer, before) {
            (Ok(conn), Some(_)) => {
                let detail = format!("it accepts {conn} after the halt");
                self.breach(Rule::ActiveAfterHalt, detail);
            }
            (Err(Refused), Some(before)) => {
                self.nothing_told("handle_accepted after the halt", before);
            }
            (Ok(conn), None) => {
                self.told();
                self.begin(conn, Stage::Open);
            }
            (Err(Refused), None) => self.told(),
        }
        answer
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        let before = self.before(now);
        let runs = self.enter_running(now, "handle_starved");
        self.timeout = None;
        self.machine.handle_starved(now, door);
        if self.phase == Phase::Halted {
            self.nothing_told("handle_starved after the halt", before);
            return;
        }
        self.told();
        if runs && !self.shut.contains(door) {
            self.starved.insert(door);
        }
    }

    #[inline]
    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        let call = Call::Dialled(conn, outcome);
        let wrong = match self.table.stage(conn) {
            Stage::Dialling => None,
            Stage::Open | Stage::Finished => Wrong::STATE,
            Stage::Dead => Wrong::DEAD,
        };
        let before = self.begin_call(now, call, wrong);
        self.timeout = None;
        let answer = self.machine.handle_dialled(now, conn, outcome);
        if self.judge(call, wrong, before, answer) {
            match (outcome, self.table.get(conn)) {
                (Dialled::Connected, Some(entry)) => entry.stage = Stage::Open,
                (Dialled::Connected, None) => {}
                (Dialled::Failed, _) => self.gone(conn, before.drained),
            }
        }
        answer
    }

    #[inline]
    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        let call = Call::Bytes(conn, bytes.len());
        let wrong = self.reads(conn);
        let before = self.begin_call(now, call, wrong);
        self.timeout = None;
        let answer = self.machine.handle_bytes(now, conn, bytes);
        self.judge(call, wrong, before, answer);
        answer
    }

    #[inline]
    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        let call = Call::Sent(conn, count);
        let thorough = self.checks.thorough;
        let wrong = match self.table.stage(conn) {
            Stage::Dead => Wrong::DEAD,
            Stage::Dialling if count == 0 => Wrong::new(Rule::CallInWrongState, Answer::Any),
            Stage::Dialling => Wrong::new(Rule::CallInWrongState, Answer::Err),
            Stage::Open | Stage::Finished if thorough && !self.has_pending(conn, count) => {
                Wrong::TOO_MUCH
            }
            Stage::Open | Stage::Finished => None,
        };
        let before = self.begin_call(now, call, wrong);
        // Nothing is pending if the machine has closed it meanwhile.
        if thorough && wrong.is_none() && count > 0 {
            self.look_at_connection(conn);
        }
        let answer = self.machine.handle_sent(now, conn, count);
        if self.judge(call, wrong, before, answer) && thorough {
            self.look_at_sent(conn, count);
        }
        answer
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        let call = Call::Lost(conn, loss);
        let wrong = match loss {
            Loss::Finished => self.reads(conn),
            Loss::Broken => match self.table.stage(conn) {
                Stage::Dead => Wrong::DEAD,
                Stage::Dialling => Wrong::STATE,
                Stage::Open | Stage::Finished => None,
            },
        };
        let before = self.begin_call(now, call, wrong);
        self.timeout = None;
        let answer = self.machine.handle_lost(now, conn, loss);
        if self.judge(call, wrong, before, answer) {
            match (loss, self.table.get(conn)) {
                (Loss::Finished, Some(entry)) => entry.stage = Stage::Finished,
                (Loss::Finished, None) => {}
                (Loss::Broken, _) => self.gone(conn, before.drained),
            }
        }
        answer
    }

    #[inline]
    fn handle_timeout(&mut self, now: Time) {
        let before = self.before(now);
        let next = self.checks.thorough.then(|| self.machine.poll_timeout());
        let early = next.is_some_and(|next| next.is_none_or(|next| next.at > now));
        self.enter(now, "handle_timeout");
        if self.phase == Phase::New {
            let detail = String::from("handle_timeout before handle_start");
            self.breach(Rule::CallBeforeStart, detail);
        }
        self.machine.handle_timeout(now);
        if self.phase == Phase::Halted || (early && before.drained) {
            self.nothing_told("a timeout that is not due", before);
        } else {
            self.timeout = Some(now);
            self.told();
        }
    }

    fn handle_shutdown(&mut self, now: Time) {
        let before = self.before(now);
        self.enter(now, "handle_shutdown");
        self.timeout = None;
        self.machine.handle_shutdown(now);
        match self.phase {
            Phase::New => {
                let detail = String::from("handle_shutdown before handle_start");
                self.breach(Rule::CallBeforeStart, detail);
                self.phase = Phase::Ending;
                self.told();
            }
            Phase::Running => {
                self.phase = Phase::Ending;
                self.told();
            }
            Phase::Ending | Phase::Halted => {
                self.nothing_told("a repeated handle_shutdown", before);
            }
        }
    }

    #[inline]
    fn poll(&mut self) -> Option<Action<Self::Notice>> {
        let action = self.machine.poll();
        match &action {
            Some(action) => self.asked(action),
            None => self.rests(),
        }
        action
    }

    #[inline]
    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.machine.pending(conn, skip)
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Timeout> {
        self.machine.poll_timeout()
    }
}

impl<M> Checked<M> {
    /// What is wrong with reading from a connection, if anything is.
    #[inline]
    fn reads(&mut self, conn: Conn) -> Option<Wrong> {
        match self.table.get(conn) {
            None => Wrong::DEAD,
            Some(entry) => match entry.stage {
                Stage::Open if entry.paused => Wrong::PAUSED,
                Stage::Open => None,
                Stage::Dead | Stage::Dialling | Stage::Finished => Wrong::STATE,
            },
        }
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
