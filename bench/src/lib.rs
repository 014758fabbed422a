//! The hot paths of the core as plain functions, counted by `benches/instructions.rs` and timed by
//! `benches/wall.rs`.

use chatroom_chat::{ChatServer, Config, LINKS, MASTERS};
use chatroom_machine::{Action, Conn, Machine, Remote, Span, Time};

/// Server 0 of a grid with all its peers linked, and one master.
#[derive(Debug)]
pub struct Hub {
    server: ChatServer,
    now: Time,
    links: Vec<Conn>,
    master: Conn,
}

/// Bytes of the texts.
pub const TEXT: usize = 64;

impl Hub {
    /// A hub with `peers` links.
    ///
    /// # Panics
    /// If the core refuses what a correct grid does, which would be its fault.
    #[must_use]
    pub fn new(peers: u32) -> Self {
        let mut server = ChatServer::new(Config::new(0, peers + 1)).expect("a good configuration");
        let now = Time::ZERO;
        server.handle_start(now);
        let master = server
            .handle_accepted(now, MASTERS, Remote::default())
            .expect("room");
        let mut hub = Self {
            server,
            now,
            links: Vec::new(),
            master,
        };
        // One after the other: links without a name are limited.
        for i in 1..=peers {
            let link = hub
                .server
                .handle_accepted(now, LINKS, Remote::default())
                .expect("room");
            hub.links.push(link);
            hub.bytes(link, format!("ping {i}\n").as_bytes());
        }
        hub.settle();
        hub
    }

    fn bytes(&mut self, conn: Conn, bytes: &[u8]) {
        self.server
            .handle_bytes(self.now, conn, bytes)
            .expect("an open connection");
    }

    /// Does what a driver does, with a transport that takes everything.
    fn settle(&mut self) -> usize {
        let mut sent = 0;
        while let Some(action) = self.server.poll() {
            if let Action::Send(conn) = action {
                loop {
                    let count = self.server.pending(conn, 0).len();
                    if count == 0 {
                        break;
                    }
                    sent += count;
                    self.server
                        .handle_sent(self.now, conn, count)
                        .expect("pending bytes");
                }
            }
        }
        std::hint::black_box(self.server.poll_timeout());
        sent
    }

    /// The bytes of `count` messages of the first peer.
    #[must_use]
    pub fn messages(count: usize) -> Vec<u8> {
        let line = format!("msg 1 {}\n", "x".repeat(TEXT));
        line.repeat(count).into_bytes()
    }

    /// The bytes of `count` broadcasts of a master.
    #[must_use]
    pub fn broadcasts(count: usize) -> Vec<u8> {
        let line = format!("broadcast {}\n", "x".repeat(TEXT));
        line.repeat(count).into_bytes()
    }

    /// The first peer's bytes come in, in one read.
    pub fn deliver(&mut self, bytes: &[u8]) -> usize {
        self.bytes(self.links[0], bytes);
        self.settle()
    }

    /// The master's bytes come in, in one read, and go out to all.
    pub fn broadcast(&mut self, bytes: &[u8]) -> usize {
        self.bytes(self.master, bytes);
        self.settle()
    }

    /// A `get`, streamed.
    pub fn get(&mut self) -> usize {
        self.bytes(self.master, b"get\n");
        self.settle()
    }

    /// Every peer's heartbeat comes in, and ours go out.
    ///
    /// # Panics
    /// If a peer is suspected, which would be the core's fault.
    pub fn heartbeats(&mut self) -> usize {
        self.now = self.now + Span::from_millis(450);
        for i in 0..self.links.len() {
            let id = [b"ping ", format!("{}", i + 1).as_bytes(), b"\n"].concat();
            self.bytes(self.links[i], &id);
        }
        self.server.handle_timeout(self.now);
        let sent = self.settle();
        assert_eq!(self.server.gauges().peers, self.links.len());
        sent
    }

    /// A timeout that looks at every link and finds nothing.
    pub fn scan(&mut self) -> usize {
        self.server.handle_timeout(self.now);
        self.settle()
    }
}
