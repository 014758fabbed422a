//! The contract, executed: each rule is seen to be broken by a machine or a driver that breaks it
//! and no other, and a correct machine under a correct driver breaks none.

mod drive;
mod echo;
mod storage;

use chatroom_machine::{Breach, Checked, Checks, Machine, Misuse, Rule, Side, Time};
use drive::run;
use echo::Echo;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Some input, the same for a seed.
fn input(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(byte).take(400).collect()
}

/// What a correct driver never does: only a wrong call meets these.
const ANSWERS_TO_WRONG_CALLS: [Rule; 3] = [
    Rule::WrongCallTaken,
    Rule::WrongError,
    Rule::OutputForNothing,
];

#[test]
fn each_rule_is_seen_to_be_broken_and_no_other() {
    for &rule in Rule::ALL {
        if ANSWERS_TO_WRONG_CALLS.contains(&rule) {
            continue;
        }
        // An endless drain takes its time to be told from a long one.
        let seeds = if rule == Rule::Livelock { 3 } else { 400 };
        let found: Vec<_> = (0..seeds)
            .filter_map(|seed| run(Some(rule), &input(seed), Checks::thorough()))
            .collect();
        assert!(!found.is_empty(), "{rule} is never seen to be broken");
        let other = found.iter().find(|it| **it != rule);
        assert_eq!(other, None, "{rule} is taken for it");
    }
}

#[test]
fn a_wrong_answer_to_a_wrong_call_is_seen() {
    for rule in ANSWERS_TO_WRONG_CALLS {
        let checks = Checks::thorough().only(Side::Machine);
        let mut machine = Checked::new(Echo::new(Some(rule)), checks);
        machine.handle_start(Time::ZERO);
        assert!(machine.poll().is_none());
        let nobody = chatroom_machine::Conn::new(3, 9);
        let _ = machine.handle_bytes(Time::ZERO, nobody, b"x");
        let _ = machine.poll();
        let found: BTreeSet<&str> = machine.breaches().iter().map(|it| it.rule.name()).collect();
        assert_eq!(found, BTreeSet::from([rule.name()]));
    }
}

/// Of what costs next to nothing, the simulator relies on these.
#[test]
fn quick_checks_see_what_runs_of_the_simulator_end_with() {
    for rule in [
        Rule::DeadHandle,
        Rule::SlotInUse,
        Rule::GenerationReused,
        Rule::SlotsNotDense,
        Rule::RightCallRefused,
        Rule::TimeoutNotAhead,
        Rule::ActiveAfterHalt,
        Rule::AcceptsOn,
        Rule::Livelock,
        Rule::TimeWentBack,
        Rule::CallBeforeStart,
        Rule::CallAfterHalt,
        Rule::CallOnDead,
        Rule::CallInWrongState,
        Rule::SentTooMuch,
        Rule::ReadWhilePaused,
        Rule::AcceptedWhileShut,
    ] {
        let found = (0..400).find_map(|seed| run(Some(rule), &input(seed), Checks::quick()));
        assert_eq!(found, Some(rule));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_correct_machine_under_a_correct_driver_breaks_nothing(
        input in prop::collection::vec(any::<u8>(), 0..800)
    ) {
        prop_assert_eq!(run(None, &input, Checks::thorough().panicking()), None);
    }
}

#[test]
fn a_breach_panics_if_it_is_to_and_says_who_broke_what() {
    let caught = std::panic::catch_unwind(|| {
        let mut machine = Checked::new(Echo::new(None), Checks::quick().panicking());
        machine.handle_timeout(Time::ZERO);
    });
    let panic = caught.expect_err("it was not started");
    let words = panic.downcast_ref::<String>().expect("words");
    let expected = "the driver breaks call-before-start: handle_timeout before handle_start";
    assert_eq!(words, expected);
}

#[test]
fn breaches_are_taken_once_and_only_those_of_the_side_that_is_asked_for() {
    let nobody = chatroom_machine::Conn::new(0, 0);
    for (only, expected) in [
        (Side::Driver, vec![Rule::CallOnDead]),
        (Side::Machine, vec![]),
    ] {
        let mut machine = Checked::new(Echo::new(None), Checks::thorough().only(only));
        machine.handle_start(Time::ZERO);
        let answer = machine.handle_bytes(Time::ZERO, nobody, b"x");
        assert_eq!(answer, Err(Misuse::Stale));
        let taken: Vec<Breach> = machine.take_breaches();
        assert_eq!(taken.iter().map(|it| it.rule).collect::<Vec<_>>(), expected);
        assert!(machine.breaches().is_empty());
    }
}

#[test]
fn a_call_after_a_close_that_was_not_polled_may_be_stale_and_must_be_closed() {
    let mut machine = Checked::new(Echo::new(None), Checks::thorough());
    machine.handle_start(Time::ZERO);
    let remote = chatroom_machine::Remote::default();
    let conn = machine
        .handle_accepted(Time::ZERO, chatroom_machine::Door(0), remote)
        .expect("room");
    machine.handle_bytes(Time::ZERO, conn, b"q").expect("open");
    let late = machine.handle_bytes(Time::ZERO, conn, b"x");
    assert_eq!(late, Err(Misuse::Stale));
    while machine.poll().is_some() {}
    assert_eq!(machine.breaches(), []);
    let dead = machine.handle_bytes(Time::ZERO, conn, b"x");
    assert_eq!(dead, Err(Misuse::Stale));
    let found: Vec<Rule> = machine.breaches().iter().map(|it| it.rule).collect();
    assert_eq!(found, [Rule::CallOnDead]);
}

#[test]
fn each_rule_has_a_name_of_its_own_and_the_trait_says_it() {
    let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    let text = include_str!("../../src/contract.rs");
    let (docs, _) = text.split_once("pub trait Machine").expect("the trait");
    for rule in Rule::ALL {
        let name = format!("`{rule}`");
        assert!(
            docs.contains(&name),
            "the docs of Machine do not say {name}"
        );
    }
}
