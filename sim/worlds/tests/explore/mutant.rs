//! The chat server with a fault, made from outside: the server itself has no hooks for it.

use chatroom_chat::{ChatEvent, ChatServer, Config, Counters, Gauges, LINKS, MASTERS, News};
use chatroom_machine::Time;
use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Misuse, Place, Refused, Remote, Timeout,
};
use chatroom_worlds::chat::{Chat, server};
use std::collections::VecDeque;

/// How a server is broken, or odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// Delivers each message of a peer twice.
    DeliversTwice,
    /// Sends all that it broadcast so far whenever a peer comes up.
    ResendsLog,
    /// Sends it only behind the next message.
    ResendsLogLate,
    /// Takes what is left at the end of a stream for a line.
    DeliversRest,
    /// Makes a line of it that was sent.
    EndsRest,
    /// Does so at the next message of its peer, and takes it first.
    EndsRestBeforeNext,
    /// Does so at the next message of its peer, and takes that first.
    EndsRestBehindNext,
    /// Takes a message for the next one of its sender.
    CountsUp,
    /// Loses a message of a link when it has accepted another.
    LosesOfOld,
    /// Sends no messages to peers above one that it knows to be dead.
    StopsAtDead,
    /// Logs its own messages twice.
    LogsOwnTwice,
    /// Does not log its own messages.
    LogsOwnNever,
    /// Does not hear of the end of a stream.
    IgnoresEnd,
    /// Answers no `get`.
    AnswersNoGet,
    /// Answers a `get` with an empty log when it knows of a death.
    ForgetsLog,
    /// Answers an `alive` with both servers.
    NamesBoth,
    /// Takes no master.
    RefusesMaster,
    /// Calls the outcome of a dial a misuse.
    RejectsDialled,
    /// Calls a peer's bytes a misuse.
    RejectsBytes,
    /// Calls it a misuse that bytes for a peer were taken.
    RejectsSent,
    /// Calls the end of a link a misuse.
    RejectsLost,
    /// Closes connections twice.
    ClosesTwice,
    /// Dials itself.
    DialsItself,
    /// Ends when it hears of a death.
    EndsItself,
    /// Refuses every link.
    RefusesLinks,
    /// Refuses the first link. That is its right.
    RefusesOnce,
    /// Closes a link on which it gets the beginning of a message. That is its right too.
    ClosesAtRest,
    /// Does and says much that is nobody's business.
    Rambles,
}

/// A handle that no server gives out.
const NOBODY: Conn = Conn::new(99, 0);

/// The server.
#[derive(Clone, Hash)]
pub(crate) struct Mutant {
    inner: ChatServer,
    fault: Fault,
    id: u32,
    now: Time,
    master: Option<Conn>,
    refused: bool,
    /// What it broadcast, as lines between servers.
    said: Vec<u8>,
    /// What it sends besides what the inner server owes.
    extra: Vec<(Conn, Vec<u8>)>,
    /// What of this is not due yet.
    late: Vec<(Conn, Vec<u8>)>,
    queue: VecDeque<Action<News>>,
    rests: Vec<(Conn, Vec<u8>)>,
    up: Vec<(u32, Conn)>,
    dead: Vec<u32>,
    /// Of which link the next message is lost.
    old: Option<Conn>,
}

impl Mutant {
    pub(crate) fn make(fault: Fault) -> impl Fn(Config) -> Self {
        move |config| Self {
            fault,
            id: config.id,
            inner: server(config),
            now: Time::ZERO,
            master: None,
            refused: false,
            said: Vec::new(),
            extra: Vec::new(),
            late: Vec::new(),
            queue: VecDeque::new(),
            rests: Vec::new(),
            up: Vec::new(),
            dead: Vec::new(),
            old: None,
        }
    }

    fn extra(&self, conn: Conn) -> &[u8] {
        let found = self.extra.iter().find(|(c, _)| *c == conn);
        found.map_or(&[], |(_, bytes)| bytes)
    }

    fn owe(&mut self, conn: Conn, bytes: Vec<u8>) {
        self.extra.push((conn, bytes));
        self.queue.push_back(Action::Send(conn));
    }

    fn news(&mut self, news: &News) {
        match news {
            News::Up { peer, conn } => {
                self.up.push((*peer, *conn));
                self.dead.retain(|p| p != peer);
                if self.fault == Fault::ResendsLog && !self.said.is_empty() {
                    self.owe(*conn, self.said.clone());
                }
                if self.fault == Fault::ResendsLogLate && !self.said.is_empty() {
                    self.late.push((*conn, self.said.clone()));
                }
                if self.fault == Fault::Rambles && *conn != NOBODY {
                    self.ramble(*peer, *conn);
                }
            }
            News::Down { peer, conn, .. } => {
                self.up.retain(|(_, c)| c != conn);
                self.extra.retain(|(c, _)| c != conn);
                self.late.retain(|(c, _)| c != conn);
                self.dead.push(*peer);
                if self.fault == Fault::EndsItself {
                    self.queue.push_back(Action::Halt(Halt::Crash));
                }
            }
            News::Protocol(ChatEvent::Delivered {
                conn: None, text, ..
            }) => {
                let line = format!("msg {} {text}\n", self.id);
                self.said.extend_from_slice(line.as_bytes());
                for (conn, bytes) in std::mem::take(&mut self.late) {
                    self.owe(conn, bytes);
                }
            }
            News::Protocol(ChatEvent::Delivered { .. })
            | News::Closed { .. }
            | News::Skipped { .. }
            | News::Misfit { .. }
            | News::Following { .. }
            | News::Starved { .. }
            | News::Protocol(ChatEvent::LogFull { .. })
            | News::Protocol(ChatEvent::Gap { .. })
            | News::Ending => {}
        }
    }

    fn ramble(&mut self, peer: u32, conn: Conn) {
        if let Some(master) = self.master {
            self.owe(master, b"hello\n".to_vec());
        }
        let up = News::Up { peer, conn: NOBODY };
        self.queue.extend([
            Action::Pause(conn),
            Action::Shut(LINKS),
            Action::Notice(up),
            Action::Open(LINKS),
            Action::Resume(conn),
        ]);
    }

    /// What it answers its master in place of the truth.
    fn lie(&self, command: &[u8]) -> Option<&'static [u8]> {
        match (self.fault, command) {
            (Fault::ForgetsLog, b"get\n") if !self.dead.is_empty() => Some(b"messages \n"),
            (Fault::NamesBoth, b"alive\n") => Some(b"alive 0,1\n"),
            _ => None,
        }
    }

    /// Bytes of a peer.
    fn read(&mut self, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        let now = self.now;
        let is_message = bytes.starts_with(b"msg ");
        if self.fault == Fault::RejectsBytes {
            return Err(Misuse::WrongState);
        }
        if is_message && self.fault == Fault::CountsUp {
            let next = String::from_utf8_lossy(bytes).replace("n0.", "n1.");
            return self.inner.handle_bytes(now, conn, next.as_bytes());
        }
        if is_message && self.old == Some(conn) {
            self.old = None;
            return Ok(());
        }
        if is_message && !bytes.ends_with(b"\n") {
            self.rests.push((conn, bytes.to_vec()));
            if self.fault == Fault::ClosesAtRest {
                return self.inner.handle_bytes(now, conn, b"\xff\n");
            }
        } else if is_message && let Some(rest) = self.ended_rest() {
            let lines = match self.fault == Fault::EndsRestBeforeNext {
                true => [&rest, bytes],
                false => [bytes, &rest],
            };
            return lines
                .into_iter()
                .try_for_each(|line| self.inner.handle_bytes(now, conn, line));
        }
        self.inner.handle_bytes(now, conn, bytes)?;
        match self.fault == Fault::DeliversTwice && is_message {
            true => self.inner.handle_bytes(now, conn, bytes),
            false => Ok(()),
        }
    }

    fn ended_rest(&mut self) -> Option<Vec<u8>> {
        let faults = [Fault::EndsRestBeforeNext, Fault::EndsRestBehindNext];
        let (_, mut rest) = self.rests.pop_if(|_| faults.contains(&self.fault))?;
        rest.extend_from_slice(b".\n");
        Some(rest)
    }

    /// Whether the messages to a peer are swallowed.
    fn mutes(&self, conn: Conn) -> bool {
        let peer = self.up.iter().find(|(_, c)| *c == conn);
        self.fault == Fault::StopsAtDead
            && peer.is_some_and(|(peer, _)| self.dead.iter().any(|dead| dead < peer))
            && self.inner.pending(conn, 0).starts_with(b"msg ")
    }
}

impl Machine for Mutant {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.inner.handle_start(now);
    }

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        if self.fault == Fault::RefusesMaster && door == MASTERS {
            return Err(Refused);
        }
        if self.fault == Fault::RefusesLinks && door == LINKS {
            return Err(Refused);
        }
        if self.fault == Fault::RefusesOnce && door == LINKS && !self.refused {
            self.refused = true;
            return Err(Refused);
        }
        if self.fault == Fault::LosesOfOld {
            self.old = self.up.first().map(|(_, conn)| *conn);
        }
        let conn = self.inner.handle_accepted(now, door, remote)?;
        if door == MASTERS {
            self.master = Some(conn);
        }
        Ok(conn)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.inner.handle_starved(now, door);
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        if self.fault == Fault::RejectsDialled {
            return Err(Misuse::WrongState);
        }
        self.inner.handle_dialled(now, conn, outcome)
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.now = now;
        if Some(conn) != self.master {
            return self.read(conn, bytes);
        }
        if let Some(lie) = self.lie(bytes) {
            self.owe(conn, lie.to_vec());
            return Ok(());
        }
        if self.fault == Fault::AnswersNoGet && bytes == b"get\n" {
            return Err(Misuse::WrongState);
        }
        let is_broadcast = bytes.starts_with(b"broadcast ");
        if self.fault == Fault::LogsOwnNever && is_broadcast {
            return Ok(());
        }
        if self.fault == Fault::LogsOwnTwice && is_broadcast {
            self.inner.handle_bytes(now, conn, bytes)?;
        }
        if self.fault == Fault::Rambles {
            self.queue.push_back(Action::Notice(News::Ending));
        }
        self.inner.handle_bytes(now, conn, bytes)
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        if self.fault == Fault::RejectsSent && Some(conn) != self.master {
            return Err(Misuse::TooMuch);
        }
        if !self.inner.pending(conn, 0).is_empty() {
            return self.inner.handle_sent(now, conn, count);
        }
        if let Some(at) = self.extra.iter().position(|(c, _)| *c == conn) {
            self.extra[at].1.drain(..count);
            self.extra.retain(|(_, bytes)| !bytes.is_empty());
        }
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        if self.fault == Fault::RejectsLost {
            return Err(Misuse::WrongState);
        }
        if self.fault == Fault::IgnoresEnd && loss == Loss::Finished {
            return Ok(());
        }
        let ends: [(Fault, &[u8]); 2] = [(Fault::DeliversRest, b"\n"), (Fault::EndsRest, b".\n")];
        if let Some((_, end)) = ends.iter().find(|(fault, _)| *fault == self.fault)
            && self.rests.pop_if(|(c, _)| *c == conn).is_some()
        {
            self.inner.handle_bytes(now, conn, end)?;
        }
        self.inner.handle_lost(now, conn, loss)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.inner.handle_timeout(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.inner.handle_shutdown(now);
    }

    fn poll(&mut self) -> Option<Action<News>> {
        let mut action = self.inner.poll().or_else(|| self.queue.pop_front())?;
        if let Action::Notice(news) = &action {
            self.news(news);
        }
        if let Action::Dial { to, .. } = &mut action
            && self.fault == Fault::DialsItself
        {
            *to = Place(self.id);
        }
        if let Action::Close(conn) = action
            && self.fault == Fault::ClosesTwice
        {
            self.queue.push_back(Action::Close(conn));
        }
        if let Action::Send(conn) = action
            && self.mutes(conn)
        {
            let count = self.inner.pending(conn, 0).len();
            let _ = self.inner.handle_sent(self.now, conn, count);
        }
        Some(action)
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        match self.inner.pending(conn, skip) {
            [] if skip == 0 => self.extra(conn),
            bytes => bytes,
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.inner.poll_timeout()
    }
}

impl Chat for Mutant {
    fn gauges(&self) -> Gauges {
        self.inner.gauges()
    }

    fn counters(&self) -> &Counters {
        self.inner.counters()
    }

    fn log_bytes(&self) -> u64 {
        self.inner.protocol().bytes()
    }
}
