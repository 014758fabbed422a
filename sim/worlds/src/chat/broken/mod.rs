//! Servers broken on purpose, to see a judge at work: the server that ships, with one [`Defect`]
//! between it and its driver. Each breaks another property, in a way that real servers did.

mod links;

use super::judge::{COMPLETENESS, FIFO, NO_CREATION, NO_DUPLICATION, VALIDITY};
use super::{Chat, server};
use chatroom_chat::{ChatServer, Config, Counters, Gauges, LINKS, News};
use chatroom_machine::{
    Action, Conn, Dialled, Door, Loss, Machine, Misuse, Refused, Remote, Span, Time, Timeout,
};
use chatroom_sim::generate::Profile;
use links::Links;
use std::fmt;
use std::str::FromStr;

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// What one read from a peer gives is taken for one whole line.
    CutShort,
    /// The line that ends a read from a peer is handled a second time.
    Twice,
    /// A line that lies across two reads from a peer is dropped.
    Gap,
    /// One in ten wake-ups to send to a peer is lost.
    LostWakeup,
    /// A peer that falls silent is not suspected for an hour.
    NeverSuspects,
}

/// Longer than any run takes.
const NEVER: Span = Span::from_millis(3_600_000);

impl Defect {
    /// All of them, in the order of the properties that they break.
    pub const ALL: [Self; 5] = [
        Self::CutShort,
        Self::Twice,
        Self::Gap,
        Self::LostWakeup,
        Self::NeverSuspects,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CutShort => "cut-short",
            Self::Twice => "twice",
            Self::Gap => "gap",
            Self::LostWakeup => "lost-wakeup",
            Self::NeverSuspects => "never-suspects",
        }
    }

    /// What is wrong, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::CutShort => "what one read gives is taken for one whole line",
            Self::Twice => "the message that ends a read is handled twice",
            Self::Gap => "a line that lies across two reads is dropped",
            Self::LostWakeup => "one in ten wake-ups to send to a peer is lost",
            Self::NeverSuspects => "a peer that falls silent is never suspected",
        }
    }

    /// The property that it breaks; on some plans it breaks another one first.
    #[must_use]
    pub const fn property(self) -> &'static str {
        match self {
            Self::CutShort => NO_CREATION,
            Self::Twice => NO_DUPLICATION,
            Self::Gap => FIFO,
            Self::LostWakeup => VALIDITY,
            Self::NeverSuspects => COMPLETENESS,
        }
    }

    /// A profile whose seeds meet it soon.
    #[must_use]
    pub const fn profile(self) -> Profile {
        match self {
            Self::CutShort | Self::Twice | Self::Gap | Self::LostWakeup => Profile::Calm,
            Self::NeverSuspects => Profile::Crash,
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Read by its [name](Defect::name).
impl FromStr for Defect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|each| each.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no broken server {text:?}, expected one of {names}")
        })
    }
}

/// A broken server.
#[derive(Clone, Debug, Hash)]
pub struct Broken {
    server: ChatServer,
    defect: Defect,
    links: Links,
    wakeups: u64,
}

impl Broken {
    /// A server with this configuration and this defect.
    ///
    /// # Panics
    /// If the configuration is out of its bounds.
    #[must_use]
    pub fn new(mut config: Config, defect: Defect) -> Self {
        if defect == Defect::NeverSuspects {
            config.times.suspicion = NEVER;
        }
        Self {
            server: server(config),
            defect,
            links: Links::default(),
            wakeups: 0,
        }
    }
}

impl Chat for Broken {
    fn gauges(&self) -> Gauges {
        self.server.gauges()
    }

    fn counters(&self) -> &Counters {
        self.server.counters()
    }

    fn log_bytes(&self) -> u64 {
        self.server.protocol().bytes()
    }
}

impl Machine for Broken {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.server.handle_start(now);
    }

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        let conn = self.server.handle_accepted(now, door, remote)?;
        if door == LINKS {
            self.links.insert(conn);
        }
        Ok(conn)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.server.handle_starved(now, door);
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        if outcome == Dialled::Failed {
            self.links.remove(conn);
        }
        self.server.handle_dialled(now, conn, outcome)
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        match self.links.read(self.defect, conn, bytes) {
            // Nothing came, as far as the server can see.
            Some(bent) if bent.is_empty() => Ok(()),
            Some(bent) => self.server.handle_bytes(now, conn, &bent),
            None => self.server.handle_bytes(now, conn, bytes),
        }
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.server.handle_sent(now, conn, count)
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.links.remove(conn);
        self.server.handle_lost(now, conn, loss)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.server.handle_timeout(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.server.handle_shutdown(now);
    }

    fn poll(&mut self) -> Option<Action<News>> {
        loop {
            let action = self.server.poll()?;
            match &action {
                Action::Dial { conn, to: _ } => self.links.insert(*conn),
                Action::Close(conn) => self.links.remove(*conn),
                Action::Send(conn)
                    if self.defect == Defect::LostWakeup && self.links.has(*conn) =>
                {
                    self.wakeups += 1;
                    if self.wakeups.is_multiple_of(10) {
                        continue;
                    }
                }
                Action::Send(_)
                | Action::Pause(_)
                | Action::Resume(_)
                | Action::Shut(_)
                | Action::Open(_)
                | Action::Store(_)
                | Action::Discard { .. }
                | Action::Notice(_)
                | Action::Halt(_) => {}
            }
            return Some(action);
        }
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.server.pending(conn, skip)
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.server.poll_timeout()
    }
}
