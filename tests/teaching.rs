//! What a learner types: broken servers by name, and the lab's scripts drawn and saved.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
        .arg("sim")
        .args(arguments)
        .output()
        .expect("it runs")
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("there is room");
    folder
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_the_readme_shows_is_what_is_printed() {
    let readme = include_str!("../README.md");
    for arguments in [
        "replay --broken twice docs/plans/hello-twice.plan",
        "replay docs/plans/hello-twice.plan",
        "broken",
    ] {
        let command = format!("$ target/release/chatroom sim {arguments}\n");
        let shown = readme.split(&command).nth(1).expect("the command");
        let output = sim(&arguments.split(' ').collect::<Vec<_>>());
        // The hash and the number of events change with the servers.
        let plain = |text: &str| text.split(" in ").next().map(str::to_owned);
        for (line, shown) in said(&output).lines().zip(shown.lines()) {
            assert_eq!(plain(line), plain(shown), "{arguments}");
        }
        assert_eq!(output.status.success(), !arguments.contains("--broken"));
    }
}

#[test]
fn every_listed_server_is_caught_and_its_plan_replays_by_the_command_that_is_printed() {
    let folder = folder("broken");
    let list = said(&sim(&["broken"]));
    assert!((3..=6).contains(&list.lines().count()), "{list}");
    for line in list.lines() {
        let name = line.split(' ').next().expect("a name");
        let failures = folder.to_str().expect("a path in UTF-8");
        let sweep = sim(&[
            "sweep",
            "--broken",
            name,
            "--seeds",
            "0..300",
            "--failures",
            failures,
        ]);
        assert_eq!(sweep.status.code(), Some(1), "{name}");
        let sweep = said(&sweep);
        let replay = sweep
            .lines()
            .find_map(|line| line.strip_prefix("replay: chatroom sim "));
        let replay: Vec<&str> = replay.expect("a command").split(' ').collect();
        assert_eq!(replay[..3], ["replay", "--broken", name]);
        assert_eq!(sim(&replay).status.code(), Some(1), "{name}");
        assert!(sim(&["replay", replay[3]]).status.success(), "{name}");
    }
    let unknown = sim(&["run", "--seed", "1", "--broken", "twise"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("cut-short, twice, gap"));
}

#[test]
fn a_script_is_drawn_saved_and_replayed() {
    let plan = folder("script").join("message.plan");
    let plan = plan.to_str().expect("a path in UTF-8");
    let script = "tests/message.input";
    let drawn = sim(&["script", script, "--format", "svg", "--save", plan]);
    assert!(drawn.status.success() && said(&drawn).starts_with("<svg "));
    let saved = sim(&["script", script, "--save", plan]);
    assert_eq!(said(&saved), include_str!("message.output"));
    assert!(sim(&["replay", plan]).status.success());
    let text = fs::read_to_string(plan).expect("it was saved");
    fs::write(plan, text.replace("get\\n\"", "get\"")).expect("there is room");
    let warned = sim(&["replay", plan]);
    let warning = String::from_utf8_lossy(&warned.stderr).into_owned();
    assert!(warning.contains("has no newline at its end"), "{warning}");
    let many = sim(&["script", script, script, "--save", plan]);
    assert_eq!(many.status.code(), Some(1));
    let seeds = sim(&["script", script, "--seeds", "0..2", "--format", "html"]);
    assert_eq!(seeds.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&seeds.stderr).contains("--seeds 0..1"));
}
