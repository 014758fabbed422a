//! Servers that are broken on purpose, so that checkers can be seen to notice. The servers that
//! ship have [`Sound`], of which nothing is left once it is compiled.

use core::fmt;
use core::hash::Hash;

/// Which rules of the protocol hold.
pub trait Rules: Clone + fmt::Debug + Default + Eq + Hash {
    /// Whether a rule is broken on purpose.
    fn breaks(&self, defect: Defect) -> bool {
        let _ = defect;
        false
    }
}

/// All rules hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sound;

impl Rules for Sound {}

/// One rule is broken, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken(pub Option<Defect>);

impl Rules for Broken {
    fn breaks(&self, defect: Defect) -> bool {
        self.0 == Some(defect)
    }
}

macro_rules! defects {
    ($($(#[doc = $about:literal])* $variant:ident $name:literal,)*) => {
        /// A rule that can be broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Defect {
            $($(#[doc = $about])* $variant,)*
        }

        impl Defect {
            /// Every defect.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name on a command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What is broken, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($about),*).trim_start(),)*
                }
            }
        }
    };
}

defects! {
    /// A promise is given before it is stored.
    PromiseUnstored "promise-unstored",
    /// An acceptance is confirmed before it is stored.
    AcceptUnstored "accept-unstored",
    /// A promise is not recovered after a restart.
    PromiseForgotten "promise-forgotten",
    /// A ballot is used before it is stored, so that it may be used again after a restart.
    BallotReused "ballot-reused",
    /// A P2a below the promise is accepted.
    StaleAccepted "stale-accepted",
    /// A P1a below the promise is promised.
    StalePromised "stale-promised",
    /// A P1b leaves out what was accepted.
    AcceptedHidden "accepted-hidden",
    /// A new leader adopts the value of the lowest ballot.
    LowestAdopted "lowest-adopted",
    /// A new leader adopts nothing, and fills every open slot with a no-op.
    NothingAdopted "nothing-adopted",
    /// A new leader fills a slot with a no-op unless a majority has accepted something there.
    HoleOverAccepted "hole-over-accepted",
    /// Confirmations are counted, not those who sent them.
    CountedTwice "counted-twice",
    /// Half of the servers count as a majority.
    HalfIsEnough "half-is-enough",
    /// A slot is decided without a round of phase 2.
    DecidedAtOnce "decided-at-once",
    /// A message is acknowledged when it was proposed.
    AckEarly "ack-early",
    /// A command that was decided twice is applied twice.
    AppliedTwice "applied-twice",
    /// A gap in the log is taken for a no-op.
    GapSkipped "gap-skipped",
    /// A server that was away asks for nothing that it missed.
    NeverLearns "never-learns",
    /// A message is sent to the leader once only.
    NeverRetries "never-retries",
    /// A P2a is not sent again to a server that comes back.
    NotResent "not-resent",
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
