//! Shrinking: from a failing plan to a small one that fails the same way.
//!
//! Any list of events is a valid plan and taking one out moves no choice of the others, so plain
//! delta debugging works: whole hosts first, then blocks of events of halving size down to single
//! ones, then the network's settings back to their plainest, then a shorter run and rounder
//! moments; all of it again until nothing helps.

use crate::names::{Client, Host};
use crate::plan::{Change, Net, Plan, Way};
use chatroom_machine::{Span, Time};
use std::time::{Duration, Instant};

/// How much work shrinking may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most runs.
    pub runs: u64,
    /// No new run is begun after this long.
    pub time: Duration,
}

impl Default for Budget {
    /// 20,000 runs, 10 seconds.
    fn default() -> Self {
        Self {
            runs: 20_000,
            time: Duration::from_secs(10),
        }
    }
}

/// What shrinking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shrunk {
    /// The smallest plan that was found to fail.
    pub plan: Plan,
    /// How many plans were run.
    pub runs: u64,
    /// Whether nothing smaller was left to try when it ended.
    pub minimal: bool,
}

/// Makes a failing plan smaller for as long as `fails` says that it still fails the same way.
///
/// `fails` is asked about smaller plans only, never about `plan` itself; what it says of one must
/// not change. With a budget of time that is never reached, the result depends on nothing else.
pub fn shrink(plan: &Plan, budget: Budget, fails: &mut dyn FnMut(&Plan) -> bool) -> Shrunk {
    let mut shrinker = Shrinker {
        best: plan.clone(),
        runs: 0,
        budget,
        begin: Instant::now(),
        fails,
    };
    loop {
        let before = shrinker.best.clone();
        shrinker.drop_events();
        shrinker.drop_hosts();
        shrinker.drop_events();
        shrinker.plain_net();
        shrinker.shorter();
        shrinker.rounder();
        let spent = shrinker.spent();
        if spent || shrinker.best == before {
            return Shrunk {
                plan: shrinker.best,
                runs: shrinker.runs,
                minimal: !spent,
            };
        }
    }
}

struct Shrinker<'a> {
    best: Plan,
    runs: u64,
    budget: Budget,
    begin: Instant,
    fails: &'a mut dyn FnMut(&Plan) -> bool,
}

impl Shrinker<'_> {
    fn spent(&self) -> bool {
        self.runs >= self.budget.runs || self.begin.elapsed() >= self.budget.time
    }

    /// Takes a plan over if it still fails.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if plan == self.best || plan.check().is_err() || self.spent() {
            return false;
        }
        self.runs += 1;
        let fails = (self.fails)(&plan);
        if fails {
            self.best = plan;
        }
        fails
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        edit(&mut plan);
        self.try_plan(plan)
    }

    /// Takes out blocks of events, the last first, as the end of a run matters least.
    fn drop_events(&mut self) {
        let mut size = self.best.events.len();
        while size > 0 {
            let mut end = self.best.events.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                self.edit(|plan| {
                    plan.events.drain(start..end);
                });
                end = start.min(self.best.events.len());
            }
            size /= 2;
        }
    }

    /// Takes out hosts; those above move down.
    fn drop_hosts(&mut self) {
        for host in (0..self.best.hosts).rev() {
            self.edit(|plan| without_host(plan, Host(host)));
        }
    }

    /// Makes the network as plain as it can be.
    fn plain_net(&mut self) {
        let plain = Net {
            jitter: Span::ZERO,
            client_jitter: Span::ZERO,
            ..Net::default()
        };
        if self.edit(|plan| plan.net = plain) {
            return;
        }
        let settings: [fn(&mut Net, &Net); 10] = [
            |net, plain| net.split = plain.split,
            |net, plain| net.short_write = plain.short_write,
            |net, plain| net.jitter = plain.jitter,
            |net, plain| net.latency = plain.latency,
            |net, plain| net.client_jitter = plain.client_jitter,
            |net, plain| net.client_latency = plain.client_latency,
            |net, plain| net.timer_late = plain.timer_late,
            |net, plain| net.buffer = plain.buffer,
            |net, plain| net.read = plain.read,
            |net, plain| (net.resend, net.backlog) = (plain.resend, plain.backlog),
        ];
        for set in settings {
            self.edit(|plan| set(&mut plan.net, &plain));
        }
    }

    /// Ends the run sooner: halves what can be halved of its last part, and of the way there.
    fn shorter(&mut self) {
        loop {
            let last = self.best.events.iter().map(|event| event.at).max();
            let last = last.unwrap_or(Time::ZERO);
            let end = self.best.phases.end;
            let half = last + Span::from_micros(end.since(last).as_micros() / 2);
            if !self.edit(|plan| end_at(plan, half)) {
                break;
            }
        }
    }

    /// Moves events to whole seconds, tenths, milliseconds, the roundest that will do.
    fn rounder(&mut self) {
        for unit in [1_000_000, 100_000, 10_000, 1_000] {
            self.edit(|plan| {
                for event in &mut plan.events {
                    event.at = round(event.at, unit);
                }
            });
        }
        for index in 0..self.best.events.len().min(200) {
            for unit in [1_000_000, 100_000, 10_000, 1_000] {
                let at = round(self.best.events[index].at, unit);
                if at == self.best.events[index].at {
                    break;
                }
                if self.edit(|plan| plan.events[index].at = at) {
                    break;
                }
            }
        }
    }
}

fn round(at: Time, unit: u64) -> Time {
    Time::from_micros(at.as_micros() / unit * unit)
}

fn end_at(plan: &mut Plan, end: Time) {
    let phases = &mut plan.phases;
    phases.end = end;
    phases.heal = phases.heal.min(end);
    phases.trouble = phases.trouble.min(end);
    phases.warm_up = phases.warm_up.min(end);
}

fn without_host(plan: &mut Plan, gone: Host) {
    plan.hosts -= 1;
    plan.events
        .retain(|event| !event.change.hosts().contains(&Some(gone)));
    let host = |host: &mut Host| {
        if *host > gone {
            host.0 -= 1;
        }
    };
    let way = |way: &mut Way| {
        host(&mut way.from);
        host(&mut way.to);
    };
    let client = |client: &mut Client| host(&mut client.host);
    for event in &mut plan.events {
        match &mut event.change {
            Change::Start(each)
            | Change::Kill(each, _)
            | Change::Pause(each)
            | Change::Resume(each)
            | Change::Stop(each)
            | Change::Jump(each, _)
            | Change::Drift(each, _)
            | Change::Starve(each, _)
            | Change::Disk(each, _) => host(each),
            Change::Cut(each)
            | Change::Mend(each)
            | Change::Clog(each)
            | Change::Unclog(each)
            | Change::Lag(each, _)
            | Change::Connects(each, _)
            | Change::Reset(each)
            | Change::HalfOpen(each)
            | Change::Damage(each, _)
            | Change::Buffer(each, _) => way(each),
            Change::Open(each, _)
            | Change::Say(each, _)
            | Change::Finish(each)
            | Change::Leave(each)
            | Change::Deaf(each, _) => client(each),
            Change::Heal => {}
        }
    }
}
