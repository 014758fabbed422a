//! What a seed means and what the tools write, byte for byte: a digest each, in `golden.txt`. Where
//! one differs, every seed that somebody noted down means something else, or every reader sees
//! something else. If that is meant, `CHATROOM_GOLDEN=write cargo test -p chatroom-worlds --test
//! golden` takes the new ones down.

mod committed;

use chatroom_machine::{Span, Time};
use chatroom_sim::generate::Profile;
use chatroom_sim::observer::Violation;
use chatroom_sim::plan::{Change, Plan};
use chatroom_sim::shrink::{Budget, shrink};
use chatroom_sim::subject::record;
use chatroom_sim::trace::Format;
use chatroom_sim::view::{Page, html, notices, svg};
use chatroom_worlds::chat::{ChatServers, delivery, generate, run_seed, script, server};
use committed::compare;
use std::fmt::{Display, Write};
use std::time::Duration;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");

/// Whether a plan still has what must stay.
type Keep = Box<dyn Fn(&Plan) -> bool>;

/// FNV-1a.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

fn digest<T: Display>(texts: impl IntoIterator<Item = T>) -> u64 {
    let mut digest = Digest::new();
    for text in texts {
        write!(digest, "{text}\0").unwrap();
    }
    digest.0
}

fn of_profiles(seeds: u64, of: impl Fn(u64, Profile) -> String) -> Vec<(String, u64)> {
    let one = |profile: Profile| {
        let texts = (0..seeds).map(|seed| of(seed, profile));
        (format!("{profile} 0..{seeds}"), digest(texts))
    };
    Profile::ALL.map(one).to_vec()
}

#[test]
fn seeds_and_tools_give_what_they_gave() {
    let plan = of_profiles(400, |seed, profile| generate(seed, profile).to_string());
    let run = of_profiles(40, |seed, profile| {
        let judged = run_seed(server, seed, profile);
        let verdict = judged.verdict;
        let cases: Vec<_> = verdict.sometimes.iter().collect();
        let (hash, events) = (judged.hash, verdict.events);
        format!("{hash} {events} {} {cases:?}", verdict.simulated)
    });
    let mut lines = String::new();
    for (kind, digests) in [
        ("plan", plan),
        ("run", run),
        ("tool", written()),
        ("shrunk", shrunk()),
        ("script", scripts()),
    ] {
        for (name, digest) in digests {
            writeln!(lines, "{kind} {name} {digest:016x}").unwrap();
        }
    }
    compare(FILE, &lines);
}

/// What the tools write of some runs.
fn written() -> Vec<(String, u64)> {
    let runs: Vec<_> = (0..6)
        .map(|seed| {
            let plan = generate(seed, Profile::Swarm);
            let (recorder, violation) = record(&ChatServers::new(server), &plan).unwrap();
            assert_eq!(violation, None);
            (plan, recorder)
        })
        .collect();
    let mut all = vec![];
    for (name, format) in [
        ("text", Format::Text),
        ("json", Format::JsonLines),
        ("shiviz", Format::ShiViz),
    ] {
        let texts = runs.iter().map(|(_, recorder)| recorder.write(format));
        all.push((name.to_owned(), digest(texts)));
    }
    let broken = Violation {
        property: "no-such",
        text: String::from("text"),
        events: vec![300, 320],
    };
    for (name, draw) in [("html", html as fn(&Page<'_>) -> String), ("svg", svg)] {
        for violation in [None, Some(&broken)] {
            let pages = runs.iter().map(|(plan, recorder)| {
                let log: &dyn Fn(&_) -> _ = if violation.is_some() {
                    &delivery
                } else {
                    &notices
                };
                draw(&Page {
                    title: "golden",
                    plan: Some(plan),
                    recorder,
                    violation,
                    log,
                    notes: &[("replay", String::from("command"))],
                })
            });
            let name = format!("{name}{}", if violation.is_some() { " broken" } else { "" });
            all.push((name, digest(pages)));
        }
    }
    all
}

/// What shrinking makes of plans, with several notions of what must stay.
fn shrunk() -> Vec<(String, u64)> {
    let budget = Budget {
        runs: 3000,
        time: Duration::MAX,
    };
    let has = |plan: &Plan, what: fn(&Change) -> bool| plan.events.iter().any(|e| what(&e.change));
    let kill = |change: &Change| matches!(change, Change::Kill(..));
    let say = |change: &Change| matches!(change, Change::Say(client, _) if client.host.0 == 1);
    let cut = |change: &Change| matches!(change, Change::Cut(way) if way.to.0 > way.from.0);
    let late = |plan: &Plan| {
        let last = plan.events.iter().map(|event| event.at).max();
        last.is_some_and(|at| at >= Time::from_micros(2_345_678)) && plan.hosts > 1
    };
    let slow = |plan: &Plan| plan.net.latency > Span::from_millis(1) || plan.net.split > 0;
    let keeps: [(&str, Keep); 5] = [
        ("kill", Box::new(move |plan| has(plan, kill))),
        ("say", Box::new(move |plan| has(plan, say) && late(plan))),
        (
            "cut",
            Box::new(move |plan| has(plan, cut) || has(plan, kill) && plan.hosts > 2),
        ),
        (
            "slow",
            Box::new(move |plan| slow(plan) && plan.phases.end > Time::from_micros(3_000_000)),
        ),
        (
            "many",
            Box::new(move |plan| plan.events.len() > 20 && late(plan)),
        ),
    ];
    let mut all = vec![];
    for (name, keep) in &keeps {
        let texts = (0..30).map(|seed| generate(seed, Profile::Swarm));
        let texts = texts.filter(|plan| keep(plan)).map(|plan| {
            let shrunk = shrink(&plan, budget, &mut |plan| keep(plan));
            assert!(keep(&shrunk.plan));
            format!("{} {} {}", shrunk.plan, shrunk.runs, shrunk.minimal)
        });
        let texts: Vec<_> = texts.collect();
        assert!(!texts.is_empty(), "{name}");
        all.push(((*name).to_owned(), digest(texts)));
    }
    all
}

/// What the lab's commands print, errors included.
fn scripts() -> Vec<(String, u64)> {
    let texts = [
        "0 start 3 10000\n1 start 3 10001\n2 start 3 10002\n0 broadcast a\nsleep 200\n1 get\n1 alive\n1 crash\n0 alive\n1 get\n1 start 3 10001\n1 get\n",
        "0 start 1 10000\n0 start 1 10000\n",
        "0 start 2 10000\n1 start 2 10000\n0 crash\n0 crash\n0 broadcast b\n1 get\n",
        "0 start 2 10000\n2 start 3 10002\nsleep 500\n0 alive\n2 alive\n",
        "0 start 1 10000\n\n   \nexit\n0 get\n",
        "0 start 1024 10000\n0 alive\n",
        "0 nonsense\n",
        "7 get\n",
        "x get\n",
        "0 broadcast\n",
        "0 start\n",
        "0 start 3\n",
        "0 start 3 10000 x\n",
        "0 start +3 10000\n",
        "0 start 1234567890 10000\n",
        "0 start 0 10000\n",
        "0 start 1025 10000\n",
        "0 start 2 9999\n",
        "0 start 2 65536\n",
        "2 start 2 10002\n",
        "sleep x\n",
        "sleep -1\n",
        "nonsense\n",
    ];
    let mut all = vec![];
    for (at, text) in texts.iter().enumerate() {
        let printed = (0..3).map(|seed| format!("{:?}", script::run(text.as_bytes(), seed)));
        all.push((at.to_string(), digest(printed)));
    }
    all
}
