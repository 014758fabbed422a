//! Shrinking, sweeping and tracing, on the toy protocol.

mod toy;

use chatroom_machine::Machine;
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::run;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Fate, MAX_MOMENT, MAX_NOTE, MAX_SAY, Plan, Way};
use chatroom_sim::random::Choice;
use chatroom_sim::shrink::{Budget, shrink};
use chatroom_sim::sometimes::Sometimes;
use chatroom_sim::sweep::{Sweep, Swept, Verdict};
use chatroom_sim::trace::{Format, Lane, Recorder};
use std::collections::BTreeMap;
use std::time::Duration;
use toy::{ECHO, Quirk, Toys};

fn at(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

fn busy(seed: u64) -> Plan {
    let mut plan = Plan::new(seed, 5, at(6000));
    plan.net.split = 300;
    plan.net.short_write = 100;
    for host in 0..5 {
        plan.push(Time::ZERO, Change::Start(Host(host)));
    }
    for index in 0..60 {
        let choice = Choice::seed(seed).on("busy").at(index);
        let host = Host(u16::try_from(choice.on("host").below(4)).unwrap());
        let client = Client { host, number: 0 };
        let when = Time::from_micros(choice.on("at").below(5_000_000));
        let way = Way {
            from: host,
            to: Host(4),
            both: true,
        };
        plan.push(
            when,
            match choice.on("what").below(6) {
                0 => Change::Kill(host, Fate::Rst),
                1 => Change::Start(host),
                2 => Change::Open(client, ECHO),
                3 => Change::Say(client, b"\"caf\xc3\xa9\"\n\xff".to_vec()),
                4 => Change::Clog(way),
                _ => Change::Unclog(way),
            },
        );
    }
    plan
}

/// Objects when host 1 is dead while a client of host 0 is connected.
#[derive(Default)]
struct Planted {
    dead: bool,
    connected: bool,
}

impl<M: Machine> Observer<M> for Planted {
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        if let Fact::Ended { who, .. } = fact
            && who.host == Host(1)
        {
            self.dead = true;
        }
        if let Fact::Started { who } = fact
            && who.host == Host(1)
        {
            self.dead = false;
        }
        if let Fact::ClientOpened { client, .. } = fact
            && client.host == Host(0)
        {
            self.connected = true;
        }
        if self.dead && self.connected {
            return Err(Violation {
                property: "planted",
                text: String::new(),
                events: vec![scene.step],
            });
        }
        Ok(())
    }
}

fn planted(plan: &Plan) -> bool {
    let broken = run(&Toys::default(), plan, Planted::default()).violation;
    broken.is_some_and(|broken| broken.property == "planted")
}

#[test]
fn a_failing_plan_shrinks_to_what_makes_it_fail() {
    let mut shrunk_some = 0;
    for seed in 0..20 {
        let plan = busy(seed);
        if !planted(&plan) {
            continue;
        }
        shrunk_some += 1;
        let shrunk = shrink(&plan, Budget::default(), &mut planted);
        assert!(shrunk.minimal && planted(&shrunk.plan), "seed {seed}");
        // Two starts, a death and a client, in a grid of two.
        let what = shrunk.plan.to_string();
        assert_eq!(
            (shrunk.plan.hosts, shrunk.plan.events.len()),
            (2, 4),
            "{what}"
        );
        assert_eq!(
            (shrunk.plan.net.split, shrunk.plan.net.jitter),
            (0, chatroom_machine::Span::ZERO)
        );
        assert!(
            shrunk
                .plan
                .events
                .iter()
                .all(|event| event.at.as_micros() % 1000 == 0),
            "{what}"
        );
        assert_eq!(shrunk, shrink(&plan, Budget::default(), &mut planted));
    }
    assert!(shrunk_some > 5, "{shrunk_some}");
}

#[test]
fn hosts_above_one_that_is_taken_out_move_down_in_every_event() {
    let events = |one: u16, three: u16| {
        let events = format!(
            "start {three}|kill {three} rst|pause {three}|resume {three}|stop {three}|\
             jump {three} 5|drift {three} -4|starve {three} on|cut {three}>{one}|\
             mend {three}={one}|clog {three}>{one}|unclog {three}={one}|lag {three}>{one} 9|\
             connects {one}>{three} hang|reset {three}={one}|half-open {three}>{one}|\
             damage {one}={three} 10|buffer {one}>{three} 16|heal|open {three}/1 1|\
             say {three}/1 \"3>1\"|finish {three}/1|leave {three}/1|deaf {three}/0 off"
        );
        let lines = events.split('|').map(|event| format!("at 0 {event}\n"));
        lines.collect::<String>()
    };
    let text = format!("chatroom-plan 1\nseed 1\nhosts 4\nend 0\n{}", events(1, 3));
    let plan = Plan::parse(text.as_bytes()).unwrap();
    let whole = &mut |smaller: &Plan| smaller.events.len() == plan.events.len();
    let shrunk = shrink(&plan, Budget::default(), whole).plan;
    assert_eq!(shrunk.hosts, 2);
    let text = shrunk.to_string();
    assert!(text.ends_with(&events(0, 1)), "{text}");
}

#[test]
fn shrinking_keeps_to_its_budget() {
    let plan = busy(1);
    let budget = Budget {
        runs: 7,
        ..Budget::default()
    };
    let mut runs = 0;
    let shrunk = shrink(&plan, budget, &mut |_| {
        runs += 1;
        false
    });
    assert_eq!((runs, shrunk.runs, shrunk.minimal), (7, 7, false));
    assert_eq!(shrunk.plan, plan);
    let budget = Budget {
        time: Duration::ZERO,
        ..Budget::default()
    };
    assert_eq!(shrink(&plan, budget, &mut |_| true).runs, 0);
}

fn verdict(seed: u64) -> Verdict {
    let quirk = if seed % 50 == 37 {
        Quirk::Object
    } else {
        Quirk::None
    };
    let world = Toys {
        quirk,
        ..Toys::default()
    };
    let mut plan = busy(seed);
    plan.phases.end = at(200);
    let ((warm_up, trouble), heal) = ((at(0), at(100)), at(100));
    (plan.phases.warm_up, plan.phases.trouble, plan.phases.heal) = (warm_up, trouble, heal);
    let outcome = run(&world, &plan, ());
    let mut sometimes = Sometimes::new();
    sometimes.expect("never");
    sometimes.add("runs", 1);
    Verdict {
        violation: outcome.violation,
        sometimes,
        events: outcome.events,
        simulated: outcome.ended.as_micros(),
    }
}

#[test]
fn a_sweep_finds_the_first_failing_seed_with_any_number_of_threads() {
    let mut first = None;
    for jobs in [0, 1, 2, 7] {
        let mut told = 0;
        let swept = Sweep {
            seeds: 0..1000,
            jobs,
            time: None,
        }
        .run(verdict, &mut |_: &Swept| told += 1);
        let (seed, broken) = swept.first.clone().unwrap();
        assert_eq!((seed, broken.property), (37, "misuse"));
        assert_eq!(first.get_or_insert(broken.clone()), &broken);
        assert!(
            swept.seeds >= 38 && swept.seeds <= 38 + 7,
            "{}",
            swept.seeds
        );
        assert_eq!(
            (told, swept.sometimes.get("runs")),
            (swept.seeds, swept.seeds)
        );
        assert_eq!(swept.sometimes.missing(), ["never"]);
    }
}

#[test]
fn a_sweep_without_failures_adds_up_the_same_with_any_number_of_threads() {
    let sums = [1, 3].map(|jobs| {
        let sweep = Sweep {
            seeds: 38..60,
            jobs,
            time: None,
        };
        let swept = sweep.run(verdict, &mut |_: &Swept| {});
        (
            swept.first,
            swept.seeds,
            swept.events,
            swept.simulated,
            swept.sometimes,
        )
    });
    assert_eq!(sums[0], sums[1]);
    assert_eq!((sums[0].1, sums[0].3), (22, 22 * 200_000));
}

#[test]
fn a_sweep_ends_when_its_time_is_up() {
    let sweep = Sweep {
        seeds: 0..u64::MAX,
        jobs: 2,
        time: Some(Duration::ZERO),
    };
    let swept = sweep.run(verdict, &mut |_: &Swept| {});
    assert_eq!((swept.seeds, swept.first), (0, None));
}

fn recorded(seed: u64) -> Recorder {
    run(&Toys::default(), &busy(seed), Recorder::default()).observer
}

#[test]
fn records_see_the_same_run_as_nobody() {
    let plan = busy(3);
    let world = Toys::default();
    let seen = run(&world, &plan, Recorder::default());
    let unseen = run(&world, &plan, ());
    assert_eq!((seen.hash, seen.steps), (unseen.hash, unseen.steps));
    assert_eq!(seen.observer.records.len() as u64, seen.steps);
    assert!(
        seen.observer
            .records
            .iter()
            .enumerate()
            .all(|(index, record)| record.step == index as u64)
    );
}

#[test]
fn vector_clocks_order_what_follows_from_what() {
    for seed in 0..10 {
        check_clocks(&recorded(seed));
    }
}

fn check_clocks(recorder: &Recorder) {
    let mut receipts = 0;
    let mut last: BTreeMap<Lane, BTreeMap<u32, u64>> = BTreeMap::new();
    for record in &recorder.records {
        let clock: BTreeMap<u32, u64> = record.clock.iter().copied().collect();
        let own = recorder
            .lanes
            .iter()
            .position(|lane| *lane == record.lane)
            .unwrap();
        let own = u32::try_from(own).unwrap();
        let before = last.entry(record.lane).or_default();
        assert_eq!(clock[&own], before.get(&own).copied().unwrap_or(0) + 1);
        assert!(before.iter().all(|(lane, count)| clock[lane] >= *count));
        for cause in &record.from {
            let cause = &recorder.records[usize::try_from(*cause).unwrap()];
            assert!(cause.at <= record.at && cause.step < record.step);
            assert!(
                cause
                    .clock
                    .iter()
                    .all(|(lane, count)| clock[lane] >= *count)
            );
            if record.kind == "received" {
                receipts += 1;
                assert_eq!((cause.kind, cause.link), ("sent", record.link));
                assert_eq!(record.peer, Some(cause.lane));
                let (sent, read) = (cause.range.unwrap(), record.range.unwrap());
                assert!(sent.0 < read.1 && read.0 < sent.1, "{sent:?} {read:?}");
            }
        }
        if record.kind == "received" {
            assert!(!record.from.is_empty());
        }
        *before = clock;
    }
    assert!(receipts > 100, "{receipts}");
}

#[test]
fn text_has_a_line_a_record() {
    let recorder = recorded(2);
    let text = recorder.write(Format::Text);
    assert_eq!(text.lines().count(), recorder.records.len());
    assert!(text.contains("server0.0 started: life 0"));
    assert!(text.contains("plan change: start 0"));
}

#[test]
fn shiviz_has_pairs_of_lines_as_its_expression_wants_them() {
    let recorder = recorded(2);
    let text = recorder.write(Format::ShiViz);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 * recorder.records.len());
    for pair in lines.chunks(2) {
        let (host, clock) = pair[1].split_once(' ').unwrap();
        assert!(clock.starts_with('{') && clock.ends_with('}'));
        let own = format!("\"{host}\":");
        assert!(clock.contains(&own), "{}", pair[1]);
    }
}

#[test]
fn json_lines_are_json() {
    for line in recorded(2).write(Format::JsonLines).lines() {
        let rest = json(line.as_bytes()).unwrap_or_else(|| panic!("not JSON: {line}"));
        assert!(rest.is_empty(), "more than one value: {line}");
    }
}

/// Reads one JSON value and gives what follows it.
fn json(text: &[u8]) -> Option<&[u8]> {
    let (first, rest) = text.split_first()?;
    match first {
        b'{' => members(rest, b'}', true),
        b'[' => members(rest, b']', false),
        b'"' => string(rest),
        b'0'..=b'9' => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit());
            Some(&rest[end.unwrap_or(rest.len())..])
        }
        _ => None,
    }
}

fn members(mut text: &[u8], close: u8, named: bool) -> Option<&[u8]> {
    if text.first() == Some(&close) {
        return Some(&text[1..]);
    }
    loop {
        if named {
            text = string(text.strip_prefix(b"\"")?)?.strip_prefix(b":")?;
        }
        text = json(text.trim_ascii_start())?;
        let (next, rest) = text.split_first()?;
        text = match *next {
            b',' => rest,
            next if next == close => return Some(rest),
            _ => return None,
        }
    }
}

fn string(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(&text[at + 1..]),
            b'\\' => {
                at += match text.get(at + 1)? {
                    b'u' if text.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
                    b'"' | b'\\' => 2,
                    _ => return None,
                }
            }
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

#[test]
fn a_machine_that_crashes_is_recorded_with_what_comes_of_it() {
    let mut plan = Plan::new(1, 2, at(1500));
    plan.push(Time::ZERO, Change::Start(Host(0)));
    plan.push(Time::ZERO, Change::Start(Host(1)));
    let world = Toys {
        quirk: Quirk::Crash,
        ..Toys::default()
    };
    let records = run(&world, &plan, Recorder::default()).observer.records;
    let crash = records.iter().find(|record| record.kind == "crashed");
    let crash = crash.expect("the last host crashes");
    assert_eq!((crash.lane, &*crash.text), (Lane::Host(Host(1)), "crashed"));
    let told = &records[usize::try_from(crash.step).unwrap()..];
    let told = told.iter().find(|record| record.kind == "finished");
    let told = told.expect("the other host is told");
    assert_eq!(told.text, "0.0: the other side's life ended");
    assert_eq!(told.from, [crash.step]);
}

#[test]
fn the_plainest_network_is_within_bounds() {
    assert_eq!(Plan::new(0, 1, Time::ZERO).check(), Ok(()));
}

#[test]
fn a_plan_at_its_bounds_is_a_plan() {
    let way = Way {
        from: Host(1),
        to: Host(0),
        both: false,
    };
    let client = Client {
        host: Host(63),
        number: 255,
    };
    let longest = Span::from_micros(MAX_MOMENT);
    let mut plan = Plan::new(0, 64, Time::from_micros(MAX_MOMENT));
    plan.notes = (0..64)
        .map(|key| (key.to_string(), String::new()))
        .collect();
    plan.notes.insert("0".to_owned(), "x".repeat(MAX_NOTE - 1));
    for change in [
        Change::Lag(way, longest),
        Change::Jump(Host(0), longest),
        Change::Damage(way, 1000),
        Change::Buffer(way, 16_777_216),
        Change::Drift(Host(0), -500_000),
        Change::Drift(Host(0), 500_000),
        Change::Say(client, vec![0xff; MAX_SAY]),
    ] {
        plan.push(Time::from_micros(MAX_MOMENT), change);
    }
    assert_eq!(plan.check(), Ok(()));
    assert_eq!(Plan::parse(plan.to_string().as_bytes()), Ok(plan));
}

#[test]
fn a_plan_out_of_its_bounds_is_refused_in_words() {
    let note = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let way = |to: u16| Way {
        from: Host(0),
        to: Host(to),
        both: true,
    };
    let client = Client {
        host: Host(0),
        number: 0,
    };
    let too_long = Span::from_micros(MAX_MOMENT + 1);
    let refused = |change: &dyn Fn(&mut Plan), said: &str| {
        let mut plan = Plan::new(0, 2, Time::ZERO);
        change(&mut plan);
        assert_eq!(plan.check().unwrap_err().to_string(), said);
    };
    refused(
        &|plan| plan.net.buffer = 0,
        "buffer is 0, expected 1 to 16777216",
    );
    refused(
        &|plan| plan.phases.heal = at(1),
        "end is 0, expected 1000 to 10000000000000",
    );
    refused(
        &|plan| plan.notes = (0..65).map(|key| note(&key.to_string(), "")).collect(),
        "the number of notes is 65, expected 0 to 64",
    );
    refused(
        &|plan| plan.notes = [note("long", &"x".repeat(MAX_NOTE - 3))].into(),
        "the size of a note is 65537, expected 0 to 65536",
    );
    for (key, value) in [
        ("", "x"),
        ("two words", "x"),
        ("caf\u{e9}", "x"),
        ("key", " x"),
        ("key", "x\ny"),
        ("key", "x\ry"),
    ] {
        refused(
            &|plan| plan.notes = [note(key, value)].into(),
            &format!("the note {key:?} is not a word and the rest of a line"),
        );
    }
    for (change, said) in [
        (Change::Start(Host(2)), "host 2 is outside 0 to 1"),
        (Change::Cut(way(2)), "host 2 is outside 0 to 1"),
        (Change::Cut(way(0)), "host 0 has no way to itself"),
        (Change::Damage(way(0), 1), "host 0 has no way to itself"),
        (Change::Lag(way(1), too_long), "the span"),
        (Change::Jump(Host(0), too_long), "the span"),
        (Change::Damage(way(1), 1001), "the share"),
        (Change::Buffer(way(1), 16_777_217), "the buffer"),
        (Change::Drift(Host(0), -500_001), "the drift"),
        (Change::Say(client, vec![0; MAX_SAY + 1]), "the length"),
    ] {
        let said = match said.starts_with("the") {
            true => format!("{said} is out of bounds in {change:?}"),
            false => said.to_owned(),
        };
        refused(&|plan| plan.push(Time::ZERO, change.clone()), &said);
    }
}
