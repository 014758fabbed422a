//! The chat before the judge: a sweep of seeds, the plans of old failures, the lab's scripts, and
//! the same run twice.

use chatroom_chat::{Config, LINKS};
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::run;
use chatroom_sim::failure::Failure;
use chatroom_sim::generate::Profile;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::plan::{Change, Plan};
use chatroom_sim::shrink::Budget;
use chatroom_sim::sweep::Sweep;
use chatroom_sim::trace::{Record, Recorder};
use chatroom_worlds::chat::{ChatServers, Grid, Setup, generate, judge, run_seed, script, server};
use chatroom_worlds::explore::{Path as Explored, walk};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Names the variable that makes a test process print hashes for another one.
const CHILD: &str = "CHATROOM_SIM_PRINT_HASHES";

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    paths.sort();
    paths
}

fn sweep(profile: Profile, seeds: u64) {
    let sweep = Sweep {
        seeds: 0..seeds,
        jobs: 2,
        time: None,
    };
    let swept = sweep.run(|seed| run_seed(server, seed, profile).verdict, &mut |_| {});
    if let Some((seed, _)) = swept.first {
        let failure = Failure::of_seed(
            &ChatServers::new(server),
            seed,
            profile,
            Budget::default(),
            "chatroom sim replay",
        );
        let mut failure = failure.expect("a seed fails every time or never");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        failure
            .save(folder)
            .expect("the build folder can be written to");
        panic!("{profile}: {failure}");
    }
    assert_eq!(swept.seeds, seeds);
    if seeds >= chatroom_sim::sweep::ENOUGH {
        assert_eq!(
            swept.sometimes.missing(),
            [""; 0],
            "cases of {profile} that never came up"
        );
    }
}

#[test]
fn thousands_of_swarm_seeds_break_nothing_and_meet_every_case() {
    sweep(Profile::Swarm, 3_000);
}

#[test]
fn seeds_of_each_other_profile_break_nothing() {
    for profile in [
        Profile::Calm,
        Profile::Crash,
        Profile::Chaos,
        Profile::Bytes,
    ] {
        sweep(profile, 200);
    }
}

#[test]
fn plans_of_old_failures_break_nothing_now() {
    let plans = files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans"),
        "plan",
    );
    assert!(!plans.is_empty());
    for path in plans {
        let text = fs::read(&path).expect("a plan");
        let plan = Plan::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let explored = Explored::of(&plan).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let violation = match explored {
            Some(Explored { bounds, steps }) => walk(server, &bounds, &steps).violation,
            None => {
                let judged = judge(server, &plan);
                let judged = judged.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                judged.verdict.violation
            }
        };
        assert_eq!(violation, None, "{}", path.display());
    }
}

#[test]
fn a_plan_that_no_grid_can_be_judged_by_is_refused() {
    let fair = generate(1, Profile::Calm);
    let refused = |change: &dyn Fn(&mut Plan), said: &str| {
        let mut plan = fair.clone();
        change(&mut plan);
        let error = judge(server, &plan).expect_err("out of bounds");
        assert_eq!(error.to_string(), said);
    };
    refused(
        &|plan| plan.net.latency = Span::from_micros(1 << 32),
        "latency is 4294967296, expected at most 5000 in a grid",
    );
    refused(
        &|plan| plan.net.buffer = 1,
        "buffer is 1, expected at least 256 in a grid",
    );
    let host = Host(0);
    let open = Change::Open(Client { host, number: 1 }, LINKS);
    refused(
        &|plan| plan.push(Time::from_micros(7), open.clone()),
        "at 7: \"open 0/1 0\" is not for masters, expected door 1",
    );
    for (key, value, said) in [
        ("text", "many", "the note text can't be \"many\""),
        ("log", "-1", "the note log can't be \"-1\""),
        ("profile", "mild", "the note profile can't be \"mild\""),
        (
            "text",
            "0",
            "the notes: limit text of 0: expected 1 to 1073741824",
        ),
    ] {
        let note = |plan: &mut Plan| _ = plan.notes.insert(key.to_owned(), value.to_owned());
        refused(&note, said);
    }
}

#[test]
#[should_panic(expected = "out of its bounds: id 2 in a grid of 2: expected 0 to 1")]
fn a_server_out_of_its_bounds_is_not_made() {
    let _ = server(Config::new(2, 2));
}

#[test]
fn a_profile_is_read_by_its_name() {
    for profile in Profile::ALL {
        assert_eq!(profile.name().parse(), Ok(profile));
    }
    assert_eq!(
        "Calm".parse::<Profile>().unwrap_err(),
        "\"Calm\" is no profile: expected calm, crash, chaos, bytes or swarm"
    );
}

#[test]
fn a_saved_plan_runs_as_the_seed_does() {
    for seed in 0..20 {
        let plan = generate(seed, Profile::Swarm);
        let read = Plan::parse(plan.to_string().as_bytes()).expect("a printed plan is read back");
        assert_eq!(read, plan);
        let judged = judge(server, &read).expect("a generated plan is within its bounds");
        assert_eq!(judged.hash, run_seed(server, seed, Profile::Swarm).hash);
    }
}

#[test]
fn the_labs_scripts_print_the_same_on_the_simulated_grid_under_any_seed() {
    let inputs = files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests"),
        "input",
    );
    assert!(inputs.len() >= 50);
    for input in inputs {
        let text = fs::read(&input).expect("a script");
        let expected = fs::read(input.with_extension("output")).expect("its output");
        for seed in 0..3 {
            let printed = script::run(&text, seed);
            assert_eq!(printed.violation, None, "{} under {seed}", input.display());
            assert_eq!(
                String::from_utf8_lossy(printed.output.trim_ascii()),
                String::from_utf8_lossy(expected.trim_ascii()),
                "{} under {seed}",
                input.display()
            );
        }
    }
}

#[test]
fn what_goes_wrong_with_a_script_is_said() {
    // Servers that do not agree on the grid's size never link.
    let odd = "2 start 3 10002\n2 crash\n";
    let late = "server is not operational after 3 s: 2\n";
    for (script, output, errors) in [
        (
            "0 start 1 10000\nsleep\nsleep x\nsleep .5\nsleep 1.5.5\nsleep 0.0005\n0 get\n",
            "messages \n",
            "Invalid command: sleep\nInvalid command: sleep x\nInvalid command: sleep .5\n\
             Invalid command: sleep 1.5.5\n"
                .to_owned(),
        ),
        (
            "0 start 1 10000\nsleep 119000\n0 get\nsleep 1000\n0 get\n",
            "messages \n",
            "Timeout!\n".to_owned(),
        ),
        (
            &format!("0 start 2 10000\n1 start 2 10001\n{odd}0 alive\n"),
            "alive 0,1\n",
            late.to_owned(),
        ),
        (
            "64 start 65 10064\n63 start 64 10063\n63 alive\n",
            "alive 63\n",
            "Invalid pid: 64\n".to_owned(),
        ),
        // After two minutes all is over, and nothing that is waited for comes.
        (
            &format!(
                "0 start 2 10000\n1 start 2 10001\n{}0 alive\n1 crash\n",
                odd.repeat(40)
            ),
            "",
            late.repeat(40) + "Timeout!\na crashed server is still listed: 1\n",
        ),
    ] {
        for seed in 0..3 {
            let printed = script::run(script.as_bytes(), seed);
            assert_eq!(printed.violation, None);
            assert_eq!(String::from_utf8_lossy(&printed.output), output);
            assert_eq!(String::from_utf8_lossy(&printed.errors), errors);
        }
    }
}

#[test]
fn lines_of_a_script_that_begin_with_a_number_sign_are_comments() {
    let script =
        "# a grid of one\n0 start 1 10000\n  #0 crash\n#exit\n0 broadcast # a text\n0 get\n";
    let printed = script::run(script.as_bytes(), 1);
    assert_eq!(String::from_utf8_lossy(&printed.errors), "");
    assert_eq!(
        String::from_utf8_lossy(&printed.output),
        "messages # a text\n"
    );
}

fn hashes() -> String {
    Profile::ALL
        .into_iter()
        .flat_map(|profile| (0..8).map(move |seed| run_seed(server, seed, profile).hash))
        .map(|hash| format!("{hash:016x} "))
        .collect()
}

#[test]
fn one_seed_gives_the_same_run_twice_in_one_process_and_in_two() {
    let one = hashes();
    if env::var_os(CHILD).is_some() {
        println!("hashes {one}");
        return;
    }
    assert_eq!(one, hashes());
    let this = env::current_exe().expect("this test is a program");
    let name = "one_seed_gives_the_same_run_twice_in_one_process_and_in_two";
    let child = Command::new(this)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("a program can be run twice");
    let printed = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(printed.contains(&format!("hashes {one}")), "{printed}");
}

/// What happened in the run of a committed plan, in which nothing may break.
fn happened(name: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/plans")
        .join(name);
    let plan = Plan::parse(&fs::read(path).expect("it is there")).expect("a plan");
    assert_eq!(
        judge(server, &plan)
            .expect("within its bounds")
            .verdict
            .violation,
        None
    );
    let setup = Setup::of(&plan).expect("within its bounds");
    let outcome = run(&Grid::new(setup, server), &plan, Recorder::default());
    outcome.observer.records
}

#[test]
fn no_short_client_is_lost_at_a_server_that_stands_still() {
    let records = happened("short-clients-at-a-server-that-stands-still.plan");
    for server in ["server0", "server1"] {
        let delivered = records.iter().filter(|record| {
            record.lane.to_string() == server
                && record.kind == "notice"
                && record.text.starts_with("delivered 0")
        });
        let texts: BTreeSet<_> = delivered
            .filter_map(|record| record.text.split(": ").nth(1))
            .collect();
        let expected: Vec<_> = (0..40).map(|i| format!("m{i}")).collect();
        assert_eq!(
            texts,
            expected.iter().map(String::as_str).collect(),
            "{server}"
        );
    }
}

#[test]
fn nobody_suspects_anybody_when_a_whole_grid_freezes() {
    let records = happened("a-whole-grid-that-freezes.plan");
    let notices = |word: &str| {
        let said = records
            .iter()
            .filter(|record| record.kind == "notice" && record.text.contains(word));
        said.map(|record| &*record.text).collect::<Vec<_>>()
    };
    assert_eq!(notices(" down "), [""; 0]);
    // Nine texts at each of the three.
    assert_eq!(notices("delivered ").len(), 27);
}
