//! Metrics from outside: what a scraper of real processes reads, on both runtimes, and that a
//! hostile one disturbs nobody.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A condition that does not come true by then never will.
const LONG: Duration = Duration::from_secs(60);
const RUNTIMES: [&str; 2] = ["std", "smol"];
const METRICS: u16 = 9100;
/// The header that asks for OpenMetrics.
const OPEN: &str = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";

/// A grid on a loopback address of its own, each server with metrics, killed in the end.
struct Grid {
    host: Ipv4Addr,
    children: Vec<Child>,
}

impl Grid {
    fn new(runtime: &str, n: u16, options: &[&str]) -> Self {
        static USED: AtomicU8 = AtomicU8::new(1);
        let [.., a, b] = id().to_be_bytes();
        let host = Ipv4Addr::new(127, 32 | (a & 31), b, USED.fetch_add(1, Ordering::Relaxed));
        let start = |id: u16| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
            command.env_clear().stdin(Stdio::null());
            command.args(["serve", &id.to_string(), &n.to_string()]);
            command.args([(10_000 + id).to_string()]);
            command.args(["--runtime", runtime, "--host", &host.to_string()]);
            command.args(["--metrics", &format!("{host}:{}", METRICS + id)]);
            command.args(options).spawn().unwrap()
        };
        let children = (0..n).map(start).collect();
        Self { host, children }
    }

    fn master(&self, id: u16) -> BufReader<TcpStream> {
        let mut connected = None;
        until("a master port is open", || {
            connected = TcpStream::connect((self.host, 10_000 + id)).ok();
            connected.is_some()
        });
        let socket = connected.unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        BufReader::new(socket)
    }

    /// What the metrics port says to a request.
    fn http(&self, id: u16, request: &str) -> Option<String> {
        let mut socket = TcpStream::connect((self.host, METRICS + id)).ok()?;
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.write_all(request.as_bytes()).ok()?;
        let mut response = String::new();
        socket.read_to_string(&mut response).ok()?;
        Some(response)
    }

    /// The head and the body of an answer with metrics, asked for with `headers`.
    fn answer(&self, id: u16, headers: &str) -> (String, String) {
        let mut found = None;
        until("a scrape is answered", || {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            found = self.http(id, &request).and_then(|response| {
                let (head, body) = response.split_once("\r\n\r\n")?;
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
                assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
                Some((head.to_owned(), body.to_owned()))
            });
            found.is_some()
        });
        found.unwrap()
    }

    fn scrape(&self, id: u16) -> BTreeMap<String, f64> {
        parse(&self.answer(id, OPEN).1)
    }

    /// Waits until a server's metrics hold.
    fn measures(&self, id: u16, what: &str, holds: impl Fn(&dyn Fn(&str) -> f64) -> bool) {
        until(what, || {
            let values = self.scrape(id);
            holds(&|name: &str| values[&format!("chatroom_{name}")])
        });
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < LONG, "not in time: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn ask(master: &mut BufReader<TcpStream>, line: &str) -> String {
    writeln!(master.get_mut(), "{line}").unwrap();
    let mut reply = String::new();
    master.read_line(&mut reply).unwrap();
    reply
}

/// Reads OpenMetrics, strictly: every sample belongs to the family whose type was just said,
/// no sample comes twice, the buckets of a histogram only grow, and the end is marked.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect(text);
    let mut values = BTreeMap::new();
    let (mut family, mut kind) = (String::new(), String::new());
    let mut last = 0.0;
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram", "info"].contains(&of));
            (family, kind, last) = (name.to_owned(), of.to_owned(), 0.0);
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let name = sample.split('{').next().unwrap();
        let suffix = name.strip_prefix(&family).expect(line);
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            _ => &["_bucket", "_sum", "_count"],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        if suffix == "_bucket" {
            assert!(value >= last, "{line}");
            last = value;
        }
        assert!(values.insert(sample.to_owned(), value).is_none(), "{line}");
    }
    values
}

#[test]
fn values_tell_what_happens() {
    for runtime in RUNTIMES {
        let mut grid = Grid::new(runtime, 3, &[]);
        grid.measures(0, "two peers are up", |value| value("peers") == 2.0);
        let mut master = grid.master(0);
        for i in 0..10 {
            writeln!(master.get_mut(), "broadcast text {i}").unwrap();
        }
        assert!(ask(&mut master, "nonsense").starts_with("error "));
        grid.measures(0, "the sender counts", |value| {
            value("broadcasts_total") == 10.0
                && value("errors_total") == 1.0
                && value("log_texts") == 10.0
                && value("log_bytes") >= 60.0
                && value("masters") == 1.0
                && value("in_bytes_total") > 100.0
                && value("out_bytes_total") > 2.0 * 60.0
        });
        grid.measures(1, "a receiver counts", |value| {
            value("deliveries_total") == 10.0 && value("broadcasts_total") == 0.0
        });
        grid.measures(2, "who dials counts it", |value| {
            value("dials_total") >= 2.0 && value("sessions_total") >= 2.0
        });

        grid.children[1].kill().unwrap();
        grid.measures(0, "a closed link has a reason", |value| {
            value("peers") == 1.0
                && value("closed_connections_total{why=\"finished\"}")
                    + value("closed_connections_total{why=\"broken\"}")
                    >= 1.0
        });
        let pid = grid.children[2].id().to_string();
        let stop = Command::new("kill").args(["-s", "STOP", &pid]).status();
        assert!(stop.unwrap().success());
        grid.measures(0, "a silent peer's silence is measured", |value| {
            value("peers") == 0.0
                && value("closed_connections_total{why=\"silent\"}") >= 1.0
                && value("suspected_silence_seconds_count") >= 1.0
                && value("suspected_silence_seconds_sum") >= 0.9
                && value("suspected_silence_seconds_bucket{le=\"0.75\"}") == 0.0
                && value("suspected_silence_seconds_bucket{le=\"+Inf\"}") >= 1.0
        });
        let label = format!(
            "chatroom_server_info{{server=\"0\",servers=\"3\",runtime=\"{runtime}\",version=\"{}\"}}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(grid.scrape(0)[&label], 1.0);
    }
}

#[test]
fn each_peer_has_a_value_of_its_own() {
    for runtime in RUNTIMES {
        let mut grid = Grid::new(runtime, 3, &[]);
        grid.measures(1, "both peers are up", |value| {
            value("peer_up{peer=\"0\"}") == 1.0 && value("peer_up{peer=\"2\"}") == 1.0
        });
        assert!(!grid.scrape(1).contains_key("chatroom_peer_up{peer=\"1\"}"));
        grid.children[2].kill().unwrap();
        grid.measures(1, "one is down", |value| {
            value("peer_up{peer=\"0\"}") == 1.0 && value("peer_up{peer=\"2\"}") == 0.0
        });
    }
}

#[test]
fn the_process_is_measured_as_the_system_sees_it() {
    for runtime in RUNTIMES {
        let grid = Grid::new(runtime, 1, &[]);
        let before = grid.scrape(0);
        let pid = grid.children[0].id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.unwrap().trim().trim_end_matches(" kB");
        let kib: f64 = kib.parse().unwrap();
        let resident = before["process_resident_memory_bytes"] / 1024.0;
        assert!((resident - kib).abs() < 1024.0, "{resident} and {kib} KiB");
        assert!(before["process_cpu_seconds_total"] > 0.0);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let age = now - before["process_start_time_seconds"];
        assert!((0.0..60.0).contains(&age), "{age}");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let most = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let most = most.unwrap().split_whitespace().nth(3).unwrap();
        assert_eq!(before["process_max_fds"], most.parse::<f64>().unwrap());
        // Every master costs a descriptor.
        let mut masters: Vec<_> = (0..5).map(|_| grid.master(0)).collect();
        for master in &mut masters {
            ask(master, "alive");
        }
        let after = grid.scrape(0)["process_open_fds"];
        assert!(after >= before["process_open_fds"] + 5.0, "{after}");
    }
}

#[test]
fn a_scraper_gets_the_format_that_it_asks_for() {
    let grid = Grid::new("std", 2, &[]);
    grid.measures(0, "the peer is up", |value| value("peers") == 1.0);
    let (head, open) = grid.answer(0, OPEN);
    let kind = "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(kind), "{head}");
    let samples = parse(&open);
    for headers in [
        "",
        "Accept: */*\r\n",
        "ACCEPT: text/plain;version=0.0.4\r\n",
    ] {
        let (head, plain) = grid.answer(0, headers);
        let kind = "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(head.contains(kind), "{head}");
        assert!(!plain.contains("# EOF"), "{plain}");
        // The same samples, each in a family of exactly its name, histograms aside.
        let mut family = String::new();
        let mut names = Vec::new();
        for line in plain.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                name.clone_into(&mut family);
            } else if !line.starts_with("# HELP ") {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = sample.split('{').next().unwrap();
                let of = name.strip_prefix(&family);
                assert!(
                    ["", "_bucket", "_sum", "_count"].contains(&of.unwrap()),
                    "{line}"
                );
                names.push(sample.to_owned());
            }
        }
        names.sort();
        assert_eq!(names, samples.keys().cloned().collect::<Vec<_>>());
        check_by_promtool(&plain);
    }
}

/// Has Prometheus' own tool check the plain format, if this machine has it.
fn check_by_promtool(plain: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(e) => return eprintln!("promtool can't be run here, so it checks nothing: {e}"),
    };
    tool.stdin
        .take()
        .unwrap()
        .write_all(plain.as_bytes())
        .unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}\n{plain}"
    );
}

#[test]
fn a_recorded_server_has_metrics_too() {
    let name = format!("metrics-{}.chatrec", id());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let grid = Grid::new("std", 1, &["--record", file.to_str().unwrap()]);
    assert_eq!(ask(&mut grid.master(0), "alive"), "alive 0\n");
    grid.measures(0, "the server is looked at", |value| {
        value("accepted_connections_total") >= 1.0
    });
    drop(grid);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn other_requests_get_an_error() {
    let grid = Grid::new("std", 1, &[]);
    grid.scrape(0);
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(8 << 10));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("\r\n\r\n", "405"),
        ("\0\r\n\r\n", "405"),
        (&long, "431"),
    ] {
        // What was sent past the limit may reset the connection before the answer is read.
        if let Some(response) = grid.http(0, request) {
            let start = format!("HTTP/1.1 {status} ");
            assert!(response.starts_with(&start), "{request:?}: {response}");
        } else {
            assert_eq!(status, "431");
        }
    }
    assert!(grid.scrape(0).len() > 20);
}

#[test]
fn scrapers_that_never_read_or_never_speak_disturb_nobody() {
    for runtime in RUNTIMES {
        let grid = Grid::new(runtime, 2, &[]);
        grid.measures(0, "the peer is up", |value| value("peers") == 1.0);
        let strangers: Vec<_> = (0..24)
            .map(|i| {
                let mut socket = TcpStream::connect((grid.host, METRICS)).unwrap();
                match i % 3 {
                    0 => {}
                    1 => socket.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap(),
                    _ => {
                        let request = b"GET /metrics HTTP/1.1\r\n\r\n".repeat(40);
                        socket.write_all(&request).unwrap();
                    }
                }
                socket
            })
            .collect();
        let (mut sender, mut receiver) = (grid.master(0), grid.master(1));
        for i in 0..200 {
            writeln!(sender.get_mut(), "broadcast {i}").unwrap();
        }
        until("every broadcast arrives", || {
            ask(&mut receiver, "get").ends_with(",199\n")
        });
        assert_eq!(ask(&mut sender, "alive"), "alive 0,1\n");
        // The strangers still hold on: each was given up after its time.
        grid.measures(0, "a scraper has its turn", |value| {
            value("broadcasts_total") == 200.0
        });
        drop(strangers);
    }
}

#[test]
fn metrics_are_off_unless_asked_for_and_private_unless_exposed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
    command.env_clear().args(["serve", "0", "1", "10000"]);
    command.env("CHATROOM_METRICS", "0.0.0.0:9100");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.starts_with("error: 0.0.0.0 can be reached from other machines\nhint: "));

    // Without the option a server listens on its two ports and nowhere else.
    let grid = Grid::new("std", 1, &[]);
    let listens = |pid: u32| {
        let tables = ["tcp", "tcp6"].map(|name| {
            std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default()
        });
        let sockets = tables.concat();
        let listening: Vec<_> = (sockets.lines())
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.get(3) == Some(&"0A"))
            .map(|fields| format!("socket:[{}]", fields[9]))
            .collect();
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = descriptors.filter_map(|entry| entry.unwrap().path().read_link().ok());
        targets
            .filter(|target| listening.contains(&target.display().to_string()))
            .count()
    };
    grid.scrape(0);
    ask(&mut grid.master(0), "alive");
    assert_eq!(listens(grid.children[0].id()), 3);

    let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
    command.env_clear().stdin(Stdio::null());
    command.args(["serve", "0", "1", "10100", "--base-port", "3100"]);
    let host = grid.host;
    let child = command.args(["--host", &host.to_string()]).spawn().unwrap();
    let quiet = Grid {
        host,
        children: vec![child],
    };
    ask(&mut quiet.master(100), "alive");
    assert_eq!(listens(quiet.children[0].id()), 2);
}
