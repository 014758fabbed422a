//! Calls on connections: which are wrong, and how each is answered.

use super::Checked;
use super::rule::Rule;
use super::table::Stage;
use crate::{Conn, Dialled, Loss, Machine, Misuse, Time, Timeout, pieces};
use alloc::format;
use core::fmt;

/// How a wrong call must be answered.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Any,
    Err,
    Exactly(Misuse),
}

/// A call that the driver ought not to make.
#[derive(Clone, Copy)]
pub(super) struct Wrong {
    /// The rule that it breaks.
    rule: Rule,
    pub(super) answer: Answer,
}

impl Wrong {
    pub(super) const fn new(rule: Rule, answer: Answer) -> Option<Self> {
        Some(Self { rule, answer })
    }

    pub(super) const DEAD: Option<Self> =
        Self::new(Rule::CallOnDead, Answer::Exactly(Misuse::Stale));
    pub(super) const STATE: Option<Self> =
        Self::new(Rule::CallInWrongState, Answer::Exactly(Misuse::WrongState));
    pub(super) const TOO_MUCH: Option<Self> =
        Self::new(Rule::SentTooMuch, Answer::Exactly(Misuse::TooMuch));
    pub(super) const PAUSED: Option<Self> = Self::new(Rule::ReadWhilePaused, Answer::Any);
}

/// A call on a connection.
#[derive(Clone, Copy)]
pub(super) enum Call {
    Dialled(Conn, Dialled),
    Bytes(Conn, usize),
    Sent(Conn, usize),
    Lost(Conn, Loss),
}

impl Call {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dialled(..) => "handle_dialled",
            Self::Bytes(..) => "handle_bytes",
            Self::Sent(..) => "handle_sent",
            Self::Lost(..) => "handle_lost",
        }
    }

    pub(super) const fn conn(self) -> Conn {
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
pub(super) struct Before {
    pub(super) drained: bool,
    /// What the machine wanted, where the call must not change that.
    timeout: Option<Option<Timeout>>,
}

impl<M: Machine> Checked<M> {
    /// Ends a call that may bring output.
    #[inline]
    pub(super) fn told(&mut self) {
        self.drained = false;
        if self.checks.thorough {
            self.wanted = Some(self.machine.poll_timeout().map(|timeout| timeout.at));
        }
    }

    /// What must be the same after a call at `now` that changes nothing. Time alone may change
    /// what is due when.
    pub(super) fn before(&self, now: Time) -> Before {
        let looks = self.checks.thorough && self.drained && now <= self.now;
        Before {
            drained: self.drained,
            timeout: looks.then(|| self.machine.poll_timeout()),
        }
    }

    /// Ends a call that changes nothing.
    pub(super) fn nothing_told(&mut self, call: &'static str, before: Before) {
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
    pub(super) fn begin_call(&mut self, now: Time, call: Call, wrong: Option<Wrong>) -> Before {
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
    pub(super) fn judge(
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
    pub(super) fn refused(
        &mut self,
        call: Call,
        wrong: Option<Wrong>,
        before: Before,
        given: Misuse,
    ) {
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

    pub(super) fn has_pending(&self, conn: Conn, count: usize) -> bool {
        let most = pieces(&self.machine, conn, count);
        most.map(<[u8]>::len).sum::<usize>() >= count
    }

    /// The driver reported the end of a connection.
    pub(super) fn gone(&mut self, conn: Conn, drained: bool) {
        if let Some(entry) = self.table.get(conn) {
            entry.stage = Stage::Dead;
        }
        if !drained {
            self.late.push(conn);
        }
        self.look_at_dead(conn);
    }

    pub(super) fn begin(&mut self, conn: Conn, stage: Stage) {
        if let Err((rule, detail)) = self.table.begin(conn, stage) {
            self.breach(rule, detail);
        }
    }
}

impl<M> Checked<M> {
    /// What is wrong with reading from a connection, if anything is.
    #[inline]
    pub(super) fn reads(&mut self, conn: Conn) -> Option<Wrong> {
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
