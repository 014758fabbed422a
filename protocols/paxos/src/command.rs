//! What a client says beside what the state machine understands: the crashes that the lab asks for.

use crate::state_machine::{Order, StateMachine};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

/// One command of a client.
#[derive(Debug)]
pub enum Command<'a, Q> {
    /// For the state machine.
    Order(Order<'a, Q>),
    /// End at once.
    Crash,
    /// End at a certain step of the protocol.
    Arm(Crash),
}

/// A step of the protocol after which a server ends: once, the next time that it comes there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Crash {
    /// It answered a P1a.
    AfterP1b,
    /// It answered a P2a.
    AfterP2b,
    /// It sent a message, to these servers only.
    Sending(Step, BTreeSet<u32>),
}

/// A message that a leader sends to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The question of phase 1.
    P1a,
    /// The question of phase 2.
    P2a,
    /// That a slot was decided.
    Decision,
}

/// Reads one line, without white space at its ends.
///
/// # Errors
/// What is wrong with it: one line, fit for an `error` reply.
pub(crate) fn parse<S: StateMachine>(
    line: &str,
    most: usize,
) -> Result<Command<'_, S::Query<'_>>, String> {
    let mut words = line.split_ascii_whitespace();
    let word = words.next().unwrap_or_default();
    let step = match word {
        "crash" | "crashAfterP1b" | "crashAfterP2b" => {
            if words.next().is_some() {
                return Err(format!("{word} takes no argument"));
            }
            return Ok(match word {
                "crash" => Command::Crash,
                "crashAfterP1b" => Command::Arm(Crash::AfterP1b),
                _ => Command::Arm(Crash::AfterP2b),
            });
        }
        "crashP1a" => Step::P1a,
        "crashP2a" => Step::P2a,
        "crashDecision" => Step::Decision,
        _ => return S::parse(line, most).map(Command::Order),
    };
    let mut ids = BTreeSet::new();
    for id in words {
        let Ok(id) = id.parse() else {
            return Err(format!(
                "{word} {id:?}: expected ids of servers, as in {word} 0 2"
            ));
        };
        ids.insert(id);
    }
    Ok(Command::Arm(Crash::Sending(step, ids)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat_room::ChatRoom;

    #[test]
    fn each_crash_is_read_with_its_ids() {
        let arm = |line| match parse::<ChatRoom>(line, 9) {
            Ok(Command::Arm(crash)) => crash,
            other => panic!("{other:?}"),
        };
        assert_eq!(arm("crashAfterP1b"), Crash::AfterP1b);
        assert_eq!(arm("crashAfterP2b"), Crash::AfterP2b);
        assert_eq!(arm("crashP1a"), Crash::Sending(Step::P1a, BTreeSet::new()));
        assert_eq!(
            arm("crashP2a 2  0"),
            Crash::Sending(Step::P2a, BTreeSet::from([0, 2]))
        );
        assert_eq!(
            arm("crashDecision 1"),
            Crash::Sending(Step::Decision, BTreeSet::from([1]))
        );
        assert!(matches!(parse::<ChatRoom>("crash", 9), Ok(Command::Crash)));
        for line in [
            "crash 1",
            "crashAfterP1b 1",
            "crashP1a x",
            "crashP2a 1,2",
            "crashp1a",
        ] {
            assert!(parse::<ChatRoom>(line, 9).is_err(), "{line}");
        }
    }
}
