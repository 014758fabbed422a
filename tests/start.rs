//! How a server starts and ends, from outside: what the environment steers, what the system
//! denies, and signals.

mod server;

use server::{LONG, RUNTIMES, Server, chatroom, host, run, text};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio, id};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_taken_port_is_named_and_ends_with_status_1() {
    for runtime in RUNTIMES {
        let host = host();
        let hint = "hint: end the server that runs there (./stopall), \
                    or give another port, --base-port or --host\n";
        for (taken, whose) in [(3001, "the link port"), (10_000, "the master port")] {
            let _taken = TcpListener::bind((host, taken)).unwrap();
            let output = run(&format!(
                "serve 1 3 10000 --host {host} --runtime {runtime}"
            ));
            let sentence = format!("error: {host}:{taken}, {whose} of server 1, is taken\n");
            assert_eq!(text(&output.stderr), sentence + hint);
            assert_eq!(output.status.code(), Some(1));
        }
    }
}

#[test]
fn a_signal_ends_a_server_with_status_0() {
    for runtime in RUNTIMES {
        for signal in ["TERM", "INT"] {
            let mut server = Server::new(host(), 0, 3, &format!("--runtime {runtime}"));
            let mut master = server.master();
            assert_eq!(master.asks("alive"), "alive 0");
            server.signal(signal);
            assert_eq!(server.status(), Some(0));
            let mut rest = Vec::new();
            master.reads.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn the_environment_steers_a_server() {
    let host = host();
    let mut command = chatroom("serve 1 2 10001");
    command
        .env("CHATROOM_HOST", host.to_string())
        .env("CHATROOM_BASE_PORT", "4000")
        .env("CHATROOM_RUNTIME", "smol")
        .env("CHATROOM_LOG", "off")
        .env("CHATROOM_MAX_TEXT", "5");
    let server = Server::of(command, host, 10_001);
    let mut master = server.master();
    assert_eq!(master.asks("alive"), "alive 1");
    assert!(master.asks("broadcast 123456").starts_with("error "));
    assert!(TcpStream::connect((host, 4001)).is_ok());
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let host = host();
    let mut command = chatroom("serve 0 1 10000");
    let held = text(&run("serve --help").stdout).to_owned();
    let named = held.split("[env: ").skip(1);
    let mut names: Vec<_> = named.filter_map(|rest| rest.split('=').next()).collect();
    assert_eq!(names.len(), 27, "{names:?}");
    names.retain(|name| *name != "CHATROOM_HOST");
    command.envs(names.iter().map(|name| (name, "")));
    command.args(["--host", &host.to_string()]);
    let server = Server::of(command, host, 10_000);
    assert_eq!(server.master().asks("alive"), "alive 0");
    let status = chatroom("serve 0 1 9999").env("CHATROOM_HOST", "").output();
    assert!(text(&status.unwrap().stderr).starts_with("error: master port 9999"));
}

#[test]
fn an_unknown_variable_is_an_error_that_suggests_the_nearest_name() {
    for (name, hint) in [
        ("CHATROOM_HOSTS", "was CHATROOM_HOST meant? "),
        ("CHATROOM_MAXTEXT", "was CHATROOM_MAX_TEXT meant? "),
        ("CHATROOM_heartbeat", ""),
        ("CHATROOM_", ""),
    ] {
        let host = host();
        let mut command = chatroom(&format!("serve 0 1 10000 --host {host}"));
        command.env(name, "1").stderr(Stdio::piped());
        let mut server = Server::of(command, host, 10_000);
        assert_eq!(server.status(), Some(2), "{name}");
        let mut said = String::new();
        let stderr = server.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let expected = format!(
            "error: the environment has {name}, which is no variable of chatroom\n\
             hint: {hint}`chatroom serve --help` names all\n"
        );
        assert_eq!(said, expected);
    }
    // What the project's own tools set or read, and what is unset, is no mistake.
    let host = host();
    let mut command = chatroom(&format!("serve 0 1 10000 --host {host}"));
    command.envs([("CHATROOM_STRICT", "1"), ("CHATROOM_TIMEOUT", "9")]);
    command.envs([("CHATROOM_MASTER", "1"), ("CHATROOM_HOSTS", "")]);
    let server = Server::of(command, host, 10_000);
    assert_eq!(server.master().asks("alive"), "alive 0");
}

#[test]
fn every_variable_of_the_project_is_known() {
    let mut search = Command::new("git");
    search.args(["grep", "-hoE", "CHATROOM_[A-Z_]+"]);
    let Ok(found) = search
        .output()
        .map(|output| text(&output.stdout).to_owned())
    else {
        return eprintln!("git can't be run here, so the sources are not searched");
    };
    let mut names: Vec<_> = found.lines().filter(|name| !name.ends_with('_')).collect();
    names.sort_unstable();
    names.dedup();
    // They are wrong on purpose in the tests.
    let wrong = [
        "HOSTS",
        "HOTS",
        "MAXTEXT",
        "MAXLOG",
        "LOGS",
        "SOMETHING_ELSE",
    ];
    names.retain(|name| !wrong.contains(&&name["CHATROOM_".len()..]));
    // An id that is none ends the server once the variables have been looked at.
    let is_known = |names: &[&str]| {
        let values = names.iter().map(|name| match *name {
            "CHATROOM_PROTOCOL" => (name, "commit"),
            "CHATROOM_VOTE" => (name, "length"),
            "CHATROOM_FRAMING" => (name, "lines"),
            "CHATROOM_STATE" => (name, "target/tmp"),
            "CHATROOM_HOST" => (name, "127.0.0.1"),
            "CHATROOM_METRICS" => (name, "127.0.0.1:0"),
            "CHATROOM_RUNTIME" => (name, "std"),
            "CHATROOM_LOG" => (name, "off"),
            _ => (name, "1"),
        });
        let output = chatroom("serve 3 3 10000").envs(values).output().unwrap();
        let said = text(&output.stderr);
        assert!(said.starts_with("error: id 3 in a grid of 3"), "{said}");
    };
    // Some belong to other protocols than the chat, which has all others.
    let (others, chats): (Vec<&str>, _) = (names.iter().copied()).partition(|name| {
        ["PROTOCOL", "VOTE", "FRAMING", "STATE"].contains(&&name["CHATROOM_".len()..])
    });
    is_known(&chats);
    is_known(&others);
}

#[test]
fn a_hangup_ends_a_server_in_good_order_unless_it_is_ignored() {
    for runtime in RUNTIMES {
        let mut server = Server::new(host(), 0, 3, &format!("--runtime {runtime}"));
        let mut master = server.master();
        assert_eq!(master.asks("alive"), "alive 0");
        server.signal("HUP");
        assert_eq!(server.status(), Some(0));

        let host = host();
        let mut nohup = Command::new("sh");
        nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
        nohup.arg(env!("CARGO_BIN_EXE_chatroom")).env_clear();
        nohup.args(["serve", "0", "3", "10000", "--runtime", runtime]);
        nohup.args(["--host", &host.to_string()]);
        let mut server = Server::of(nohup, host, 10_000);
        let mut master = server.master();
        server.signal("HUP");
        assert_eq!(master.asks("alive"), "alive 0");
        server.signal("TERM");
        assert_eq!(server.status(), Some(0));
    }
}

#[test]
fn a_server_without_threads_is_denied_in_one_sentence() {
    // A user who has no other process. Root has no limit.
    let nobody = (100_000 + id()).to_string();
    let with = |most: u16, runtime: &str, arguments: &str| {
        let host = host();
        let mut command = Command::new("prlimit");
        command.args([&format!("--nproc={most}"), "setpriv", "--reuid", &nobody]);
        command.arg("--clear-groups");
        command.arg(env!("CARGO_BIN_EXE_chatroom")).env_clear();
        command
            .args(arguments.split(' '))
            .args(["--runtime", runtime, "--host"]);
        command.arg(host.to_string()).stderr(Stdio::piped());
        Server::of(command, host, 10_000)
    };
    let mut probe = Command::new("prlimit");
    probe.args(["--nproc=9", "setpriv", "--reuid", &nobody]);
    probe.arg(env!("CARGO_BIN_EXE_chatroom"));
    let probe = probe.arg("--version").stdout(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return eprintln!(
            "this needs root, setpriv, prlimit and a binary that all may run: left out"
        );
    }
    for (runtime, arguments, needs) in [
        ("std", "serve 0 3 10000", 4),
        ("smol", "serve 0 3 10000", 2),
        ("std", "serve 0 1 10000 --log off", 1),
        ("smol", "serve 0 200 10000 --log off", 1),
        ("smol", "serve 0 3 10000 --metrics 127.0.0.1:0", 6),
    ] {
        for most in 1..=needs {
            let mut server = with(most, runtime, arguments);
            assert_eq!(server.status(), Some(1), "{runtime} {most}");
            let mut said = String::new();
            let stderr = server.child.stderr.as_mut().unwrap();
            stderr.read_to_string(&mut said).unwrap();
            let can = format!(
                "on {runtime} needs {needs} threads besides its first one, and can have {}: ",
                most - 1
            );
            assert!(said.starts_with("error: ") && said.contains(&can), "{said}");
            assert!(
                said.contains("\nhint: ") && said.lines().count() == 2,
                "{said}"
            );
        }
        let server = with(needs + 1, runtime, arguments);
        assert!(server.master().asks("alive").starts_with("alive 0"));
    }
}

#[test]
fn a_server_without_descriptors_is_denied_in_one_sentence() {
    for runtime in RUNTIMES {
        // How many it needs depends on what it inherits.
        let mut most = 8;
        while let Some(said) = denied(runtime, most) {
            assert!(said.contains("Too many open files"), "{most}: {said}");
            assert!(said.contains("(ulimit -"), "{most}: {said}");
            assert_eq!(said.lines().count(), 2, "{most}: {said}");
            most += 1;
        }
        assert!(most > 8, "{runtime}");
    }
}

/// What a server that may open `most` descriptors says as it ends by itself. None if it serves.
fn denied(runtime: &str, most: u16) -> Option<String> {
    let host = host();
    let mut shell = Command::new("sh");
    let bounded = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
    shell
        .env_clear()
        .args(["-c", &bounded, env!("CARGO_BIN_EXE_chatroom")]);
    shell.args(["serve", "0", "1", "10000", "--runtime", runtime, "--host"]);
    shell.arg(host.to_string()).stderr(Stdio::piped());
    let mut server = Server::of(shell, host, 10_000);
    let begin = Instant::now();
    // It hears a signal before it listens, and heeds it once it has all that it needs.
    while server.child.try_wait().unwrap().is_none() {
        if TcpStream::connect((host, 10_000)).is_ok() {
            server.signal("TERM");
            break;
        }
        assert!(begin.elapsed() < LONG, "{runtime}, {most}");
        sleep(Duration::from_millis(5));
    }
    let status = server.status();
    let mut said = String::new();
    let stderr = server.child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    match status {
        Some(0) => None,
        Some(1) => Some(said),
        _ => panic!("{runtime}, {most}: {status:?}, {said}"),
    }
}

#[test]
fn a_recording_that_may_not_grow_ends_and_the_server_goes_on() {
    for runtime in RUNTIMES {
        let host = host();
        let file = format!("{}/short-{host}.rec", env!("CARGO_TARGET_TMPDIR"));
        let mut shell = Command::new("sh");
        let bounded = "ulimit -f 2; exec \"$0\" \"$@\"";
        shell
            .env_clear()
            .args(["-c", bounded, env!("CARGO_BIN_EXE_chatroom")]);
        shell.args([
            "serve",
            "0",
            "1",
            "10000",
            "--runtime",
            runtime,
            "--record",
            &file,
        ]);
        shell
            .args(["--host", &host.to_string()])
            .stderr(Stdio::piped());
        let mut server = Server::of(shell, host, 10_000);
        let mut master = server.master();
        master.tells(&format!("broadcast {}", "x".repeat(10_000)));
        assert_eq!(master.asks("alive"), "alive 0");
        server.signal("TERM");
        assert_eq!(server.status(), Some(0));
        let mut log = String::new();
        let stderr = server.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        assert!(log.contains("the recording ends here"), "{log}");
        std::fs::remove_file(file).unwrap();
    }
}
