//! The bounds of a plan, and what is said of one that breaks them.

use super::{Change, DiskFault, Plan, Way};
use crate::names::Host;
use std::fmt;

/// The most hosts.
pub const MAX_HOSTS: u16 = 64;
/// The most events.
pub const MAX_EVENTS: usize = 200_000;
/// The most bytes of one [`Change::Say`].
pub const MAX_SAY: usize = 1 << 20;
/// The most bytes of a plan's text.
pub const MAX_TEXT: usize = 64 << 20;
/// The most notes.
pub const MAX_NOTES: usize = 64;
/// The most bytes of one note, its key and its value together.
pub const MAX_NOTE: usize = 1 << 16;
/// The latest moment and the longest span, in microseconds: some 115 days.
pub const MAX_MOMENT: u64 = 10_000_000_000_000;

const MAX_BUFFER: u32 = 16 << 20;
const MAX_BACKLOG: u32 = 65_536;
const MAX_DRIFT: u32 = 500_000;

/// A plan that can't be read or run: where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanError {
    /// The line of the text, from 1; 0 for a plan that did not come from a text.
    pub line: usize,
    /// What was expected and what was found.
    pub text: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for PlanError {}

/// A fault of a plan in a line, counted from 1; 0 if it is in none.
///
/// # Errors
/// Always.
pub fn fault<T>(line: usize, text: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError {
        line,
        text: text.into(),
    })
}

impl Plan {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first bound that is broken.
    pub fn check(&self) -> Result<(), PlanError> {
        let within = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                fault(0, format!("{name} is {value}, expected {low} to {high}"))
            }
        };
        within("hosts", self.hosts.into(), 1, MAX_HOSTS.into())?;
        let phases = &self.phases;
        let mut before = 0;
        for (name, moment) in [
            ("warm-up", phases.warm_up),
            ("trouble", phases.trouble),
            ("heal", phases.heal),
            ("end", phases.end),
        ] {
            within(name, moment.as_micros(), before, MAX_MOMENT)?;
            before = moment.as_micros();
        }
        let net = &self.net;
        for (name, span, low) in [
            ("latency", net.latency, 1),
            ("jitter", net.jitter, 0),
            ("client-latency", net.client_latency, 1),
            ("client-jitter", net.client_jitter, 0),
            ("resend", net.resend, 0),
            ("timer-late", net.timer_late, 0),
        ] {
            within(name, span.as_micros(), low, MAX_MOMENT)?;
        }
        within("split", net.split.into(), 0, 1000)?;
        within("short-write", net.short_write.into(), 0, 1000)?;
        within("buffer", net.buffer.into(), 1, MAX_BUFFER.into())?;
        within("read", net.read.into(), 1, MAX_BUFFER.into())?;
        within("backlog", net.backlog.into(), 1, MAX_BACKLOG.into())?;
        within(
            "the number of notes",
            self.notes.len() as u64,
            0,
            MAX_NOTES as u64,
        )?;
        for (key, value) in &self.notes {
            let size = key.len() + value.len();
            within("the size of a note", size as u64, 0, MAX_NOTE as u64)?;
            let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
            if !word || value.trim() != value || value.contains(['\n', '\r']) {
                return fault(
                    0,
                    format!("the note {key:?} is not a word and the rest of a line"),
                );
            }
        }
        within(
            "the number of events",
            self.events.len() as u64,
            0,
            MAX_EVENTS as u64,
        )?;
        for event in &self.events {
            within("a moment", event.at.as_micros(), 0, MAX_MOMENT)?;
            self.check_change(&event.change)?;
        }
        Ok(())
    }

    /// Checks the bounds of one change in this plan.
    pub(crate) fn check_change(&self, change: &Change) -> Result<(), PlanError> {
        for host in change.hosts().into_iter().flatten() {
            if host >= Host(self.hosts) {
                return fault(0, format!("host {host} is outside 0 to {}", self.hosts - 1));
            }
        }
        let too = |what: &str| fault(0, format!("{what} is out of bounds in {change:?}"));
        match change {
            Change::Cut(way)
            | Change::Mend(way)
            | Change::Clog(way)
            | Change::Unclog(way)
            | Change::Reset(way)
            | Change::HalfOpen(way)
            | Change::Connects(way, _)
            | Change::Lag(way, _)
            | Change::Damage(way, _)
            | Change::Buffer(way, _)
                if way.from == way.to =>
            {
                fault(0, format!("host {} has no way to itself", way.from))
            }
            Change::Lag(Way { .. }, span) | Change::Jump(_, span)
                if span.as_micros() > MAX_MOMENT =>
            {
                too("the span")
            }
            Change::Disk(_, DiskFault::Slow(span)) if span.as_micros() > MAX_MOMENT => {
                too("the span")
            }
            Change::Damage(_, permille) if *permille > 1000 => too("the share"),
            Change::Buffer(_, bytes) if *bytes > MAX_BUFFER => too("the buffer"),
            Change::Drift(_, ppm) if ppm.unsigned_abs() > MAX_DRIFT => too("the drift"),
            Change::Say(_, bytes) if bytes.len() > MAX_SAY => too("the length"),
            Change::Start(_)
            | Change::Kill(..)
            | Change::Pause(_)
            | Change::Resume(_)
            | Change::Stop(_)
            | Change::Jump(..)
            | Change::Drift(..)
            | Change::Starve(..)
            | Change::Cut(_)
            | Change::Mend(_)
            | Change::Clog(_)
            | Change::Unclog(_)
            | Change::Lag(..)
            | Change::Connects(..)
            | Change::Reset(_)
            | Change::HalfOpen(_)
            | Change::Damage(..)
            | Change::Buffer(..)
            | Change::Disk(..)
            | Change::Heal
            | Change::Open(..)
            | Change::Say(..)
            | Change::Finish(_)
            | Change::Leave(_)
            | Change::Deaf(..) => Ok(()),
        }
    }
}
