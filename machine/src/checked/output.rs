//! What a machine asks for.

use super::rule::Rule;
use super::table::{Listeners, Stage};
use super::{Checked, Phase};
use crate::{Action, Conn, Machine};
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The most actions of one machine without time moving: more than any bounded input can ask for.
const MAX_ACTIONS: u32 = 4_000_000;

impl<M: Machine> Checked<M> {
    /// An action on a connection, which must be open.
    #[inline]
    pub(super) fn on_open(&mut self, conn: Conn, what: &str) {
        if self.table.get(conn).is_none() && !self.late.contains(&conn) {
            let detail = format!("it wants to {what} {conn}, which is not open");
            self.breach(Rule::DeadHandle, detail);
        }
    }

    pub(super) fn repeated(&mut self, what: fmt::Arguments<'_>) {
        if self.checks.thorough {
            self.breach(Rule::RepeatedAction, format!("it is {what} already"));
        }
    }

    /// The machine asks for something.
    #[inline]
    pub(super) fn asked(&mut self, action: &Action<M::Notice>) {
        if let Some(call) = self.quiet.take() {
            let detail = format!("{call} led to {}", named(action));
            self.breach(Rule::OutputForNothing, detail);
        }
        if let Some(wanted) = self.wanted.take()
            && wanted.is_none_or(|at| at > self.now)
        {
            let detail = format!(
                "{} waited, and the next timeout was {wanted:?}",
                named(action)
            );
            self.breach(Rule::UndrainedNotDue, detail);
        }
        if self.phase == Phase::Halted {
            let detail = format!("it asks for {} after the halt", named(action));
            self.breach(Rule::ActiveAfterHalt, detail);
        }
        self.drained = false;
        self.actions += 1;
        if self.actions == MAX_ACTIONS + 1 {
            let detail = String::from("it asks for ever more without time moving");
            self.breach(Rule::Livelock, detail);
        }
        match *action {
            Action::Dial { conn, .. } => self.begin(conn, Stage::Dialling),
            Action::Send(conn) => {
                self.on_open(conn, "send on");
                if self.checks.thorough {
                    self.look_at_send(conn);
                }
            }
            Action::Pause(conn) => {
                self.on_open(conn, "pause");
                let before = self.table.get(conn);
                if before.is_some_and(|entry| core::mem::replace(&mut entry.paused, true)) {
                    self.repeated(format_args!("paused: {conn}"));
                }
            }
            Action::Resume(conn) => {
                self.on_open(conn, "resume");
                let before = self.table.get(conn);
                if before.is_some_and(|entry| !core::mem::take(&mut entry.paused)) {
                    self.repeated(format_args!("read from: {conn}"));
                }
            }
            Action::Close(conn) => {
                match self.table.get(conn) {
                    Some(entry) => entry.stage = Stage::Dead,
                    None => {
                        let detail = format!("it wants to close {conn}, which is not open");
                        self.breach(Rule::DeadHandle, detail);
                    }
                }
                self.look_at_dead(conn);
            }
            Action::Store(volume) | Action::Discard { volume, .. } => {
                if usize::from(volume.0) >= self.machine.volumes().len() {
                    let detail = format!("{} of a volume that it does not have", named(action));
                    self.breach(Rule::DeadHandle, detail);
                }
            }
            Action::Shut(door) => {
                self.starved.remove(door);
                if !self.shut.insert(door) {
                    self.repeated(format_args!("shut: listener {}", door.0));
                }
            }
            Action::Open(door) => {
                if !self.shut.remove(door) {
                    self.repeated(format_args!("open: listener {}", door.0));
                }
            }
            Action::Notice(ref notice) => {
                if self.checks.thorough {
                    self.look_at_notice(notice);
                }
            }
            Action::Halt(_) => {
                self.phase = Phase::Halted;
                self.table.end_all();
                self.starved = Listeners::default();
                self.timeout = None;
            }
        }
    }

    /// The machine asks for nothing more.
    #[inline]
    pub(super) fn rests(&mut self) {
        self.quiet = None;
        if core::mem::replace(&mut self.drained, true) {
            return;
        }
        if let Some(now) = self.timeout.take()
            && let Some(next) = self.machine.poll_timeout().filter(|next| next.at <= now)
        {
            let detail = format!(
                "after a timeout at {now} and a drain, the next one is due at {} ({})",
                next.at, next.why
            );
            self.breach(Rule::TimeoutNotAhead, detail);
        }
        if self.phase == Phase::Halted
            && let Some(next) = self.machine.poll_timeout()
        {
            let detail = format!("it wants a timeout after the halt ({})", next.why);
            self.breach(Rule::ActiveAfterHalt, detail);
        }
        while let Some(door) = self.starved.pop() {
            let detail = format!(
                "it goes on accepting at listener {} after an accept failed",
                door.0
            );
            self.breach(Rule::AcceptsOn, detail);
        }
        if self.phase != Phase::Halted
            && let Some(slot) = self.table.passed_over()
        {
            let detail = format!("it passed over slot {slot}");
            self.breach(Rule::SlotsNotDense, detail);
        }
        for (conn, detail) in core::mem::take(&mut self.excused) {
            if self.table.stage(conn) != Stage::Dead {
                self.breach(Rule::RightCallRefused, detail);
            }
        }
        self.late.clear();
        if self.checks.thorough {
            self.look_at_pending();
        }
    }
}

/// An action in words.
fn named<N: fmt::Debug>(action: &Action<N>) -> String {
    format!("{action:?}")
}
