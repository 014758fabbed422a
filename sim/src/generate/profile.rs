//! Profiles: which families of faults a plan may have.

use crate::random::Choice;
use std::fmt;
use std::str::FromStr;

/// What kind of plan a seed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Nothing goes wrong.
    Calm,
    /// Servers die and come back, and nothing else goes wrong: the strict forms hold.
    Crash,
    /// Everything that can go wrong does, but for damaged bytes.
    Chaos,
    /// Bytes are damaged, split and held back: only robustness is asked for.
    Bytes,
    /// The seed switches each family of faults on or off.
    Swarm,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Calm,
        Self::Crash,
        Self::Chaos,
        Self::Bytes,
        Self::Swarm,
    ];

    /// Its name on the command line and in a plan.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Crash => "crash",
            Self::Chaos => "chaos",
            Self::Bytes => "bytes",
            Self::Swarm => "swarm",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| {
            format!("{name:?} is no profile: expected calm, crash, chaos, bytes or swarm")
        })
    }
}

macro_rules! families {
    ($($(#[$doc:meta])* $name:ident: $calm:literal $crash:literal $chaos:literal $bytes:literal,)*) => {
        /// The families of faults that a plan has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Families {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Families {
            /// Those of a profile; the choice decides for [`Profile::Swarm`].
            #[must_use]
            pub fn of(profile: Profile, choice: Choice) -> Self {
                match profile {
                    Profile::Calm => Self { $($name: $calm,)* },
                    Profile::Crash => Self { $($name: $crash,)* },
                    Profile::Chaos => Self { $($name: $chaos,)* },
                    Profile::Bytes => Self { $($name: $bytes,)* },
                    Profile::Swarm => {
                        // One in sixteen has no fault at all.
                        let any = choice.on("any").chance(940);
                        Self { $($name: any && $chaos && choice.on(stringify!($name)).chance(500),)* }
                    }
                }
            }
        }
    };
}

families! {
    /// Writes fall apart, reads are short.
    split: true true true true,
    /// Servers are killed, or told to crash, and started again.
    crash: false true true false,
    /// Servers are asked to end in good order, and started again.
    stop: false false true false,
    /// Servers stand still for a while.
    pause: false false true false,
    /// The whole machine stands still for a while, all servers at once.
    freeze: false false true false,
    /// Masters come in numbers, say one thing and go; more want a place than there are.
    crowd: false false true false,
    /// Nothing gets through one way or both.
    cut: false false true false,
    /// What is sent piles up.
    clog: false false true false,
    /// A way takes long.
    lag: false false true false,
    /// Connections are reset.
    reset: false false true false,
    /// Connections break for one side only.
    half_open: false false true false,
    /// Dials are refused or hang.
    connects: false false true false,
    /// Clocks drift and jump, timers are late.
    clocks: false false true false,
    /// No descriptors.
    starve: false false true false,
    /// Masters ask and do not read.
    deaf: false false true true,
    /// Little fits into a connection.
    small_buffers: false false true true,
    /// The servers' limits are small.
    small_limits: false false true false,
    /// The log's limit is small.
    small_log: false false true false,
    /// Bytes are damaged.
    damage: false false false true,
}
