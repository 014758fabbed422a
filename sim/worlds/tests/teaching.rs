//! The broken servers that the binary keeps for teaching, and the plans that are shown with them.

use chatroom_machine::{Span, Time};
use chatroom_sim::generate::Profile;
use chatroom_sim::names::Host;
use chatroom_sim::plan::{Change, Event, Fate, Plan};
use chatroom_sim::subject::Judged;
use chatroom_sim::subject::record;
use chatroom_sim::sweep::Sweep;
use chatroom_sim::trace::Recorder;
use chatroom_worlds::chat::broken::{Broken, Defect};
use chatroom_worlds::chat::{
    ChatServers, delivery, generate, judge, run_seed, script, server, unfinished_lines,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Within so many seeds a broken server is caught.
const SEEDS: u64 = 300;

#[test]
fn every_broken_server_is_caught_by_its_property_within_a_few_hundred_seeds() {
    for defect in Defect::ALL {
        let mut before = BTreeSet::new();
        let caught = (0..SEEDS).find(|seed| {
            let make = |config| Broken::new(config, defect);
            let verdict = run_seed(make, *seed, defect.profile()).verdict;
            let property = verdict.violation.map(|violation| violation.property);
            before.extend(property);
            property == Some(defect.property())
        });
        assert!(caught.is_some(), "{defect}: {before:?}");
    }
}

#[test]
fn a_plain_sweep_catches_every_broken_server_too() {
    let sweep = Sweep {
        seeds: 0..SEEDS,
        jobs: 2,
        time: None,
    };
    for defect in Defect::ALL {
        let make = |config| Broken::new(config, defect);
        let swept = sweep.run(
            |seed| run_seed(make, seed, Profile::Swarm).verdict,
            &mut |_| {},
        );
        assert!(swept.first.is_some(), "{defect}");
    }
}

#[test]
fn broken_servers_are_told_apart_by_name_property_and_line() {
    let mut properties = BTreeSet::new();
    for defect in Defect::ALL {
        assert_eq!(defect.to_string().parse(), Ok(defect));
        assert!(properties.insert(defect.property()), "{defect}");
    }
    assert_eq!(
        "twise".parse::<Defect>(),
        Err(
            "there is no broken server \"twise\", expected one of cut-short, twice, gap, \
             lost-wakeup, never-suspects"
                .to_owned()
        )
    );
}

/// A plan of `docs/plans`, with the name of the broken server that it is for in its comments.
#[test]
fn the_plans_that_are_shown_fail_with_the_broken_server_and_pass_with_the_true_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plans");
    let mut plans = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("it can be read");
        let plan = Plan::parse(text.as_bytes()).expect("it is a plan");
        let name = text.split("--broken ").nth(1).expect("a broken server");
        let name = name.split(['`', ' ']).next().expect("its name");
        let defect: Defect = name.parse().expect("there is such a server");
        let broke = |judged: Judged| judged.verdict.violation.map(|broken| broken.property);
        let broken = judge(|config| Broken::new(config, defect), &plan).expect("in bounds");
        assert_eq!(broke(broken), Some(defect.property()), "{path:?}");
        let true_one = judge(server, &plan).expect("in bounds");
        assert_eq!(broke(true_one), None, "{path:?}");
        plans += 1;
    }
    assert!(plans > 0);
}

fn drifting(plan: &mut Plan, host: u16, ppm: i32) {
    plan.push(Time::from_micros(1000), Change::Drift(Host(host), ppm));
}

/// The least and the most drift that a plan may have, as its error says.
fn drifts() -> [i32; 2] {
    let mut plan = generate(0, Profile::Calm);
    drifting(&mut plan, 0, -400_000);
    let error = judge(server, &plan).expect_err("too slow").to_string();
    assert!(
        error.starts_with("at 1000: \"drift 0 -400000\" is -400000 parts per million, expected "),
        "{error}"
    );
    let bounds = error.split("expected ").nth(1).expect("what is expected");
    let mut words = bounds.split(' ');
    let mut next = || words.next().expect("a word").parse::<i32>();
    let least = next().expect("a number");
    assert!(next().is_err(), "to");
    [least, next().expect("a number")]
}

#[test]
fn a_drift_is_allowed_up_to_where_the_promises_can_be_kept() {
    let [least, most] = drifts();
    assert!((-100_000..-50_000).contains(&least) && most > 100_000);
    let mut refused = generate(0, Profile::Calm);
    drifting(&mut refused, 0, least - 1);
    assert!(judge(server, &refused).is_err());
    // Beyond the engine's own bound nothing is asked of the chat.
    let most = most.min(500_000);
    let mut silenced = 0;
    for seed in 0..120 {
        for profile in [Profile::Calm, Profile::Crash] {
            let mut plan = generate(seed, profile);
            plan.net.timer_late = Span::from_millis(20);
            for host in 0..plan.hosts {
                let bits = seed >> (host % 8);
                drifting(&mut plan, host, if bits & 1 == 0 { least } else { most });
            }
            let silence = |event: &Event| matches!(event.change, Change::Kill(_, Fate::Silence));
            silenced += plan.events.iter().filter(|event| silence(event)).count();
            let judged = judge(server, &plan).expect("in bounds");
            assert_eq!(judged.verdict.violation, None, "seed {seed} of {profile}");
        }
    }
    assert!(silenced > 20, "{silenced}");
}

#[test]
fn a_line_that_is_never_finished_is_told() {
    let told = |events: &str| {
        let text = format!("chatroom-plan 1\nseed 1\nhosts 2\nend 9\n{events}");
        unfinished_lines(&Plan::parse(text.as_bytes()).expect("a plan"))
    };
    assert_eq!(
        told("at 2 open 0/0 1\nat 5 say 0/0 \"get\""),
        [
            "at 5: say 0/0 \"get\" has no newline at its end: the server waits for the rest of \
             the line (write \\n before the closing quote)"
        ]
    );
    assert_eq!(told("at 5 say 0/0 \"ge\"\nat 6 say 0/0 \"t\\n\""), [""; 0]);
    assert_eq!(told("at 6 say 0/0 \"t\\n\"\nat 5 say 0/0 \"ge\""), [""; 0]);
    let twice = "at 1 say 0/0 \"get\\n\"\nat 2 say 1/0 \"a\"\nat 3 say 0/0 \"b\"\nat 4 leave 0/0\n\
                 at 5 open 0/0 1\nat 6 say 0/0 \"get\\n\"";
    let moments: Vec<String> = told(twice)
        .iter()
        .map(|line| line[..4].to_owned())
        .collect();
    assert_eq!(moments, ["at 2", "at 3"]);
    let plan = generate(3, Profile::Calm);
    assert_eq!(unfinished_lines(&plan), [""; 0], "a generated plan");
}

/// What each server took into its log, in order.
fn delivered(recorder: &Recorder) -> BTreeMap<String, Vec<String>> {
    let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &recorder.records {
        if let Some(entry) = delivery(record) {
            let lane = format!("{}.{}", record.lane, record.life.unwrap_or(0));
            logs.entry(lane).or_default().push(entry);
        }
    }
    logs
}

#[test]
fn a_script_saved_as_a_plan_does_the_same_again_and_breaks_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let mut saved = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "input") {
            continue;
        }
        let script = fs::read(&path).expect("it can be read");
        let drawn = script::draw(&script, 3);
        assert_eq!(drawn.printed, script::run(&script, 3), "{path:?}");
        if drawn.sizes.len() != 1 {
            continue;
        }
        let text = drawn.plan.to_string();
        let plan = Plan::parse(text.as_bytes()).expect("it is a plan");
        assert_eq!(plan, drawn.plan, "{path:?}");
        let (recorder, violation) = record(&ChatServers::new(server), &plan).expect("in bounds");
        assert_eq!(violation, None, "{path:?}");
        // The script may end before everything arrived, and the plan goes on.
        let again = delivered(&recorder);
        for (life, log) in delivered(&drawn.recorder) {
            assert!(again[&life].starts_with(&log), "{path:?}, {life}: {log:?}");
        }
        saved += 1;
    }
    assert!(saved > 30, "{saved}");
}

/// The examples of `docs/PLANS.md`: each is read and breaks nothing, and together they have every
/// event; every setting stands in the table.
#[test]
fn the_examples_of_the_grammar_are_plans_and_have_every_event() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PLANS.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let mut words = BTreeSet::new();
    let examples: Vec<&str> = page.split("```plan\n").skip(1).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let text = example.split("```").next().expect("its end");
        let plan = Plan::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(unfinished_lines(&plan), [""; 0]);
        let judged = judge(server, &plan).expect("in bounds");
        assert_eq!(judged.verdict.violation, None);
        let kind = |event: &Event| {
            event
                .change
                .to_string()
                .split(' ')
                .next()
                .map(str::to_owned)
        };
        words.extend(plan.events.iter().filter_map(kind));
    }
    // Every word that the parser knows, from its own source.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/plan/text.rs");
    let source = fs::read_to_string(source).expect("the parser is there");
    let parser = source.split("fn change(&mut self)").nth(1).expect("it");
    let parser = parser.split("fn end(&self)").next().expect("its end");
    let disks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/plan/disk.rs");
    let disks = fs::read_to_string(disks).expect("the parser of disks' faults is there");
    let known: BTreeSet<String> = parser
        .lines()
        .chain(disks.lines())
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"))
        .map(|(word, _)| word.to_owned())
        .collect();
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(words, known);
    // Every setting that a printed plan has stands in the table.
    let printed = Plan::new(1, 1, Time::ZERO).to_string();
    for line in printed.lines().skip(1) {
        let word = line.split(' ').next().expect("a word");
        assert!(page.contains(&format!("`{word} ")), "{word}");
    }
    let [least, most] = drifts();
    let bounds = format!("from {least} to {}", most.min(500_000));
    assert!(page.contains(&bounds), "{bounds}");
}
