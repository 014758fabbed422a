//! One server's recording, read whole: its connections with all bytes that crossed them, and its
//! events in order.

use crate::settings;
use chatroom_chat::{LINKS, MAX_SERVERS};
use chatroom_machine::Time;
use chatroom_machine::{Conn, Dialled, Door, Halt, Loss};
use chatroom_record::{Call, FormatError, Output, Record, Records};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

/// What one server was told and did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    /// What to call it: the name of its file.
    pub(crate) name: String,
    pub(crate) id: u32,
    pub(crate) servers: u32,
    pub(crate) connections: Vec<Connection>,
    pub(crate) events: Vec<Event>,
    /// How many bytes at the end of the file were no whole record.
    pub(crate) torn: u64,
}

/// A connection as one server saw it. Moments are on that server's clock.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) conn: Conn,
    pub(crate) side: Side,
    /// When it was dialled or accepted.
    pub(crate) began: Time,
    /// Whether it ended while the recording went on.
    pub(crate) ended: bool,
    pub(crate) sent: Stream,
    pub(crate) received: Stream,
}

/// Which end of a connection a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It dialled this server.
    Dialled(u32),
    /// It accepted here.
    Accepted(Door),
}

/// The bytes of one direction, and the moments at which they were sent or received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// For each piece its moment, and the offset at which it ends; ascending.
    pub(crate) pieces: Vec<(Time, usize)>,
}

/// Something that happened, at a moment of the server's clock.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Time,
    pub(crate) what: What,
}

/// What happened. Numbers are indices into [`Recording::connections`].
#[derive(Clone, Debug)]
pub(crate) enum What {
    Started,
    Dialling(usize),
    Connected(usize),
    DialFailed(usize),
    Accepted(usize),
    TurnedAway(Door),
    Received(usize, Range<usize>),
    Sent(usize, Range<usize>),
    Lost(usize, Loss),
    Closed(usize),
    Notice(String),
    /// Something without a fact of its own: its kind, and it in words.
    Remark(&'static str, String),
    Halted(Halt),
    /// The file ends, and the server had not.
    End,
}

impl Stream {
    fn push(&mut self, at: Time, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.pieces.push((at, self.bytes.len()));
        start..self.bytes.len()
    }

    fn pop(&mut self) {
        self.pieces.pop();
        let end = self.pieces.last().map_or(0, |(_, end)| *end);
        self.bytes.truncate(end);
    }
}

impl Connection {
    fn new(conn: Conn, side: Side, began: Time) -> Self {
        Self {
            conn,
            side,
            began,
            ended: false,
            sent: Stream::default(),
            received: Stream::default(),
        }
    }

    /// The server at the other end: the one that was dialled, or the one that the first line of an
    /// accepted link names. `None` for a master, and for a stranger.
    pub(crate) fn peer(&self, own: u32, servers: u32) -> Option<u32> {
        let named = match self.side {
            Side::Dialled(peer) => Some(peer),
            Side::Accepted(LINKS) => self.named(),
            Side::Accepted(_) => None,
        };
        named.filter(|peer| *peer < servers && *peer != own)
    }

    fn named(&self) -> Option<u32> {
        let bytes = &self.received.bytes;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut words = line.split(' ');
        match words.next()? {
            "ping" | "msg" => words.next()?.parse().ok(),
            _ => None,
        }
    }
}

/// Reads a recording of a chat server that is called `name`.
///
/// # Errors
/// `input` is no recording, not of a chat server, or damaged. One that ends within a record is
/// none of these: see [`Recording::torn`].
pub(crate) fn read(name: String, input: impl Read) -> Result<Recording, FormatError> {
    let mut records = Records::open(input)?;
    let (config, _) = settings::parse(records.header()).map_err(FormatError::Header)?;
    if config.servers > MAX_SERVERS || config.id >= config.servers {
        let found = format!("id {} of {} servers", config.id, config.servers);
        return Err(FormatError::Header(found));
    }
    let mut reading = Reading {
        recording: Recording {
            name,
            id: config.id,
            servers: config.servers,
            ..Recording::default()
        },
        ..Reading::default()
    };
    while let Some(record) = records.next_record()? {
        match record {
            Record::Call(now, call) => reading.call(now, call),
            Record::Output(output) => reading.output(output),
        }
    }
    reading.recording.torn = records.torn();
    Ok(reading.finish())
}

#[derive(Debug, Default)]
struct Reading {
    recording: Recording,
    now: Time,
    /// The connections that are open.
    open: BTreeMap<Conn, usize>,
    /// The door of a connection whose handle comes next.
    accepted: Option<Door>,
    /// How many events the last call made.
    made: usize,
    /// From when on a timeout judges, and what for.
    judges: Option<(Time, String)>,
    halted: bool,
}

impl Reading {
    fn push(&mut self, what: What) {
        let at = self.now;
        self.recording.events.push(Event { at, what });
    }

    fn add(&mut self, conn: Conn, side: Side) -> usize {
        let connections = &mut self.recording.connections;
        connections.push(Connection::new(conn, side, self.now));
        self.open.insert(conn, connections.len() - 1);
        connections.len() - 1
    }

    /// The events of a call that touches `conn`; nothing for one that is not known.
    fn on(&mut self, conn: Conn, make: impl FnOnce(usize) -> What) {
        if let Some(index) = self.open.get(&conn) {
            let what = make(*index);
            self.push(what);
        }
    }

    fn end(&mut self, conn: Conn) {
        if let Some(index) = self.open.remove(&conn) {
            self.recording.connections[index].ended = true;
        }
    }

    fn call(&mut self, now: Time, call: Call<'_>) {
        self.now = now;
        let before = self.recording.events.len();
        match call {
            Call::Start => self.push(What::Started),
            Call::Accepted(door, _) => self.accepted = Some(door),
            Call::Starved(door) => {
                let text = format!("no resources to accept at door {}", door.0);
                self.push(What::Remark("starved", text));
            }
            Call::Dialled(conn, Dialled::Connected) => self.on(conn, What::Connected),
            Call::Dialled(conn, Dialled::Failed) => self.on(conn, What::DialFailed),
            Call::Bytes(conn, bytes) => self.bytes(conn, bytes, true),
            Call::Sent(conn, _, bytes) => self.bytes(conn, bytes, false),
            Call::Lost(conn, loss) => self.on(conn, |index| What::Lost(index, loss)),
            Call::Timeout => {
                let due = self.judges.take_if(|(at, _)| *at <= now);
                if let Some((_, why)) = due {
                    let text = format!("may judge who was silent ({why} was due)");
                    self.push(What::Remark("timeout", text));
                }
            }
            Call::Shutdown => {
                let text = "told to come to an end".to_owned();
                self.push(What::Remark("shutdown", text));
            }
            Call::Recovered(volume, number, bytes) => {
                let bytes = bytes.escape_ascii();
                self.remark(
                    "recovered",
                    format!("volume {volume} record {number} {bytes}"),
                );
            }
            Call::RecoveryDone(volume, next) => {
                self.remark("recovered", format!("volume {volume} up to record {next}"));
            }
            Call::Stored(volume, count, _) => {
                self.remark("stored", format!("volume {volume}: {count} more"));
            }
        }
        self.made = self.recording.events.len() - before;
        // A handle is dead after these, unless the call was a mistake.
        if let Call::Dialled(conn, Dialled::Failed) | Call::Lost(conn, Loss::Broken) = call {
            self.end(conn);
        }
    }

    fn bytes(&mut self, conn: Conn, bytes: &[u8], received: bool) {
        let Some(index) = self.open.get(&conn).copied() else {
            return;
        };
        let connection = &mut self.recording.connections[index];
        let what = match received {
            true => What::Received(index, connection.received.push(self.now, bytes)),
            false => What::Sent(index, connection.sent.push(self.now, bytes)),
        };
        self.push(what);
    }

    /// The last call changed nothing: takes back what it made, and says so.
    fn misuse(&mut self, text: String) {
        for _ in 0..std::mem::take(&mut self.made) {
            let event = self.recording.events.pop();
            let connections = &mut self.recording.connections;
            match event.map(|event| event.what) {
                Some(What::Received(index, _)) => connections[index].received.pop(),
                Some(What::Sent(index, _)) => connections[index].sent.pop(),
                Some(What::Lost(index, _) | What::DialFailed(index)) => {
                    connections[index].ended = false;
                    self.open.insert(connections[index].conn, index);
                }
                Some(
                    What::Started
                    | What::Dialling(_)
                    | What::Connected(_)
                    | What::Accepted(_)
                    | What::TurnedAway(_)
                    | What::Closed(_)
                    | What::Notice(_)
                    | What::Remark(..)
                    | What::Halted(_)
                    | What::End,
                )
                | None => {}
            }
        }
        self.push(What::Remark("misuse", text));
    }

    fn output(&mut self, output: Output<'_>) {
        let conns = |verb: &str, conn: Conn| format!("{verb} {conn}");
        match output {
            Output::Took(conn) => {
                if let Some(door) = self.accepted.take() {
                    let index = self.add(conn, Side::Accepted(door));
                    self.push(What::Accepted(index));
                }
            }
            Output::Refused => {
                if let Some(door) = self.accepted.take() {
                    self.push(What::TurnedAway(door));
                }
            }
            Output::Misuse(misuse) => self.misuse(misuse.to_string()),
            Output::Dial(conn, to) => {
                let index = self.add(conn, Side::Dialled(to.0));
                self.push(What::Dialling(index));
            }
            // What is sent comes as a call, once the transport took it.
            Output::Send(_) | Output::Store(_) => {}
            Output::Discard(volume, through) => {
                self.remark(
                    "discard",
                    format!("volume {volume} through record {through}"),
                );
            }
            Output::Pause(conn) => self.remark("reading", conns("no more from", conn)),
            Output::Resume(conn) => self.remark("reading", conns("again from", conn)),
            Output::Close(conn) => {
                self.on(conn, What::Closed);
                self.end(conn);
            }
            Output::Shut(door) => self.remark("accepting", format!("no more at door {}", door.0)),
            Output::Open(door) => self.remark("accepting", format!("again at door {}", door.0)),
            Output::Notice(_, text) => self.push(What::Notice(text.to_owned())),
            Output::Halt(halt) => {
                self.halted = true;
                self.push(What::Halted(halt));
            }
            Output::Idle(due) => {
                self.judges = due.and_then(|due| Some((due.judges_at?, due.why.to_owned())));
            }
        }
    }

    fn remark(&mut self, kind: &'static str, text: String) {
        self.push(What::Remark(kind, text));
    }

    fn finish(mut self) -> Recording {
        if !self.halted {
            self.push(What::End);
        }
        self.recording
    }
}
