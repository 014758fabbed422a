//! What may happen to a host's disk, and plans in which it does.

use super::text::{FLAGS, Line, word_of};
use super::{Change, Fate, Plan, PlanError};
use crate::generate::Profile;
use crate::names::Host;
use crate::random::Choice;
use chatroom_machine::{Span, Time};
use std::fmt;

/// What happens to a host's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The power fails: the host dies as by [`Fate::Silence`], and of what was not synced only a
    /// part is left. If the host is down it loses what its last life left unsynced.
    PowerCut,
    /// Each commit takes longer by this much; zero ends it.
    Slow(Span),
    /// Nothing more fits on it, while the flag is on: a write fails in the middle.
    Full(bool),
    /// The next sync fails.
    FailSync,
    /// A bit that is stored flips: bit `number` of all, counted round if there are fewer.
    Flip(u64),
}

impl DiskFault {
    /// Writes it as in a plan.
    pub(super) fn write(self, host: Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerCut => write!(f, "power-cut {host}"),
            Self::Slow(by) => write!(f, "slow-disk {host} {}", by.as_micros()),
            Self::Full(on) => write!(f, "full-disk {host} {}", word_of(FLAGS, &on)),
            Self::FailSync => write!(f, "fail-sync {host}"),
            Self::Flip(bit) => write!(f, "flip-bit {host} {bit}"),
        }
    }
}

impl Line<'_> {
    /// The change that a word begins; `None` if it is none of a disk.
    pub(super) fn disk_fault(&mut self, word: &str) -> Result<Option<Change>, PlanError> {
        Ok(Some(match word {
            "power-cut" => Change::Disk(self.host()?, DiskFault::PowerCut),
            "slow-disk" => {
                let (host, by) = (self.host()?, self.number("a span in microseconds")?);
                Change::Disk(host, DiskFault::Slow(Span::from_micros(by)))
            }
            "full-disk" => Change::Disk(self.host()?, DiskFault::Full(self.one_of(FLAGS)?)),
            "fail-sync" => Change::Disk(self.host()?, DiskFault::FailSync),
            "flip-bit" => {
                let (host, bit) = (self.host()?, self.number("the number of a bit")?);
                Change::Disk(host, DiskFault::Flip(bit))
            }
            _ => return Ok(None),
        }))
    }
}

/// Which faults of disks and processes [`disk_trouble`] may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskTrouble {
    /// Power cuts.
    pub power_cuts: bool,
    /// Processes that are killed in the middle of something.
    pub kills: bool,
    /// Slow disks.
    pub slow: bool,
    /// Full disks.
    pub full: bool,
    /// Syncs that fail.
    pub fail_sync: bool,
    /// Bits that flip.
    pub flips: bool,
}

impl DiskTrouble {
    /// All of them.
    pub const ALL: Self = Self {
        power_cuts: true,
        kills: true,
        slow: true,
        full: true,
        fail_sync: true,
        flips: true,
    };

    /// None.
    pub const NONE: Self = Self {
        power_cuts: false,
        kills: false,
        slow: false,
        full: false,
        fail_sync: false,
        flips: false,
    };

    /// Those of a profile.
    #[must_use]
    pub fn of(profile: Profile, choice: Choice) -> Self {
        match profile {
            Profile::Calm => Self::NONE,
            Profile::Crash => Self {
                power_cuts: true,
                kills: true,
                ..Self::NONE
            },
            // A host whose disk is corrupt stays down: not all can come right in the end.
            Profile::Chaos => Self {
                flips: false,
                ..Self::ALL
            },
            Profile::Bytes => Self {
                flips: true,
                ..Self::NONE
            },
            Profile::Swarm => Self {
                flips: false,
                ..Self::some(choice)
            },
        }
    }

    /// Those that a choice leaves on, each by its own.
    #[must_use]
    pub fn some(choice: Choice) -> Self {
        let on = |name| choice.on(name).chance(500);
        Self {
            power_cuts: on("power-cuts"),
            kills: on("kills"),
            slow: on("slow"),
            full: on("full"),
            fail_sync: on("fail-sync"),
            flips: on("flips"),
        }
    }
}

/// Adds faults of a host's disk and the deaths and starts that go with them, between the warm-up
/// and the heal; after the heal the host is started once more. For worlds whose machines have
/// volumes: to others a power cut is a death like any other, and the rest does nothing.
pub fn disk_trouble(plan: &mut Plan, host: Host, trouble: DiskTrouble, choice: Choice) {
    let begin = plan.phases.warm_up.as_micros();
    let heal = plan.phases.heal.as_micros();
    let count = choice.on("count").between(2, 12);
    let moment = |choice: Choice| Time::from_micros(choice.between(begin, heal));
    for index in 0..count {
        let choice = choice.at(index);
        let at = moment(choice.on("at"));
        let until = moment(choice.on("until")).max(at);
        let again = at + Span::from_micros(choice.on("again").between(1, 300_000));
        let disk = |fault| Change::Disk(host, fault);
        match choice.on("what").below(8) {
            0..=1 if trouble.power_cuts => {
                plan.push(at, disk(DiskFault::PowerCut));
                plan.push(again, Change::Start(host));
            }
            2 if trouble.kills => {
                plan.push(at, Change::Kill(host, Fate::Fin));
                // The system may have had no time to write what it was given.
                if trouble.power_cuts && choice.on("then").chance(500) {
                    plan.push(at + Span::from_micros(1), disk(DiskFault::PowerCut));
                }
                plan.push(again, Change::Start(host));
            }
            3 if trouble.slow => {
                let by = Span::from_micros(choice.on("by").between(1_000, 300_000));
                plan.push(at, disk(DiskFault::Slow(by)));
                plan.push(until, disk(DiskFault::Slow(Span::ZERO)));
            }
            4 if trouble.full => {
                plan.push(at, disk(DiskFault::Full(true)));
                plan.push(until, disk(DiskFault::Full(false)));
                plan.push(until, Change::Start(host));
            }
            5..=6 if trouble.fail_sync => {
                plan.push(at, disk(DiskFault::FailSync));
                plan.push(again, Change::Start(host));
                // What the sync left behind shows when the cache is gone.
                if trouble.power_cuts {
                    let cut = again + Span::from_micros(choice.on("cut").between(1, 300_000));
                    plan.push(cut, disk(DiskFault::PowerCut));
                    plan.push(cut + Span::from_millis(10), Change::Start(host));
                }
            }
            7 if trouble.flips && choice.on("flips").chance(300) => {
                // At rest: who runs reads nothing back.
                plan.push(at, Change::Kill(host, Fate::Fin));
                plan.push(at, disk(DiskFault::Flip(choice.on("bit").bits())));
                plan.push(again, Change::Start(host));
            }
            _ => {}
        }
    }
    plan.push(
        Time::from_micros(heal) + Span::from_millis(50),
        Change::Start(host),
    );
}
