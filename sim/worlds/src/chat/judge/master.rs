//! One master's connection as the judge follows it: what it asked, what it is told.

use chatroom_machine::Time;
use std::collections::VecDeque;

/// Room for white space around a line.
const SLACK: usize = 64;

/// What a line of a master asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Get,
    Alive,
    Broadcast(Box<str>),
    Watch,
    Crash,
    /// No command: to be answered with an error.
    Bad,
    /// An HTTP request: the connection is to be closed.
    Http,
}

/// A line of a master that a server was handed and that is not done with.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) at: Time,
    pub(super) step: u64,
    /// How many entries the log had.
    pub(super) entries: usize,
    /// How many sets of live servers there had been.
    pub(super) alive: usize,
    /// For a broadcast that took place: where it stands in the log, from 1.
    pub(super) done: Option<usize>,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Delivered(usize, Box<str>),
    Up(usize),
    Down(usize),
    Gap(usize, u64),
}

/// A master's connection to one life.
#[derive(Clone, Debug, Default)]
pub(super) struct Master {
    /// Its lines so far, the unfinished one.
    said: Vec<u8>,
    skipping: bool,
    pub(super) lines: u64,
    /// How many of its lines were commands.
    pub(super) commands: u64,
    /// It was told that there is no place for it.
    pub(super) refused: bool,
    pub(super) asked: VecDeque<Asked>,
    /// What the server said, the unfinished line.
    pub(super) heard: Vec<u8>,
    /// When it last said something.
    pub(super) heard_at: Time,
    /// Whole lines that were not judged yet, with their steps.
    pub(super) replies: VecDeque<(u64, Vec<u8>)>,
    /// How much of the log, in entries, it has been shown or has written itself.
    pub(super) entries: usize,
    /// Whether two masters' equal broadcasts could have been mixed up.
    pub(super) unsure: bool,
    /// What it must be told, from its `watch` on, with the moments at which it happened.
    pub(super) watch: Option<VecDeque<(Time, Told)>>,
    /// It asked to watch when it was not clear when that took effect.
    pub(super) watch_unsure: bool,
    pub(super) told: VecDeque<(u64, Told)>,
    /// Its end reached the server.
    pub(super) lost: bool,
    pub(super) deaf: bool,
    /// When it last did not read.
    pub(super) deaf_until: Time,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// Whether a reply says that a master has no place, or lost it.
pub(super) fn is_refusal(line: &[u8]) -> bool {
    line.starts_with(b"error idle ") || line.starts_with(b"error all ")
}

/// What a whole line means, by the document and not by the server's code.
fn understand(line: &[u8], text_limit: usize) -> Ask {
    let start = line.iter().position(|byte| !is_blank(*byte));
    let end = line.iter().rposition(|byte| !is_blank(*byte));
    let (Some(start), Some(end)) = (start, end) else {
        return Ask::Bad;
    };
    let Ok(line) = std::str::from_utf8(&line[start..=end]) else {
        return Ask::Bad;
    };
    let is_host = line
        .get(..5)
        .is_some_and(|name| name.eq_ignore_ascii_case("host:"));
    if is_host
        || ["GET /", "POST /"]
            .iter()
            .any(|begin| line.starts_with(begin))
    {
        return Ask::Http;
    }
    match line {
        "get" => Ask::Get,
        "alive" => Ask::Alive,
        "watch" => Ask::Watch,
        "crash" => Ask::Crash,
        _ => match line.strip_prefix("broadcast ") {
            Some(text) if !text.is_empty() && text.len() <= text_limit => {
                Ask::Broadcast(text.into())
            }
            Some(_) | None => Ask::Bad,
        },
    }
}

impl Master {
    /// Takes bytes that the server was handed; gives what they ask for.
    pub(super) fn say(&mut self, bytes: &[u8], text_limit: usize) -> Vec<Ask> {
        let longest = b"broadcast ".len() + text_limit + SLACK;
        let mut asks = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (piece, next) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            rest = next;
            if !self.skipping {
                self.said.extend_from_slice(piece);
                if self.said.len() > longest {
                    asks.push(Ask::Bad);
                    self.skipping = true;
                } else if end.is_some() {
                    asks.push(understand(&self.said, text_limit));
                }
            }
            if end.is_some() {
                self.skipping = false;
            }
            if end.is_some() || self.skipping {
                self.said.clear();
            }
        }
        asks
    }

    /// Forgets what needs no answer, up to the first question that does.
    pub(super) fn settle(&mut self) {
        while let Some(asked) = self.asked.front()
            && (asked.done.is_some() || asked.ask == Ask::Watch)
        {
            self.entries = self.entries.max(asked.done.unwrap_or(0));
            self.asked.pop_front();
        }
    }

    /// What it asked that is to be done: nothing from an HTTP request on.
    pub(super) fn obeyed(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().take_while(|asked| asked.ask != Ask::Http)
    }

    /// Whether it was told that there is no place for it, or is being told.
    pub(super) fn was_refused(&self) -> bool {
        let said_so = |(_, line): &(u64, Vec<u8>)| is_refusal(line);
        self.refused || self.replies.iter().any(said_so) || is_refusal(&self.heard)
    }

    /// Takes the first question that needs an answer.
    pub(super) fn next_open(&mut self) -> Option<Asked> {
        self.settle();
        self.asked.pop_front()
    }

    /// Takes bytes that the server sent; keeps whole lines for the judgement.
    pub(super) fn hear(&mut self, step: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut whole = false;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.heard.extend_from_slice(&rest[..end]);
            let line = std::mem::take(&mut self.heard);
            self.replies.push_back((step, line));
            rest = &rest[end + 1..];
            whole = true;
        }
        self.heard.extend_from_slice(rest);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_any_pieces_are_understood_as_the_document_says() {
        let mut master = Master::default();
        let mut asks = master.say(b" get\r\nali", 5);
        asks.extend(master.say(
            b"ve\nbroadcast  a b\nbroadcast abcdef\nget 1\n\ncrash\nwatch",
            5,
        ));
        asks.extend(master.say(b"\n", 5));
        let broadcast = Ask::Broadcast(" a b".into());
        let bad = Ask::Bad;
        assert_eq!(
            asks,
            [
                Ask::Get,
                Ask::Alive,
                broadcast,
                bad.clone(),
                bad.clone(),
                bad,
                Ask::Crash,
                Ask::Watch
            ]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_once_and_skipped_to_its_end() {
        let mut master = Master::default();
        assert_eq!(master.say(&[b'x'; 79], 5), []);
        assert_eq!(master.say(b"x", 5), [Ask::Bad]);
        assert_eq!(master.say(&[b'x'; 200], 5), []);
        assert_eq!(master.say(b"get\nget\n", 5), [Ask::Get]);
    }
}
