//! The log, from outside: what it says at the start, of peers that never come, of connections that
//! close and of mistakes in the set-up, and that nobody can flood it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio, id};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// A condition that does not come true by then never will.
const LONG: Duration = Duration::from_secs(60);
const RUNTIMES: [&str; 2] = ["std", "smol"];

/// A loopback address of one test alone.
fn host() -> Ipv4Addr {
    static USED: AtomicU8 = AtomicU8::new(1);
    let [.., a, b] = id().to_be_bytes();
    Ipv4Addr::new(127, 192 | (a & 31), b, USED.fetch_add(1, Ordering::Relaxed))
}

/// A server whose log is read, killed when the test is done with it.
struct Server {
    child: Child,
    host: Ipv4Addr,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Server {
    fn new(host: Ipv4Addr, id: u16, n: u16, options: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
        command
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command.args(["serve", &id.to_string(), &n.to_string()]);
        command.args([(10_000 + id).to_string(), "--host".into(), host.to_string()]);
        let mut child = command.args(options.split_whitespace()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        Self {
            child,
            host,
            lines,
            log: Vec::new(),
        }
    }

    fn connect(&self, port: u16) -> TcpStream {
        let begin = Instant::now();
        loop {
            match TcpStream::connect((self.host, port)) {
                Ok(socket) => return socket,
                Err(e) => assert!(begin.elapsed() < LONG, "{e}"),
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a line of the log that holds all of `parts`.
    fn says(&mut self, parts: &[&str]) -> String {
        let until = Instant::now() + LONG;
        let holds = |line: &&String| parts.iter().all(|part| line.contains(part));
        loop {
            if let Some(line) = self.log.iter().find(holds) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.log.push(line),
                Err(e) => panic!("{e}: no line with {parts:?} in {:#?}", self.log),
            }
        }
    }

    /// Takes in what the log says within `time`.
    fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(line) = {
            let left = until.saturating_duration_since(Instant::now());
            self.lines.recv_timeout(left)
        } {
            self.log.push(line);
        }
    }

    /// Ends it in good order, and takes in the rest of its log.
    fn end(&mut self) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(done.unwrap().success());
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the server does not end"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Connects, says `lines`, and reads until the other side closes.
fn speak(host: Ipv4Addr, port: u16, lines: &str) {
    let Ok(mut socket) = TcpStream::connect((host, port)) else {
        return;
    };
    let _ = socket.write_all(lines.as_bytes());
    socket.set_read_timeout(Some(LONG)).unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
}

#[test]
fn the_start_says_where_a_server_listens_and_whom_it_expects() {
    for runtime in RUNTIMES {
        let host = host();
        let options = format!(
            "--log info --runtime {runtime} --metrics {host}:0 --max-text 99 --heartbeat 300"
        );
        let mut server = Server::new(host, 1, 4, &options);
        let line = server.says(&["INFO listening server=1"]);
        for part in [
            format!("links={host}:3001"),
            format!("masters={host}:10001"),
            format!("metrics={host}:"),
            format!("runtime=\"{runtime}\""),
            format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(line.contains(&part), "{part} is not in {line}");
        }
        let metrics = line.split(&format!("metrics={host}:")).nth(1).unwrap();
        let port = metrics.split(' ').next().unwrap().parse().unwrap();
        assert!(TcpStream::connect((host, port)).is_ok(), "{line}");
        server.says(&["INFO peers expected server=1 dials=0 awaits=2,3"]);
        server.says(&[
            "INFO other values than the defaults",
            "options=\"--max-text 99 --heartbeat 300\"",
        ]);
    }
    // Nothing of it without peers and options, and nothing at all at the default level.
    let mut alone = Server::new(host(), 0, 1, "--log info");
    alone.says(&["no peers: a grid of one server"]);
    alone.end();
    assert!(
        !alone.log.iter().any(|line| line.contains("defaults")),
        "{:?}",
        alone.log
    );
    let mut quiet = Server::new(host(), 0, 1, "");
    quiet.connect(10_000);
    quiet.end();
    assert_eq!(quiet.log, [""; 0]);
}

#[test]
fn a_peer_that_never_comes_is_warned_of_once() {
    let host = host();
    // With the default level, and the peers in both directions.
    let mut server = Server::new(host, 1, 30, "");
    let _met = Server::new(host, 2, 30, "--log off");
    let begin = Instant::now();
    let dialled = format!("this server dials it at {host}:3000");
    server.says(&[
        "WARN peer 0 has not been up in the 10 s since the start: ",
        &dialled,
    ]);
    assert!(
        begin.elapsed() >= Duration::from_secs(9),
        "{:?}",
        begin.elapsed()
    );
    let awaited = format!("it should dial this server at {host}:3001");
    server.says(&[
        "WARN peer 3 has not been up in the 10 s since the start: ",
        &awaited,
    ]);
    server.says(&["WARN 12 more peers have not been up in the 10 s since the start: 18-29"]);
    server.listen(Duration::from_secs(2));
    let lines = server
        .log
        .iter()
        .filter(|line| line.contains("since the start"));
    assert_eq!(lines.count(), 17, "{:#?}", server.log);
    assert!(!server.log.iter().any(|line| line.contains("peer 2 has")));
}

#[test]
fn every_close_and_refusal_is_in_the_log_with_its_reason() {
    for runtime in RUNTIMES {
        let host = host();
        let options = format!("--log info --runtime {runtime} --max-masters 2");
        let mut server = Server::new(host, 1, 3, &options);
        server.connect(10_001).write_all(b"alive\n").unwrap();
        for (lines, level, why) in [
            ("\u{ff}".repeat(70_000), "WARN", "a line too long"),
            ("what?\n".into(), "WARN", "no identity"),
            ("ping 2\nmsg 2\n".into(), "WARN", "a malformed line"),
            ("ping 0\n".into(), "WARN", "an id that ought not to dial us"),
            ("ping 1\n".into(), "WARN", "our own id"),
            ("ping 7\n".into(), "WARN", "an id outside the grid"),
            (String::new(), "INFO", "no valid line in time"),
        ] {
            speak(host, 3001, &lines);
            server.says(&[level, "server=1", &format!("why={why}")]);
        }
        drop(server.connect(3001));
        server.says(&[
            "INFO connection closed server=1",
            "why=the other side finished",
        ]);
    }
}

#[test]
fn nobody_can_flood_the_log() {
    for runtime in RUNTIMES {
        let host = host();
        let mut server = Server::new(host, 0, 4, &format!("--log info --runtime {runtime}"));
        server.says(&["listening"]);
        let begin = Instant::now();
        let mut attacks = 0;
        while begin.elapsed() < Duration::from_secs(3) {
            speak(host, 3000, "ping 3\nping 1\n");
            speak(host, 3000, "ping 9\n");
            attacks += 1;
        }
        assert!(attacks > 100, "{attacks}");
        server.says(&["WARN peer 3 ", "the id of another server"]);
        server.end();
        let lines = server.log.len();
        assert!(
            lines < 40,
            "{lines} lines of {attacks} attacks: {:#?}",
            server.log
        );
        // Nothing is missing from the sum of what is said and what is said to be left out.
        for (what, level) in [
            ("peer up", "INFO"),
            ("peer down", "WARN"),
            ("connection closed", "WARN"),
        ] {
            let said = format!(" {level} {what} ");
            let said = server
                .log
                .iter()
                .filter(|line| line.contains(&said))
                .count();
            let of = format!("what=\"{what}\"");
            let out = (server.log.iter())
                .filter(|line| line.contains(&of) && line.contains("s were left out"))
                .map(|line| {
                    let (before, _) = line.split_once(" more like this in the last ").unwrap();
                    before.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
                })
                .sum::<usize>();
            assert_eq!(said + out, attacks, "{what}: {:#?}", server.log);
        }
    }
}

#[test]
fn a_server_of_another_grid_is_warned_of_at_the_default_level() {
    let host = host();
    let mut server = Server::new(host, 0, 4, "");
    let _larger = Server::new(host, 5, 6, "--log off");
    server.says(&[
        "WARN",
        "an id outside this grid of 4 servers: was a server started with another N?",
    ]);
    // Once, however often it comes back.
    server.listen(Duration::from_secs(2));
    let hints = server.log.iter().filter(|line| line.contains("another N?"));
    assert_eq!(hints.count(), 1, "{:#?}", server.log);
}

#[test]
fn an_id_that_is_given_twice_or_at_another_place_is_warned_of() {
    let host = host();
    let mut server = Server::new(host, 1, 3, "");
    server.connect(10_001);
    speak(host, 3001, "ping 1\n");
    server.says(&[
        "WARN",
        "says that it is server 1, which is this one: was the id given to two servers?",
    ]);
    speak(host, 3001, "ping 0\n");
    server.says(&["WARN", "a server with an id below 1 dialled this one"]);
    // Server 0 where server 1 is expected.
    let host = self::host();
    let _other = Server::new(host, 0, 3, "--base-port 3001 --log off");
    let mut server = Server::new(host, 2, 3, "");
    server.says(&[
        "WARN",
        "the server at the address of a peer says that it is another one",
    ]);
}

#[test]
fn a_heartbeat_slower_than_the_others_suspicion_is_warned_of_on_both_sides() {
    let host = host();
    let mut quick = Server::new(host, 0, 2, "--heartbeat 200 --suspicion 400");
    let mut slow = Server::new(host, 1, 2, "--heartbeat 3000 --suspicion 6000");
    quick.says(&[
        "WARN peer 1 was silent for more than 400 ms, 2 times within 60 s: ",
        "is its --heartbeat longer than the --suspicion of this server",
    ]);
    slow.says(&[
        "WARN peer 0 ended its session 5 times within 60 s: ",
        "is its --suspicion shorter than the --heartbeat of this server?",
    ]);
}
