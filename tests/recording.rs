//! `serve --record` and `replay`, from outside: servers over their whole lives, on every runtime,
//! whatever ends them, do the same again.

use chatroom_chat::{ChatServer, Config, MASTERS};
use chatroom_machine::{Machine, Remote, Time};
use chatroom_record::Recorder;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, id};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A condition that does not come true by then never will.
const LONG: Duration = Duration::from_secs(60);

fn chatroom() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
    command.env_clear();
    command
}

/// A folder of one test alone, gone when the test is done with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn replay(&self) -> Output {
        chatroom()
            .arg("replay")
            .args(self.files())
            .output()
            .unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Servers that are recorded, with a master each, on a loopback address of their own.
struct Grid<'a> {
    host: Ipv4Addr,
    runtimes: &'a [&'a str],
    folder: &'a Path,
    servers: Vec<Option<(Child, BufReader<TcpStream>)>>,
}

impl<'a> Grid<'a> {
    fn new(runtimes: &'a [&'a str], folder: &'a Path) -> Self {
        static USED: AtomicU8 = AtomicU8::new(1);
        let [.., a, b] = id().to_be_bytes();
        let mut grid = Self {
            host: Ipv4Addr::new(127, 128 | (a & 63), b, USED.fetch_add(1, Ordering::Relaxed)),
            runtimes,
            folder,
            servers: runtimes.iter().map(|_| None).collect(),
        };
        for server in 0..runtimes.len() {
            grid.start(server);
        }
        grid
    }

    fn start(&mut self, server: usize) {
        let port = 10_000 + server as u16;
        let child = chatroom()
            .args(["serve", &server.to_string()])
            .args([self.servers.len().to_string(), port.to_string()])
            .args(["--host", &self.host.to_string()])
            .args(["--runtime", self.runtimes[server]])
            .arg("--record")
            .arg(self.folder)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let socket = loop {
            match TcpStream::connect((self.host, port)) {
                Ok(socket) => break socket,
                Err(error) => assert!(begin.elapsed() < LONG, "{error}"),
            }
            sleep(Duration::from_millis(5));
        };
        socket.set_read_timeout(Some(LONG)).unwrap();
        self.servers[server] = Some((child, BufReader::new(socket)));
    }

    fn tell(&mut self, server: usize, line: &str) {
        let (_, master) = self.servers[server].as_mut().unwrap();
        writeln!(master.get_mut(), "{line}").unwrap();
    }

    fn ask(&mut self, server: usize, line: &str) -> String {
        self.tell(server, line);
        let (_, master) = self.servers[server].as_mut().unwrap();
        let mut reply = String::new();
        master.read_line(&mut reply).unwrap();
        reply.trim_end().to_owned()
    }

    /// Waits until what `server` answers to `request` ends with `end`.
    fn wait(&mut self, server: usize, request: &str, end: &str) {
        let begin = Instant::now();
        while !self.ask(server, request).ends_with(end) {
            assert!(begin.elapsed() < LONG, "no {end:?} from server {server}");
            sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self, server: usize, signal: &str) {
        let (mut child, _) = self.servers[server].take().unwrap();
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
        child.wait().unwrap();
    }
}

impl Drop for Grid<'_> {
    fn drop(&mut self) {
        for (child, _) in self.servers.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Talks, loses a server to `signal`, has it back, and ends the servers in two ways.
fn live(grid: &mut Grid<'_>, signal: &str) {
    for server in 0..3 {
        grid.wait(server, "alive", "alive 0,1,2");
    }
    for i in 0..300 {
        grid.tell(i % 3, &format!("broadcast {i}, größer {}", "x".repeat(i)));
    }
    grid.tell(2, "no such command");
    let mut stranger = TcpStream::connect((grid.host, 3000)).unwrap();
    stranger.write_all(b"\xff\n").unwrap();
    grid.end(1, signal);
    for server in [0, 2] {
        grid.wait(server, "alive", "alive 0,2");
    }
    grid.tell(0, "broadcast alone");
    grid.start(1);
    for server in 0..3 {
        grid.wait(server, "alive", "alive 0,1,2");
    }
    grid.tell(1, "broadcast back");
    for server in 0..3 {
        grid.wait(server, "get", "back");
    }
    grid.end(0, "TERM");
    grid.end(1, "KILL");
    grid.end(2, "INT");
}

fn lives_replay(name: &str, runtimes: &[&str], signal: &str) {
    let folder = Folder::new(name);
    live(&mut Grid::new(runtimes, &folder.0), signal);
    assert_eq!(folder.files().len(), 4);
    let replayed = folder.replay();
    let said = String::from_utf8(replayed.stdout).unwrap();
    assert!(replayed.status.success(), "{said}");
    assert_eq!(said.matches("gave the same").count(), 4, "{said}");
}

#[test]
fn a_server_on_threads_does_the_same_again() {
    lives_replay("threads", &["std"; 3], "KILL");
}

#[test]
fn a_server_on_smol_does_the_same_again() {
    lives_replay("smol", &["smol"; 3], "KILL");
}

#[test]
fn a_server_that_ended_in_good_order_does_the_same_again() {
    lives_replay("order", &["std", "smol", "std"], "TERM");
}

#[test]
fn another_server_is_told_from_the_recorded_one() {
    let folder = Folder::new("another");
    let mut grid = Grid::new(&["smol"], &folder.0);
    assert_eq!(grid.ask(0, "alive"), "alive 0");
    grid.end(0, "KILL");
    let made = fs::read(&folder.files()[0]).unwrap();
    // The header of a server that takes only short texts, the outputs of one that takes all.
    let text = String::from_utf8_lossy(&made);
    let lines = text
        .lines()
        .skip(1)
        .skip_while(|line| !line.contains("chatroom "));
    let mut header = String::new();
    for line in lines {
        let line = &line[line.find("chatroom ").unwrap_or(0)..];
        let short = line.starts_with("max-text ");
        header.push_str(if short { "max-text 5" } else { line });
        header.push('\n');
        if line.starts_with("backoff-max ") {
            break;
        }
    }
    let path = folder.0.join("another");
    let server = ChatServer::new(Config::new(0, 1)).unwrap();
    let file = File::create_new(&path).unwrap();
    let mut server =
        Recorder::new(server, file, header.as_bytes(), |error| panic!("{error}")).unwrap();
    server.handle_start(Time::ZERO);
    let master = server
        .handle_accepted(Time::ZERO, MASTERS, Remote::default())
        .unwrap();
    let line = b"broadcast longer than that\n";
    server.handle_bytes(Time::ZERO, master, line).unwrap();
    while server.poll().is_some() {}
    drop(server);
    let replayed = chatroom().arg("replay").arg(&path).output().unwrap();
    let said = String::from_utf8(replayed.stdout).unwrap();
    assert_eq!(replayed.status.code(), Some(1), "{said}");
    assert!(said.contains("differs, at 0.000000s"), "{said}");
    assert!(said.contains("longer than that"), "{said}");
    assert!(
        said.contains("recorded: ") && said.contains("got: "),
        "{said}"
    );
}

#[test]
fn a_recording_is_never_overwritten() {
    let folder = Folder::new("overwritten");
    let path = folder.0.join("file");
    fs::write(&path, "precious").unwrap();
    let serve = chatroom()
        .args(["serve", "0", "1", "10000", "--record"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(serve.status.code(), Some(1));
    let said = String::from_utf8(serve.stderr).unwrap();
    assert!(
        said.contains("hint: give a file that does not exist"),
        "{said}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let replayed = folder.replay();
    assert_eq!(replayed.status.code(), Some(1));
    let said = String::from_utf8(replayed.stderr).unwrap();
    assert!(said.contains("this is no recording\nhint: "), "{said}");
}
