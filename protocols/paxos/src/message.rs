//! What servers say to each other: one line each, a word and its fields.

use crate::ballot::Ballot;
use crate::value::Value;
use chatroom_core::Why;
use core::fmt;
use core::str::{FromStr, SplitN};

/// More than stands around a command in any message, in bytes: three numbers of 20 digits, two of
/// 10, and the word.
pub(crate) const AROUND: usize = 128;

/// A message between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// How its sender stands. Sent when a session begins, and at every change but of the frontier.
    Status(Status),
    /// Would you promise me a ballot? The number comes back in the answer.
    Ask(u64),
    /// I would.
    Yes(u64),
    /// Phase 1: asks for a promise, and for what was accepted from a slot on.
    P1a { ballot: Ballot, from: u64 },
    /// Part of the answer: this was accepted.
    Pvalue {
        ballot: Ballot,
        slot: u64,
        at: Ballot,
        value: Value,
    },
    /// The end of the answer: the promise.
    P1b { ballot: Ballot },
    /// Phase 2: asks to accept.
    P2a {
        ballot: Ballot,
        slot: u64,
        value: Value,
    },
    /// It is accepted.
    P2b { ballot: Ballot, slot: u64 },
    /// Something higher was promised.
    Nack { promised: Ballot },
    /// This was decided.
    Decide { slot: u64, value: Value },
    /// Tell me what was decided, from a slot on.
    Learn { from: u64 },
    /// The end of such an answer, with the sender's frontier.
    Tip { frontier: u64 },
    /// Please have this decided. It may be passed on so many times.
    Request { hops: u8, command: &'a str },
}

/// How a server stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Status {
    /// The ballot that it leads with.
    pub(crate) leading: Option<Ballot>,
    /// Whether it has a session with a majority, itself included.
    pub(crate) quorate: bool,
    /// Whether it leads, or has a session with a leader that is quorate.
    pub(crate) led: bool,
    /// The first slot that it does not know to be decided.
    pub(crate) frontier: u64,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                f.write_str("status ")?;
                match status.leading {
                    Some(ballot) => ballot.fmt(f)?,
                    None => f.write_str("-")?,
                }
                let (quorate, led) = (u8::from(status.quorate), u8::from(status.led));
                write!(f, " {quorate} {led} {}", status.frontier)
            }
            Self::Ask(number) => write!(f, "ask {number}"),
            Self::Yes(number) => write!(f, "yes {number}"),
            Self::P1a { ballot, from } => write!(f, "p1a {ballot} {from}"),
            Self::Pvalue {
                ballot,
                slot,
                at,
                value,
            } => write!(f, "pvalue {ballot} {slot} {at} {value}"),
            Self::P1b { ballot } => write!(f, "p1b {ballot}"),
            Self::P2a {
                ballot,
                slot,
                value,
            } => write!(f, "p2a {ballot} {slot} {value}"),
            Self::P2b { ballot, slot } => write!(f, "p2b {ballot} {slot}"),
            Self::Nack { promised } => write!(f, "nack {promised}"),
            Self::Decide { slot, value } => write!(f, "decide {slot} {value}"),
            Self::Learn { from } => write!(f, "learn {from}"),
            Self::Tip { frontier } => write!(f, "tip {frontier}"),
            Self::Request { hops, command } => write!(f, "request {hops} {command}"),
        }
    }
}

/// The fields of a line, one after the other.
struct Fields<'a>(SplitN<'a, char>);

impl<'a> Fields<'a> {
    fn text(&mut self) -> Result<&'a str, Why> {
        let field = self.0.next().filter(|field| !field.is_empty());
        field.ok_or(Why::Malformed)
    }

    fn read<T: FromStr>(&mut self) -> Result<T, Why> {
        self.text()?.parse().map_err(|_| Why::Malformed)
    }

    fn flag(&mut self) -> Result<bool, Why> {
        match self.text()? {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(Why::Malformed),
        }
    }

    fn value(&mut self) -> Result<Value, Why> {
        Value::parse(self.text()?).ok_or(Why::Malformed)
    }
}

/// Reads a message.
///
/// # Errors
/// The fault for which the link is closed.
pub(crate) fn parse(body: &[u8]) -> Result<Message<'_>, Why> {
    let body = core::str::from_utf8(body).map_err(|_| Why::NotUtf8)?;
    let (word, rest) = body.split_once(' ').ok_or(Why::Malformed)?;
    let count = match word {
        "status" | "pvalue" => 4,
        "p2a" => 3,
        "p1a" | "p2b" | "decide" | "request" => 2,
        _ => 1,
    };
    let mut fields = Fields(rest.splitn(count, ' '));
    let message = match word {
        "status" => {
            let leading = match fields.text()? {
                "-" => None,
                ballot => Some(ballot.parse().map_err(|_| Why::Malformed)?),
            };
            Message::Status(Status {
                leading,
                quorate: fields.flag()?,
                led: fields.flag()?,
                frontier: fields.read()?,
            })
        }
        "ask" => Message::Ask(fields.read()?),
        "yes" => Message::Yes(fields.read()?),
        "p1a" => Message::P1a {
            ballot: fields.read()?,
            from: fields.read()?,
        },
        "pvalue" => Message::Pvalue {
            ballot: fields.read()?,
            slot: fields.read()?,
            at: fields.read()?,
            value: fields.value()?,
        },
        "p1b" => Message::P1b {
            ballot: fields.read()?,
        },
        "p2a" => Message::P2a {
            ballot: fields.read()?,
            slot: fields.read()?,
            value: fields.value()?,
        },
        "p2b" => Message::P2b {
            ballot: fields.read()?,
            slot: fields.read()?,
        },
        "nack" => Message::Nack {
            promised: fields.read()?,
        },
        "decide" => Message::Decide {
            slot: fields.read()?,
            value: fields.value()?,
        },
        "learn" => Message::Learn {
            from: fields.read()?,
        },
        "tip" => Message::Tip {
            frontier: fields.read()?,
        },
        "request" => Message::Request {
            hops: fields.read()?,
            command: fields.text()?,
        },
        _ => return Err(Why::Malformed),
    };
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let (ballot, at) = (
            Ballot {
                round: u64::MAX,
                server: 1023,
            },
            Ballot {
                round: 7,
                server: 0,
            },
        );
        let value = Value::Command("12 two words = -".into());
        let (slot, from, frontier) = (u64::MAX, 3, 4);
        let status = Status {
            leading: Some(ballot),
            quorate: true,
            led: false,
            frontier: u64::MAX,
        };
        let all = vec![
            Message::Status(status),
            Message::Status(Status::default()),
            Message::Ask(1),
            Message::Yes(2),
            Message::P1a { ballot, from },
            Message::Pvalue {
                ballot,
                slot,
                at,
                value: value.clone(),
            },
            Message::Pvalue {
                ballot,
                slot,
                at,
                value: Value::Noop,
            },
            Message::P1b { ballot },
            Message::P2a {
                ballot,
                slot,
                value: value.clone(),
            },
            Message::P2b { ballot, slot },
            Message::Nack { promised: at },
            Message::Decide { slot, value },
            Message::Learn { from },
            Message::Tip { frontier },
            Message::Request {
                hops: 1,
                command: "9 word",
            },
        ];
        for message in all {
            let line = message.to_string();
            assert_eq!(parse(line.as_bytes()), Ok(message), "{line}");
            assert!(line.len() < AROUND, "{line}");
        }
    }

    #[test]
    fn what_is_not_whole_is_a_fault() {
        for line in [
            "",
            "p1a",
            "p1a ",
            "p1a 1.0",
            "p1a 1 0",
            "p1a 1.0 x",
            "p2a 1.0 2 word",
            "p2a 1.0 2 =",
            "status - 2 0 0",
            "status - 1 0",
            "decide 1",
            "ask 1 2",
            "request 1",
            "hello 1",
            "p1b 1.0 2",
            "nack -1.0",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Why::Malformed), "{line:?}");
        }
        assert_eq!(parse(b"decide 1 =\xff"), Err(Why::NotUtf8));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            line in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            let _ = parse(&line);
        }
    }
}
