//! Checks counters from outside: what clients sent, what they were told, what the machines have.

use chatroom_machine::Time;
use chatroom_sim::names::{Host, Who};
use chatroom_sim::observer::{DiskEvent, Ending, Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, DiskFault};
use chatroom_storage::testing::{Counter, Told};
use std::collections::{BTreeMap, BTreeSet};

/// How often what came up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) acknowledged: u64,
    pub(crate) power_cuts: u64,
    pub(crate) recoveries: u64,
    pub(crate) snapshots: u64,
    pub(crate) full: u64,
    pub(crate) sync_failed: u64,
    pub(crate) corrupt: u64,
    /// Lives that found an addition which had never been acknowledged.
    pub(crate) kept: u64,
    /// Lives that did not find all that was sent.
    pub(crate) lost: u64,
    /// Lives that found records from behind a discarded beginning.
    pub(crate) discarded: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            acknowledged,
            power_cuts,
            recoveries,
            snapshots,
            full,
            sync_failed,
            corrupt,
            kept,
            lost,
            discarded,
        } = other;
        self.acknowledged += acknowledged;
        self.power_cuts += power_cuts;
        self.recoveries += recoveries;
        self.snapshots += snapshots;
        self.full += full;
        self.sync_failed += sync_failed;
        self.corrupt += corrupt;
        self.kept += kept;
        self.lost += lost;
        self.discarded += discarded;
    }

    pub(crate) fn has_everything(&self) -> bool {
        let all = [
            self.acknowledged,
            self.power_cuts,
            self.recoveries,
            self.snapshots,
            self.full,
            self.sync_failed,
            self.corrupt,
            self.kept,
            self.lost,
            self.discarded,
        ];
        all.iter().all(|count| *count >= 10)
    }
}

/// What is known of one host.
#[derive(Debug, Default)]
struct Ledger {
    sent: BTreeMap<u64, u64>,
    acknowledged: BTreeSet<u64>,
    /// A bit of its disk was flipped: it may refuse to start.
    flipped: bool,
    /// Nothing fits on its disk.
    full: bool,
    /// A sync was told to fail.
    sync_fails: bool,
    records: u64,
}

/// The checker.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    hosts: BTreeMap<Host, Ledger>,
    /// Beginnings of lines, by link and whether a client said them.
    lines: BTreeMap<(u64, bool), Vec<u8>>,
    pub(crate) seen: Seen,
}

fn broken(property: &'static str, step: u64, text: String) -> Result<(), Violation> {
    Err(Violation {
        property,
        text,
        events: vec![step],
    })
}

impl Checker {
    fn host(&mut self, host: Host) -> &mut Ledger {
        self.hosts.entry(host).or_default()
    }

    /// The whole lines that end in `bytes`.
    fn lines(&mut self, link: u64, said: bool, bytes: &[u8]) -> Vec<String> {
        let line = self.lines.entry((link, said)).or_default();
        line.extend_from_slice(bytes);
        let end = line
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let whole: Vec<u8> = line.drain(..end).collect();
        let whole = String::from_utf8(whole).expect("text");
        whole.lines().map(str::to_owned).collect()
    }

    /// What a machine has, compared with what was sent and acknowledged.
    fn compare(&mut self, step: u64, who: Who, machine: &Counter) -> Result<(), Violation> {
        let ledger = self.hosts.entry(who.host).or_default();
        let sum = machine.sum();
        let found: BTreeSet<u64> = sum.ids.iter().copied().collect();
        if found.len() != sum.ids.len() || sum.count != found.len() as u64 {
            let text = format!("{who} has additions twice: {:?}", sum.ids);
            return broken("no-duplicate", step, text);
        }
        if let Some(id) = found.iter().find(|id| !ledger.sent.contains_key(id)) {
            let text = format!("{who} has addition {id}, which nobody sent");
            return broken("no-creation", step, text);
        }
        let total: u64 = found.iter().map(|id| ledger.sent[id]).sum();
        if total != sum.total {
            let text = format!("{who} has a total of {}, expected {total}", sum.total);
            return broken("no-creation", step, text);
        }
        if let Some(id) = ledger.acknowledged.difference(&found).next() {
            let text = format!("{who} lost addition {id}, which it had acknowledged");
            return broken("durability", step, text);
        }
        self.seen.kept += u64::from(found.len() > ledger.acknowledged.len());
        self.seen.lost += u64::from(found.len() < ledger.sent.len());
        Ok(())
    }

    fn disk(&mut self, step: u64, who: Who, event: &DiskEvent<'_>) -> Result<(), Violation> {
        match event {
            DiskEvent::Recovered { number, .. } => {
                let ledger = self.host(who.host);
                ledger.records += 1;
                let behind = ledger.records == 1 && *number > 0;
                self.seen.discarded += u64::from(behind);
            }
            DiskEvent::RecoveryDone { .. } => self.host(who.host).records = 0,
            DiskEvent::Failed { error } => {
                let ledger = self.host(who.host);
                let expected = match *error {
                    "there is no space left on the disk" => ledger.full,
                    "the sync failed" => std::mem::take(&mut ledger.sync_fails),
                    _ => ledger.flipped,
                };
                if !expected {
                    let text = format!("{who} can't go on, and nobody harmed its disk: {error}");
                    return broken("starts", step, text);
                }
                match *error {
                    "there is no space left on the disk" => self.seen.full += 1,
                    "the sync failed" => self.seen.sync_failed += 1,
                    _ => self.seen.corrupt += 1,
                }
            }
            DiskEvent::Storing { .. } | DiskEvent::Stored { .. } => {}
        }
        Ok(())
    }

    fn changed(&mut self, change: &Change) {
        if let Change::Disk(host, fault) = change {
            let ledger = self.hosts.entry(*host).or_default();
            match fault {
                DiskFault::Flip(_) => ledger.flipped = true,
                DiskFault::Full(full) => ledger.full = *full,
                DiskFault::FailSync => ledger.sync_fails = true,
                DiskFault::PowerCut => self.seen.power_cuts += 1,
                DiskFault::Slow(_) => {}
            }
        }
        if *change == Change::Heal {
            for ledger in self.hosts.values_mut() {
                ledger.full = false;
                ledger.sync_fails = false;
            }
        }
    }
}

impl Observer<Counter> for Checker {
    fn see(&mut self, scene: &Scene<'_, Counter>, fact: &Fact<'_, Told>) -> Result<(), Violation> {
        let step = scene.step;
        match fact {
            Fact::Change { change } => self.changed(change),
            Fact::ClientSaid {
                client,
                link,
                bytes,
                ..
            } => {
                for line in self.lines(*link, true, bytes) {
                    let mut words = line.split(' ').skip(1).map(|word| word.parse().unwrap());
                    let (id, amount) = (words.next().unwrap(), words.next().unwrap());
                    self.host(client.host).sent.insert(id, amount);
                }
            }
            Fact::ClientHeard {
                client,
                link,
                bytes,
                ..
            } => {
                for line in self.lines(*link, false, bytes) {
                    let id = line.strip_prefix("added ").unwrap().parse().unwrap();
                    self.host(client.host).acknowledged.insert(id);
                    self.seen.acknowledged += 1;
                }
            }
            Fact::Notice {
                who,
                notice: Told::Found(_),
                ..
            } => {
                self.seen.recoveries += u64::from(who.life > 0);
                if let Some(machine) = scene.machine(who.host) {
                    return self.compare(step, *who, machine);
                }
            }
            Fact::Notice {
                notice: Told::Snapshot,
                ..
            } => self.seen.snapshots += 1,
            Fact::Disk { who, event } => return self.disk(step, *who, event),
            Fact::Ended {
                who,
                how: Ending::Crashed | Ending::Done,
            } => return broken("ends", step, format!("{who} ended by itself")),
            Fact::Over => {
                let hosts: Vec<Host> = self.hosts.keys().copied().collect();
                for host in hosts {
                    let who = Who { host, life: 0 };
                    match scene.machine(host) {
                        Some(machine) => self.compare(step, who, machine)?,
                        None if self.host(host).flipped => {}
                        None if scene.now < Time::from_micros(2_000_000) => {}
                        None => {
                            let text = format!("host {host} is down in the end");
                            return broken("starts", step, text);
                        }
                    }
                }
            }
            Fact::Started { .. }
            | Fact::Ended { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Notice { .. }
            | Fact::Dialling { .. }
            | Fact::DialFailed { .. }
            | Fact::Opened { .. }
            | Fact::TurnedAway { .. }
            | Fact::Sent { .. }
            | Fact::Received { .. }
            | Fact::Lost { .. }
            | Fact::Closed { .. }
            | Fact::ClientOpened { .. }
            | Fact::ClientLost { .. }
            | Fact::ClientLeft { .. } => {}
        }
        Ok(())
    }
}
