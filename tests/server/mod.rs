//! One server as a process, and masters that talk to it.
// Not every test needs all of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Output, Stdio, id};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A condition that does not come true by then never will.
pub const LONG: Duration = Duration::from_secs(30);
pub const RUNTIMES: [&str; 2] = ["std", "smol"];

/// The binary, with nothing in its environment.
pub fn chatroom(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
    command.env_clear().args(arguments.split_whitespace());
    command.stdin(Stdio::null());
    command
}

pub fn run(arguments: &str) -> Output {
    chatroom(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A loopback address of one test alone.
pub fn host() -> Ipv4Addr {
    static USED: AtomicU8 = AtomicU8::new(1);
    let [.., a, b] = id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (a & 63), b, USED.fetch_add(1, Ordering::Relaxed))
}

/// A server, killed when the test is done with it.
pub struct Server {
    pub child: Child,
    pub host: Ipv4Addr,
    pub port: u16,
}

/// A connection to its master port.
pub struct Master {
    pub reads: BufReader<TcpStream>,
}

impl Server {
    pub fn new(host: Ipv4Addr, id: u16, n: u16, options: &str) -> Self {
        Self::of(
            chatroom(&format!(
                "serve {id} {n} {} --host {host} {options}",
                10_000 + id
            )),
            host,
            10_000 + id,
        )
    }

    pub fn of(mut command: Command, host: Ipv4Addr, port: u16) -> Self {
        let child = command.spawn().unwrap();
        Self { child, host, port }
    }

    pub fn master(&self) -> Master {
        let begin = Instant::now();
        loop {
            match TcpStream::connect((self.host, self.port)) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(LONG)).unwrap();
                    let reads = BufReader::new(socket);
                    return Master { reads };
                }
                Err(e) => assert!(begin.elapsed() < LONG, "{e}"),
            }
            sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(done.unwrap().success());
    }

    pub fn status(&mut self) -> Option<i32> {
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            sleep(Duration::from_millis(5));
        }
        panic!("the server does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Master {
    pub fn tells(&mut self, line: &str) {
        writeln!(self.reads.get_mut(), "{line}").unwrap();
    }

    pub fn asks(&mut self, line: &str) -> String {
        self.tells(line);
        let mut reply = String::new();
        self.reads.read_line(&mut reply).unwrap();
        reply.trim_end_matches('\n').to_owned()
    }

    pub fn gets(&mut self, request: &str, wanted: &str) {
        let begin = Instant::now();
        loop {
            let reply = self.asks(request);
            if reply == wanted {
                return;
            }
            assert!(begin.elapsed() < LONG, "{reply:?} instead of {wanted:?}");
            sleep(Duration::from_millis(5));
        }
    }
}
