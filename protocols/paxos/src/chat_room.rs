//! The lab's replicated chat room: words in the order of the log.

use crate::state_machine::{Answer, Order, StateMachine};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How much of a bad command its error repeats, in characters.
const ECHO: usize = 40;

/// The words of all messages, joined by commas. Unbounded as yet, like the log.
#[derive(Clone, Debug, Default, Hash)]
pub struct ChatRoom {
    text: Vec<u8>,
    words: u64,
}

/// `get chatLog`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetChatLog;

impl ChatRoom {
    /// The words, joined by commas.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many words there are.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.words
    }
}

/// A command is `ID WORD`: a number that no other message has, and a word without a blank.
impl StateMachine for ChatRoom {
    type Id = u64;
    type Query<'a> = GetChatLog;

    fn parse(line: &str, most: usize) -> Result<Order<'_, GetChatLog>, String> {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        let argument = argument.trim_start();
        match word {
            "msg" if argument.len() > most => {
                let length = argument.len();
                Err(format!(
                    "a message of {length} bytes: expected at most {most}"
                ))
            }
            "msg" if Self::id(argument).is_some() => Ok(Order::Command(argument)),
            "msg" => {
                let echo: String = argument.chars().take(ECHO).collect();
                Err(format!(
                    "msg {echo:?}: expected ID WORD, a number below 2^64 and a word without blanks, \
                     as in msg 7 hello"
                ))
            }
            "get" if argument == "chatLog" => Ok(Order::Query(GetChatLog)),
            _ => {
                let echo: String = line.chars().take(ECHO).collect();
                Err(format!(
                    "unknown command {echo:?}: expected msg ID WORD, get chatLog, crash, \
                     crashAfterP1b, crashAfterP2b, crashP1a IDS, crashP2a IDS or crashDecision IDS"
                ))
            }
        }
    }

    /// One identity has one spelling: digits without a leading zero.
    fn id(command: &str) -> Option<u64> {
        let (id, word) = command.split_once(' ')?;
        let plain = id.bytes().all(|byte| byte.is_ascii_digit());
        let spelled = plain && (id == "0" || !id.starts_with('0'));
        let is_word = !word.is_empty() && !word.contains(char::is_whitespace);
        id.parse().ok().filter(|_| spelled && is_word)
    }

    fn apply(&mut self, command: &str) {
        let Some((_, word)) = command.split_once(' ') else {
            return;
        };
        if self.words > 0 {
            self.text.push(b',');
        }
        self.words += 1;
        self.text.extend_from_slice(word.as_bytes());
    }

    fn acknowledgement(id: &u64, slot: u64) -> String {
        format!("ack {id} {slot}")
    }

    fn answer(&self, _: &GetChatLog) -> Answer {
        Answer {
            head: String::from("chatLog "),
            from: 0,
            to: self.text.len() as u64,
        }
    }

    fn shared(&self, from: u64, to: u64) -> &[u8] {
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        self.text.get(at(from)..at(to)).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_the_order_in_which_they_were_applied() {
        let mut room = ChatRoom::default();
        assert_eq!(room.answer(&GetChatLog).to, 0);
        for command in ["3 one", "1 a,b", "2 one"] {
            room.apply(command);
        }
        let answer = room.answer(&GetChatLog);
        assert_eq!(answer.head, "chatLog ");
        assert_eq!(room.shared(answer.from, answer.to), b"one,a,b,one");
        assert_eq!(room.words(), 3);
    }

    #[test]
    fn a_message_has_a_number_and_a_word() {
        let parse = |line| ChatRoom::parse(line, 12);
        assert_eq!(parse("msg 7 hello"), Ok(Order::Command("7 hello")));
        assert_eq!(parse("msg  0 x"), Ok(Order::Command("0 x")));
        assert_eq!(parse("get chatLog"), Ok(Order::Query(GetChatLog)));
        for line in [
            "",
            "msg",
            "msg 7",
            "msg 7 ",
            "msg x y",
            "msg 07 y",
            "msg -1 y",
            "msg 7 two words",
            "msg 18446744073709551616 y",
            "msg 1 elevenbytes.",
            "get",
            "get chatlog",
            "MSG 1 a",
        ] {
            let error = parse(line).expect_err(line);
            assert!(
                error.contains("expected") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
