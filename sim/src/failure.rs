//! A run that broke a property, made ready to be read: shrunk, saved, with the events that break it
//! and the command that replays it.

use crate::generate::Profile;
use crate::observer::Violation;
use crate::plan::{Plan, PlanError};
use crate::shrink::Budget;
use crate::subject::{Subject, judge, record, smaller};
use crate::trace::{Format, Recorder};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Events shown beside those that break the property: how many before the last of them.
const BEFORE: u64 = 12;

/// A failure that can be read and replayed.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
    /// The command that replays the plan, up to its path.
    pub replay: String,
}

impl Failure {
    /// Looks into a plan; `None` if it breaks nothing.
    ///
    /// # Errors
    /// The plan is out of its bounds, or none for this protocol.
    pub fn of_plan<S: Subject>(
        subject: &S,
        plan: &Plan,
        budget: Budget,
        replay: &str,
    ) -> Result<Option<Self>, PlanError> {
        let judged = judge(subject, plan)?;
        let Some(violation) = judged.verdict.violation else {
            return Ok(None);
        };
        let shrunk = smaller(subject, plan, violation.property, budget);
        let (recorder, again) = record(subject, &shrunk.plan)?;
        let violation = again.unwrap_or(violation);
        Ok(Some(Self {
            seed: plan.seed,
            lines: lines(&recorder, &violation),
            plan: shrunk.plan,
            violation,
            runs: shrunk.runs,
            path: None,
            replay: replay.to_owned(),
        }))
    }

    /// Looks into the plan of a seed.
    ///
    /// # Panics
    /// If the generator made a plan that is out of bounds.
    pub fn of_seed<S: Subject>(
        subject: &S,
        seed: u64,
        profile: Profile,
        budget: Budget,
        replay: &str,
    ) -> Option<Self> {
        match Self::of_plan(subject, &subject.plan(seed, profile), budget, replay) {
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
            write!(f, "\nplan: {path}\nreplay: {} {path}", self.replay)?;
        }
        Ok(())
    }
}
