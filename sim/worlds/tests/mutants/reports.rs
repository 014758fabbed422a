//! What a reader gets of a failure: the servers broken on purpose provide some.

use super::broken::{Broken, Fault};
use chatroom_sim::failure::Failure;
use chatroom_sim::generate::Profile;
use chatroom_sim::plan::{Plan, PlanError};
use chatroom_sim::shrink::Budget;
use chatroom_sim::subject::{record, smaller};
use chatroom_sim::trace::Format;
use chatroom_worlds::chat::broken::{Broken as Taught, Defect};
use chatroom_worlds::chat::{Chat, ChatServers, generate, judge, server};
use std::collections::BTreeSet;
use std::path::Path;

/// The command that replays a plan.
const REPLAY: &str = "chatroom sim replay";

/// The first seed that fails, looked into.
fn first<M: Chat>(make: impl Fn(chatroom_chat::Config) -> M + Clone, profile: Profile) -> Failure {
    let subject = ChatServers::new(make);
    let budget = Budget::default();
    (0..100)
        .find_map(|seed| Failure::of_seed(&subject, seed, profile, budget, REPLAY))
        .expect("it is caught")
}

fn check<M: Chat>(make: impl Fn(chatroom_chat::Config) -> M + Clone, mut failure: Failure) {
    let subject = ChatServers::new(make.clone());
    // The shrunk plan breaks the same property, as it says, and nothing smaller does.
    let plan = generate(failure.seed, Profile::Crash);
    let judged = judge(make, &plan).expect("within bounds");
    let found = judged.verdict.violation.expect("it is guilty");
    assert_eq!(found.property, failure.violation.property);
    assert!(failure.plan.events.len() < plan.events.len() / 2);
    let (recorder, again) = record(&subject, &failure.plan).expect("within bounds");
    assert_eq!(again.as_ref(), Some(&failure.violation));
    let shrunk = smaller(&subject, &failure.plan, found.property, Budget::default());
    assert_eq!(shrunk.plan, failure.plan);

    // Marked are the events that break it, and what came right before the last stands with them.
    let events = &failure.violation.events;
    let last = *events.last().expect("an event broke it");
    let text = recorder.write(Format::Text);
    let mut expected = vec![];
    let mut steps = BTreeSet::new();
    for (record, line) in recorder.records.iter().zip(text.lines()) {
        if events.contains(&record.step) {
            expected.push(format!("> {line}"));
        } else if (last.saturating_sub(12)..=last).contains(&record.step) {
            expected.push(format!("  {line}"));
        } else {
            continue;
        }
        steps.insert(record.step);
    }
    assert_eq!(failure.lines, expected);
    assert!(steps.contains(&last) && steps.len() > events.len());

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reports-{}", found.property));
    let unsaved = failure.to_string();
    failure.save(&folder).expect("there is room");
    let path = failure.path.clone().expect("it was saved");
    let saved = std::fs::read(&path).expect("it was saved");
    assert_eq!(Plan::parse(&saved), Ok(failure.plan.clone()));
    let said = failure.to_string();
    let mut lines = said.lines();
    let (seed, property) = (failure.seed, found.property);
    assert_eq!(
        lines.next(),
        Some(&*format!("seed {seed} breaks {property}"))
    );
    assert_eq!(
        lines.next(),
        Some(&*format!("  {}", failure.violation.text))
    );
    for line in &failure.lines {
        assert_eq!(lines.next(), Some(&*format!("  {line}")));
    }
    let (events, hosts) = (failure.plan.events.len(), failure.plan.hosts);
    let size = format!(
        "shrunk to a plan of {events} lines on {hosts} servers in {} runs",
        failure.runs
    );
    assert_eq!(lines.next(), Some(&*size));
    assert!(said.starts_with(&unsaved) && unsaved.ends_with(&size));
    let path = path.display();
    assert_eq!(lines.next(), Some(&*format!("plan: {path}")));
    assert_eq!(lines.next(), Some(&*format!("replay: {REPLAY} {path}")));
    assert_eq!(lines.next(), None);
    std::fs::remove_dir_all(folder).expect("it is there");
}

#[test]
fn a_failure_says_what_broke_shows_the_events_and_saves_the_smallest_plan() {
    let resent = |config| Broken::new(config, Fault::ResendLog);
    check(resent, first(resent, Profile::Crash));
    let joined = |config| Taught::new(config, Defect::CutShort);
    check(joined, first(joined, Profile::Crash));
}

#[test]
fn what_breaks_nothing_is_no_failure() {
    let (subject, budget) = (&ChatServers::new(server), Budget::default());
    assert!(Failure::of_seed(subject, 3, Profile::Crash, budget, REPLAY).is_none());
    let plan = generate(3, Profile::Crash);
    assert!(matches!(
        Failure::of_plan(subject, &plan, budget, REPLAY),
        Ok(None)
    ));
    let mut plan = plan;
    plan.hosts = 0;
    let refused: Result<_, PlanError> = Failure::of_plan(subject, &plan, budget, REPLAY);
    assert!(refused.is_err());
}
