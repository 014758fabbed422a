//! The first output of a replay that is not the recorded one, for people to read.

use chatroom_machine::Time;
use std::fmt;

/// Characters shown before the first differing one, so that it is seen where it stands.
const BEFORE: usize = 24;
/// Characters shown from the first differing one.
const SHOWN: usize = 200;

/// Where a replay first got something else than what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The number of the record, the first being 1.
    pub record: u64,
    /// The moment of the last call.
    pub at: Time,
    /// The last call.
    pub call: String,
    /// What was recorded: from the first difference on, with a little before it.
    pub recorded: String,
    /// What the replay got: from the first difference on, with a little before it.
    pub got: String,
    /// How many characters of both, before what is shown, are the same.
    pub same: usize,
}

impl Difference {
    pub(crate) fn new(record: u64, at: Time, call: &str, recorded: &str, got: &str) -> Self {
        let common = recorded
            .chars()
            .zip(got.chars())
            .take_while(|(one, other)| one == other)
            .count();
        let same = common.saturating_sub(BEFORE);
        Self {
            record,
            at,
            call: cut(call, 0),
            recorded: cut(recorded, same),
            got: cut(got, same),
            same,
        }
    }
}

/// At most `BEFORE + SHOWN` characters of `text`, from the `from`-th on.
fn cut(text: &str, from: usize) -> String {
    let mut rest = text.chars().skip(from);
    let mut shown: String = rest.by_ref().take(BEFORE + SHOWN).collect();
    let left = rest.count();
    if left > 0 {
        shown.push_str(&format!("... and {left} more characters"));
    }
    shown
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {} differs, at {}, after the call {}",
            self.record, self.at, self.call
        )?;
        if self.same > 0 {
            write!(f, "\n(the first {} characters are the same)", self.same)?;
        }
        write!(f, "\nrecorded: {}\n     got: {}", self.recorded, self.got)
    }
}

impl std::error::Error for Difference {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_character_is_always_shown() {
        for same in [0, 1, BEFORE, 1000, 100_000] {
            let prefix = "é".repeat(same);
            let (recorded, got) = (format!("{prefix}x{prefix}"), format!("{prefix}y{prefix}"));
            let difference = Difference::new(1, Time::ZERO, "start", &recorded, &got);
            assert_ne!(difference.recorded, difference.got);
            assert!(difference.recorded.contains('x') && difference.got.contains('y'));
            assert!(difference.recorded.chars().count() < 2 * SHOWN);
        }
    }

    #[test]
    fn a_mere_prefix_differs_where_it_ends() {
        let long = "a".repeat(5000);
        let difference = Difference::new(1, Time::ZERO, "start", &long, &long[..4000]);
        assert_ne!(difference.recorded, difference.got);
        assert_eq!(difference.same, 4000 - BEFORE);
    }
}
