//! The rules by name, and what is told of a breach.

use alloc::string::String;
use core::fmt;

/// Who has to keep a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The protocol.
    Machine,
    /// Whatever drives it.
    Driver,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "machine",
            Self::Driver => "driver",
        })
    }
}

macro_rules! rules {
    ($($side:ident { $($(#[$doc:meta])* $rule:ident = $name:literal,)* })*) => {
        /// One rule of the contract between a machine and its driver. [`Machine`](crate::Machine)
        /// says them in prose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($($(#[$doc])* $rule,)*)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$($(Self::$rule,)*)*];

            /// Its stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$rule => $name,)*)*
                }
            }

            /// Who has to keep it.
            #[must_use]
            pub const fn side(self) -> Side {
                match self {
                    $($(Self::$rule => Side::$side,)*)*
                }
            }
        }
    };
}

rules! {
    Machine {
        /// An action names a connection that the driver knows as open, or one whose end the driver
        /// reported before it had polled that action.
        DeadHandle = "dead-handle",
        /// A slot is given out again only once the [`Close`](crate::Action::Close) of its last
        /// user was polled, or once the driver reported that its last user is gone.
        SlotInUse = "slot-in-use",
        /// A new user of a slot has a higher generation than all before it.
        GenerationReused = "generation-reused",
        /// A slot that was never used is given out only if all below it are, or were, in use.
        SlotsNotDense = "slots-not-dense",
        /// A right call is never an `Err`, but for [`Stale`](crate::Misuse::Stale) of a connection
        /// whose `Close` waits to be polled.
        RightCallRefused = "right-call-refused",
        /// A wrong call is an `Err`.
        WrongCallTaken = "wrong-call-taken",
        /// The `Err` of a wrong call says what is wrong: see [`Misuse`](crate::Misuse).
        WrongError = "wrong-error",
        /// A wrong call changes nothing. Neither does a repeated start or shutdown, a timeout that
        /// is not due, nor any call after the halt.
        OutputForNothing = "output-for-nothing",
        /// After [`handle_timeout`](crate::Machine::handle_timeout) and a drain, the next timeout
        /// lies strictly ahead.
        TimeoutNotAhead = "timeout-not-ahead",
        /// While there is output to be polled, a timeout is due.
        UndrainedNotDue = "undrained-not-due",
        /// After [`Halt`](crate::Action::Halt) a machine asks for nothing, accepts nothing and
        /// wants no timeout.
        ActiveAfterHalt = "active-after-halt",
        /// After an accept that failed, the listener is shut until the machine opens it again.
        AcceptsOn = "accepts-on",
        /// A drain comes to an end: without time passing there are at most four million actions.
        Livelock = "livelock",
        /// A pause, a resume, a shut and an open change something.
        RepeatedAction = "repeated-action",
        /// When bytes become pending on a connection that had none, a
        /// [`Send`](crate::Action::Send) says so.
        SilentBytes = "silent-bytes",
        /// A [`Send`](crate::Action::Send) says that there are bytes pending.
        SendWithoutBytes = "send-without-bytes",
        /// Bytes that are pending stay as they are until they are sent.
        PendingChanged = "pending-changed",
        /// What is pending behind some bytes is the same however many of them are skipped.
        PiecesDisagree = "pieces-disagree",
        /// Nothing is pending on a handle that is dead.
        PendingOnDead = "pending-on-dead",
        /// A notice is one line.
        NoticeOfLines = "notice-of-lines",
    }
    Driver {
        /// Moments never decrease.
        TimeWentBack = "time-went-back",
        /// [`handle_start`](crate::Machine::handle_start) comes first.
        CallBeforeStart = "call-before-start",
        /// After [`Halt`](crate::Action::Halt) nothing is told any more. A start, a timeout or a
        /// shutdown may still come, and does nothing.
        CallAfterHalt = "call-after-halt",
        /// A call names a handle that the machine gave out and that is not dead.
        CallOnDead = "call-on-dead",
        /// A dial is reported once; bytes, their being sent and an end are told of a connection
        /// that stands; nothing arrives after [`Finished`](crate::Loss::Finished).
        CallInWrongState = "call-in-wrong-state",
        /// No more bytes are reported as sent than are pending.
        SentTooMuch = "sent-too-much",
        /// Neither bytes nor the end of the stream are told of a connection while it is paused.
        ReadWhilePaused = "read-while-paused",
        /// Nobody is accepted at a listener that is shut.
        AcceptedWhileShut = "accepted-while-shut",
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// What happened, in words.
    pub detail: String,
}

impl Breach {
    /// Who broke it.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.rule.side()
    }
}

/// Written `the machine breaks timeout-not-ahead: after a timeout …`.
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, detail } = self;
        write!(f, "the {} breaks {rule}: {detail}", self.side())
    }
}
