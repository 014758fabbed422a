//! Breadth first through all states: the first violation found is one of the shortest.

use super::state::{Budget, Live, State};
use super::step::Step;
use super::{Bounds, Explorable, Limit, Reduction, Report, Start, Watch, judge};
use chatroom_chat::Config;
use chatroom_sim::observer::Violation;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Instant;

/// What is kept of a state that was reached.
struct Seen {
    parent: u64,
    step: Option<Step>,
    /// The steps that were not tried from here in any visit.
    sleep: Box<[Step]>,
}

/// A state that waits for its turn.
struct Waiting<M> {
    state: State<M>,
    fingerprint: u64,
    sleep: Vec<Step>,
    /// What is to be tried: all that is not asleep, or on a later visit what was till now.
    only: Option<Vec<Step>>,
}

/// What a path breaks.
pub(super) struct Broken {
    pub(super) path: Vec<Step>,
    pub(super) violation: Violation,
}

/// The state that the search begins from.
///
/// # Errors
/// A property breaks on the way there.
///
/// # Panics
/// If `bounds` are out of their own bounds.
pub(super) fn root<M: Explorable, F: Fn(Config) -> M, O: chatroom_sim::observer::Observer<M>>(
    make: &F,
    bounds: &Bounds,
    watch: &mut Watch<O>,
) -> Result<State<M>, Violation> {
    if let Err(error) = bounds.check() {
        panic!("{error}");
    }
    let mut state = State::new(bounds);
    if bounds.start == Start::Linked {
        // Without a budget, what is left to do is to start and to connect.
        let budget = std::mem::replace(
            &mut state.budget,
            Budget {
                messages: 0,
                crashes: 0,
                restarts: 0,
                losses: 0,
            },
        );
        while let Some(step) = state.enabled().last().copied() {
            state = state.apply(make, step, watch)?;
        }
        state.budget = budget;
    }
    Ok(state)
}

pub(super) struct Search<M> {
    reduction: Reduction,
    limit: Limit,
    seen: HashMap<u64, Seen>,
    next: Vec<Waiting<M>>,
    /// Every state of one server that was seen, by its hash: states share them.
    lives: HashMap<u64, Rc<Live<M>>>,
    report: Report,
}

impl<M: Explorable> Search<M> {
    pub(super) fn new(reduction: Reduction, limit: Limit) -> Self {
        Self {
            reduction,
            limit,
            seen: HashMap::new(),
            next: Vec::new(),
            lives: HashMap::new(),
            report: Report::default(),
        }
    }

    pub(super) fn run<F: Fn(Config) -> M>(
        mut self,
        make: &F,
        bounds: &Bounds,
        progress: &mut dyn FnMut(&Report),
    ) -> (Report, Option<Broken>) {
        let began = Instant::now();
        let broken = self.levels(make, bounds, began, progress).err();
        self.report.took = began.elapsed();
        (self.report, broken)
    }

    fn levels<F: Fn(Config) -> M>(
        &mut self,
        make: &F,
        bounds: &Bounds,
        began: Instant,
        progress: &mut dyn FnMut(&Report),
    ) -> Result<(), Broken> {
        let found = |violation| Broken {
            path: Vec::new(),
            violation,
        };
        let state = root(make, bounds, &mut Watch::<()>::default()).map_err(found)?;
        self.reach(state, None, Vec::new())?;
        while !self.next.is_empty() {
            for waiting in std::mem::take(&mut self.next) {
                let late = self.limit.time.is_some_and(|time| began.elapsed() >= time);
                if late || self.seen.len() >= self.limit.states {
                    return Ok(());
                }
                self.expand(make, &waiting)?;
            }
            self.report.depth += u64::from(!self.next.is_empty());
            self.report.took = began.elapsed();
            progress(&self.report);
        }
        self.report.exhausted = true;
        Ok(())
    }

    fn expand<F: Fn(Config) -> M>(&mut self, make: &F, waiting: &Waiting<M>) -> Result<(), Broken> {
        let Waiting {
            state,
            fingerprint,
            sleep,
            only,
        } = waiting;
        let enabled = only.clone().unwrap_or_else(|| state.enabled());
        let mut asleep = sleep.clone();
        for step in enabled {
            if asleep.contains(&step) {
                continue;
            }
            self.report.transitions += 1;
            let next = state.apply(make, step, &mut Watch::<()>::default());
            let next = next.map_err(|violation| Broken {
                path: self.path(Some((*fingerprint, step))),
                violation,
            })?;
            let independent = asleep.iter().filter(|other| !other.depends_on(step));
            let independent = independent.copied().collect();
            self.reach(next, Some((*fingerprint, step)), independent)?;
            if self.reduction == Reduction::SleepSets {
                asleep.push(step);
            }
        }
        Ok(())
    }

    /// A state was reached, and `sleep` need not be tried from it.
    fn reach(
        &mut self,
        mut state: State<M>,
        by: Option<(u64, Step)>,
        sleep: Vec<Step>,
    ) -> Result<(), Broken> {
        let fingerprint = state.fingerprint();
        let (sleep, only) = match self.seen.entry(fingerprint) {
            Entry::Vacant(entry) => {
                entry.insert(Seen {
                    parent: by.map_or(0, |(parent, _)| parent),
                    step: by.map(|(_, step)| step),
                    sleep: sleep.clone().into(),
                });
                self.report.states += 1;
                self.report.digest = self.report.digest.wrapping_add(fingerprint);
                let enabled = state.enabled();
                let rest = judge::rest(&state, &enabled).map_err(|violation| Broken {
                    path: self.path(by),
                    violation,
                })?;
                self.report.rests += u64::from(rest);
                if enabled.is_empty() {
                    self.report.finals += 1;
                    self.report.finals_digest = self.report.finals_digest.wrapping_add(fingerprint);
                }
                (sleep, None)
            }
            Entry::Occupied(mut entry) => {
                // Asleep on every visit till now, and awake on this one.
                let known = entry.get().sleep.iter();
                let (both, only): (Vec<Step>, Vec<Step>) =
                    known.partition(|step| sleep.contains(step));
                if only.is_empty() {
                    return Ok(());
                }
                entry.get_mut().sleep = both.clone().into();
                (both, Some(only))
            }
        };
        for live in state.nodes.iter_mut().filter_map(|n| n.live.as_mut()) {
            let shared = self.lives.entry(live.fingerprint);
            *live = Rc::clone(shared.or_insert_with(|| Rc::clone(live)));
        }
        self.next.push(Waiting {
            state,
            fingerprint,
            sleep,
            only,
        });
        Ok(())
    }

    /// The steps from the beginning to a state.
    fn path(&self, mut by: Option<(u64, Step)>) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some((fingerprint, step)) = by {
            steps.push(step);
            let seen = self.seen.get(&fingerprint);
            by = seen.and_then(|seen| seen.step.map(|step| (seen.parent, step)));
        }
        steps.reverse();
        steps
    }
}
