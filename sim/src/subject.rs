//! What a sweep, a shrinker and a command line need of a protocol: plans for its seeds, a world of
//! its machines, and a judge.

use crate::engine::{World, run};
use crate::generate::Profile;
use crate::observer::{Observer, Violation};
use crate::plan::{Plan, PlanError};
use crate::shrink::{Budget, Shrunk, shrink};
use crate::sometimes::Sometimes;
use crate::sweep::Verdict;
use crate::trace::{Record, Recorder};

/// A protocol with its generator and its judge.
pub trait Subject {
    /// Makes the machines.
    type World: World;
    /// Says what broke.
    type Judge: Observer<<Self::World as World>::Machine>;

    /// The plan of a seed: within its bounds, and one that [`prepare`](Self::prepare) takes.
    fn plan(&self, seed: u64, profile: Profile) -> Plan;

    /// What a plan is run with.
    ///
    /// # Errors
    /// The plan is none for this protocol.
    fn prepare(&self, plan: &Plan) -> Result<(Self::World, Self::Judge), PlanError>;

    /// The options that ask for this subject on a command line, each with a blank before it.
    fn options(&self) -> String {
        String::new()
    }

    /// What is odd in a plan, a sentence each: it is run all the same.
    #[must_use]
    fn advice(plan: &Plan) -> Vec<String> {
        let _ = plan;
        Vec::new()
    }

    /// The interesting cases that a judge has met.
    fn sometimes(judge: Self::Judge) -> Sometimes {
        drop(judge);
        Sometimes::new()
    }

    /// What a record of a run adds to its server's log, for the logs beside a diagram.
    #[must_use]
    fn log(record: &Record) -> Option<String> {
        let _ = record;
        None
    }
}

/// What became of one judged run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Judged {
    /// What broke, what interesting cases came up, how much was simulated.
    pub verdict: Verdict,
    /// A hash of everything that happened.
    pub hash: u64,
}

/// Runs a plan before the judge.
///
/// # Errors
/// The plan is out of its bounds, or none for this protocol.
pub fn judge<S: Subject>(subject: &S, plan: &Plan) -> Result<Judged, PlanError> {
    plan.check()?;
    let (world, judge) = subject.prepare(plan)?;
    let outcome = run(&world, plan, judge);
    Ok(Judged {
        verdict: Verdict {
            violation: outcome.violation,
            sometimes: S::sometimes(outcome.observer),
            events: outcome.steps,
            simulated: outcome.ended.as_micros(),
        },
        hash: outcome.hash,
    })
}

/// Runs the plan of a seed: what a sweep does.
///
/// # Panics
/// If the generator made a plan that is out of bounds.
pub fn run_seed<S: Subject>(subject: &S, seed: u64, profile: Profile) -> Judged {
    match judge(subject, &subject.plan(seed, profile)) {
        Ok(judged) => judged,
        Err(error) => panic!("the plan of seed {seed} is out of bounds: {error}"),
    }
}

/// Runs a plan before the judge and keeps a record of everything.
///
/// # Errors
/// The plan is out of its bounds, or none for this protocol.
pub fn record<S: Subject>(
    subject: &S,
    plan: &Plan,
) -> Result<(Recorder, Option<Violation>), PlanError> {
    plan.check()?;
    let (world, judge) = subject.prepare(plan)?;
    let outcome = run(&world, plan, (Recorder::default(), judge));
    Ok((outcome.observer.0, outcome.violation))
}

/// Makes a plan that breaks a property smaller for as long as it breaks the same one.
pub fn smaller<S: Subject>(subject: &S, plan: &Plan, property: &str, budget: Budget) -> Shrunk {
    shrink(plan, budget, &mut |plan| {
        let judged = judge(subject, plan);
        let violation = judged.ok().and_then(|judged| judged.verdict.violation);
        violation.is_some_and(|violation| violation.property == property)
    })
}
