//! The examples do what their pages say.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An example's program. `cargo test` builds it; with `--test`, `cargo build --examples` does.
fn example(name: &str) -> Command {
    let mut path = PathBuf::from(env!("CARGO_BIN_EXE_chatroom"));
    path.pop();
    Command::new(path.join("examples").join(name))
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const HOST: &str = "127.31.7.1";

fn counter(id: u16, runtime: &str) -> Server {
    let child = example("counter")
        .args(["serve", &id.to_string(), "3", &(7000 + id).to_string()])
        .args(["--host", HOST, "--base-port", "6000", "--log", "off"])
        .args(["--runtime", runtime])
        .stdin(Stdio::null())
        .spawn();
    Server(child.expect("built by `cargo build --examples`"))
}

fn connect(id: u16) -> TcpStream {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect((HOST, 7000 + id)) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "server {id}: {error}"),
        }
        std::thread::yield_now();
    }
}

/// Asks until the answer is as expected.
fn until(stream: &TcpStream, question: &str, expected: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    let mut lines = BufReader::new(stream).lines();
    loop {
        writeln!(&*stream, "{question}").expect("the server reads");
        let answer = lines.next().expect("an answer").expect("UTF-8");
        if answer == expected {
            return;
        }
        assert!(Instant::now() < end, "{answer} instead of {expected}");
    }
}

#[test]
fn the_counter_counts_on_both_runtimes_and_knows_who_has_died() {
    let mut servers: Vec<_> = [(0, "std"), (1, "smol"), (2, "std")]
        .map(|(id, runtime)| counter(id, runtime))
        .into();
    let clients: Vec<_> = (0..3).map(connect).collect();
    for client in &clients {
        until(client, "alive", "alive [0, 1, 2]");
    }
    for mut client in &clients {
        client.write_all(b"add\nadd\n").expect("the server reads");
    }
    for client in &clients {
        until(client, "get", "sum 6");
    }
    drop(servers.remove(1));
    until(&clients[0], "alive", "alive [0, 2]");
    servers.insert(1, counter(1, "smol"));
    let back = connect(1);
    until(&back, "get", "sum 6");
}

#[test]
fn the_simulator_finds_the_planted_bug_and_nothing_in_the_true_counter() {
    let sweep = |more: &[&str]| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("counter");
        let output = example("counter")
            .args(["sim", "sweep", "--seeds", "0..60"])
            .arg("--failures")
            .arg(folder)
            .args(more)
            .output()
            .expect("built by `cargo build --examples`");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), said)
    };
    let (status, said) = sweep(&[]);
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = sweep(&["--broken"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("breaks no-invention"), "{said}");
    assert!(
        said.contains("\nreplay: counter sim replay --broken "),
        "{said}"
    );
}

#[test]
fn a_chat_runs_inside_another_program() {
    let output = example("embedded")
        .output()
        .expect("built by `cargo build --examples`");
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    let expected = [
        "ended: Done",
        "ended: Done",
        "server 0 has from 0: hello from outside",
        "server 1 has from 0: hello from outside",
    ];
    assert_eq!(lines, expected, "{output:?}");
}
