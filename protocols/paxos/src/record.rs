//! What a server stores: one volume of records, each a line of text.

use crate::ballot::Ballot;
use crate::value::Value;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// A record of the volume. A later one never contradicts an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Nothing below this ballot is promised or accepted any more.
    Promised(Ballot),
    /// It accepted a value, which is a promise too.
    Accepted(u64, Ballot, Value),
    /// What it accepted last for a slot was decided.
    Decided(u64),
    /// This was decided, though it had not accepted it.
    DecidedAs(u64, Value),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promised(ballot) => write!(f, "p {ballot}"),
            Self::Accepted(slot, ballot, value) => write!(f, "a {slot} {ballot} {value}"),
            Self::Decided(slot) => write!(f, "d {slot}"),
            Self::DecidedAs(slot, value) => write!(f, "v {slot} {value}"),
        }
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Panics
    /// If it is none: the storage tells nothing but what was stored, so another version of this
    /// program wrote it, and to leave out a promise would break it.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        match core::str::from_utf8(bytes).ok().and_then(Self::parse) {
            Some(record) => record,
            None => panic!("{}", Self::unknown(bytes)),
        }
    }

    fn unknown(bytes: &[u8]) -> String {
        format!(
            "a stored record that this version does not know: \"{}\"",
            bytes[..bytes.len().min(40)].escape_ascii()
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "p" => Some(Self::Promised(rest.parse().ok()?)),
            "a" => {
                let mut fields = rest.splitn(3, ' ');
                let slot = fields.next()?.parse().ok()?;
                let ballot = fields.next()?.parse().ok()?;
                Some(Self::Accepted(slot, ballot, Value::parse(fields.next()?)?))
            }
            "d" => Some(Self::Decided(rest.parse().ok()?)),
            "v" => {
                let (slot, value) = rest.split_once(' ')?;
                Some(Self::DecidedAs(slot.parse().ok()?, Value::parse(value)?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_is_stored_is_recovered() {
        let ballot = Ballot {
            round: 3,
            server: 2,
        };
        let value = Value::Command("7 a word".into());
        for record in [
            Record::Promised(ballot),
            Record::Accepted(9, ballot, value.clone()),
            Record::Accepted(0, ballot, Value::Noop),
            Record::Decided(4),
            Record::DecidedAs(5, value),
        ] {
            assert_eq!(Record::read(record.to_string().as_bytes()), record);
        }
    }

    #[test]
    #[should_panic(expected = "does not know: \"x 1\"")]
    fn an_unknown_record_is_not_left_out() {
        let _ = Record::read(b"x 1");
    }
}
