//! One server, its driver's part played by the test: every connection in hand, every action
//! noted. The server's side of the contract is checked at each call; the tests make wrong calls.

use chatroom_chat::*;
use chatroom_machine::*;
use std::collections::{BTreeMap, BTreeSet};

pub struct Solo {
    pub server: Checked<ChatServer>,
    pub now: Time,
    pub open: BTreeSet<Conn>,
    /// The dials under way, by place.
    pub dials: BTreeMap<u32, Conn>,
    pub paused: BTreeSet<Conn>,
    pub shut: BTreeSet<Door>,
    pub closed: Vec<Conn>,
    pub news: Vec<News>,
    pub halt: Option<Halt>,
}

impl Solo {
    pub fn new(config: Config) -> Self {
        let server = ChatServer::new(config).expect("a valid configuration");
        let checks = Checks::thorough().panicking().only(Side::Machine);
        Self {
            server: Checked::new(server, checks),
            now: Time::ZERO,
            open: BTreeSet::new(),
            dials: BTreeMap::new(),
            paused: BTreeSet::new(),
            shut: BTreeSet::new(),
            closed: vec![],
            news: vec![],
            halt: None,
        }
    }

    /// A started server with every default.
    pub fn start(id: u32, servers: u32) -> Self {
        Self::with(Config::new(id, servers))
    }

    pub fn with(config: Config) -> Self {
        let mut solo = Self::new(config);
        solo.server.handle_start(solo.now);
        solo.drain();
        solo
    }

    /// Does what the server asks for.
    pub fn drain(&mut self) {
        while let Some(action) = self.server.poll() {
            match action {
                Action::Dial { conn, to } => {
                    self.open.insert(conn);
                    assert!(
                        self.dials.insert(to.0, conn).is_none(),
                        "two dials of {to:?}"
                    );
                }
                Action::Send(_) => {}
                Action::Pause(conn) => {
                    self.paused.insert(conn);
                }
                Action::Resume(conn) => {
                    self.paused.remove(&conn);
                }
                Action::Close(conn) => {
                    self.forget(conn);
                    self.closed.push(conn);
                }
                Action::Store(_) | Action::Discard { .. } => panic!("a chat has no volumes"),
                Action::Shut(door) => {
                    self.shut.insert(door);
                }
                Action::Open(door) => {
                    self.shut.remove(&door);
                }
                Action::Notice(news) => self.news.push(news),
                Action::Halt(halt) => self.halt = Some(halt),
            }
        }
    }

    fn forget(&mut self, conn: Conn) {
        self.open.remove(&conn);
        self.paused.remove(&conn);
        self.dials.retain(|_, c| *c != conn);
    }

    /// `handle_timeout` and a drain.
    pub fn tick(&mut self) {
        self.server.handle_timeout(self.now);
        self.drain();
    }

    /// Goes to `to`, calling for every timeout at its very moment.
    pub fn advance_to(&mut self, to: Time) {
        while let Some(next) = self.server.poll_timeout().filter(|t| t.at <= to) {
            self.now = self.now.max(next.at);
            self.tick();
        }
        self.now = to;
    }

    pub fn advance(&mut self, span: Span) {
        self.advance_to(self.now + span);
    }

    /// Calls for what is due at this very moment.
    pub fn judge(&mut self) {
        self.advance_to(self.now);
    }

    pub fn try_accept(&mut self, door: Door) -> Result<Conn, Refused> {
        self.try_accept_from(door, Remote::default())
    }

    pub fn try_accept_from(&mut self, door: Door, remote: Remote) -> Result<Conn, Refused> {
        let conn = self.server.handle_accepted(self.now, door, remote);
        if let Ok(conn) = conn {
            self.open.insert(conn);
        }
        self.drain();
        conn
    }

    /// Accepts a connection from `source`.
    pub fn accept_from(&mut self, door: Door, source: u128) -> Conn {
        let remote = Remote {
            source,
            gone: false,
        };
        self.try_accept_from(door, remote).expect("accepted")
    }

    pub fn accept(&mut self, door: Door) -> Conn {
        self.try_accept(door).expect("accepted")
    }

    pub fn master(&mut self) -> Conn {
        self.accept(MASTERS)
    }

    /// A session with a peer above.
    pub fn peer(&mut self, id: u32) -> Conn {
        let conn = self.accept(LINKS);
        self.bytes(conn, format!("ping {id}\n").as_bytes());
        self.read(conn);
        conn
    }

    /// The dial of `peer` that is under way succeeds.
    pub fn connected(&mut self, peer: u32) -> Conn {
        let conn = self.dials.remove(&peer).expect("a dial is under way");
        self.server
            .handle_dialled(self.now, conn, Dialled::Connected)
            .expect("being dialled");
        self.drain();
        conn
    }

    pub fn dial_fails(&mut self, peer: u32) {
        let conn = self.dials.remove(&peer).expect("a dial is under way");
        self.open.remove(&conn);
        self.server
            .handle_dialled(self.now, conn, Dialled::Failed)
            .expect("being dialled");
        self.drain();
    }

    pub fn bytes(&mut self, conn: Conn, bytes: &[u8]) {
        self.server
            .handle_bytes(self.now, conn, bytes)
            .expect("open");
        self.drain();
    }

    /// Takes at most `most` of what is owed to `conn`.
    pub fn take(&mut self, conn: Conn, most: usize) -> Vec<u8> {
        let mut out = vec![];
        while out.len() < most {
            let taken = gather(&self.server, conn, most - out.len()).into_owned();
            if taken.is_empty() {
                break;
            }
            self.server
                .handle_sent(self.now, conn, taken.len())
                .expect("pending");
            out.extend(taken);
            assert!(out.len() <= 1 << 24, "replies without end");
            self.drain();
        }
        out
    }

    /// Takes all that is owed to `conn`.
    pub fn read(&mut self, conn: Conn) -> String {
        String::from_utf8(self.take(conn, usize::MAX)).expect("UTF-8")
    }

    /// What a master is answered.
    pub fn ask(&mut self, conn: Conn, line: &str) -> String {
        self.bytes(conn, format!("{line}\n").as_bytes());
        self.read(conn)
    }

    pub fn lost(&mut self, conn: Conn, loss: Loss) {
        if loss == Loss::Broken {
            self.forget(conn);
        }
        self.server.handle_lost(self.now, conn, loss).expect("open");
        self.drain();
    }

    /// Why `conn` ended; none while it is open.
    pub fn why(&self, of: Conn) -> Option<Why> {
        self.news.iter().find_map(|news| match *news {
            News::Down { conn, why, .. } | News::Closed { conn, why } if conn == of => Some(why),
            News::Down { .. }
            | News::Closed { .. }
            | News::Up { .. }
            | News::Protocol(ChatEvent::Delivered { .. })
            | News::Skipped { .. }
            | News::Misfit { .. }
            | News::Following { .. }
            | News::Starved { .. }
            | News::Protocol(ChatEvent::LogFull { .. })
            | News::Protocol(ChatEvent::Gap { .. })
            | News::Ending => None,
        })
    }

    pub fn log(&self) -> String {
        String::from_utf8(self.server.protocol().log()).expect("UTF-8")
    }
}
