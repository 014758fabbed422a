//! The explorer: that the reduced search sees what the full one sees, that the chat holds in every
//! state of a small grid, and that broken servers are caught with a short path.

#[path = "../committed/mod.rs"]
mod committed;
mod durable;
mod mutant;

use chatroom_chat::Config;
use chatroom_sim::names::Host;
use chatroom_sim::observer::Violation;
use chatroom_sim::plan::{MAX_NOTE, Plan};
use chatroom_sim::trace::{Format, Lane, Record};
use chatroom_worlds::chat::{delivery, judge, server};
use chatroom_worlds::explore::{
    Bounds, Explorable, Found, Limit, Path, Reduction, Report, Start, Step, Walked, Wire, explore,
    walk,
};
use committed::compare;
use mutant::{Fault, Mutant};
use std::iter;
use std::time::Duration;

const COUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/explore/counts.txt");

const ALL: Limit = Limit {
    states: usize::MAX,
    time: None,
};

const fn bounds(servers: u8, messages: u8, crashes: u8, restarts: u8, losses: u8) -> Bounds {
    Bounds {
        servers,
        messages,
        crashes,
        restarts,
        losses,
        start: Start::Linked,
    }
}

/// A connection of a grid of two.
const fn link(number: u8) -> Wire {
    Wire {
        from: 1,
        to: 0,
        number,
    }
}

fn search<M: Explorable>(
    make: impl Fn(Config) -> M,
    bounds: &Bounds,
    reduction: Reduction,
) -> (Report, Option<Found>) {
    explore(make, bounds, reduction, ALL, &mut |_| ())
}

/// Searches both ways and compares all that must agree: among it how many states there are, at
/// rest and final, and their depth. Gives a line for `counts.txt`.
fn agree(bounds: &Bounds) -> String {
    let (reduced, found) = search(server, bounds, Reduction::SleepSets);
    assert_eq!(found, None, "{bounds:?}");
    let (full, found) = search(server, bounds, Reduction::None);
    assert_eq!(found, None, "{bounds:?}");
    assert!(reduced.exhausted && full.exhausted, "{bounds:?}");
    let saw = |r: &Report| {
        let digests = (r.digest, r.finals_digest);
        (r.states, r.rests, r.finals, r.depth, digests)
    };
    assert_eq!(saw(&reduced), saw(&full), "{bounds:?}");
    assert!(reduced.transitions < full.transitions, "{bounds:?}");
    let servers = bounds.servers;
    format!(
        "servers {servers}, {bounds}: {} states, {} at rest, {} final, depth {}, {} transitions, {} unreduced\n",
        full.states, full.rests, full.finals, full.depth, reduced.transitions, full.transitions
    )
}

/// How many states there are: made anew with `CHATROOM_GOLDEN=write` in the environment when the
/// server changes.
#[test]
fn the_reduction_loses_no_state_and_the_chat_holds_in_every_one() {
    let down = Bounds {
        start: Start::Down,
        ..bounds(2, 1, 1, 1, 0)
    };
    let all = [
        bounds(2, 1, 1, 1, 0),
        bounds(2, 2, 0, 0, 1),
        bounds(2, 1, 2, 1, 0),
        bounds(3, 1, 1, 0, 0),
        bounds(3, 2, 0, 0, 0),
        bounds(3, 1, 1, 1, 0),
        bounds(2, 1, 1, 1, 1),
        down,
    ];
    let counts: String = all.iter().map(agree).collect();
    compare(COUNTS, &counts);
}

#[test]
fn a_limit_ends_a_search_that_then_does_not_claim_to_be_complete() {
    let limit = Limit {
        states: 50,
        time: None,
    };
    let bounds = bounds(2, 1, 1, 1, 0);
    for (seconds, exhausted) in [(0, false), (3600, true)] {
        let limit = Limit {
            time: Some(Duration::from_secs(seconds)),
            ..ALL
        };
        let (report, _) = explore(server, &bounds, Reduction::None, limit, &mut |_| ());
        assert_eq!(report.exhausted, exhausted, "{report:?}");
    }
    let (report, found) = explore(server, &bounds, Reduction::None, limit, &mut |_| ());
    assert_eq!(found, None);
    assert!(
        !report.exhausted && (50..100).contains(&report.states),
        "{report:?}"
    );
}

/// A path written as a plan's text and read back.
fn saved(bounds: &Bounds, steps: &[Step]) -> Path {
    let path = Path {
        bounds: *bounds,
        steps: steps.to_vec(),
    };
    let plan = Plan::parse(path.plan().to_string().as_bytes()).expect("it is a plan");
    let end = 1000 * (steps.len() as u64 + 1);
    assert_eq!(plan.phases.end.as_micros(), end, "behind the last step");
    assert_eq!(Path::of(&plan).as_ref(), Ok(&Some(path)), "{plan}");
    Path::of(&plan).ok().flatten().expect("it is a path")
}

/// Looks for a fault both ways; gives the path, which is as short either way.
fn caught(fault: Fault, bounds: &Bounds, property: &str, text: &str) -> Found {
    let [reduced, full] = [Reduction::SleepSets, Reduction::None].map(|reduction| {
        let (report, found) = search(Mutant::make(fault), bounds, reduction);
        assert!(!report.exhausted, "{fault:?} lives: {report:?}");
        found.expect("a search that did not end found something")
    });
    assert_eq!(reduced.violation.property, property, "{reduced:?}");
    assert_eq!(reduced.violation.text, text, "{reduced:?}");
    assert_eq!(full.violation.property, property, "{full:?}");
    assert_eq!(reduced.steps.len(), full.steps.len(), "{fault:?}");
    let path = saved(bounds, &reduced.steps);
    let walked = walk(Mutant::make(fault), &path.bounds, &path.steps);
    // The event is one of the last step: the delivery that is wrong, where one is.
    let mut step: Vec<&Record> = walked.recorder.records.iter().collect();
    let at = step.last().map(|record| record.at);
    step.retain(|record| Some(record.at) == at);
    let delivered = step.iter().rfind(|record| delivery(record).is_some());
    let marked = match property {
        "1-no-creation" | "2-no-duplication" | "3-fifo" | "4-lives" => delivered,
        _ => None,
    };
    let found = walked.violation.as_ref().map_or(&[][..], |it| &it.events);
    let events = match marked {
        Some(record) => vec![record.step],
        None => found.to_vec(),
    };
    // A server may break before anything happened.
    let known = step.iter().any(|record| events == [record.step]);
    assert!(known || (events.is_empty() && step.is_empty()), "{found:?}");
    let broken = Violation {
        events,
        ..reduced.violation.clone()
    };
    assert_eq!(walked.violation, Some(broken));
    assert_eq!(walked.stopped, None);
    // One line for the start, one for each step.
    assert_eq!(walked.lines.len(), 1 + reduced.steps.len());
    let well = walk(server, bounds, &reduced.steps);
    assert_eq!(well.violation, None, "{fault:?}: the chat itself does it");
    reduced
}

#[test]
fn a_message_delivered_twice_is_caught() {
    let found = caught(
        Fault::DeliversTwice,
        &bounds(2, 1, 1, 1, 0),
        judge::NO_DUPLICATION,
        "server 1 has s0l0n0. in its log twice",
    );
    // A broadcast and its arrival: no shorter path could show it.
    assert_eq!(found.steps.len(), 2);
}

#[test]
fn an_own_message_logged_twice_or_never_is_caught() {
    for (fault, property, text) in [
        (
            Fault::LogsOwnTwice,
            judge::NO_DUPLICATION,
            "server 0 has s0l0n0. in its log twice",
        ),
        (
            Fault::LogsOwnNever,
            judge::OWN,
            "server 0 broadcast s0l0n0. and has not got it",
        ),
    ] {
        let found = caught(fault, &bounds(2, 1, 1, 1, 0), property, text);
        assert!(matches!(found.steps[..], [Step::Broadcast(_)]));
    }
}

#[test]
fn a_log_sent_again_on_reconnect_is_caught() {
    for (fault, messages, property, text) in [
        (
            Fault::ResendsLog,
            1,
            judge::EMPTY_START,
            "server 1 is sent s0l0n0. from before the session 1>0#1",
        ),
        (
            Fault::ResendsLogLate,
            2,
            judge::FIFO,
            "server 1 has s0l0n0. in its log after s0l0n1.",
        ),
    ] {
        let found = caught(fault, &bounds(2, messages, 1, 1, 0), property, text);
        assert!(found.steps.iter().any(|s| matches!(s, Step::Crash(_))));
    }
}

#[test]
fn a_rest_taken_for_a_line_is_caught() {
    for (fault, text) in [
        (
            Fault::DeliversRest,
            "server 1 has s0l0n0 in its log, which nobody broadcast",
        ),
        (
            Fault::EndsRest,
            "server 1 delivers s0l0n0., and nothing brought it",
        ),
    ] {
        let bounds = bounds(2, 1, 1, 0, 0);
        let found = caught(fault, &bounds, judge::NO_CREATION, text);
        assert!(matches!(found.steps.last(), Some(Step::Tear(..))));
    }
}

#[test]
fn a_message_that_nobody_made_yet_is_caught() {
    caught(
        Fault::CountsUp,
        &bounds(2, 2, 0, 0, 0),
        judge::NO_CREATION,
        "server 1 has s0l0n1. in its log, which nobody broadcast",
    );
}

#[test]
fn a_rest_taken_for_a_line_of_the_next_life_is_caught() {
    for (fault, property, text) in [
        (
            Fault::EndsRestBeforeNext,
            judge::NO_CREATION,
            "server 0 delivers s1l0n0. from a link of another life",
        ),
        (
            Fault::EndsRestBehindNext,
            judge::LIVES,
            "server 0 has s1l0n0. in its log after s1l1n0.",
        ),
    ] {
        let found = caught(fault, &bounds(2, 2, 1, 1, 0), property, text);
        assert!(found.steps.iter().any(|s| matches!(s, Step::Tear(..))));
        assert!(matches!(found.steps.last(), Some(Step::Deliver(..))));
    }
}

#[test]
fn a_message_left_out_of_an_old_link_is_caught_be_its_sender_dead_or_not() {
    let text = "server 0 delivers s1l0n1. on 1>0#0, where number 0 was due";
    let (dead, live) = (bounds(2, 2, 1, 1, 0), bounds(2, 2, 0, 0, 1));
    let found = caught(Fault::LosesOfOld, &dead, judge::PREFIX, text);
    assert!(found.steps.iter().any(|s| matches!(s, Step::Crash(_))));
    let found = caught(Fault::LosesOfOld, &live, judge::FIFO, text);
    assert!(found.steps.iter().any(|s| matches!(s, Step::Break(_))));
}

#[test]
fn a_server_that_stops_sending_at_a_dead_peer_is_caught() {
    let found = caught(
        Fault::StopsAtDead,
        &bounds(3, 1, 1, 0, 0),
        judge::VALIDITY,
        "at rest, server 2 has not got all of server 0's broadcasts on 2>0#0",
    );
    assert!(found.steps.iter().any(|s| matches!(s, Step::Crash(_))));
}

#[test]
fn a_server_that_does_not_hear_of_ends_is_caught() {
    caught(
        Fault::IgnoresEnd,
        &bounds(2, 0, 1, 0, 0),
        judge::COMPLETENESS,
        "at rest, server 1 has server 0 alive: true",
    );
}

#[test]
fn a_wrong_answer_is_caught() {
    for (fault, text) in [
        (Fault::AnswersNoGet, "server 1 answers no get"),
        (
            Fault::ForgetsLog,
            "a get of server 0 does not extend the one before",
        ),
        (
            Fault::NamesBoth,
            "server 1 answers \"alive 0,1\", and told of \"alive 1\"",
        ),
    ] {
        caught(fault, &bounds(2, 1, 1, 0, 0), judge::REPLIES, text);
    }
}

#[test]
fn a_server_that_breaks_its_drivers_contract_is_caught() {
    for (fault, text) in [
        (Fault::RefusesMaster, "server 1 takes no master"),
        (Fault::DialsItself, "server 1 dials server 1"),
        (
            Fault::RefusesLinks,
            "server 1 dials server 0 more than 255 times",
        ),
        (Fault::EndsItself, "server 1 ended by itself"),
    ] {
        caught(fault, &bounds(2, 0, 1, 0, 0), judge::BOUNDS, text);
    }
    for (fault, property, text) in [
        (
            Fault::RejectsDialled,
            "misuse",
            "server 1: handle_dialled(0.0, Connected): the connection is not in a state for this call",
        ),
        (
            Fault::RejectsBytes,
            "misuse",
            "server 0: handle_bytes(1.0, 7 bytes): the connection is not in a state for this call",
        ),
        (
            Fault::RejectsSent,
            "misuse",
            "server 1: handle_sent(0.0, 7): more was reported as sent or stored than was pending",
        ),
        (
            Fault::RejectsLost,
            "misuse",
            "server 1: handle_lost(0.0, Finished): the connection is not in a state for this call",
        ),
        (
            Fault::ClosesTwice,
            "bad-handle",
            "server 1: it wants to close 0.0, which is not open",
        ),
    ] {
        caught(fault, &bounds(2, 0, 1, 0, 0), property, text);
    }
}

#[test]
fn what_a_server_may_do_is_not_held_against_it() {
    for fault in [Fault::RefusesOnce, Fault::ClosesAtRest, Fault::Rambles] {
        for reduction in [Reduction::SleepSets, Reduction::None] {
            let bounds = bounds(2, 1, 1, 1, 1);
            let (report, found) = search(Mutant::make(fault), &bounds, reduction);
            assert_eq!(found, None, "{fault:?}");
            assert!(report.exhausted && report.finals > 10, "{report:?}");
        }
    }
    let walked = walk(
        Mutant::make(Fault::ClosesAtRest),
        &bounds(2, 1, 1, 0, 0),
        &[Step::Broadcast(0), Step::Crash(0), Step::Tear(link(0), 0)],
    );
    let closed = |record: &&Record| record.lane == Lane::Host(Host(1)) && record.kind == "closed";
    assert_eq!(walked.recorder.records.iter().filter(closed).count(), 1);
    let walked = walk(
        Mutant::make(Fault::RefusesOnce),
        &bounds(2, 0, 0, 0, 0),
        &[],
    );
    let told = walked.recorder.records.iter();
    let told: Vec<_> = told.filter(|r| r.kind == "turned-away").collect();
    assert!(matches!(told[..], [record] if record.text == "at door 0"));
    let finished = walked.recorder.records.iter();
    let finished: Vec<_> = finished
        .filter(|r| r.kind == "finished")
        .map(|r| &r.text)
        .collect();
    assert_eq!(finished, ["0.0: the other side closed it"]);
}

#[test]
fn what_a_master_says_is_one_stream() {
    let walked = walk(server, &bounds(1, 12, 0, 0, 0), &[Step::Broadcast(0); 12]);
    let said = walked.recorder.records.iter();
    let said =
        said.filter(|record| matches!(record.lane, Lane::Client(_)) && record.kind == "sent");
    let ranges: Vec<(u64, u64)> = said.filter_map(|record| record.range).collect();
    assert_eq!(ranges.len(), 12);
    assert!(
        ranges.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{ranges:?}"
    );
}

/// The path to a log that is sent again, walked.
fn resent() -> Walked {
    let (bounds, make) = (bounds(2, 1, 1, 1, 0), Mutant::make(Fault::ResendsLog));
    let (_, found) = search(&make, &bounds, Reduction::SleepSets);
    walk(&make, &bounds, &found.expect("it is caught").steps)
}

#[test]
fn a_path_is_told_and_recorded_step_by_step() {
    let walked = resent();
    let said = |what: &str| walked.lines.iter().any(|line| line.contains(what));
    assert!(said("broadcasts \"s"), "{:?}", walked.lines);
    assert!(said("is killed"), "{:?}", walked.lines);
    assert!(said("accepts the connection"), "{:?}", walked.lines);
    let steps: Vec<_> = walked.recorder.records.iter().map(|r| r.step).collect();
    assert!(steps.is_sorted() && steps.last() > Some(&10), "{steps:?}");
    let trace = walked.recorder.write(Format::JsonLines);
    for kind in ["change", "killed", "received", "opened", "notice"] {
        assert!(trace.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
}

#[test]
fn every_step_is_read_as_it_is_written() {
    let wire = Wire {
        from: 2,
        to: 0,
        number: 1,
    };
    let steps = [
        (Step::Dialled(wire), "dialled 2>0#1"),
        (Step::Deliver(wire, 0), "deliver 2>0#1 to 2"),
        (Step::Cut(wire, 1), "cut 2>0#1 to 0"),
        (Step::Tear(wire, 1), "tear 2>0#1 to 0"),
        (Step::Tick(7), "tick 7"),
        (Step::Broadcast(1), "broadcast 1"),
        (Step::Start(2), "start 2"),
        (Step::Crash(3), "crash 3"),
        (Step::Break(wire), "break 2>0#1"),
    ];
    for (step, text) in steps {
        assert_eq!(step.to_string(), text);
        assert_eq!(text.parse(), Ok(step));
    }
    let all = steps.map(|(step, _)| step);
    for start in [Start::Linked, Start::Down] {
        let bounds = Bounds {
            start,
            ..bounds(8, 1, 2, 3, 4)
        };
        assert_eq!(saved(&bounds, &all).steps, all);
        assert_eq!(saved(&bounds, &[]).steps, []);
    }
    // The longest steps, more of them than any search gets deep.
    let step = Step::Deliver(
        Wire {
            from: 7,
            to: 6,
            number: 255,
        },
        1,
    );
    let length = step.to_string().len() + ", ".len();
    saved(&bounds(8, 1, 1, 1, 1), &vec![step; MAX_NOTE / length - 1]);
}

#[test]
fn a_path_that_is_none_is_refused_with_what_was_expected() {
    let of = |hosts, bounds: &str, path: &str| {
        let mut plan = Plan::new(0, hosts, chatroom_machine::Time::ZERO);
        plan.notes.insert("explore".to_owned(), bounds.to_owned());
        plan.notes.insert("path".to_owned(), path.to_owned());
        let error = Path::of(&plan).expect_err("it is refused");
        error.to_string()
    };
    let usual = "messages 1, crashes 2, restarts 3, losses 4, from linked";
    for (path, expected, found) in [
        (
            "crash",
            "a step such as \"crash 1\" or \"deliver 2>0#1 to 0\"",
            "crash",
        ),
        ("tick x", "a server's number", "tick x"),
        ("break 1>0", "a connection such as 2>0#1", "1>0"),
        ("break 1#0", "a connection such as 2>0#1", "1#0"),
        ("break 1>0#256", "a connection such as 2>0#1", "1>0#256"),
        (
            "cut 1>0#0 to 2",
            "one of the connection's two servers",
            "cut 1>0#0 to 2",
        ),
        (
            "cut 1>0#0 to x",
            "one of the connection's two servers",
            "cut 1>0#0 to x",
        ),
        (
            "tick 1,tick 2",
            "a step such as \"crash 1\" or \"deliver 2>0#1 to 0\"",
            "tick 1,tick 2",
        ),
    ] {
        assert_eq!(
            of(2, usual, path),
            format!("expected {expected}, found {found:?}")
        );
    }
    for (bounds, error) in [
        (
            "",
            "the note explore is \"\", expected \"messages 0, crashes 0, restarts 0, losses 0, from linked\" or the like",
        ),
        (
            "messages 2, crashes 1, from down, more",
            "the note explore is \"messages 2, crashes 1, from down, more\", expected \"messages 2, crashes 1, restarts 0, losses 0, from linked\" or the like",
        ),
    ] {
        assert_eq!(of(2, bounds, ""), error);
    }
    let messages =
        |count: u8| format!("messages {count}, crashes 0, restarts 0, losses 0, from down");
    assert_eq!(
        of(2, &messages(17), ""),
        "messages is 17, expected 0 to 16 to explore"
    );
    for hosts in [9, 256, 265] {
        let servers = hosts.min(255);
        let error = format!("servers is {servers}, expected 1 to 8 to explore");
        assert_eq!(of(hosts, &messages(16), ""), error);
    }
    assert_eq!(
        Path::of(&Plan::new(0, 2, chatroom_machine::Time::ZERO)),
        Ok(None)
    );
}

#[test]
fn a_walk_says_which_step_cannot_happen() {
    let steps = [Step::Broadcast(0), Step::Crash(1), Step::Broadcast(1)];
    let walked = walk(server, &bounds(2, 2, 1, 0, 0), &steps);
    assert_eq!(walked.stopped, Some(Step::Broadcast(1)));
    assert_eq!(walked.lines.len(), 3);
    assert_eq!(walked.violation, None);
}

#[test]
fn a_link_that_breaks_is_told_in_words() {
    let told = |steps: &[Step]| {
        let walked = walk(server, &bounds(2, 1, 0, 0, 1), steps);
        assert_eq!(walked.violation, None);
        assert_eq!(walked.lines.len(), 1 + steps.len(), "{:?}", walked.lines);
        walked
    };
    let walked = told(&[
        Step::Broadcast(0),
        Step::Break(link(0)),
        Step::Cut(link(0), 0),
        Step::Deliver(link(0), 1),
        Step::Tick(1),
        Step::Dialled(link(1)),
    ]);
    assert_eq!(
        walked.lines[1..],
        [
            "server 0 broadcasts \"s0l0n0.\"",
            "the link 1>0#0 breaks",
            "server 1 is told of a break, lines lost: 1 (1>0#0)",
            "server 0 is told of a break from server 1 (1>0#0)",
            "time passes for server 1 until it dials again",
            "server 1's dial of server 0 connects (1>0#1)",
        ]
    );
    let trace = walked.recorder.write(Format::Text);
    assert!(trace.contains("plan change: reset 1=0"), "{trace}");
    assert!(trace.contains("the plan broke it"), "{trace}");
    let torn = told(&[
        Step::Broadcast(0),
        Step::Break(link(0)),
        Step::Tear(link(0), 0),
    ]);
    assert_eq!(
        torn.lines[3],
        "server 1 gets all but the last byte of \"msg 0 s0l0n0.\", then the end (1>0#0)"
    );
}

#[test]
#[should_panic(expected = "servers is 9, expected 1 to 8 to explore")]
fn a_grid_that_is_too_large_is_not_explored() {
    search(server, &bounds(9, 0, 0, 0, 0), Reduction::SleepSets);
}

#[test]
#[should_panic(expected = "crashes is 17, expected 0 to 16 to explore")]
fn nor_is_a_path_of_too_many_events_walked() {
    let _walked = walk(server, &bounds(2, 0, 17, 0, 0), &[]);
}

#[test]
fn the_traces_of_paths_are_those_taken_down() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/explore/paths.txt");
    // Links break while much is in flight; a server dies twice.
    let broken = (
        bounds(3, 3, 0, 0, 2),
        "broadcast 0, broadcast 1, broadcast 0, deliver 1>0#0 to 0, break 1>0#0, deliver \
         1>0#0 to 1, tear 1>0#0 to 1, deliver 1>0#0 to 0, tick 1, dialled 1>0#1, deliver \
         1>0#1 to 0, deliver 1>0#1 to 0, deliver 1>0#1 to 1, break 1>0#1",
    );
    let twice = (
        bounds(3, 5, 2, 1, 1),
        "broadcast 2, deliver 2>0#0 to 0, deliver 2>1#0 to 1, crash 2, deliver 2>1#0 to 1, \
         broadcast 1, start 2, dialled 2>0#1, dialled 2>1#1, deliver 2>0#1 to 0, deliver \
         2>0#0 to 0, deliver 2>0#1 to 0, deliver 2>0#1 to 2, deliver 2>1#1 to 1, deliver \
         2>1#1 to 1, deliver 2>1#1 to 2, broadcast 2, broadcast 2, deliver 2>0#1 to 0, \
         deliver 2>0#1 to 0, break 1>0#0, deliver 1>0#0 to 1, deliver 2>1#1 to 1, crash 2, \
         tear 2>1#1 to 1, deliver 1>0#0 to 0, deliver 1>0#0 to 0, deliver 2>0#1 to 0, tick 1, \
         dialled 1>0#1, deliver 1>0#1 to 0, deliver 1>0#1 to 0, deliver 1>0#1 to 1, broadcast \
         0, deliver 1>0#1 to 1",
    );
    let by_hand = [broken, twice].map(|(bounds, path)| {
        let steps: Result<Vec<Step>, _> = path.split(", ").map(str::parse).collect();
        let walked = walk(server, &bounds, &steps.expect("steps"));
        assert_eq!((&walked.violation, walked.stopped), (&None, None));
        walked
    });
    let found = resent();
    let text: String = iter::once(&found)
        .chain(&by_hand)
        .map(|walked| {
            let trace = walked.recorder.write(Format::Text);
            format!("{}\n\n{trace}\n", walked.lines.join("\n"))
        })
        .collect();
    compare(FILE, &text);
}
