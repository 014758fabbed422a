//! The mutants: what is broken in each, where it is run, and the checker that must catch it.

use super::bent::Bend;
use super::broken::Fault;
use chatroom_chat::Config;
use chatroom_machine::Span;
use chatroom_sim::generate::Profile::{self, Chaos, Crash};
use chatroom_worlds::chat::broken::Defect;
use chatroom_worlds::chat::judge::{
    ACCURACY, BOUNDS, COMPLETENESS, EMPTY_START, FIFO, LIVES, NO_CREATION, NO_DUPLICATION, OWN,
    PREFIX, REPLIES, VALIDITY,
};

/// How a server is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// The server that ships, wrongly configured.
    Config(fn(&mut Config)),
    /// The server that ships, with something bent between it and its driver.
    Bent(Bend),
    /// The same, as the binary keeps it for teaching.
    Taught(Defect),
    /// The server of the tests.
    Broken(Fault),
}

/// A server broken on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    pub(crate) what: &'static str,
    pub(crate) how: How,
    pub(crate) profile: Profile,
    pub(crate) checker: &'static str,
    /// Whether of all faults only pauses are left in the plan, and little fits into a link.
    pub(crate) only_pauses: bool,
}

impl Mutant {
    const fn with_only_pauses(self) -> Self {
        Self {
            only_pauses: true,
            ..self
        }
    }
}

/// Checkers of the simulator itself, for what any machine owes its driver.
pub(crate) const MISUSE: &str = "misuse";
pub(crate) const BAD_HANDLE: &str = "bad-handle";
pub(crate) const LIVELOCK: &str = "livelock";
pub(crate) const NOT_AHEAD: &str = "timeout-not-ahead";
pub(crate) const PANIC: &str = "panic";
pub(crate) const ACCEPTS_ON: &str = "accepts-on";

/// Every checker there is: each kills a mutant.
pub(crate) const CHECKERS: [&str; 18] = [
    NO_CREATION,
    NO_DUPLICATION,
    FIFO,
    LIVES,
    OWN,
    VALIDITY,
    PREFIX,
    EMPTY_START,
    REPLIES,
    COMPLETENESS,
    ACCURACY,
    BOUNDS,
    MISUSE,
    BAD_HANDLE,
    LIVELOCK,
    NOT_AHEAD,
    PANIC,
    ACCEPTS_ON,
];

const fn broken(
    what: &'static str,
    fault: Fault,
    profile: Profile,
    checker: &'static str,
) -> Mutant {
    let how = How::Broken(fault);
    Mutant {
        what,
        how,
        profile,
        checker,
        only_pauses: false,
    }
}

const fn bent(what: &'static str, bend: Bend, profile: Profile, checker: &'static str) -> Mutant {
    let how = How::Bent(bend);
    Mutant {
        what,
        how,
        profile,
        checker,
        only_pauses: false,
    }
}

const fn taught(
    what: &'static str,
    defect: Defect,
    profile: Profile,
    checker: &'static str,
) -> Mutant {
    let how = How::Taught(defect);
    Mutant {
        what,
        how,
        profile,
        checker,
        only_pauses: false,
    }
}

const fn config(
    what: &'static str,
    change: fn(&mut Config),
    profile: Profile,
    checker: &'static str,
) -> Mutant {
    let how = How::Config(change);
    Mutant {
        what,
        how,
        profile,
        checker,
        only_pauses: false,
    }
}

/// All of them.
pub(crate) fn mutants() -> Vec<Mutant> {
    use Fault as F;
    vec![
        broken(
            "frames of two writers interleave",
            F::Interleave,
            Chaos,
            NO_CREATION,
        ),
        taught(
            "one read is taken for one line",
            Defect::CutShort,
            Crash,
            NO_CREATION,
        ),
        broken(
            "a text that looks like a line between servers is parsed as one",
            F::TextAsLine,
            Crash,
            NO_CREATION,
        ),
        broken(
            "blanks of a text collapse on the wire",
            F::BlanksCollapse,
            Crash,
            NO_CREATION,
        ),
        broken(
            "what came from one peer is sent on to the others",
            F::Relay,
            Crash,
            NO_CREATION,
        ),
        broken(
            "the last message is sent again as a heartbeat",
            F::ResendLast,
            Crash,
            NO_DUPLICATION,
        ),
        broken("duplicates are found by text", F::DropSameText, Crash, FIFO),
        broken(
            "duplicates are found by sender and number without the incarnation",
            F::NumbersWithoutLife,
            Crash,
            FIFO,
        ),
        broken(
            "sending stops at the first dead peer",
            F::StopAtFirstDead,
            Crash,
            FIFO,
        ),
        broken(
            "bytes of an old link count after the new one's",
            F::OldBytesCount,
            Chaos,
            FIFO,
        ),
        broken(
            "the last message of a dead life comes after its next life's first",
            F::DeadSpeakLast,
            Crash,
            LIVES,
        ),
        broken(
            "the own message comes after the peers'",
            F::OwnLate,
            Crash,
            OWN,
        ),
        broken("the own message comes twice", F::OwnTwice, Crash, OWN),
        broken(
            "a text that looks like a command is parsed as one",
            F::TextAsCommand,
            Crash,
            OWN,
        ),
        broken(
            "the last message waits for the next one",
            F::HoldLast,
            Crash,
            VALIDITY,
        ),
        broken(
            "a paused peer holds up the others",
            F::OneHoldsUpAll,
            Chaos,
            VALIDITY,
        )
        .with_only_pauses(),
        broken(
            "an unterminated rest is delivered at the end of the stream",
            F::RestAtEnd,
            Crash,
            PREFIX,
        ),
        broken(
            "the log is resent on reconnect",
            F::ResendLog,
            Crash,
            EMPTY_START,
        ),
        broken(
            "`alive` comes in the order of arrival",
            F::AliveByArrival,
            Crash,
            REPLIES,
        ),
        broken(
            "the reply to a `get` is cut at a hundred bytes",
            F::GetCutShort,
            Crash,
            REPLIES,
        ),
        config(
            "heartbeat plus timeout exceed a second",
            |c| c.times.suspicion = Span::from_millis(2000),
            Crash,
            COMPLETENESS,
        ),
        broken(
            "the timeout counts from the last send",
            F::SilenceSinceSend,
            Crash,
            COMPLETENESS,
        ),
        broken(
            "a backlog read after a pause counts as fresh, as long as the pause was",
            F::BacklogIsFresh,
            Chaos,
            COMPLETENESS,
        ),
        broken(
            "the timeout counts from the connect",
            F::SilenceSinceConnect,
            Crash,
            ACCURACY,
        ),
        config(
            "heartbeats come no sooner than the timeout",
            |c| c.times.heartbeat = Span::from_millis(899),
            Crash,
            ACCURACY,
        ),
        config(
            "back-off goes beyond its bound",
            |c| c.times.backoff_max = Span::from_millis(8000),
            Chaos,
            ACCURACY,
        ),
        broken(
            "the close of an old link kills the new session",
            F::OldCloseKillsNew,
            Chaos,
            ACCURACY,
        ),
        broken(
            "both ends keep different links",
            F::KeepOldLink,
            Chaos,
            ACCURACY,
        ),
        broken(
            "a deadline of a dead link touches the new connection in its slot",
            F::StaleDeadline,
            Chaos,
            ACCURACY,
        ),
        taught(
            "every tenth word that there are bytes to send is lost",
            Defect::LostWakeup,
            Crash,
            ACCURACY,
        ),
        broken(
            "a message is kept after one of its sender that was not",
            F::KeepsAfterGap,
            Chaos,
            FIFO,
        ),
        broken(
            "a message that is not kept is not announced",
            F::SilentGap,
            Chaos,
            VALIDITY,
        ),
        broken(
            "of the messages that are not kept every second one is announced",
            F::GapTooSmall,
            Chaos,
            BOUNDS,
        ),
        broken(
            "twice as many messages are announced as are not kept",
            F::GapTooLarge,
            Chaos,
            BOUNDS,
        ),
        broken(
            "what follows an HTTP request is obeyed",
            F::ObeysWebPages,
            Chaos,
            REPLIES,
        ),
        broken(
            "servers of a machine that stood still suspect each other",
            F::NoExcuse,
            Chaos,
            ACCURACY,
        ),
        broken(
            "a peer that was excused once is never suspected",
            F::ExcusedForEver,
            Chaos,
            COMPLETENESS,
        ),
        broken(
            "a newcomer is closed for the next one, whatever it has sent",
            F::ClosesOldest,
            Chaos,
            BOUNDS,
        ),
        broken(
            "a master is turned away when there are too many",
            F::TurnsAway,
            Chaos,
            BOUNDS,
        ),
        broken(
            "a second link to a peer that is heard takes over",
            F::DialsTwice,
            Crash,
            ACCURACY,
        ),
        broken(
            "a link that waits for an older one of its peer never takes over",
            F::ContendsForEver,
            Chaos,
            ACCURACY,
        ),
        bent(
            "a session goes on with what is broadcast then, whatever the peer lacks",
            Bend::IgnoresReceived,
            Chaos,
            FIFO,
        ),
        bent(
            "what the peer has is sent to it again",
            Bend::Repeats,
            Chaos,
            ACCURACY,
        ),
        bent(
            "what was lost with a session is not announced",
            Bend::SilentLoss,
            Chaos,
            FIFO,
        ),
        bent(
            "accepting goes on after it failed for want of descriptors",
            Bend::AcceptsOn,
            Chaos,
            ACCEPTS_ON,
        ),
        config(
            "a slow peer's queue grows without end",
            |c| c.limits.lag = 1 << 30,
            Chaos,
            BOUNDS,
        ),
        config(
            "the log grows without end",
            |c| c.protocol.log = 1 << 40,
            Chaos,
            BOUNDS,
        ),
        config(
            "a text at the limit is refused",
            |c| c.limits.text -= 1,
            Chaos,
            OWN,
        ),
        config(
            "masters come without end",
            |c| c.limits.masters = 1 << 16,
            Chaos,
            BOUNDS,
        ),
        broken(
            "a master that was held off is forgotten",
            F::ForgetResume,
            Chaos,
            BOUNDS,
        ),
        bent(
            "the shipped server's masters that were held off are forgotten",
            Bend::NeverResume,
            Chaos,
            BOUNDS,
        ),
        broken(
            "a short write is taken for the driver's misuse",
            F::ShortWriteIsMisuse,
            Crash,
            MISUSE,
        ),
        bent(
            "handles lose their generation: a wrong handle touches the new connection",
            Bend::NoGeneration,
            Crash,
            BAD_HANDLE,
        ),
        bent(
            "a connection that is done with is never closed",
            Bend::NeverClose,
            Crash,
            BAD_HANDLE,
        ),
        broken(
            "a blocked write is spun on",
            F::SpinOnBlockedWrite,
            Chaos,
            LIVELOCK,
        ),
        bent(
            "timeouts are rounded down to milliseconds",
            Bend::RoundedTimeout,
            Crash,
            NOT_AHEAD,
        ),
        broken(
            "a text of a peer leads to a panic",
            F::PanicOnCommas,
            Crash,
            PANIC,
        ),
    ]
}
