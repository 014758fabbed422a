//! Plans as text, one thing a line:
//!
//! ```text
//! chatroom-plan 1
//! # moments and spans are in microseconds, shares in parts of 1000
//! seed 7
//! hosts 3
//! end 5000000
//! note profile crash
//! at 0 start 0
//! at 1500 open 0/0 1
//! at 2000 say 0/0 "broadcast hello\n"
//! at 3000 cut 0>1
//! at 3500 mend 0>1
//! at 4000 kill 1 rst
//! ```
//!
//! Lines before the events may come in any order; what is not given is as by default. A way is
//! written `FROM>TO`, or `ONE=OTHER` for both directions; a client `HOST/NUMBER`. Bytes are
//! quoted, with the escapes `\n`, `\r`, `\t`, `\"`, `\\` and `\xHH`.

use super::limits::fault;
use super::{
    Change, Connects, Event, Fate, MAX_EVENTS, MAX_SAY, MAX_TEXT, Net, Phases, Plan, PlanError, Way,
};
use crate::names::{Client, Host};
use chatroom_machine::Door;
use chatroom_machine::{Span, Time};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

const HEAD: &str = "chatroom-plan 1";

/// Written so that [`Plan::parse`] reads the same plan back, with its events in order of time.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Phases {
            warm_up,
            trouble,
            heal,
            end,
        } = self.phases;
        let net = &self.net;
        writeln!(f, "{HEAD}\nseed {}\nhosts {}", self.seed, self.hosts)?;
        for (name, moment) in [
            ("warm-up", warm_up),
            ("trouble", trouble),
            ("heal", heal),
            ("end", end),
        ] {
            writeln!(f, "{name} {}", moment.as_micros())?;
        }
        for (name, span) in [
            ("latency", net.latency),
            ("jitter", net.jitter),
            ("client-latency", net.client_latency),
            ("client-jitter", net.client_jitter),
            ("resend", net.resend),
            ("timer-late", net.timer_late),
        ] {
            writeln!(f, "{name} {}", span.as_micros())?;
        }
        for (name, number) in [
            ("split", net.split),
            ("short-write", net.short_write),
            ("buffer", net.buffer),
            ("read", net.read),
            ("backlog", net.backlog),
        ] {
            writeln!(f, "{name} {number}")?;
        }
        for (key, value) in &self.notes {
            writeln!(f, "{}", format!("note {key} {value}").trim_end())?;
        }
        let mut events: Vec<&Event> = self.events.iter().collect();
        // Those of one moment stay in their order, in which they happen.
        events.sort_by_key(|event| event.at);
        for event in events {
            writeln!(f, "at {} {}", event.at.as_micros(), event.change)?;
        }
        Ok(())
    }
}

/// Written as in a plan.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(host) => write!(f, "start {host}"),
            Self::Kill(host, fate) => write!(f, "kill {host} {}", word_of(FATES, fate)),
            Self::Pause(host) => write!(f, "pause {host}"),
            Self::Resume(host) => write!(f, "resume {host}"),
            Self::Stop(host) => write!(f, "stop {host}"),
            Self::Jump(host, by) => write!(f, "jump {host} {}", by.as_micros()),
            Self::Drift(host, ppm) => write!(f, "drift {host} {ppm}"),
            Self::Starve(host, on) => write!(f, "starve {host} {}", word_of(FLAGS, on)),
            Self::Cut(way) => write!(f, "cut {way}"),
            Self::Mend(way) => write!(f, "mend {way}"),
            Self::Clog(way) => write!(f, "clog {way}"),
            Self::Unclog(way) => write!(f, "unclog {way}"),
            Self::Lag(way, by) => write!(f, "lag {way} {}", by.as_micros()),
            Self::Connects(way, how) => write!(f, "connects {way} {}", word_of(CONNECTS, how)),
            Self::Reset(way) => write!(f, "reset {way}"),
            Self::HalfOpen(way) => write!(f, "half-open {way}"),
            Self::Damage(way, permille) => write!(f, "damage {way} {permille}"),
            Self::Buffer(way, bytes) => write!(f, "buffer {way} {bytes}"),
            Self::Disk(host, fault) => fault.write(*host, f),
            Self::Heal => f.write_str("heal"),
            Self::Open(client, door) => write!(f, "open {client} {}", door.0),
            Self::Say(client, bytes) => {
                write!(f, "say {client} \"{}\"", bytes.escape_ascii())
            }
            Self::Finish(client) => write!(f, "finish {client}"),
            Self::Leave(client) => write!(f, "leave {client}"),
            Self::Deaf(client, on) => write!(f, "deaf {client} {}", word_of(FLAGS, on)),
        }
    }
}

/// Written `FROM>TO`, or `ONE=OTHER` for both directions.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.both { '=' } else { '>' };
        write!(f, "{}{sign}{}", self.from, self.to)
    }
}

pub(super) type Words<T> = &'static [(&'static str, T)];
const FATES: Words<Fate> = &[
    ("fin", Fate::Fin),
    ("rst", Fate::Rst),
    ("silence", Fate::Silence),
];
const CONNECTS: Words<Connects> = &[
    ("work", Connects::Work),
    ("refused", Connects::Refused),
    ("hang", Connects::Hang),
];
pub(super) const FLAGS: Words<bool> = &[("on", true), ("off", false)];

pub(super) fn word_of<T: PartialEq>(words: Words<T>, value: &T) -> &'static str {
    words
        .iter()
        .find(|(_, each)| each == value)
        .map_or("", |(word, _)| word)
}

impl Plan {
    /// Reads a plan from its text.
    ///
    /// # Errors
    /// The first line that is not as expected, or a bound that is broken. No input panics.
    pub fn parse(text: &[u8]) -> Result<Self, PlanError> {
        if text.len() > MAX_TEXT {
            return fault(0, format!("a plan is at most {MAX_TEXT} bytes long"));
        }
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let good = &text[..error.valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                return fault(line, "a plan is UTF-8 text, and this line is not");
            }
        };
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        match lines.next() {
            Some((_, line)) if line.trim() == HEAD => {}
            Some((number, line)) => return wrong(number, &format!("{HEAD:?}"), line),
            None => return fault(1, format!("expected {HEAD:?}, found nothing")),
        }
        let mut head = Head::default();
        let mut events = Vec::new();
        for (number, line) in lines {
            let mut line = Line {
                number,
                rest: line.trim(),
            };
            match line.word("a keyword")? {
                "at" => {
                    if events.len() >= MAX_EVENTS {
                        return fault(number, format!("a plan has at most {MAX_EVENTS} events"));
                    }
                    let at = Time::from_micros(line.number("a moment in microseconds")?);
                    let change = line.change()?;
                    line.end()?;
                    events.push(Event { at, change });
                }
                word => head.take(word, &mut line)?,
            }
        }
        head.plan(events)
    }
}

/// What stands before the events.
#[derive(Default)]
struct Head {
    seed: Option<u64>,
    hosts: Option<u16>,
    phases: [Option<u64>; 4],
    net: Net,
    notes: BTreeMap<String, String>,
}

const PHASES: [&str; 4] = ["warm-up", "trouble", "heal", "end"];

impl Head {
    fn take(&mut self, word: &str, line: &mut Line<'_>) -> Result<(), PlanError> {
        let net = &mut self.net;
        let spans = [
            ("latency", &mut net.latency),
            ("jitter", &mut net.jitter),
            ("client-latency", &mut net.client_latency),
            ("client-jitter", &mut net.client_jitter),
            ("resend", &mut net.resend),
            ("timer-late", &mut net.timer_late),
        ];
        let numbers = [
            ("split", &mut net.split),
            ("short-write", &mut net.short_write),
            ("buffer", &mut net.buffer),
            ("read", &mut net.read),
            ("backlog", &mut net.backlog),
        ];
        if let Some((_, span)) = spans.into_iter().find(|(name, _)| *name == word) {
            *span = Span::from_micros(line.number("a span in microseconds")?);
        } else if let Some((_, number)) = numbers.into_iter().find(|(name, _)| *name == word) {
            *number = line.number("a number")?;
        } else if let Some(phase) = PHASES.iter().position(|name| *name == word) {
            self.phases[phase] = Some(line.number("a moment in microseconds")?);
        } else {
            match word {
                "seed" => self.seed = Some(line.number("a number")?),
                "hosts" => self.hosts = Some(line.number("a number of hosts")?),
                "note" => {
                    let key = line.word("the note's name")?.to_owned();
                    let value = std::mem::take(&mut line.rest).to_owned();
                    self.notes.insert(key, value);
                }
                _ => {
                    let expected = "\"at\", \"seed\", \"hosts\", \"note\", a phase or a setting";
                    return line.wrong(expected, word);
                }
            }
        }
        line.end()
    }

    fn plan(self, events: Vec<Event>) -> Result<Plan, PlanError> {
        let missing = |name: &str| PlanError {
            line: 0,
            text: format!("expected a line \"{name} …\", found none"),
        };
        let [warm_up, trouble, heal, end] = self.phases;
        let end = end.ok_or_else(|| missing("end"))?;
        let or_end = |moment: Option<u64>| Time::from_micros(moment.unwrap_or(end));
        let plan = Plan {
            seed: self.seed.ok_or_else(|| missing("seed"))?,
            hosts: self.hosts.ok_or_else(|| missing("hosts"))?,
            phases: Phases {
                warm_up: or_end(warm_up),
                trouble: or_end(trouble),
                heal: or_end(heal),
                end: or_end(None),
            },
            net: self.net,
            notes: self.notes,
            events,
        };
        plan.check()?;
        Ok(plan)
    }
}

/// A line that is being read.
pub(super) struct Line<'a> {
    number: usize,
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn wrong<T>(&self, expected: &str, found: &str) -> Result<T, PlanError> {
        wrong(self.number, expected, found)
    }

    fn word(&mut self, expected: &str) -> Result<&'a str, PlanError> {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        if word.is_empty() {
            return self.wrong(expected, "the end of the line");
        }
        self.rest = rest.trim_start();
        Ok(word)
    }

    pub(super) fn number<T: FromStr>(&mut self, expected: &str) -> Result<T, PlanError> {
        let word = self.word(expected)?;
        word.parse().or_else(|_| self.wrong(expected, word))
    }

    pub(super) fn host(&mut self) -> Result<Host, PlanError> {
        self.number("a host's number").map(Host)
    }

    pub(super) fn one_of<T: Copy>(&mut self, words: Words<T>) -> Result<T, PlanError> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let expected = names.join(" or ");
        let word = self.word(&expected)?;
        match words.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => Ok(*value),
            None => self.wrong(&expected, word),
        }
    }

    fn way(&mut self) -> Result<Way, PlanError> {
        let expected = "a way such as 0>1 or 0=1";
        let word = self.word(expected)?;
        let sign = word.find(['>', '=']).map(|at| (at, &word[at..=at]));
        if let Some((at, sign)) = sign
            && let Ok(from) = word[..at].parse()
            && let Ok(to) = word[at + 1..].parse()
        {
            return Ok(Way {
                from: Host(from),
                to: Host(to),
                both: sign == "=",
            });
        }
        self.wrong(expected, word)
    }

    fn client(&mut self) -> Result<Client, PlanError> {
        let expected = "a client such as 0/1";
        let word = self.word(expected)?;
        if let Some((host, number)) = word.split_once('/')
            && let Ok(host) = host.parse()
            && let Ok(number) = number.parse()
        {
            return Ok(Client {
                host: Host(host),
                number,
            });
        }
        self.wrong(expected, word)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, PlanError> {
        let expected = "bytes in double quotes";
        let quoted = std::mem::take(&mut self.rest);
        let inner = quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let Some(inner) = inner else {
            return self.wrong(expected, quoted);
        };
        let mut bytes = Vec::with_capacity(inner.len().min(MAX_SAY));
        let mut source = inner.bytes();
        while let Some(byte) = source.next() {
            bytes.push(match byte {
                b'"' => return self.wrong("the end of the line after the quotes", quoted),
                b'\\' => match source.next() {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(byte @ (b'"' | b'\'' | b'\\')) => byte,
                    Some(b'x') => match (hex(source.next()), hex(source.next())) {
                        (Some(high), Some(low)) => high * 16 + low,
                        _ => return self.wrong("two hexadecimal digits after \\x", quoted),
                    },
                    Some(_) | None => return self.wrong("an escape after \\", quoted),
                },
                byte => byte,
            });
        }
        Ok(bytes)
    }

    fn change(&mut self) -> Result<Change, PlanError> {
        let word = self.word("what happens")?;
        if let Some(change) = self.disk_fault(word)? {
            return Ok(change);
        }
        Ok(match word {
            "start" => Change::Start(self.host()?),
            "kill" => Change::Kill(self.host()?, self.one_of(FATES)?),
            "pause" => Change::Pause(self.host()?),
            "resume" => Change::Resume(self.host()?),
            "stop" => Change::Stop(self.host()?),
            "jump" => Change::Jump(
                self.host()?,
                Span::from_micros(self.number("a span in microseconds")?),
            ),
            "drift" => Change::Drift(self.host()?, self.number("parts per million")?),
            "starve" => Change::Starve(self.host()?, self.one_of(FLAGS)?),
            "cut" => Change::Cut(self.way()?),
            "mend" => Change::Mend(self.way()?),
            "clog" => Change::Clog(self.way()?),
            "unclog" => Change::Unclog(self.way()?),
            "lag" => Change::Lag(
                self.way()?,
                Span::from_micros(self.number("a span in microseconds")?),
            ),
            "connects" => Change::Connects(self.way()?, self.one_of(CONNECTS)?),
            "reset" => Change::Reset(self.way()?),
            "half-open" => Change::HalfOpen(self.way()?),
            "damage" => Change::Damage(self.way()?, self.number("a share of 1000 chunks")?),
            "buffer" => Change::Buffer(self.way()?, self.number("a number of bytes")?),
            "heal" => Change::Heal,
            "open" => Change::Open(self.client()?, Door(self.number("a door's number")?)),
            "say" => Change::Say(self.client()?, self.bytes()?),
            "finish" => Change::Finish(self.client()?),
            "leave" => Change::Leave(self.client()?),
            "deaf" => Change::Deaf(self.client()?, self.one_of(FLAGS)?),
            _ => return self.wrong("something that can happen (start, kill, cut, …)", word),
        })
    }

    fn end(&self) -> Result<(), PlanError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            self.wrong("the end of the line", self.rest)
        }
    }
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Something else was found in a line than what was expected.
///
/// # Errors
/// Always.
pub fn wrong<T>(line: usize, expected: &str, found: &str) -> Result<T, PlanError> {
    let found = excerpt(found);
    fault(line, format!("expected {expected}, found {found:?}"))
}

/// So much of what was found as fits into a message.
#[must_use]
pub fn excerpt(found: &str) -> &str {
    found
        .char_indices()
        .nth(60)
        .map_or(found, |(end, _)| &found[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Choice;
    use proptest::prelude::*;

    /// A plan with every kind of event in it.
    fn full() -> Plan {
        let mut plan = Plan::new(u64::MAX, 4, Time::from_micros(9_000_000));
        plan.net.split = 77;
        plan.notes.insert("profile".into(), "chaos, mild".into());
        plan.notes.insert("empty".into(), String::new());
        let text = "\
            start 0|kill 1 fin|kill 1 rst|kill 2 silence|pause 1|resume 1|stop 3|jump 1 500|\
            drift 2 -400|starve 0 on|cut 0>1|mend 0=1|clog 2>0|unclog 2=0|lag 0>1 99|\
            connects 1>0 hang|reset 0=3|half-open 3>0|damage 1=2 10|buffer 0>2 16|heal|\
            open 0/1 1|finish 0/1|leave 0/1|deaf 3/0 off";
        for (at, word) in text.split('|').enumerate() {
            let mut line = Line {
                number: 1,
                rest: word,
            };
            let change = line.change().expect(word);
            plan.push(Time::from_micros(at as u64), change);
        }
        let bytes = (0..=255).chain("é🙂\"\\x\n".bytes()).collect();
        let client = Client {
            host: Host(3),
            number: 255,
        };
        plan.push(Time::ZERO, Change::Say(client, bytes));
        plan
    }

    #[test]
    fn a_plan_that_was_printed_reads_back_the_same_in_order_of_time() {
        let mut plan = full();
        let text = plan.to_string();
        assert!(!plan.events.is_sorted_by_key(|event| event.at));
        plan.events.sort_by_key(|event| event.at);
        assert_eq!(plan.to_string(), text);
        assert_eq!(Plan::parse(text.as_bytes()), Ok(plan));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |text: &str| {
            let text = format!("{HEAD}\nseed 1\nhosts 2\nend 9\n{text}");
            Plan::parse(text.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(
            said("at 1 kill 1 hard"),
            "line 5: expected fin or rst or silence, found \"hard\""
        );
        assert_eq!(
            said("# fine\nat 1 cut 0-1"),
            "line 6: expected a way such as 0>1 or 0=1, found \"0-1\""
        );
        assert_eq!(
            said("at 1 leave 0"),
            "line 5: expected a client such as 0/1, found \"0\""
        );
        assert_eq!(
            said("at 1 leave 0/256"),
            "line 5: expected a client such as 0/1, found \"0/256\""
        );
        assert_eq!(
            said("at 1 start 0 now"),
            "line 5: expected the end of the line, found \"now\""
        );
        assert_eq!(said("at 1 start 2"), "host 2 is outside 0 to 1");
        assert_eq!(said("hosts 65"), "hosts is 65, expected 1 to 64");
        assert_eq!(
            said("at 1"),
            "line 5: expected what happens, found \"the end of the line\""
        );
        assert_eq!(
            said("at 1 say 0/0 get\n"),
            "line 5: expected bytes in double quotes, found \"get\""
        );
        assert_eq!(
            said("at 1 say 0/0 \"get"),
            r#"line 5: expected bytes in double quotes, found "\"get""#
        );
        assert_eq!(
            said("at 1 say 0/0 \"a\\q\""),
            r#"line 5: expected an escape after \, found "\"a\\q\"""#
        );
        assert_eq!(
            said("at 1 say 0/0 \"a\" \"b\""),
            r#"line 5: expected the end of the line after the quotes, found "\"a\" \"b\"""#
        );
        assert_eq!(
            said("at 1 say 0/0 \"\\xg0\""),
            r#"line 5: expected two hexadecimal digits after \x, found "\"\\xg0\"""#
        );
        assert_eq!(
            Plan::parse(b"chatroom-plan 1\nseed 1\n# caf\xe9\n")
                .unwrap_err()
                .to_string(),
            "line 3: a plan is UTF-8 text, and this line is not"
        );
        assert_eq!(
            Plan::parse(b"chatroom-plan 2").unwrap_err().to_string(),
            "line 1: expected \"chatroom-plan 1\", found \"chatroom-plan 2\""
        );
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        let said = |text: &[u8]| Plan::parse(text).unwrap_err().to_string();
        let lines = ["seed 1", "hosts 2", "end 9"];
        for missing in lines {
            let others: Vec<_> = lines.into_iter().filter(|line| *line != missing).collect();
            let (name, _) = missing.split_once(' ').unwrap();
            assert_eq!(
                said(format!("{HEAD}\n{}", others.join("\n")).as_bytes()),
                format!("expected a line \"{name} …\", found none")
            );
        }
        assert_eq!(
            said(&vec![b'#'; MAX_TEXT]),
            "line 1: expected \"chatroom-plan 1\", found nothing"
        );
        assert_eq!(
            said(&vec![b'\n'; MAX_TEXT + 1]),
            "a plan is at most 67108864 bytes long"
        );
        let most = format!(
            "{HEAD}\nseed 1\nhosts 1\nend 9\n{}",
            "at 0 heal\n".repeat(MAX_EVENTS)
        );
        assert!(Plan::parse(most.as_bytes()).is_ok());
        assert_eq!(
            said((most + "at 0 heal").as_bytes()),
            "line 200005: a plan has at most 200000 events"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Plan::parse(&text);
        }

        #[test]
        fn no_damaged_plan_panics_and_what_is_read_prints_back(
            seed in any::<u64>(), hits in 1_usize..6
        ) {
            let mut text = full().to_string().into_bytes();
            for hit in 0..hits {
                let choice = Choice::seed(seed).at(hit as u64);
                let at = usize::try_from(choice.below(text.len() as u64)).unwrap_or(0);
                text[at] = choice.at(1).bits().to_le_bytes()[0];
            }
            if let Ok(mut plan) = Plan::parse(&text) {
                let text = plan.to_string();
                plan.events.sort_by_key(|event| event.at);
                prop_assert_eq!(Plan::parse(text.as_bytes()), Ok(plan));
            }
        }
    }
}
