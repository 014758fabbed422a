//! A small durable protocol for tests: a counter whose additions are acknowledged once they are
//! stored, and the ways in which it could be wrong.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Level, Loss, Machine, Misuse, Notice, Refused, Remote, Span,
    Time, Timeout, Volume, VolumeId, VolumeKind,
};
use core::fmt;

/// The log of additions.
pub const ADDS: VolumeId = VolumeId(0);
/// The snapshot of their sum.
pub const TOTAL: VolumeId = VolumeId(1);

/// The bytes of a record.
pub const RECORD: usize = 64;
const VOLUMES: &[Volume] = &[
    Volume {
        name: "adds",
        kind: VolumeKind::Log,
    },
    Volume {
        name: "total",
        kind: VolumeKind::Snapshot,
    },
];
/// The longest line.
const LINE: usize = 64;
/// Unsaved records from which on nothing is read, until half of them are stored.
const HIGH: usize = 100_000;
/// How long a stop may take.
const GRACE: Span = Span::from_millis(1_000);

/// What a counter is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// After how many additions it takes a snapshot and discards what that covers; 0 for never.
    pub every: u64,
    /// Whether it remembers the number of each addition, so that a checker can ask for them.
    pub keep: bool,
    /// What is wrong with it.
    pub flaw: Flaw,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            every: 0,
            keep: true,
            flaw: Flaw::None,
        }
    }
}

/// What may be wrong with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It acknowledges an addition before that is stored.
    AcknowledgesEarly,
    /// After a recovery it takes records for later ones than they are.
    Renumbers,
    /// It discards the first records that its snapshot does not cover, too.
    DiscardsTooMuch,
    /// It forgets which records its snapshot covers, and adds those that are found once more.
    AddsTwice,
}

/// A client's addition: its number, which no other has, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Add {
    id: u64,
    amount: u64,
}

impl Add {
    fn encode(self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&self.id.to_le_bytes());
        record[8..16].copy_from_slice(&self.amount.to_le_bytes());
        record
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at * 8..).and_then(<[u8]>::first_chunk);
    u64::from_le_bytes(word.copied().unwrap_or_default())
}

/// The sum of all additions that are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sum {
    /// The number of the next record that is not in it.
    pub next: u64,
    /// The sum.
    pub total: u64,
    /// How many there were.
    pub count: u64,
    /// Their numbers, in order, if they are kept.
    pub ids: Vec<u64>,
}

impl Sum {
    fn add(&mut self, add: Add, keep: bool) {
        self.next += 1;
        self.total = self.total.wrapping_add(add.amount);
        self.count += 1;
        if keep {
            self.ids.push(add.id);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let head = [self.next, self.total, self.count];
        let words = head.iter().chain(&self.ids);
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            next: word(bytes, 0),
            total: word(bytes, 1),
            count: word(bytes, 2),
            ids: (3..bytes.len() / 8).map(|at| word(bytes, at)).collect(),
        }
    }
}

/// What a counter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// It begins with so many additions that were found.
    Found(u64),
    /// So many more are stored.
    Stored(usize),
    /// A snapshot is stored.
    Snapshot,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(count) => write!(f, "found {count} additions"),
            Self::Stored(count) => write!(f, "stored {count} additions"),
            Self::Snapshot => f.write_str("stored a snapshot"),
        }
    }
}

impl Notice for Told {
    fn level(&self) -> Level {
        Level::Debug
    }
}

/// The machine. A client sends `add ID AMOUNT` and reads `added ID` once that is stored; `get`
/// answers `total SUM of COUNT`, `ids` the numbers of all additions, of what is stored. A line that is neither closes its connection.
#[derive(Clone, Debug, Hash)]
pub struct Counter {
    plan: Plan,
    sum: Sum,
    /// What is unsaved, as records, and who is to be told. The number of the first is `sum.next`.
    records: VecDeque<[u8; RECORD]>,
    waiting: VecDeque<(Conn, Add)>,
    /// A snapshot that is unsaved, and how many records it covers.
    snapshot: Option<(Vec<u8>, u64)>,
    /// The number of the first record behind the last snapshot.
    covered: u64,
    slots: Vec<Slot>,
    actions: VecDeque<Action<Told>>,
    stopping: Option<Time>,
    halted: bool,
}

#[derive(Clone, Debug, Default, Hash)]
struct Slot {
    generation: u32,
    open: bool,
    /// It sends no more.
    finished: bool,
    paused: bool,
    line: Vec<u8>,
    owed: Vec<u8>,
    sent: usize,
    /// Additions that it waits for.
    waits: usize,
}

impl Counter {
    /// A counter.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            sum: Sum::default(),
            records: VecDeque::new(),
            waiting: VecDeque::new(),
            snapshot: None,
            covered: 0,
            slots: Vec::new(),
            actions: VecDeque::new(),
            stopping: None,
            halted: false,
        }
    }

    /// What is stored.
    #[must_use]
    pub const fn sum(&self) -> &Sum {
        &self.sum
    }

    fn slot(&mut self, conn: Conn) -> Result<&mut Slot, Misuse> {
        let slot = self.slots.get_mut(conn.slot()).ok_or(Misuse::Stale)?;
        if slot.open && slot.generation == conn.generation() {
            Ok(slot)
        } else {
            Err(Misuse::Stale)
        }
    }

    fn reply(&mut self, conn: Conn, text: &[u8]) {
        let Ok(slot) = self.slot(conn) else {
            return;
        };
        let idle = slot.sent == slot.owed.len();
        if idle {
            slot.owed.clear();
            slot.sent = 0;
        }
        slot.owed.extend_from_slice(text);
        if idle {
            self.actions.push_back(Action::Send(conn));
        }
    }

    fn free(&mut self, conn: Conn) {
        if let Ok(slot) = self.slot(conn) {
            *slot = Slot {
                generation: conn.generation() + 1,
                ..Slot::default()
            };
        }
    }

    fn close(&mut self, conn: Conn) {
        self.actions.push_back(Action::Close(conn));
        self.free(conn);
    }

    fn close_if_done(&mut self, conn: Conn) {
        if let Ok(slot) = self.slot(conn)
            && slot.finished
            && slot.waits == 0
            && slot.sent == slot.owed.len()
        {
            self.close(conn);
        }
    }

    /// Obeys a line; `false` if it makes no sense.
    fn obey(&mut self, conn: Conn, line: &[u8]) -> bool {
        let Ok(line) = core::str::from_utf8(line) else {
            return false;
        };
        let mut words = line.split(' ');
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
        match words.next() {
            Some("get") => {
                let (total, count) = (self.sum.total, self.sum.count);
                let text = format!("total {total} of {count}\n");
                self.reply(conn, text.as_bytes());
                true
            }
            Some("ids") => {
                let mut text = Vec::from(*b"ids");
                for id in &self.sum.ids {
                    text.extend_from_slice(format!(" {id}").as_bytes());
                }
                text.push(b'\n');
                self.reply(conn, &text);
                true
            }
            Some("add") => {
                let (Some(id), Some(amount)) = (number(words.next()), number(words.next())) else {
                    return false;
                };
                self.add(conn, Add { id, amount });
                true
            }
            Some(_) | None => false,
        }
    }

    fn add(&mut self, conn: Conn, add: Add) {
        if self.records.is_empty() {
            self.actions.push_back(Action::Store(ADDS));
        }
        self.records.push_back(add.encode());
        self.waiting.push_back((conn, add));
        if let Ok(slot) = self.slot(conn) {
            slot.waits += 1;
        }
        if self.plan.flaw == Flaw::AcknowledgesEarly {
            self.acknowledge(conn, add);
        }
    }

    fn acknowledge(&mut self, conn: Conn, add: Add) {
        let text = format!("added {}\n", add.id);
        self.reply(conn, text.as_bytes());
    }

    fn pause(&mut self, conn: Conn) {
        let high = self.records.len() >= HIGH;
        if let Ok(slot) = self.slot(conn)
            && high
            && !slot.paused
        {
            slot.paused = true;
            self.actions.push_back(Action::Pause(conn));
        }
    }

    fn resume(&mut self) {
        if self.records.len() > HIGH / 2 {
            return;
        }
        for (at, slot) in (0..).zip(&mut self.slots) {
            if slot.open && core::mem::take(&mut slot.paused) {
                let conn = Conn::new(at, slot.generation);
                self.actions.push_back(Action::Resume(conn));
            }
        }
    }

    fn take_snapshot(&mut self) {
        let due = self.plan.every > 0 && self.sum.next >= self.covered + self.plan.every;
        if !due || self.snapshot.is_some() {
            return;
        }
        self.snapshot = Some((self.sum.encode(), self.sum.next));
        self.actions.push_back(Action::Store(TOTAL));
    }

    fn discard(&mut self, covered: u64) {
        if let Some(through) = covered.checked_sub(1) {
            self.actions.push_back(Action::Discard {
                volume: ADDS,
                through,
            });
        }
    }

    fn end_if_done(&mut self, now: Time) {
        let Some(until) = self.stopping.filter(|_| !self.halted) else {
            return;
        };
        let owes = |slot: &Slot| slot.sent < slot.owed.len();
        let all =
            self.records.is_empty() && self.snapshot.is_none() && !self.slots.iter().any(owes);
        let halt = match all {
            true => Halt::Done,
            false if now >= until => Halt::Unfinished,
            false => return,
        };
        self.halted = true;
        self.actions.push_back(Action::Halt(halt));
    }
}

impl Machine for Counter {
    type Notice = Told;

    fn volumes(&self) -> &'static [Volume] {
        VOLUMES
    }

    fn handle_recovered(&mut self, _: Time, volume: VolumeId, number: u64, record: &[u8]) {
        if volume == TOTAL {
            // The log came first: what the snapshot covers is taken out of it.
            let log = core::mem::take(&mut self.records);
            let first = self.sum.next - log.len() as u64;
            self.sum = Sum::decode(record);
            self.covered = self.sum.next;
            for (number, record) in (first..).zip(log) {
                let twice = self.plan.flaw == Flaw::AddsTwice;
                if number >= self.sum.next || twice {
                    self.sum.add(add_of(&record), self.plan.keep);
                }
            }
            return;
        }
        if self.records.is_empty() {
            self.sum.next = number + u64::from(self.plan.flaw == Flaw::Renumbers);
        }
        let mut kept = [0; RECORD];
        let length = record.len().min(RECORD);
        kept[..length].copy_from_slice(&record[..length]);
        self.records.push_back(kept);
        self.sum.next += 1;
    }

    fn handle_recovery_done(&mut self, _: Time, volume: VolumeId, next: u64) {
        if volume == ADDS {
            self.sum.next = next.max(self.sum.next);
            return;
        }
        // Without a snapshot the whole log is there.
        let next = self.sum.next;
        for record in core::mem::take(&mut self.records) {
            self.sum.add(add_of(&record), self.plan.keep);
        }
        self.sum.next = next;
        self.actions
            .push_back(Action::Notice(Told::Found(self.sum.count)));
    }

    fn handle_start(&mut self, _: Time) {}

    fn handle_accepted(&mut self, _: Time, _: Door, _: Remote) -> Result<Conn, Refused> {
        let free = self.slots.iter().position(|slot| !slot.open);
        let at = free.unwrap_or(self.slots.len());
        if free.is_none() {
            self.slots.push(Slot::default());
        }
        let slot = &mut self.slots[at];
        slot.open = true;
        Ok(Conn::new(
            at.try_into().unwrap_or(u32::MAX),
            slot.generation,
        ))
    }

    fn handle_starved(&mut self, _: Time, door: Door) {
        // Nobody comes to a counter in such numbers.
        self.actions.push_back(Action::Shut(door));
        self.actions.push_back(Action::Open(door));
    }

    fn handle_dialled(&mut self, _: Time, _: Conn, _: Dialled) -> Result<(), Misuse> {
        Err(Misuse::WrongState)
    }

    fn handle_bytes(&mut self, _: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        let slot = self.slot(conn)?;
        if slot.finished {
            return Err(Misuse::WrongState);
        }
        let mut line = core::mem::take(&mut slot.line);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            let whole = line.strip_suffix(b"\n");
            if line.len() > LINE || whole.is_some_and(|whole| !self.obey(conn, whole)) {
                self.close(conn);
                return Ok(());
            }
            if line.ends_with(b"\n") {
                line.clear();
            }
        }
        if let Ok(slot) = self.slot(conn) {
            slot.line = line;
        }
        self.pause(conn);
        Ok(())
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        let slot = self.slot(conn)?;
        if count > slot.owed.len() - slot.sent {
            return Err(Misuse::TooMuch);
        }
        slot.sent += count;
        self.close_if_done(conn);
        self.end_if_done(now);
        Ok(())
    }

    fn handle_lost(&mut self, _: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        let slot = self.slot(conn)?;
        match loss {
            Loss::Finished => {
                slot.finished = true;
                self.close_if_done(conn);
            }
            Loss::Broken => self.free(conn),
        }
        Ok(())
    }

    fn handle_stored(&mut self, now: Time, volume: VolumeId, count: usize) -> Result<(), Misuse> {
        match volume {
            ADDS if count <= self.records.len() => {
                for _ in 0..count {
                    self.records.pop_front();
                    let Some((conn, add)) = self.waiting.pop_front() else {
                        break;
                    };
                    self.sum.add(add, self.plan.keep);
                    if self.plan.flaw != Flaw::AcknowledgesEarly {
                        self.acknowledge(conn, add);
                    }
                    if let Ok(slot) = self.slot(conn) {
                        slot.waits -= 1;
                    }
                }
                self.actions.push_back(Action::Notice(Told::Stored(count)));
                self.resume();
                self.take_snapshot();
            }
            TOTAL if count <= usize::from(self.snapshot.is_some()) => {
                if let Some((_, covered)) = self.snapshot.take() {
                    self.covered = covered;
                    let more = u64::from(self.plan.flaw == Flaw::DiscardsTooMuch) * self.plan.every;
                    self.discard((covered + more).min(self.sum.next));
                    self.actions.push_back(Action::Notice(Told::Snapshot));
                }
                self.take_snapshot();
            }
            _ if count == 0 => {}
            _ => return Err(Misuse::TooMuch),
        }
        self.end_if_done(now);
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        self.end_if_done(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.stopping.get_or_insert(now + GRACE);
        self.end_if_done(now);
    }

    fn poll(&mut self) -> Option<Action<Told>> {
        self.actions.pop_front()
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        match self.slots.get(conn.slot()) {
            Some(slot) if slot.open && slot.generation == conn.generation() => {
                slot.owed.get(slot.sent + skip..).unwrap_or_default()
            }
            Some(_) | None => &[],
        }
    }

    fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        match volume {
            ADDS => self.records.get(skip).map(<[u8; RECORD]>::as_slice),
            TOTAL if skip == 0 => self.snapshot.as_ref().map(|(bytes, _)| &**bytes),
            _ => None,
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let due = |at, why| Timeout {
            at,
            why,
            judges_at: None,
        };
        if !self.actions.is_empty() {
            return Some(due(Time::ZERO, "undrained"));
        }
        let at = self.stopping.filter(|_| !self.halted)?;
        Some(due(at, "stop"))
    }
}

fn add_of(record: &[u8]) -> Add {
    Add {
        id: word(record, 0),
        amount: word(record, 1),
    }
}
