//! A machine that is just enough to move bytes in every way a runtime must allow.

use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Level, Loss, Machine, Misuse, Notice, Place, Refused,
    Remote, Timeout,
};
use chatroom_machine::{Span, Time};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where what comes in goes out again.
pub const ECHO: Door = Door(0);
/// Where bytes pour out, `0, 1, … 250, 0, …`, unasked.
pub const FLOOD: Door = Door(1);
/// Echoes owed from which on nothing more is read.
const HIGH: usize = 256 * 1024;
/// Bytes of a flood that are made at a time.
const PIECE: usize = 251 * 1024;
/// Bytes owed lie in pieces of this size.
const SPLIT: usize = 997;
/// How long the doors are shut after an accept that failed.
const REST: Span = Span::from_millis(50);
/// How long a shutdown goes on writing.
const GRACE: Span = Span::from_millis(300);

/// What a toy does besides echoing.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom it dials in the beginning.
    pub dial: Option<Place>,
    /// Whether it owes whom it dials something before the connection stands.
    pub eager: bool,
    /// When it has a timeout, once, if nothing else is to be timed.
    pub once: Option<Span>,
    /// Whether it breaks the contract: it leaves a door open at which accepting failed.
    pub accepts_on: bool,
    /// How many bytes it pours out at [`FLOOD`].
    pub flood: usize,
    /// How long a connection may be silent.
    pub silence: Option<Span>,
    /// How many connections it has before it shuts the doors.
    pub most: usize,
    /// How many connections it has before it closes the first for the sake of the next.
    pub crowd: usize,
    /// Where its calls are counted.
    pub counts: Arc<Counts>,
}

/// How often a toy was called.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Counts {
    pub poll_timeout: AtomicUsize,
    pub handle_starved: AtomicUsize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            dial: None,
            eager: false,
            once: None,
            accepts_on: false,
            flood: 0,
            silence: None,
            most: usize::MAX,
            crowd: usize::MAX,
            counts: Arc::default(),
        }
    }
}

/// What a toy tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Told {
    Accepted(Door),
    /// As it was accepted it had gone already.
    Gone,
    Dialled(Dialled),
    Bytes(usize),
    Lost(Loss),
    Silent,
    /// Its one timeout came.
    Once,
    Paused,
    Resumed,
    Shut,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Notice for Told {
    fn level(&self) -> Level {
        Level::Info
    }
}

/// The machine.
///
/// It echoes, up to a limit at which it pauses; says `so long` to `bye` and closes; crashes when
/// told `crash`; closes who is silent; closes who finished, once all is sent.
#[derive(Debug)]
pub struct Toy {
    plan: Plan,
    now: Time,
    slots: Vec<Slot>,
    actions: VecDeque<Action<Told>>,
    shut: bool,
    /// Until when nobody is accepted.
    rests: Option<Time>,
    once: Option<Time>,
    ending: Option<Time>,
    halted: bool,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    used: bool,
    /// Its last user was closed, which is still to be polled.
    closing: bool,
    open: bool,
    /// What is owed, from `sent` on.
    owed: Vec<u8>,
    sent: usize,
    /// What is left of a flood.
    flood: usize,
    paused: bool,
    /// To be closed once nothing is owed.
    last: bool,
    heard: Time,
}

impl Toy {
    /// A toy with a plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            now: Time::ZERO,
            slots: Vec::new(),
            actions: VecDeque::new(),
            shut: false,
            rests: None,
            once: None,
            ending: None,
            halted: false,
        }
    }

    fn take(&mut self, now: Time, open: bool) -> Conn {
        let free = self
            .slots
            .iter()
            .position(|slot| !slot.used && !slot.closing);
        let at = free.unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let generation = self.slots[at].generation;
        self.slots[at] = Slot {
            generation,
            used: true,
            open,
            heard: now,
            ..Slot::default()
        };
        self.mind_doors();
        Conn::new(u32::try_from(at).expect("few slots"), generation)
    }

    fn free(&mut self, conn: Conn) {
        let slot = &mut self.slots[conn.slot()];
        slot.used = false;
        slot.open = false;
        slot.owed = Vec::new();
        slot.sent = 0;
        slot.generation += 1;
        self.mind_doors();
    }

    fn close(&mut self, conn: Conn) {
        self.actions.push_back(Action::Close(conn));
        self.slots[conn.slot()].closing = true;
        self.free(conn);
    }

    fn mind_doors(&mut self) {
        let full = self.slots.iter().filter(|slot| slot.used).count() >= self.plan.most;
        let shut = full || self.rests.is_some();
        if shut != self.shut {
            self.shut = shut;
            for door in [ECHO, FLOOD] {
                self.actions.push_back(if shut {
                    Action::Shut(door)
                } else {
                    Action::Open(door)
                });
            }
            if full {
                self.tell(Told::Shut);
            }
        }
    }

    fn tell(&mut self, told: Told) {
        self.actions.push_back(Action::Notice(told));
    }

    fn slot(&mut self, conn: Conn) -> Result<&mut Slot, Misuse> {
        let slot = self.slots.get_mut(conn.slot()).ok_or(Misuse::Stale)?;
        if !slot.used || slot.generation != conn.generation() {
            return Err(Misuse::Stale);
        }
        Ok(slot)
    }

    fn owe(&mut self, conn: Conn, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let slot = &mut self.slots[conn.slot()];
        if slot.sent == slot.owed.len() {
            slot.owed.clear();
            slot.sent = 0;
            self.actions.push_back(Action::Send(conn));
        }
        slot.owed.extend_from_slice(bytes);
        if slot.owed.len() - slot.sent > HIGH && !slot.paused {
            slot.paused = true;
            self.actions.push_back(Action::Pause(conn));
            self.tell(Told::Paused);
        }
    }

    fn conns(&self) -> Vec<Conn> {
        let open = self.slots.iter().enumerate().filter(|(_, slot)| slot.open);
        open.map(|(at, slot)| Conn::new(u32::try_from(at).expect("few slots"), slot.generation))
            .collect()
    }

    fn end_if_done(&mut self, now: Time) {
        let Some(until) = self.ending.filter(|_| !self.halted) else {
            return;
        };
        let halt = if self.slots.iter().all(|slot| slot.sent == slot.owed.len()) {
            Halt::Done
        } else if now >= until {
            Halt::Unfinished
        } else {
            return;
        };
        self.halt(halt);
    }

    fn halt(&mut self, halt: Halt) {
        self.halted = true;
        self.actions.push_back(Action::Halt(halt));
    }
}

impl Machine for Toy {
    type Notice = Told;

    fn handle_start(&mut self, now: Time) {
        self.now = now;
        self.once = self.plan.once.map(|after| now + after);
        if let Some(to) = self.plan.dial.take() {
            let conn = self.take(now, false);
            self.actions.push_back(Action::Dial { conn, to });
            if self.plan.eager {
                self.owe(conn, b"hello");
            }
        }
    }

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        self.now = now;
        if self.shut {
            return Err(Refused);
        }
        let conns = self.conns();
        if conns.len() >= self.plan.crowd {
            self.close(conns[0]);
        }
        let conn = self.take(now, true);
        self.tell(Told::Accepted(door));
        if remote.gone {
            self.tell(Told::Gone);
        }
        if door == FLOOD {
            let flood = self.plan.flood;
            self.slots[conn.slot()].flood = flood.saturating_sub(PIECE);
            self.owe(conn, &piece(flood));
        }
        Ok(conn)
    }

    fn handle_starved(&mut self, now: Time, _door: Door) {
        self.now = now;
        self.plan.counts.handle_starved.fetch_add(1, Relaxed);
        if !self.plan.accepts_on {
            self.rests = Some(now + REST);
            self.mind_doors();
        }
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.now = now;
        let eager = self.plan.eager;
        let slot = self.slot(conn)?;
        if slot.open {
            return Err(Misuse::WrongState);
        }
        slot.open = true;
        slot.heard = now;
        match outcome {
            Dialled::Connected if eager => {}
            Dialled::Connected => self.owe(conn, b"hello"),
            Dialled::Failed => self.free(conn),
        }
        self.tell(Told::Dialled(outcome));
        Ok(())
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.now = now;
        let slot = self.slot(conn)?;
        slot.heard = now;
        if slot.last {
            return Ok(());
        }
        self.tell(Told::Bytes(bytes.len()));
        if bytes.starts_with(b"crash") {
            self.halt(Halt::Crash);
        } else if bytes.starts_with(b"bye") {
            self.owe(conn, b"so long");
            self.slots[conn.slot()].last = true;
        } else {
            self.owe(conn, bytes);
        }
        Ok(())
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.now = now;
        let slot = self.slot(conn)?;
        if count > slot.owed.len() - slot.sent {
            return Err(Misuse::TooMuch);
        }
        slot.sent += count;
        if slot.sent == slot.owed.len() {
            slot.owed = piece(slot.flood);
            slot.sent = 0;
            slot.flood = slot.flood.saturating_sub(PIECE);
            if slot.owed.is_empty() {
                let (paused, last) = (slot.paused, slot.last);
                slot.paused = false;
                if last {
                    self.close(conn);
                } else if paused {
                    self.actions.push_back(Action::Resume(conn));
                    self.tell(Told::Resumed);
                }
            }
        }
        self.end_if_done(now);
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.now = now;
        let slot = self.slot(conn)?;
        slot.last = true;
        let owes = slot.sent < slot.owed.len();
        self.tell(Told::Lost(loss));
        match loss {
            Loss::Finished if owes => {}
            Loss::Finished => self.close(conn),
            Loss::Broken => self.free(conn),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if self.once.take_if(|at| *at <= now).is_some() {
            self.tell(Told::Once);
        }
        if self.rests.take_if(|at| *at <= now).is_some() {
            self.mind_doors();
        }
        if let Some(silence) = self.plan.silence {
            for conn in self.conns() {
                if now >= self.slots[conn.slot()].heard + silence {
                    self.tell(Told::Silent);
                    self.close(conn);
                }
            }
        }
        self.end_if_done(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.now = now;
        self.ending.get_or_insert(now + GRACE);
        self.end_if_done(now);
    }

    fn poll(&mut self) -> Option<Action<Told>> {
        let action = self.actions.pop_front();
        if let Some(Action::Close(conn)) = action {
            self.slots[conn.slot()].closing = false;
        }
        action
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        match self.slots.get(conn.slot()) {
            Some(slot) if slot.used && slot.generation == conn.generation() => {
                let from = (slot.sent + skip).min(slot.owed.len());
                let to = (from / SPLIT + 1) * SPLIT;
                &slot.owed[from..to.min(slot.owed.len())]
            }
            Some(_) | None => &[],
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.plan.counts.poll_timeout.fetch_add(1, Relaxed);
        let judges_at = self.plan.silence.and_then(|silence| {
            let open = self.slots.iter().filter(|slot| slot.open);
            open.map(|slot| slot.heard + silence).min()
        });
        let at = if !self.actions.is_empty() {
            self.now
        } else if self.halted {
            return None;
        } else {
            let all = [judges_at, self.ending, self.rests, self.once];
            all.into_iter().flatten().min()?
        };
        Some(Timeout {
            at,
            why: "toy",
            judges_at,
        })
    }
}

/// The next piece of a flood of which `left` bytes are left.
fn piece(left: usize) -> Vec<u8> {
    (0..=250).cycle().take(left.min(PIECE)).collect()
}
