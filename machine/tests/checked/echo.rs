//! A small correct machine that does a little of everything, and breaks one rule when told to.

use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Level, Loss, Machine, Misuse, Notice, Place, Refused,
    Remote, Rule, Span, Time, Timeout,
};
use std::collections::VecDeque;
use std::fmt;

const TICK: Span = Span::from_millis(100);
const REST: Span = Span::from_millis(50);
const GRACE: Span = Span::from_millis(30);
/// Bytes in one piece.
const PIECE: usize = 7;
/// Bytes owed from which on nothing more is read.
const HIGH: usize = 40;
const MOST: usize = 3;

/// What it tells.
#[derive(Clone, Debug)]
pub(crate) struct Says(pub(crate) &'static str);

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Notice for Says {
    fn level(&self) -> Level {
        Level::Info
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Free,
    /// Closed, and not polled.
    Closing,
    Dialling,
    Open,
    Finished,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    stage: Stage,
    owed: Vec<u8>,
    paused: bool,
}

/// It echoes, and adds a `t` to what each connection is owed at every tick. `q` closes the
/// connection, `!` crashes.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    fault: Option<Rule>,
    now: Time,
    slots: Vec<Slot>,
    actions: VecDeque<Action<Says>>,
    tick: Option<Time>,
    dialled: bool,
    shut: bool,
    rests: Option<Time>,
    ending: Option<Time>,
    halted: bool,
    spins: u32,
}

impl Echo {
    pub(crate) fn new(fault: Option<Rule>) -> Self {
        Self {
            fault,
            now: Time::ZERO,
            slots: Vec::new(),
            actions: VecDeque::new(),
            tick: None,
            dialled: false,
            shut: false,
            rests: None,
            ending: None,
            halted: false,
            spins: 0,
        }
    }

    fn breaks(&self, rule: Rule) -> bool {
        self.fault == Some(rule)
    }

    fn act(&mut self, action: Action<Says>) {
        self.actions.push_back(action);
    }

    fn take(&mut self, stage: Stage) -> Conn {
        let early = self.breaks(Rule::SlotInUse);
        let free =
            |slot: &Slot| slot.stage == Stage::Free || (early && slot.stage == Stage::Closing);
        let place = self.slots.iter().position(free);
        let place = place.unwrap_or_else(|| {
            let count = 1 + usize::from(self.breaks(Rule::SlotsNotDense));
            let new = Slot {
                generation: 0,
                stage: Stage::Closing,
                owed: Vec::new(),
                paused: false,
            };
            self.slots.extend(std::iter::repeat_n(new, count));
            self.slots.len() - 1
        });
        let slot = &mut self.slots[place];
        slot.stage = stage;
        slot.owed.clear();
        slot.paused = false;
        Conn::new(place as u32, slot.generation)
    }

    fn at(&mut self, conn: Conn) -> Result<&mut Slot, Misuse> {
        let slot = self.slots.get_mut(conn.slot()).ok_or(Misuse::Stale)?;
        let live = !matches!(slot.stage, Stage::Free | Stage::Closing);
        match live && slot.generation == conn.generation() {
            true => Ok(slot),
            false => Err(Misuse::Stale),
        }
    }

    fn end(&mut self, conn: Conn, gone: bool) {
        let again = self.breaks(Rule::GenerationReused);
        let slot = &mut self.slots[conn.slot()];
        slot.generation += u32::from(!again);
        slot.stage = if gone { Stage::Free } else { Stage::Closing };
        if !gone {
            self.act(Action::Close(conn));
        }
        self.mind_the_listener();
    }

    fn owe(&mut self, conn: Conn, bytes: &[u8]) {
        let silent = self.breaks(Rule::SilentBytes);
        let slot = &mut self.slots[conn.slot()];
        let first = slot.owed.is_empty() && !bytes.is_empty();
        slot.owed.extend_from_slice(bytes);
        let pause = slot.owed.len() > HIGH && !slot.paused;
        slot.paused |= pause;
        if first && !silent {
            self.act(Action::Send(conn));
        }
        if pause {
            self.act(Action::Pause(conn));
            if self.breaks(Rule::RepeatedAction) {
                self.act(Action::Pause(conn));
            }
        }
    }

    fn conns(&self) -> Vec<Conn> {
        let open = |slot: &Slot| matches!(slot.stage, Stage::Open | Stage::Finished);
        let slots = (0..).zip(&self.slots).filter(|(_, slot)| open(slot));
        slots
            .map(|(place, slot)| Conn::new(place, slot.generation))
            .collect()
    }

    fn mind_the_listener(&mut self) {
        let full = self.conns().len() >= MOST;
        let shut = full || self.rests.is_some() || self.ending.is_some();
        if shut != self.shut {
            self.shut = shut;
            self.act(match shut {
                true => Action::Shut(Door(0)),
                false => Action::Open(Door(0)),
            });
        }
    }

    fn halt(&mut self, halt: Halt) {
        self.halted = true;
        self.slots.iter_mut().for_each(|slot| {
            slot.stage = Stage::Closing;
            slot.generation += 1;
        });
        self.actions.clear();
        self.act(Action::Halt(halt));
    }

    fn end_if_done(&mut self) {
        if self.ending.is_some() && !self.halted && self.slots.iter().all(|s| s.owed.is_empty()) {
            self.halt(Halt::Done);
        }
    }

    /// An error, and perhaps something else that ought not to be.
    fn error(&mut self, misuse: Misuse) -> Result<(), Misuse> {
        if self.breaks(Rule::OutputForNothing) {
            self.act(Action::Notice(Says("wrong")));
        }
        if self.breaks(Rule::WrongCallTaken) {
            return Ok(());
        }
        if self.breaks(Rule::WrongError) {
            return Err(Misuse::TooMuch);
        }
        Err(misuse)
    }
}

impl Machine for Echo {
    type Notice = Says;

    fn handle_start(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.tick.is_none() && !self.halted {
            self.tick = Some(self.now + TICK);
        }
    }

    fn handle_accepted(&mut self, now: Time, _: Door, _: Remote) -> Result<Conn, Refused> {
        self.now = self.now.max(now);
        if self.shut || self.halted {
            return Err(Refused);
        }
        let conn = self.take(Stage::Open);
        self.act(Action::Notice(Says(match self.fault {
            Some(Rule::NoticeOfLines) => "two\nlines",
            _ => "accepted",
        })));
        if self.breaks(Rule::SendWithoutBytes) {
            self.act(Action::Send(conn));
        }
        self.mind_the_listener();
        Ok(conn)
    }

    fn handle_starved(&mut self, now: Time, _: Door) {
        self.now = self.now.max(now);
        if !self.halted && !self.breaks(Rule::AcceptsOn) {
            self.rests = Some(self.now + REST);
            self.mind_the_listener();
        }
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.now = self.now.max(now);
        match (self.at(conn).map(|slot| slot.stage), outcome) {
            (Err(misuse), _) => return self.error(misuse),
            (Ok(Stage::Dialling), Dialled::Connected) => {
                self.at(conn)?.stage = Stage::Open;
                self.owe(conn, b"hello");
                self.mind_the_listener();
            }
            (Ok(Stage::Dialling), Dialled::Failed) => self.end(conn, true),
            (Ok(_), _) => return self.error(Misuse::WrongState),
        }
        Ok(())
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.now = self.now.max(now);
        match self.at(conn).map(|slot| slot.stage) {
            Err(misuse) => return self.error(misuse),
            Ok(Stage::Open) if self.breaks(Rule::RightCallRefused) => {
                return Err(Misuse::WrongState);
            }
            Ok(Stage::Open) => {}
            Ok(_) => return self.error(Misuse::WrongState),
        }
        if bytes.contains(&b'!') {
            self.halt(Halt::Crash);
        } else if bytes.contains(&b'q') {
            self.end(conn, false);
        } else {
            self.owe(conn, bytes);
        }
        Ok(())
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.now = self.now.max(now);
        let slot = match self.at(conn) {
            Err(misuse) => return self.error(misuse),
            Ok(slot) if count > slot.owed.len() => return self.error(Misuse::TooMuch),
            Ok(slot) => slot,
        };
        slot.owed.drain(..count);
        let (done, resume) = (
            slot.owed.is_empty(),
            slot.paused && slot.owed.len() < HIGH / 2,
        );
        slot.paused &= !resume;
        if done && slot.stage == Stage::Finished {
            self.end(conn, false);
        } else if resume {
            self.act(Action::Resume(conn));
        }
        self.end_if_done();
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.now = self.now.max(now);
        let slot = match self.at(conn) {
            Err(misuse) => return self.error(misuse),
            Ok(slot) => slot,
        };
        match (loss, slot.stage) {
            (Loss::Broken, Stage::Open | Stage::Finished) => self.end(conn, true),
            (Loss::Finished, Stage::Open) if slot.owed.is_empty() => self.end(conn, false),
            (Loss::Finished, Stage::Open) => slot.stage = Stage::Finished,
            _ => return self.error(Misuse::WrongState),
        }
        if loss == Loss::Broken {
            self.slots[conn.slot()].owed.clear();
        }
        self.end_if_done();
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.halted {
            return;
        }
        if self.ending.is_some_and(|at| at <= now) {
            self.halt(Halt::Unfinished);
            return;
        }
        if self.rests.take_if(|at| *at <= now).is_some() {
            self.mind_the_listener();
        }
        if self.tick.is_some_and(|at| at <= now) {
            self.tick = Some(match self.breaks(Rule::TimeoutNotAhead) {
                true => self.now,
                false => self.now + TICK,
            });
            if self.breaks(Rule::PendingChanged) {
                let owed = self.slots.iter_mut().map(|slot| &mut slot.owed);
                owed.for_each(|owed| owed.iter_mut().for_each(|byte| *byte ^= 1));
            }
            for conn in self.conns() {
                self.owe(conn, b"t");
            }
            let missing = |slot: &Slot| slot.stage != Stage::Dialling;
            if self.slots.iter().all(missing) && self.slots.len() < 5 && self.ending.is_none() {
                self.dialled = true;
                let (conn, to) = (self.take(Stage::Dialling), Place(0));
                self.act(Action::Dial { conn, to });
            }
        }
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.ending.is_none() && !self.halted {
            self.ending = Some(self.now + GRACE);
            self.mind_the_listener();
            self.end_if_done();
        }
    }

    fn poll(&mut self) -> Option<Action<Says>> {
        if self.breaks(Rule::Livelock) && self.dialled && self.spins < 4_000_100 {
            self.spins += 1;
            return Some(Action::Notice(Says("on and on")));
        }
        let action = self.actions.pop_front();
        match action {
            Some(Action::Close(conn)) => {
                let slot = &mut self.slots[conn.slot()];
                if slot.stage == Stage::Closing {
                    slot.stage = Stage::Free;
                    slot.owed.clear();
                }
                if self.breaks(Rule::DeadHandle) {
                    self.actions.push_front(Action::Send(conn));
                }
            }
            Some(Action::Halt(_)) if self.breaks(Rule::ActiveAfterHalt) => {
                self.act(Action::Notice(Says("still there")));
            }
            _ => {}
        }
        action
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        let Some(slot) = self.slots.get(conn.slot()) else {
            return &[];
        };
        let live = !matches!(slot.stage, Stage::Free | Stage::Closing);
        if !live || slot.generation != conn.generation() {
            return match self.breaks(Rule::PendingOnDead) {
                true => b"from the grave".get(skip..).unwrap_or_default(),
                false => &[],
            };
        }
        let from = match self.fault {
            Some(Rule::PiecesDisagree) if slot.owed.len() > PIECE => skip / PIECE * PIECE,
            _ => skip,
        };
        let rest = slot.owed.get(from..).unwrap_or_default();
        &rest[..rest.len().min(PIECE)]
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        if !self.actions.is_empty() && !self.breaks(Rule::UndrainedNotDue) {
            return Some(Timeout {
                at: self.now,
                why: "undrained",
                judges_at: None,
            });
        }
        if self.halted {
            return None;
        }
        let all = [self.tick, self.rests, self.ending];
        let at = all.into_iter().flatten().min()?;
        Some(Timeout {
            at,
            why: "tick",
            judges_at: None,
        })
    }
}
