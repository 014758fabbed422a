//! The masters of a test: one connection that asks and waits, one that watches.

use super::{LONG, until};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A connection to a master port.
pub(crate) struct Master {
    reads: BufReader<TcpStream>,
}

impl Master {
    /// Connects, as soon as the port is there.
    pub(crate) fn new(host: Ipv4Addr, port: u16) -> Self {
        let mut connected = None;
        until("a master port is open", || {
            connected = TcpStream::connect((host, port)).ok();
            connected.is_some()
        });
        let socket = connected.unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_write_timeout(Some(LONG)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            reads: BufReader::new(socket),
        }
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        self.reads.get_mut()
    }

    /// Sends bytes as they are.
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        self.socket().write_all(bytes).unwrap();
    }

    /// Sends one line.
    pub(crate) fn tell(&mut self, line: &str) {
        self.sends(format!("{line}\n").as_bytes());
    }

    /// The next line; `None` at the end of the stream.
    pub(crate) fn hears(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reads.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => None,
            Err(e) => panic!("no line from a server: {e}"),
        }
    }

    /// Sends one line and waits for the reply.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hears().expect("a reply")
    }

    pub(crate) fn alive(&mut self) -> Vec<usize> {
        let reply = self.ask("alive");
        let ids = reply.strip_prefix("alive ").expect(&reply);
        ids.split(',').map(|id| id.parse().unwrap()).collect()
    }

    /// The log; texts of tests have no commas.
    pub(crate) fn get(&mut self) -> Vec<String> {
        texts(&self.ask("get"))
    }

    /// Waits until the log holds, and gives it.
    pub(crate) fn log_where(
        &mut self,
        what: &str,
        holds: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let mut log = Vec::new();
        until(what, || {
            log = self.get();
            holds(&log)
        });
        log
    }

    /// Says that nothing more will come, and reads to the end.
    pub(crate) fn finish(mut self) -> String {
        self.socket().shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        self.reads.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// The texts in the reply to a `get`.
pub(crate) fn texts(reply: &str) -> Vec<String> {
    let log = reply.strip_prefix("messages ").expect(reply);
    let texts = log.split(',').filter(|text| !text.is_empty());
    texts.map(str::to_owned).collect()
}

/// What a server tells of itself, from now on.
pub(crate) struct Watch {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    pub(crate) fn new(mut master: Master) -> Self {
        master.tell("watch");
        master.tell("alive");
        // The answer shows that the watching has begun; news may come before it.
        let mut first = Vec::new();
        loop {
            let line = master.hears().expect("a reply");
            if line.starts_with("alive ") {
                break;
            }
            first.push(line);
        }
        let lines = Arc::new(Mutex::new(first));
        let seen = Arc::clone(&lines);
        master.socket().set_read_timeout(None).unwrap();
        thread::spawn(move || {
            while let Some(line) = master.hears() {
                seen.lock().unwrap().push(line);
            }
        });
        Self { lines }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many deliveries it was told of.
    pub(crate) fn delivered(&self) -> usize {
        let lines = self.lines.lock().unwrap();
        let deliveries = lines.iter().filter(|l| l.starts_with("delivered "));
        deliveries.count()
    }

    /// Those that begin with `word`, without it.
    pub(crate) fn told(&self, word: &str) -> Vec<String> {
        let lines = self.lines();
        let told = lines.iter().filter_map(|line| line.strip_prefix(word));
        told.map(|rest| rest.trim_start().to_owned()).collect()
    }
}
