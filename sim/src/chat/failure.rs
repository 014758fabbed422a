//! A run that broke a property, made ready to be read: shrunk, saved, with the events that break it
//! and the command that replays it.

use super::broken::Defect;
use super::{Chat, Grid, Judge, Judged, Profile, Setup, generate, judge};
use crate::engine;
use crate::observer::Violation;
use crate::plan::{Plan, PlanError};
use crate::shrink::{Budget, shrink};
use crate::trace::{Format, Recorder};
use chatroom_chat::Config;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Events shown beside those that break the property: how many before the last of them.
const BEFORE: u64 = 12;

/// A failure that can be read and replayed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the plan.
    pub seed: u64,
    /// The smallest plan that was found to break the same property.
    pub plan: Plan,
    /// What it breaks.
    pub violation: Violation,
    /// How many plans were run to find it.
    pub runs: u64,
    /// The lines of the trace that belong to it.
    pub lines: Vec<String>,
    /// Where the plan was saved.
    pub path: Option<PathBuf>,
    /// The defect of the servers, if they were [broken on purpose](super::broken): the command
    /// that replays the plan names it.
    pub defect: Option<Defect>,
}

/// Runs a plan before the judge and keeps a record of everything.
///
/// # Errors
/// The plan is out of its bounds, or its notes are not a [`Setup`].
pub fn record<M: Chat>(
    make: impl Fn(Config) -> M,
    plan: &Plan,
) -> Result<(Recorder, Option<Violation>), PlanError> {
    plan.check()?;
    let setup = Setup::of(plan)?;
    let observer = (Recorder::default(), Judge::new(plan, setup.clone()));
    let outcome = engine::run(&Grid::new(setup, make), plan, observer);
    Ok((outcome.observer.0, outcome.violation))
}

/// Makes a plan that breaks a property smaller for as long as it breaks the same one.
pub fn smaller<M: Chat>(
    make: &impl Fn(Config) -> M,
    plan: &Plan,
    property: &str,
    budget: Budget,
) -> crate::shrink::Shrunk {
    shrink(plan, budget, &mut |plan| {
        let judged = judge(make, plan);
        judged.is_ok_and(|judged| broke(&judged, property))
    })
}

fn broke(judged: &Judged, property: &str) -> bool {
    let violation = judged.verdict.violation.as_ref();
    violation.is_some_and(|violation| violation.property == property)
}

impl Failure {
    /// Looks into a plan; `None` if it breaks nothing.
    ///
    /// # Errors
    /// The plan is out of its bounds, or its notes are not a [`Setup`].
    pub fn of_plan<M: Chat>(
        make: impl Fn(Config) -> M,
        plan: &Plan,
        budget: Budget,
    ) -> Result<Option<Self>, PlanError> {
        let judged = judge(&make, plan)?;
        let Some(violation) = judged.verdict.violation else {
            return Ok(None);
        };
        let shrunk = smaller(&make, plan, violation.property, budget);
        let (recorder, again) = record(&make, &shrunk.plan)?;
        let violation = again.unwrap_or(violation);
        Ok(Some(Self {
            seed: plan.seed,
            lines: lines(&recorder, &violation),
            plan: shrunk.plan,
            violation,
            runs: shrunk.runs,
            path: None,
            defect: None,
        }))
    }

    /// Looks into the plan of a seed.
    ///
    /// # Panics
    /// If the generator made a plan that is out of bounds.
    pub fn of_seed<M: Chat>(
        make: impl Fn(Config) -> M,
        seed: u64,
        profile: Profile,
        budget: Budget,
    ) -> Option<Self> {
        match Self::of_plan(make, &generate(seed, profile), budget) {
            Ok(failure) => failure,
            Err(error) => panic!("the plan of seed {seed} is out of bounds: {error}"),
        }
    }

    /// Saves the plan in a folder, which is made if need be.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&mut self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!(
            "{}-seed-{}.plan",
            self.violation.property, self.seed
        ));
        fs::write(&path, self.plan.to_string())?;
        self.path = Some(path);
        Ok(())
    }
}

/// The option that asks for servers with a defect, and a blank; nothing for those that ship.
#[must_use]
pub fn broken(defect: Option<Defect>) -> String {
    defect.map_or_else(String::new, |defect| format!("--broken {defect} "))
}

/// The lines of a trace that a reader of a violation wants: the events that break the property,
/// marked, and what came right before the last of them.
fn lines(recorder: &Recorder, violation: &Violation) -> Vec<String> {
    let last = violation.events.last().copied().unwrap_or(0);
    let text = recorder.write(Format::Text);
    let mut lines = Vec::new();
    for (record, line) in recorder.records.iter().zip(text.lines()) {
        let marked = violation.events.contains(&record.step);
        if marked || (record.step <= last && record.step + BEFORE >= last) {
            lines.push(format!("{} {line}", if marked { ">" } else { " " }));
        }
    }
    lines
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} breaks {}", self.seed, self.violation.property)?;
        writeln!(f, "  {}", self.violation.text)?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        let (size, hosts) = (self.plan.events.len(), self.plan.hosts);
        match self.runs {
            0 => write!(f, "a plan of {size} lines on {hosts} servers")?,
            runs => write!(
                f,
                "shrunk to a plan of {size} lines on {hosts} servers in {runs} runs"
            )?,
        }
        if let Some(path) = &self.path {
            let path = path.display();
            let broken = broken(self.defect);
            write!(
                f,
                "\nplan: {path}\nreplay: chatroom sim replay {broken}{path}"
            )?;
        }
        Ok(())
    }
}
