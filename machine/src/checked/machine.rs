//! The calls, passed on.

use super::call::{Answer, Before, Call, Wrong};
use super::rule::Rule;
use super::table::Stage;
use super::{Checked, Phase};
use crate::{
    Action, Conn, Dialled, Door, Loss, Machine, Misuse, Refused, Remote, Time, Timeout, Volume,
    VolumeId, VolumeKind,
};
use alloc::format;
use alloc::string::String;

impl<M: Machine> Machine for Checked<M> {
    type Notice = M::Notice;

    fn handle_start(&mut self, now: Time) {
        let before = self.before(now);
        self.enter(now, "handle_start");
        self.machine.handle_start(now);
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            self.told();
        } else {
            self.nothing_told("a repeated handle_start", before);
        }
    }

    #[inline]
    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        let before = match self.phase {
            Phase::Halted => Some(self.before(now)),
            Phase::New | Phase::Running | Phase::Ending => None,
        };
        let runs = self.enter_running(now, "handle_accepted");
        if runs && self.shut.contains(door) {
            let detail = format!("handle_accepted at listener {}", door.0);
            self.breach(Rule::AcceptedWhileShut, detail);
        }
        self.timeout = None;
        let answer = self.machine.handle_accepted(now, door, remote);
        match (answer, before) {
            (Ok(conn), Some(_)) => {
                let detail = format!("it accepts {conn} after the halt");
                self.breach(Rule::ActiveAfterHalt, detail);
            }
            (Err(Refused), Some(before)) => {
                self.nothing_told("handle_accepted after the halt", before);
            }
            (Ok(conn), None) => {
                self.told();
                self.begin(conn, Stage::Open);
            }
            (Err(Refused), None) => self.told(),
        }
        answer
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        let before = self.before(now);
        let runs = self.enter_running(now, "handle_starved");
        self.timeout = None;
        self.machine.handle_starved(now, door);
        if self.phase == Phase::Halted {
            self.nothing_told("handle_starved after the halt", before);
            return;
        }
        self.told();
        if runs && !self.shut.contains(door) {
            self.starved.insert(door);
        }
    }

    #[inline]
    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        let call = Call::Dialled(conn, outcome);
        let wrong = match self.table.stage(conn) {
            Stage::Dialling => None,
            Stage::Open | Stage::Finished => Wrong::STATE,
            Stage::Dead => Wrong::DEAD,
        };
        let before = self.begin_call(now, call, wrong);
        self.timeout = None;
        let answer = self.machine.handle_dialled(now, conn, outcome);
        let taken = self.judge(call, wrong, before, answer);
        let unheard = wrong.is_none() && closed_meanwhile(before, answer);
        if taken || (unheard && outcome == Dialled::Connected) {
            match (outcome, self.table.get(conn)) {
                (Dialled::Connected, Some(entry)) => entry.stage = Stage::Open,
                (Dialled::Connected, None) => {}
                (Dialled::Failed, _) => self.gone(conn, before.drained),
            }
        }
        answer
    }

    #[inline]
    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        let call = Call::Bytes(conn, bytes.len());
        let wrong = self.reads(conn);
        let before = self.begin_call(now, call, wrong);
        self.timeout = None;
        let answer = self.machine.handle_bytes(now, conn, bytes);
        self.judge(call, wrong, before, answer);
        answer
    }

    #[inline]
    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        let call = Call::Sent(conn, count);
        let thorough = self.checks.thorough;
        let wrong = match self.table.stage(conn) {
            Stage::Dead => Wrong::DEAD,
            Stage::Dialling if count == 0 => Wrong::new(Rule::CallInWrongState, Answer::Any),
            Stage::Dialling => Wrong::new(Rule::CallInWrongState, Answer::Err),
            Stage::Open | Stage::Finished if thorough && !self.has_pending(conn, count) => {
                Wrong::TOO_MUCH
            }
            Stage::Open | Stage::Finished => None,
        };
        let before = self.begin_call(now, call, wrong);
        // Nothing is pending if the machine has closed it meanwhile.
        if thorough && wrong.is_none() && count > 0 {
            self.look_at_connection(conn);
        }
        let answer = self.machine.handle_sent(now, conn, count);
        if self.judge(call, wrong, before, answer) && thorough {
            self.look_at_sent(conn, count);
        }
        answer
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        let call = Call::Lost(conn, loss);
        let wrong = match loss {
            Loss::Finished => self.reads(conn),
            Loss::Broken => match self.table.stage(conn) {
                Stage::Dead => Wrong::DEAD,
                Stage::Dialling => Wrong::STATE,
                Stage::Open | Stage::Finished => None,
            },
        };
        let before = self.begin_call(now, call, wrong);
        self.timeout = None;
        let answer = self.machine.handle_lost(now, conn, loss);
        let taken = self.judge(call, wrong, before, answer);
        let unheard = wrong.is_none() && closed_meanwhile(before, answer);
        if taken || (unheard && loss == Loss::Finished) {
            match (loss, self.table.get(conn)) {
                (Loss::Finished, Some(entry)) => entry.stage = Stage::Finished,
                (Loss::Finished, None) => {}
                (Loss::Broken, _) => self.gone(conn, before.drained),
            }
        }
        answer
    }

    fn handle_recovered(&mut self, now: Time, volume: VolumeId, number: u64, record: &[u8]) {
        self.recovers(now, "handle_recovered");
        self.machine.handle_recovered(now, volume, number, record);
        self.told();
    }

    fn handle_recovery_done(&mut self, now: Time, volume: VolumeId, next: u64) {
        self.recovers(now, "handle_recovery_done");
        self.machine.handle_recovery_done(now, volume, next);
        self.told();
    }

    fn handle_stored(&mut self, now: Time, volume: VolumeId, count: usize) -> Result<(), Misuse> {
        self.enter_running(now, "handle_stored");
        self.timeout = None;
        let machine = &self.machine;
        // Of a snapshot those count too that a later one replaced.
        let kind = machine
            .volumes()
            .get(usize::from(volume.0))
            .map(|it| it.kind);
        let wrong = match kind {
            None => true,
            Some(VolumeKind::Snapshot) => false,
            Some(VolumeKind::Log) => count > 0 && machine.unsaved(volume, count - 1).is_none(),
        };
        let call = format_args!("handle_stored({}, {count})", volume.0);
        if wrong {
            self.breach(Rule::SentTooMuch, format!("{call}"));
        }
        let answer = self.machine.handle_stored(now, volume, count);
        match (wrong, answer) {
            (true, Ok(())) => self.breach(Rule::WrongCallTaken, format!("{call} is Ok")),
            (false, Err(error)) => {
                self.breach(Rule::RightCallRefused, format!("{call} is {error:?}"));
            }
            (true, Err(_)) => {}
            (false, Ok(())) => self.told(),
        }
        answer
    }

    #[inline]
    fn handle_timeout(&mut self, now: Time) {
        let before = self.before(now);
        let next = self.checks.thorough.then(|| self.machine.poll_timeout());
        let early = next.is_some_and(|next| next.is_none_or(|next| next.at > now));
        self.enter(now, "handle_timeout");
        if self.phase == Phase::New {
            let detail = String::from("handle_timeout before handle_start");
            self.breach(Rule::CallBeforeStart, detail);
        }
        self.machine.handle_timeout(now);
        if self.phase == Phase::Halted || (early && before.drained) {
            self.nothing_told("a timeout that is not due", before);
        } else {
            self.timeout = Some(now);
            self.told();
        }
    }

    fn handle_shutdown(&mut self, now: Time) {
        let before = self.before(now);
        self.enter(now, "handle_shutdown");
        self.timeout = None;
        self.machine.handle_shutdown(now);
        match self.phase {
            Phase::New => {
                let detail = String::from("handle_shutdown before handle_start");
                self.breach(Rule::CallBeforeStart, detail);
                self.phase = Phase::Ending;
                self.told();
            }
            Phase::Running => {
                self.phase = Phase::Ending;
                self.told();
            }
            Phase::Ending | Phase::Halted => {
                self.nothing_told("a repeated handle_shutdown", before);
            }
        }
    }

    #[inline]
    fn poll(&mut self) -> Option<Action<Self::Notice>> {
        let action = self.machine.poll();
        match &action {
            Some(action) => self.asked(action),
            None => self.rests(),
        }
        action
    }

    fn volumes(&self) -> &'static [Volume] {
        self.machine.volumes()
    }

    fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        self.machine.unsaved(volume, skip)
    }

    #[inline]
    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.machine.pending(conn, skip)
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Timeout> {
        self.machine.poll_timeout()
    }
}

/// Whether the machine may have closed the connection of a right call, and the driver has not heard
/// of it yet.
fn closed_meanwhile(before: Before, answer: Result<(), Misuse>) -> bool {
    !before.drained && answer == Err(Misuse::Stale)
}

impl<M: Machine> Checked<M> {
    /// A call that comes before `handle_start`.
    fn recovers(&mut self, now: Time, call: &'static str) {
        self.enter(now, call);
        if self.phase != Phase::New {
            let detail = format!("{call} after handle_start");
            self.breach(Rule::CallInWrongState, detail);
        }
    }
}
