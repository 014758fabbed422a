//! What both drawings share: the lanes in their order, and what joins and covers them, found from
//! the records.

use crate::names::Host;
use crate::plan::{Change, Connects, DiskFault, Plan, Way};
use crate::trace::{Lane, Record, Recorder};
use std::collections::{BTreeMap, BTreeSet};

/// What an arrow stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrowKind {
    /// Bytes, from where they were sent to where they were read.
    Bytes,
    /// Bytes that were sent and that nobody will read.
    Lost,
    /// Bytes that were sent and not yet read when the run ended.
    UnderWay,
    /// From a dial to its acceptance.
    Dial,
    /// From the end of one side, or of its life, to the moment when the other side was told.
    End,
}

/// Something that goes from lane to lane. Numbers are indices into [`Recorder::records`] and
/// [`Diagram::lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// What it stands for.
    pub kind: ArrowKind,
    /// The record that it leaves from.
    pub from: usize,
    /// The record at which it arrives, if it does.
    pub to: Option<usize>,
    /// The lane that it goes to, arriving or not.
    pub lane: usize,
    /// The bytes of the link's direction that it carries: from, up to. Empty where it carries none.
    pub bytes: (u64, u64),
}

/// What a band stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandKind {
    /// A host's life.
    Life,
    /// A host stands still.
    Pause,
    /// Nothing passes between two hosts.
    Cut,
    /// Any other fault that lasts.
    Fault,
}

/// Something that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// What it stands for.
    pub kind: BandKind,
    /// The lanes that it concerns: one or two.
    pub lanes: [usize; 2],
    /// The record with which it begins.
    pub from: usize,
    /// The record with which it ends; `None` if it outlasts the run.
    pub until: Option<usize>,
    /// What to call it.
    pub label: String,
}

/// The lanes of a run and all that is drawn on them but the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagram {
    /// The plan's lane, then each host's, followed by its clients'.
    pub lanes: Vec<Lane>,
    /// In the order in which they leave.
    pub arrows: Vec<Arrow>,
    /// In the order in which they begin.
    pub bands: Vec<Band>,
}

impl Diagram {
    /// Finds what there is to be drawn. Each of the plan's hosts has a lane; without a plan, each
    /// host that a record names.
    #[must_use]
    pub fn new(plan: Option<&Plan>, recorder: &Recorder) -> Self {
        let hosts: BTreeSet<Host> = match plan {
            Some(plan) => (0..plan.hosts).map(Host).collect(),
            None => {
                let records = recorder.records.iter();
                let named = records.flat_map(|record| [Some(record.lane), record.peer]);
                named.flatten().filter_map(Lane::host).collect()
            }
        };
        let mut lanes = vec![Lane::Plan];
        for host in hosts {
            lanes.push(Lane::Host(host));
            let mut clients: Vec<Lane> = recorder.lanes.clone();
            clients.retain(|lane| matches!(lane, Lane::Client(client) if client.host == host));
            clients.sort_unstable();
            lanes.extend(clients);
        }
        let place: BTreeMap<Lane, usize> = lanes.iter().copied().zip(0..).collect();
        let mut arrows = Arrows::new(&recorder.records, &place).all();
        arrows.sort_by_key(|arrow| (arrow.from, arrow.to));
        let mut bands = Bands::new(&place).all(&recorder.records);
        bands.sort_by_key(|band| (band.from, band.lanes));
        Self {
            lanes,
            arrows,
            bands,
        }
    }

    /// The lane's index; 0 for one that is not there.
    #[must_use]
    pub fn place(&self, lane: Lane) -> usize {
        let found = self.lanes.iter().position(|each| *each == lane);
        found.unwrap_or(0)
    }
}

/// The index of the record of a step.
pub(super) fn index_of(records: &[Record], step: u64) -> Option<usize> {
    records
        .binary_search_by_key(&step, |record| record.step)
        .ok()
}

/// One direction of one link: the link, and the lane that sends.
type Direction = (u64, Lane);

struct Arrows<'a> {
    records: &'a [Record],
    place: &'a BTreeMap<Lane, usize>,
    arrows: Vec<Arrow>,
    sent: BTreeMap<Direction, Vec<usize>>,
    /// Up to which byte a direction was read.
    read: BTreeMap<Direction, u64>,
    /// The sides that exist, with the life that holds each.
    opened: BTreeMap<Direction, Option<u32>>,
    /// The sides that are done with their link.
    done: BTreeSet<Direction>,
    ended: BTreeSet<(Lane, Option<u32>)>,
}

impl<'a> Arrows<'a> {
    fn new(records: &'a [Record], place: &'a BTreeMap<Lane, usize>) -> Self {
        Self {
            records,
            place,
            arrows: Vec::new(),
            sent: BTreeMap::new(),
            read: BTreeMap::new(),
            opened: BTreeMap::new(),
            done: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn all(mut self) -> Vec<Arrow> {
        for (index, record) in self.records.iter().enumerate() {
            self.take(index, record);
        }
        let sent = std::mem::take(&mut self.sent);
        for (direction, sendings) in &sent {
            self.unread(*direction, sendings);
        }
        self.arrows
    }

    fn take(&mut self, index: usize, record: &Record) {
        let side = record.link.map(|link| (link, record.lane));
        let mut kind = ArrowKind::End;
        match (record.kind, side) {
            ("sent", Some(side)) => self.sent.entry(side).or_default().push(index),
            ("received", Some((link, _))) => {
                kind = ArrowKind::Bytes;
                if let (Some(peer), Some((_, end))) = (record.peer, record.range) {
                    self.read.insert((link, peer), end);
                }
            }
            ("opened", Some(side)) => {
                kind = ArrowKind::Dial;
                self.opened.insert(side, record.life);
            }
            ("finished" | "broken" | "closed" | "left" | "dial-failed", Some(side)) => {
                self.done.insert(side);
            }
            ("killed" | "crashed" | "done", _) => {
                self.ended.insert((record.lane, record.life));
            }
            _ => {}
        }
        let Some(lane) = self.place.get(&record.lane) else {
            return;
        };
        for from in &record.from {
            let Some(from) = index_of(self.records, *from) else {
                continue;
            };
            let range = |record: &Record| record.range.unwrap_or((0, 0));
            let (sent, read) = (range(&self.records[from]), range(record));
            let bytes = match kind {
                ArrowKind::Bytes => (sent.0.max(read.0), sent.1.min(read.1)),
                ArrowKind::Lost | ArrowKind::UnderWay | ArrowKind::Dial | ArrowKind::End => (0, 0),
            };
            self.arrows.push(Arrow {
                kind,
                from,
                to: Some(index),
                lane: *lane,
                bytes,
            });
        }
    }

    /// The sendings of a direction of which something was never read.
    fn unread(&mut self, (link, by): Direction, sendings: &[usize]) {
        let read = self.read.get(&(link, by)).copied().unwrap_or(0);
        for from in sendings.iter().rev() {
            let record = &self.records[*from];
            let (Some(range), Some(peer)) = (record.range, record.peer) else {
                continue;
            };
            if range.1 <= read {
                break;
            }
            let kind = if self.is_lost(link, by, peer) {
                ArrowKind::Lost
            } else {
                ArrowKind::UnderWay
            };
            if let Some(lane) = self.place.get(&peer) {
                self.arrows.push(Arrow {
                    kind,
                    from: *from,
                    to: None,
                    lane: *lane,
                    bytes: (range.0.max(read), range.1),
                });
            }
        }
    }

    /// Whether nobody is left who could read what `by` sent.
    fn is_lost(&self, link: u64, by: Lane, peer: Lane) -> bool {
        match self.opened.get(&(link, peer)) {
            Some(life) => self.done.contains(&(link, peer)) || self.ended.contains(&(peer, *life)),
            // Nobody accepted it, and nobody will once the dialler is gone.
            None => self.done.contains(&(link, by)),
        }
    }
}

/// The label of a fault of both ways, once only the way against `ended` is left of it.
fn relabelled(label: &str, ended: Way) -> String {
    let words = label.split(' ').enumerate();
    let words = words.map(|(index, word)| match index {
        1 => format!("{}>{}", ended.to, ended.from),
        _ => word.to_owned(),
    });
    words.collect::<Vec<String>>().join(" ")
}

/// What a lasting fault is known by until it ends.
type Fault = (&'static str, usize, usize);

struct Bands<'a> {
    place: &'a BTreeMap<Lane, usize>,
    bands: Vec<Band>,
    /// Open bands, as indices.
    lives: BTreeMap<usize, usize>,
    pauses: BTreeMap<usize, usize>,
    faults: BTreeMap<Fault, usize>,
}

impl<'a> Bands<'a> {
    fn new(place: &'a BTreeMap<Lane, usize>) -> Self {
        Self {
            place,
            bands: Vec::new(),
            lives: BTreeMap::new(),
            pauses: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    fn all(mut self, records: &[Record]) -> Vec<Band> {
        for (index, record) in records.iter().enumerate() {
            if let Some(change) = &record.change {
                self.change(index, change);
            } else if let Some(lane) = self.place.get(&record.lane).copied() {
                self.life(index, lane, record);
            }
        }
        self.bands
    }

    fn open(&mut self, kind: BandKind, lanes: [usize; 2], from: usize, label: String) -> usize {
        self.bands.push(Band {
            kind,
            lanes,
            from,
            until: None,
            label,
        });
        self.bands.len() - 1
    }

    fn close(&mut self, band: Option<usize>, until: usize) {
        if let Some(band) = band {
            self.bands[band].until = Some(until);
        }
    }

    fn life(&mut self, index: usize, lane: usize, record: &Record) {
        match record.kind {
            "started" => {
                let label = record.text.clone();
                let band = self.open(BandKind::Life, [lane; 2], index, label);
                self.lives.insert(lane, band);
            }
            "killed" | "crashed" | "done" | "record-end" => {
                let (life, pause) = (self.lives.remove(&lane), self.pauses.remove(&lane));
                self.close(life, index);
                self.close(pause, index);
            }
            "paused" => {
                let band = self.open(BandKind::Pause, [lane; 2], index, "paused".to_owned());
                self.pauses.insert(lane, band);
            }
            "resumed" => {
                let pause = self.pauses.remove(&lane);
                self.close(pause, index);
            }
            _ => {}
        }
    }

    /// A fault of a way begins, changes, or (without a label) ends.
    fn way(&mut self, index: usize, name: &'static str, way: Way, label: Option<String>) {
        let (from, to) = (Lane::Host(way.from), Lane::Host(way.to));
        let (Some(from), Some(to)) = (self.place.get(&from), self.place.get(&to)) else {
            return;
        };
        let (from, to) = (*from, *to);
        let mut keys = vec![(name, from, to)];
        if way.both {
            keys.push((name, to, from));
        }
        for key in &keys {
            // A band of both ways ends as a whole; the half that lasts goes on as a band of its own.
            let Some(band) = self.faults.remove(key) else {
                continue;
            };
            self.close(Some(band), index);
            let other = (name, key.2, key.1);
            if self.faults.get(&other) == Some(&band) && !keys.contains(&other) {
                let half = Band {
                    from: index,
                    until: None,
                    label: relabelled(&self.bands[band].label, way),
                    lanes: [other.1, other.2],
                    kind: self.bands[band].kind,
                };
                self.bands.push(half);
                self.faults.insert(other, self.bands.len() - 1);
            }
        }
        if let Some(label) = label {
            let kind = if name == "cut" {
                BandKind::Cut
            } else {
                BandKind::Fault
            };
            let band = self.open(kind, [from, to], index, label);
            for key in keys {
                self.faults.insert(key, band);
            }
        }
    }

    /// A fault of one lane begins, changes, or (without a label) ends.
    fn at(&mut self, index: usize, name: &'static str, lane: Lane, label: Option<String>) {
        let Some(lane) = self.place.get(&lane).copied() else {
            return;
        };
        let open = self.faults.remove(&(name, lane, lane));
        self.close(open, index);
        if let Some(label) = label {
            let band = self.open(BandKind::Fault, [lane; 2], index, label);
            self.faults.insert((name, lane, lane), band);
        }
    }

    fn change(&mut self, index: usize, change: &Change) {
        let label = |on: bool| on.then(|| change.to_string());
        match change {
            Change::Cut(way) => self.way(index, "cut", *way, label(true)),
            Change::Mend(way) => self.way(index, "cut", *way, None),
            Change::Clog(way) => self.way(index, "clog", *way, label(true)),
            Change::Unclog(way) => self.way(index, "clog", *way, None),
            Change::Lag(way, by) => self.way(index, "lag", *way, label(by.as_micros() > 0)),
            Change::Connects(way, how) => {
                self.way(index, "connects", *way, label(*how != Connects::Work));
            }
            Change::Damage(way, permille) => {
                self.way(index, "damage", *way, label(*permille > 0));
            }
            Change::Buffer(way, bytes) => self.way(index, "buffer", *way, label(*bytes > 0)),
            Change::Drift(host, ppm) => {
                self.at(index, "drift", Lane::Host(*host), label(*ppm != 0));
            }
            Change::Starve(host, on) => self.at(index, "starve", Lane::Host(*host), label(*on)),
            Change::Disk(host, DiskFault::Slow(by)) => {
                self.at(
                    index,
                    "slow-disk",
                    Lane::Host(*host),
                    label(by.as_micros() > 0),
                );
            }
            Change::Disk(host, DiskFault::Full(on)) => {
                self.at(index, "full-disk", Lane::Host(*host), label(*on));
            }
            Change::Deaf(client, on) => self.at(index, "deaf", Lane::Client(*client), label(*on)),
            Change::Heal => {
                let all = std::mem::take(&mut self.faults);
                let (deaf, ended): (BTreeMap<Fault, usize>, BTreeMap<Fault, usize>) = all
                    .into_iter()
                    .partition(|((name, _, _), _)| *name == "deaf");
                self.faults = deaf;
                for band in ended.into_values() {
                    self.close(Some(band), index);
                }
            }
            Change::Disk(_, DiskFault::PowerCut | DiskFault::FailSync | DiskFault::Flip(_))
            | Change::Start(_)
            | Change::Kill(..)
            | Change::Pause(_)
            | Change::Resume(_)
            | Change::Stop(_)
            | Change::Jump(..)
            | Change::Reset(_)
            | Change::HalfOpen(_)
            | Change::Open(..)
            | Change::Say(..)
            | Change::Finish(_)
            | Change::Leave(_) => {}
        }
    }
}
