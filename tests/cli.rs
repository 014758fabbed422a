//! The command line, from outside: what it says of a mistake, and how a server ends.

mod server;

use server::{RUNTIMES, Server, chatroom, host, run, text};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

#[test]
fn a_mistake_is_named_in_one_sentence_with_a_hint() {
    for (arguments, said) in [
        (
            "serve 3 3 10000",
            "error: id 3 in a grid of 3: expected 0 to 2\nhint: ids count from 0\n",
        ),
        (
            "serve 0 0 10000",
            "error: 0 servers: expected 1 to 1024\nhint: N is the number of servers in the grid\n",
        ),
        (
            "serve 0 1025 10000",
            "error: 1025 servers: expected 1 to 1024\nhint: N is the number of servers in the grid\n",
        ),
        (
            "serve 0 3 9999",
            "error: master port 9999: expected 10000 to 65535\n\
             hint: the ports below are for the links between servers\n",
        ),
        (
            "serve 0 3 10000 --base-port 9999",
            "error: master port 10000 is also the link port of server 1\n\
             hint: take another port, or another --base-port\n",
        ),
        (
            "serve 0 16 10000 --base-port 65530",
            "error: the link port of server 15 would be 65545\n\
             hint: ports end at 65535: take a smaller --base-port\n",
        ),
        (
            "serve 0 3 10000 --host 0.0.0.0",
            "error: 0.0.0.0 can be reached from other machines\n\
             hint: give --expose if you mean it; `chatroom serve --help` says what it means\n",
        ),
        (
            "serve 0 3 10000 --max-text 0",
            "error: --max-text 0: expected 1 to 1073741824\n\
             hint: `chatroom serve --help` tells what each value means\n",
        ),
        (
            "serve 0 3 10000 --suspicion 450",
            "error: --suspicion 450: expected 451 to 3600000 ms\n\
             hint: --suspicion is longer than --heartbeat\n",
        ),
        (
            "serve 0 3 10000 --max-text 10000000",
            "error: --max-text 10000000 needs --max-watch of at least 10000016, which is 8388608\n\
             hint: `chatroom serve --help` tells what each value means\n",
        ),
        (
            "serve 0 3 10000 --max-text 99999 --max-lag 65536 --max-high-water 65536",
            "error: --max-text 99999 needs --max-lag of at least 100008, which is 65536\n\
             hint: `chatroom serve --help` tells what each value means\n",
        ),
        (
            "serve 0 3 10000 --max-high-water 99999999999",
            "error: --max-lag 33554432: expected 99999999999 to 1099511627776\n\
             hint: --max-lag is at least --max-high-water\n",
        ),
        (
            "serve 0 3 10000 --host ::ffff:10.0.0.1",
            "error: ::ffff:10.0.0.1 can be reached from other machines\n\
             hint: give --expose if you mean it; `chatroom serve --help` says what it means\n",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(text(&output.stderr), said, "{arguments}");
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}

#[test]
fn what_cannot_be_parsed_is_shown_with_its_place() {
    for (arguments, said) in [
        (
            "serve x 3 10000",
            "error: invalid value 'x' for '<ID>': expected a number from 0, below N\n",
        ),
        ("serve -1 3 10000", "error: invalid value '-1' for '<ID>'"),
        (
            "serve 0 3 65536",
            "error: invalid value '65536' for '<PORT>'",
        ),
        (
            "serve 0 3",
            "error: the following required arguments were not provided:\n  <PORT>",
        ),
        (
            "serve 0 3 10000 --log loud",
            "error: invalid value 'loud' for '--log <LEVEL>'",
        ),
        (
            "serve 0 3 10000 --host here",
            "error: invalid value 'here' for '--host <ADDRESS>': \
             expected an IP address, such as 127.0.0.1 or ::1\n",
        ),
        (
            "serve 0 3 10000 --base-port 0",
            "error: invalid value '0' for '--base-port <BASE>': expected a port from 1 to 65535\n",
        ),
        (
            "serve 0 3 10000 --heartbeat 18446744073709551615",
            "error: invalid value '18446744073709551615' for '--heartbeat <MS>'",
        ),
        (
            "sim sweep --jobs 0",
            "error: invalid value '0' for '--jobs <JOBS>': 0 is not in 1..=256\n",
        ),
        ("chat", "error: unrecognized subcommand 'chat'"),
    ] {
        let output = run(arguments);
        assert!(
            text(&output.stderr).starts_with(said),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(2), "{arguments}");
    }
}

#[test]
fn a_crash_ends_a_server_with_status_3() {
    for runtime in RUNTIMES {
        let mut server = Server::new(host(), 0, 1, &format!("--runtime {runtime}"));
        server.master().tells("crash");
        assert_eq!(server.status(), Some(3));
    }
}

#[test]
fn a_grid_of_both_runtimes_delivers_to_all() {
    let host = host();
    let servers = ["std", "smol", "std"].map({
        let mut id = 0;
        move |runtime| {
            id += 1;
            Server::new(host, id - 1, 3, &format!("--runtime {runtime}"))
        }
    });
    let mut masters = servers.each_ref().map(Server::master);
    for master in &mut masters {
        master.gets("alive", "alive 0,1,2");
    }
    masters[1].tells("broadcast from the middle");
    for master in &mut masters {
        master.gets("get", "messages from the middle");
    }
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_nothing() {
    for runtime in RUNTIMES {
        let host = host();
        let mut command = chatroom(&format!(
            "serve 0 2 10000 --host {host} --log debug --runtime {runtime}"
        ));
        command.stderr(Stdio::piped());
        let mut server = Server::of(command, host, 10_000);
        let mut master = server.master();
        // More lines of the log than a pipe holds.
        for _ in 0..2000 {
            let mut stranger = TcpStream::connect((host, 3000)).unwrap();
            stranger.write_all(b"what?\n").unwrap();
        }
        assert_eq!(master.asks("alive"), "alive 0");
        server.signal("TERM");
        assert_eq!(server.status(), Some(0));
    }
}

#[test]
fn what_an_operator_needs_to_know_is_in_the_log() {
    let host = host();
    let mut command = chatroom(&format!("serve 0 2 10000 --host {host} --log info"));
    command.stderr(Stdio::piped());
    let mut server = Server::of(command, host, 10_000);
    let mut other = Server::new(host, 1, 2, "");
    server.master().gets("alive", "alive 0,1");
    other.master().tells("crash");
    other.status();
    server.master().gets("alive", "alive 0");
    server.signal("TERM");
    assert_eq!(server.status(), Some(0));
    let mut log = String::new();
    server
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    for said in [
        "INFO peer up server=0 peer=1",
        "INFO peer down server=0 peer=1",
    ] {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    assert!(log.contains("why=the other side finished"), "{log}");
}

#[test]
fn every_page_of_the_manual_has_an_example_and_the_exit_status() {
    for page in [
        "",
        "serve",
        "replay",
        "completions",
        "sim",
        "sim run",
        "sim sweep",
        "sim replay",
        "sim shrink",
        "sim script",
        "sim trace",
        "sim check-determinism",
        "sim explore",
        "sim broken",
    ] {
        let output = run(&format!("{page} --help"));
        assert!(output.status.success(), "{page}");
        for part in ["EXAMPLE", "EXIT STATUS"] {
            let part = format!("\n{part}\n");
            assert!(text(&output.stdout).contains(&part), "{page}{part}");
        }
    }
    let version = run("--version");
    assert_eq!(
        text(&version.stdout),
        concat!("chatroom ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn completions_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&format!("completions {shell}"));
        assert!(output.status.success(), "{shell}");
        assert!(text(&output.stdout).contains("serve"), "{shell}");
    }
}

/// Commands that print a result, and succeed.
const PRINTING: [&str; 11] = [
    "completions bash",
    "sim run --seed 3",
    "sim sweep --seeds 0..3",
    "sim check-determinism --seeds 0..2",
    "sim explore --servers 2 --messages 1 --crashes 0",
    "sim script tests/message.input",
    "sim script --print tests/message.input",
    "sim replay sim/worlds/tests/plans/finished-and-left.plan",
    "sim trace sim/worlds/tests/plans/finished-and-left.plan",
    "sim replay sim/worlds/tests/plans/torn-line-explored.plan",
    "sim trace sim/worlds/tests/plans/torn-line-explored.plan",
];

#[test]
fn a_path_of_the_explorer_is_replayed_and_drawn_as_a_plan_is_and_not_shrunk() {
    const PLAN: &str = "sim/worlds/tests/plans/torn-line-explored.plan";
    let replay = run(&format!("sim replay {PLAN}"));
    assert_eq!(
        text(&replay.stdout),
        "   0  every server starts, and all are linked\n   \
           1  server 0 broadcasts \"s0l0n0.\"\n   \
           2  server 0 is killed\n   \
           3  server 1 gets all but the last byte of \"msg 0 s0l0n0.\", then the end (1>0#0)\n\
         nothing broke\n"
    );
    let page = run(&format!("sim trace {PLAN} --format html"));
    assert!(text(&page.stdout).contains("2. server 0 is killed; 3. server 1 gets all but"));
    let shrunk = run(&format!("sim shrink {PLAN}"));
    assert_eq!(
        text(&shrunk.stderr),
        format!(
            "error: {PLAN} is a path of the explorer\nhint: it is one of the shortest already\n"
        )
    );
    // Of a crash that is not within the bounds, nothing happens.
    let plan = std::fs::read_to_string(PLAN).unwrap();
    let early = concat!(env!("CARGO_TARGET_TMPDIR"), "/early.plan");
    std::fs::write(early, plan.replace("crashes 1", "crashes 0")).unwrap();
    let replay = run(&format!("sim replay {early}"));
    let said = "nothing broke, but the path ends early: \"crash 0\" can't happen here\n";
    assert!(text(&replay.stdout).ends_with(said));
    std::fs::write(early, plan.replace("crashes 1", "crashes 17")).unwrap();
    for verb in ["replay", "trace", "shrink"] {
        let refused = run(&format!("sim {verb} {early}"));
        let said = "crashes is 17, expected 0 to 16 to explore\n";
        assert!(text(&refused.stderr).contains(said), "{verb}");
        assert_eq!(refused.status.code(), Some(1), "{verb}");
    }
}

#[test]
fn a_reader_that_leaves_changes_nothing() {
    for arguments in PRINTING {
        let (reads, writes) = std::io::pipe().unwrap();
        drop(reads);
        let child = chatroom(arguments)
            .stdout(writes)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "", "{arguments}");
        assert_eq!(output.status.code(), Some(0), "{arguments}");
    }
}

#[test]
fn a_result_that_cannot_be_printed_is_no_success() {
    for arguments in PRINTING {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = chatroom(arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        let said = "error: cannot print: No space left on device (os error 28)\n\
                    hint: is there room where standard output goes?\n";
        assert_eq!(text(&output.stderr), said, "{arguments}");
        assert_eq!(output.status.code(), Some(1), "{arguments}");
    }
}

#[test]
fn a_mistake_that_nobody_hears_of_has_its_status() {
    let (reads, writes) = std::io::pipe().unwrap();
    drop(reads);
    let status = chatroom("serve 3 3 10000").stderr(writes).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

#[test]
fn a_simulation_of_nothing_is_no_success() {
    let swept = run("sim sweep --time 0s");
    let said = "error: the time was over before the first seed was begun\n\
                hint: give a longer --time\n";
    assert_eq!(text(&swept.stderr), said);
    assert_eq!(swept.status.code(), Some(1));
    let script = concat!(env!("CARGO_TARGET_TMPDIR"), "/too-large.input");
    std::fs::write(script, "0 start 2000 10000\n").unwrap();
    let printed = run(&format!("sim script --print {script}"));
    assert_eq!(text(&printed.stderr), "Master or testcase error!\n");
    assert_eq!(printed.status.code(), Some(1));
}
