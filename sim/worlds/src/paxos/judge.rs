//! What must hold of every run of the replicated chat room.

use super::generate::{LAST, LAST_GET, LAST_MESSAGE};
use chatroom_machine::{Machine, Span, Time};
use chatroom_paxos::{News, PaxosEvent, Value};
use chatroom_sim::lines::LineObserver;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Fact, Scene, Violation};
use chatroom_sim::plan::{Change, Plan};
use chatroom_sim::sometimes::Sometimes;
use std::collections::{BTreeMap, BTreeSet};

/// No two servers learn different values for one slot, in all their lives.
pub const AGREEMENT: &str = "agreement";
/// What is decided was said by a client, or is a no-op.
pub const VALIDITY: &str = "validity";
/// A log that is shown has the messages in the order of their slots, each once, without a gap.
pub const ORDER: &str = "order";
/// What is acknowledged was decided in the slot that is named.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// What was acknowledged is in every log that is shown in the end.
pub const DURABILITY: &str = "durability";
/// In the end all servers show the same log.
pub const ALIKE: &str = "alike";
/// Once the trouble is over and a majority is up, a message is acknowledged within
/// [`PROGRESS_BOUND`].
pub const PROGRESS: &str = "progress";
/// See [`PROGRESS`]. It begins with what is said two seconds after the heal.
pub const PROGRESS_BOUND: Span = Span::from_millis(2_000);

/// By when after the heal a server must have come back to count as up.
const BACK: Span = Span::from_millis(400);

/// A fact and where it stands in the run.
#[derive(Clone, Debug)]
struct Seen<T> {
    what: T,
    step: u64,
}

/// Sees a run and says what broke.
#[derive(Clone, Debug)]
pub struct Judge {
    hosts: usize,
    heal: Time,
    /// Whether bytes are damaged: nothing holds but that servers live.
    damaged: bool,
    /// What clients said, by identity.
    said: BTreeMap<u64, String>,
    /// The values of all slots that any server learned.
    decided: BTreeMap<u64, Seen<Value>>,
    /// What a whole log shows, as far as slots are decided without a gap.
    words: Vec<String>,
    /// The slot of each message in `words`.
    slots: BTreeMap<u64, u64>,
    next: u64,
    acknowledged: BTreeMap<u64, Seen<u64>>,
    /// Messages said in the end, by client.
    owed: BTreeMap<Client, Seen<(u64, Time)>>,
    /// What servers showed in the end.
    last: BTreeMap<Host, Seen<Vec<String>>>,
    up: BTreeSet<Host>,
    /// Whether a server ended or began after it should have been back.
    late: bool,
    sometimes: Sometimes,
}

impl Judge {
    /// A judge for a run of this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let damages = |change: &Change| matches!(change, Change::Damage(_, share) if *share > 0);
        let mut sometimes = Sometimes::new();
        for name in [
            "acknowledged",
            "acknowledged again",
            "decided twice, applied once",
            "led",
            "deposed",
            "judged progress",
            "restarted with a log",
        ] {
            sometimes.expect(name);
        }
        Self {
            hosts: plan.hosts.into(),
            heal: plan.phases.heal,
            damaged: plan.events.iter().any(|event| damages(&event.change)),
            said: BTreeMap::new(),
            decided: BTreeMap::new(),
            words: Vec::new(),
            slots: BTreeMap::new(),
            next: 0,
            acknowledged: BTreeMap::new(),
            owed: BTreeMap::new(),
            last: BTreeMap::new(),
            up: BTreeSet::new(),
            late: false,
            sometimes,
        }
    }

    /// The interesting cases of the run.
    pub fn sometimes(&mut self) -> Sometimes {
        core::mem::take(&mut self.sometimes)
    }

    fn decide(&mut self, step: u64, host: Host, slot: u64, value: &Value) -> Result<(), Violation> {
        if let Some(first) = self.decided.get(&slot) {
            return Violation::unless(first.what == *value, AGREEMENT, [first.step, step], || {
                format!(
                    "server {host} learned {value} for slot {slot}, and {} was learned before",
                    first.what
                )
            });
        }
        if let Some(command) = value.command() {
            let said = message(command).and_then(|(id, word)| Some((self.said.get(&id)?, word)));
            let said = said.is_some_and(|(said, word)| said == word);
            Violation::unless(said, VALIDITY, [step], || {
                format!("server {host} learned {command:?} for slot {slot}: no client said it")
            })?;
        }
        let what = value.clone();
        self.decided.insert(slot, Seen { what, step });
        while let Some(value) = self.decided.get(&self.next) {
            let slot = self.next;
            self.next += 1;
            let Some((id, word)) = value.what.command().and_then(message) else {
                self.sometimes.hit("decided a no-op");
                continue;
            };
            if self.slots.contains_key(&id) {
                self.sometimes.hit("decided twice, applied once");
                continue;
            }
            self.slots.insert(id, slot);
            self.words.push(word.to_owned());
        }
        Ok(())
    }

    fn acknowledge(
        &mut self,
        scene_step: u64,
        client: Client,
        id: u64,
        slot: u64,
    ) -> Result<(), Violation> {
        let right = self.slots.get(&id) == Some(&slot);
        Violation::unless(right, ACKNOWLEDGED, [scene_step], || {
            let decided = self.decided.get(&slot);
            let held = decided.map_or("nothing".to_owned(), |seen| seen.what.to_string());
            format!("message {id} is acknowledged in slot {slot}, for which {held} was decided")
        })?;
        let (what, step) = (slot, scene_step);
        let again = self.acknowledged.insert(id, Seen { what, step }).is_some();
        self.sometimes.hit(match again {
            true => "acknowledged again",
            false => "acknowledged",
        });
        if self.owed.get(&client).is_some_and(|owed| owed.what.0 == id) {
            self.owed.remove(&client);
        }
        Ok(())
    }

    fn show(&mut self, step: u64, now: Time, client: Client, log: &str) -> Result<(), Violation> {
        let words = log.split(',').filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        Violation::unless(self.words.starts_with(&words), ORDER, [step], || {
            let differs = words.iter().zip(&self.words).take_while(|(a, b)| a == b);
            let at = differs.count();
            let (is, ought) = (words.get(at), self.words.get(at));
            format!(
                "server {} shows a log whose entry {at} is {is:?}, by the slots it is {ought:?}",
                client.host
            )
        })?;
        if client.number == LAST && now >= self.heal + Span::from_micros(LAST_GET) {
            let what = words;
            self.last.insert(client.host, Seen { what, step });
        }
        Ok(())
    }

    /// What must have come true by the end, if enough servers were up all the time since the heal.
    fn over(&mut self, now: Time) -> Result<(), Violation> {
        let majority = self.hosts / 2 + 1;
        if self.late || self.up.len() < majority {
            return Ok(());
        }
        self.sometimes.hit("judged progress");
        for (client, owed) in &self.owed {
            let (id, said) = owed.what;
            let waited = now.since(said);
            let excused = !self.up.contains(&client.host) || waited < PROGRESS_BOUND;
            Violation::unless(excused, PROGRESS, [owed.step], || {
                format!(
                    "message {id}, said to server {} with {} of {} servers up, is not acknowledged \
                     after {waited}",
                    client.host,
                    self.up.len(),
                    self.hosts
                )
            })?;
        }
        let mut last = self.last.iter();
        let Some((first, log)) = last.next() else {
            return Ok(());
        };
        for (host, other) in last {
            let alike = other.what == log.what;
            Violation::unless(alike, ALIKE, [log.step, other.step], || {
                let (a, b) = (log.what.len(), other.what.len());
                format!("in the end servers {first} and {host} show logs of {a} and {b} messages")
            })?;
        }
        for (id, ack) in &self.acknowledged {
            let shown = (self.said.get(id)).is_some_and(|word| log.what.contains(word));
            Violation::unless(shown, DURABILITY, [ack.step, log.step], || {
                format!("message {id} was acknowledged, and no server shows it in the end")
            })?;
        }
        Ok(())
    }
}

/// The identity and the word of a command.
fn message(command: &str) -> Option<(u64, &str)> {
    let (id, word) = command.split_once(' ')?;
    Some((id.parse().ok()?, word))
}

impl<M: Machine<Notice = News>> LineObserver<M> for Judge {
    fn said(&mut self, scene: &Scene<'_, M>, client: Client, line: &[u8]) -> Result<(), Violation> {
        let line = String::from_utf8_lossy(line);
        let Some((id, word)) = line.strip_prefix("msg ").and_then(message) else {
            return Ok(());
        };
        self.said.entry(id).or_insert_with(|| word.to_owned());
        if client.number == LAST && scene.now >= self.heal + Span::from_micros(LAST_MESSAGE) {
            let (what, step) = ((id, scene.now), scene.step);
            self.owed.insert(client, Seen { what, step });
        }
        Ok(())
    }

    fn heard(
        &mut self,
        scene: &Scene<'_, M>,
        client: Client,
        line: &[u8],
    ) -> Result<(), Violation> {
        if self.damaged {
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        if let Some((id, slot)) = line.strip_prefix("ack ").and_then(message) {
            let slot = slot.parse().unwrap_or(u64::MAX);
            return self.acknowledge(scene.step, client, id, slot);
        }
        match line.strip_prefix("chatLog ") {
            Some(log) => self.show(scene.step, scene.now, client, log),
            None => Ok(()),
        }
    }

    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, News>) -> Result<(), Violation> {
        if self.damaged {
            return Ok(());
        }
        let late = scene.now > self.heal + BACK;
        if let Fact::Started { who } = fact {
            self.late |= late;
            self.up.insert(who.host);
            if self.next > 0 {
                self.sometimes.hit("restarted with a log");
            }
        } else if let Fact::Ended { who, .. } = fact {
            self.late |= late;
            self.up.remove(&who.host);
        } else if let Fact::Over = fact {
            self.over(scene.now)?;
        } else if let Fact::Notice {
            who,
            notice: News::Protocol(event),
            ..
        } = fact
        {
            match event {
                PaxosEvent::Decided { slot, value } => {
                    self.decide(scene.step, who.host, *slot, value)?;
                }
                PaxosEvent::Disagreement { .. } => {
                    let (host, property) = (who.host, AGREEMENT);
                    Violation::unless(false, property, [scene.step], || {
                        format!("server {host}: {event}")
                    })?;
                }
                PaxosEvent::Leading { .. } => self.sometimes.hit("led"),
                PaxosEvent::Deposed { .. } => self.sometimes.hit("deposed"),
            }
        }
        Ok(())
    }
}
