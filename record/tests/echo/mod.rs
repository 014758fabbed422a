//! A small machine that does some of everything: it greets and echoes, dials one place again and
//! again, closes on a `!`, pauses on a `?`, ticks, and halts when told to.

use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Level, Loss, Machine, Misuse, Notice, Place, Refused,
    Remote, Timeout,
};
use chatroom_machine::{Span, Time};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// A text and how much it matters.
#[derive(Clone, Debug)]
pub(crate) struct News(pub(crate) Level, pub(crate) String);

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl Notice for News {
    fn level(&self) -> Level {
        self.0
    }
}

/// The machine. Its greeting is its whole configuration.
pub(crate) struct Echo {
    greeting: String,
    owed: BTreeMap<Conn, Vec<u8>>,
    dialling: Option<Conn>,
    given: u32,
    tick: Option<Time>,
    actions: VecDeque<Action<News>>,
}

impl Echo {
    pub(crate) fn new(greeting: &str) -> Self {
        Self {
            greeting: greeting.to_owned(),
            owed: BTreeMap::new(),
            dialling: None,
            given: 0,
            tick: None,
            actions: VecDeque::new(),
        }
    }

    /// Of a recording's header.
    pub(crate) fn build(header: &[u8]) -> Result<Self, String> {
        let greeting = std::str::from_utf8(header).map_err(|error| error.to_string())?;
        Ok(Self::new(greeting))
    }

    fn open(&mut self, conn: Conn) {
        self.owed.insert(conn, self.greeting.clone().into_bytes());
        if !self.greeting.is_empty() {
            self.actions.push_back(Action::Send(conn));
        }
        self.tell(Level::Info, format!("open {conn}"));
    }

    fn name(&mut self) -> Conn {
        self.given += 1;
        Conn::new(self.given % 3, self.given)
    }

    fn tell(&mut self, level: Level, text: String) {
        self.actions.push_back(Action::Notice(News(level, text)));
    }

    fn halt(&mut self, halt: Halt) {
        self.tick = None;
        self.actions.push_back(Action::Halt(halt));
    }
}

impl Machine for Echo {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.tick = Some(now);
        self.actions.push_back(Action::Open(Door(1)));
    }

    fn handle_accepted(&mut self, _: Time, door: Door, _: Remote) -> Result<Conn, Refused> {
        if self.owed.len() >= 3 {
            self.actions.push_back(Action::Shut(door));
            return Err(Refused);
        }
        let conn = self.name();
        self.open(conn);
        Ok(conn)
    }

    fn handle_starved(&mut self, _: Time, door: Door) {
        self.actions.push_back(Action::Shut(door));
    }

    fn handle_dialled(&mut self, _: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        if self.dialling != Some(conn) {
            return Err(Misuse::WrongState);
        }
        self.dialling = None;
        match outcome {
            Dialled::Connected => self.open(conn),
            Dialled::Failed => self.tell(Level::Debug, format!("no {conn}")),
        }
        Ok(())
    }

    fn handle_bytes(&mut self, _: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        let owed = self.owed.get_mut(&conn).ok_or(Misuse::Stale)?;
        if owed.is_empty() {
            self.actions.push_back(Action::Send(conn));
        }
        owed.extend_from_slice(bytes);
        if bytes.contains(&b'?') {
            self.actions.push_back(Action::Pause(conn));
        }
        if bytes.contains(&b'!') {
            self.owed.remove(&conn);
            self.actions.push_back(Action::Close(conn));
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.tell(Level::Debug, format!("{conn} said {text}"));
        Ok(())
    }

    fn handle_sent(&mut self, _: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        let owed = self.owed.get_mut(&conn).ok_or(Misuse::Stale)?;
        if count > owed.len() {
            return Err(Misuse::TooMuch);
        }
        owed.drain(..count);
        Ok(())
    }

    fn handle_lost(&mut self, _: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        if loss == Loss::Broken {
            self.owed.remove(&conn).ok_or(Misuse::Stale)?;
        }
        self.tell(Level::Warn, format!("lost {conn}"));
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.tick.is_none_or(|tick| now < tick) {
            return;
        }
        self.tick = Some(now + Span::from_millis(100));
        if self.dialling.is_none() {
            let conn = self.name();
            self.dialling = Some(conn);
            let to = Place(7);
            self.actions.push_back(Action::Dial { conn, to });
        }
        self.actions
            .extend(self.owed.keys().copied().map(Action::Resume));
    }

    fn handle_shutdown(&mut self, _: Time) {
        self.halt(Halt::Done);
    }

    fn poll(&mut self) -> Option<Action<News>> {
        self.actions.pop_front()
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        let owed = self.owed.get(&conn);
        owed.and_then(|owed| owed.get(skip..)).unwrap_or(&[])
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.tick.map(|at| Timeout {
            at,
            why: "tick",
            judges_at: (self.owed.len() == 2).then_some(at + Span::from_millis(5)),
        })
    }
}
