//! A sweep: many seeds on several threads. The only threads of the simulator are here, and no run
//! sees them.

use crate::observer::Violation;
use crate::sometimes::Sometimes;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// In a sweep of so many seeds each of the interesting cases that are expected comes up.
pub const ENOUGH: u64 = 2_000;

/// Which seeds, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The seeds.
    pub seeds: Range<u64>,
    /// How many threads; at least one is used, and at most 256.
    pub jobs: usize,
    /// No new seed is begun after this long.
    pub time: Option<Duration>,
}

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What broke.
    pub violation: Option<Violation>,
    /// The interesting cases that it met.
    pub sometimes: Sometimes,
    /// How many events there were: as many as a trace of the run has.
    pub events: u64,
    /// How much time it simulated, in microseconds.
    pub simulated: u64,
}

/// What a sweep came to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Swept {
    /// The smallest seed that failed, with what broke. Without a time limit it is the same on
    /// every machine, with any number of threads.
    pub first: Option<(u64, Violation)>,
    /// How many seeds were run to their end.
    pub seeds: u64,
    /// The interesting cases of all of them.
    pub sometimes: Sometimes,
    /// The events of all of them.
    pub events: u64,
    /// The microseconds simulated by all of them.
    pub simulated: u64,
    /// How long it took.
    pub took: Duration,
}

struct Shared<'a> {
    next: u64,
    swept: Swept,
    progress: &'a mut (dyn FnMut(&Swept) + Send),
}

impl Sweep {
    /// Runs the seeds in order until one fails; those below it that are still running are waited
    /// for. `progress` is told after each seed.
    ///
    /// # Panics
    /// If `run` or `progress` panics.
    #[must_use]
    pub fn run(
        &self,
        run: impl Fn(u64) -> Verdict + Sync,
        progress: &mut (dyn FnMut(&Swept) + Send),
    ) -> Swept {
        let begin = Instant::now();
        let shared = Mutex::new(Shared {
            next: self.seeds.start,
            swept: Swept::default(),
            progress,
        });
        let worker = || {
            loop {
                let seed = {
                    let mut shared = shared.lock().expect("another thread of the sweep panicked");
                    let seed = shared.next;
                    let late = self.time.is_some_and(|limit| begin.elapsed() >= limit);
                    if seed >= self.seeds.end || shared.swept.first.is_some() || late {
                        return;
                    }
                    shared.next = seed + 1;
                    seed
                };
                let verdict = run(seed);
                let mut shared = shared.lock().expect("another thread of the sweep panicked");
                let Shared {
                    swept, progress, ..
                } = &mut *shared;
                swept.note(seed, verdict);
                swept.took = begin.elapsed();
                progress(swept);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs.clamp(1, 256) {
                scope.spawn(worker);
            }
            worker();
        });
        let mut swept = shared
            .into_inner()
            .expect("another thread of the sweep panicked")
            .swept;
        swept.took = begin.elapsed();
        swept
    }
}

impl Swept {
    fn note(&mut self, seed: u64, verdict: Verdict) {
        self.seeds += 1;
        self.sometimes.merge(&verdict.sometimes);
        self.events += verdict.events;
        self.simulated += verdict.simulated;
        if let Some(violation) = verdict.violation
            && self.first.as_ref().is_none_or(|(first, _)| seed < *first)
        {
            self.first = Some((seed, violation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_seed_that_failed_is_kept_and_all_are_counted() {
        let failed = |text: &str| Verdict {
            violation: Some(Violation {
                property: "p",
                text: text.to_owned(),
                events: vec![],
            }),
            events: 2,
            simulated: 3,
            ..Verdict::default()
        };
        let mut swept = Swept::default();
        let seeds = [(7, "a"), (5, "b"), (6, "c"), (5, "d")];
        for (seed, text) in seeds {
            swept.note(seed, failed(text));
        }
        swept.note(1, Verdict::default());
        let (seed, violation) = swept.first.expect("some failed");
        assert_eq!((seed, &*violation.text), (5, "b"));
        assert_eq!((swept.seeds, swept.events, swept.simulated), (5, 8, 12));
    }
}
