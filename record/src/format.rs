//! One record to bytes and back. The table of tags is on the crate's front page.

use chatroom_machine::Time;
use chatroom_machine::{
    Conn, Dialled, Door, Halt, Level, Loss, Machine, Misuse, Place, Remote, VolumeId,
};
use std::fmt;

/// The version of the format that is written.
pub const VERSION: u8 = 3;
/// The oldest version that can be read.
pub const OLDEST: u8 = 2;
/// The longest body of a record, in bytes. A call that needs more ends the recording.
pub const RECORD_MAX: usize = 16 << 20;
/// The longest header, in bytes.
pub const HEADER_MAX: usize = 64 << 10;

pub(crate) const MAGIC: &[u8; 8] = b"chatrec\n";

/// What the driver told the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// [`Machine::handle_start`](chatroom_machine::Machine::handle_start).
    Start,
    /// A connection was accepted: [`Output::Took`] or [`Output::Refused`] comes next.
    Accepted(Door, Remote),
    /// A connection could not be accepted for want of a resource.
    Starved(Door),
    /// A dial ended.
    Dialled(Conn, Dialled),
    /// Bytes arrived.
    Bytes(Conn, &'a [u8]),
    /// The transport took bytes: the count that was reported, and the bytes behind it, which are
    /// fewer when too many were reported.
    Sent(Conn, u64, &'a [u8]),
    /// Nothing more will arrive.
    Lost(Conn, Loss),
    /// Time has passed.
    Timeout,
    /// The machine was asked to come to an end.
    Shutdown,
    /// A record was found: its number in the volume, and the record.
    Recovered(VolumeId, u64, &'a [u8]),
    /// No more was found in a volume: the number of the next record.
    RecoveryDone(VolumeId, u64),
    /// Records are durable: the count that was reported, and the records behind it, each behind its
    /// length, which are fewer when too many were reported.
    Stored(VolumeId, u64, &'a [u8]),
}

/// What came back: the result of a call, or of one `poll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// The machine took the accepted connection under this handle.
    Took(Conn),
    /// The machine refused the accepted connection.
    Refused,
    /// The call before was a mistake of the driver, and changed nothing.
    Misuse(Misuse),
    /// Connect to a place.
    Dial(Conn, Place),
    /// There are bytes to send.
    Send(Conn),
    /// Read nothing from the connection for now.
    Pause(Conn),
    /// Read from the connection again.
    Resume(Conn),
    /// Close the connection.
    Close(Conn),
    /// Accept nothing at the door for now.
    Shut(Door),
    /// Accept at the door again.
    Open(Door),
    /// Records of a volume are unsaved.
    Store(VolumeId),
    /// Records of a log up to this number are no longer needed.
    Discard(VolumeId, u64),
    /// A notice for people, in its own words.
    Notice(Level, &'a str),
    /// The end.
    Halt(Halt),
    /// Nothing more to do until the timeout, or until something happens.
    Idle(Option<Due<'a>>),
}

/// A machine's timeout at the end of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<'a> {
    /// When it is due.
    pub at: Time,
    /// From when on it may judge connections that were silent.
    pub judges_at: Option<Time>,
    /// What is due, in a word.
    pub why: &'a str,
}

/// One record of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A call, with its moment on the driver's clock, which begins at zero with the driver.
    Call(Time, Call<'a>),
    /// What came of the call before.
    Output(Output<'a>),
}

mod tag {
    pub(super) const START: u8 = 1;
    pub(super) const ACCEPTED: u8 = 2;
    pub(super) const STARVED: u8 = 3;
    pub(super) const DIALLED: u8 = 4;
    pub(super) const BYTES: u8 = 5;
    pub(super) const SENT: u8 = 6;
    pub(super) const SENT_AGAIN: u8 = 7;
    pub(super) const LOST: u8 = 8;
    pub(super) const TIMEOUT: u8 = 9;
    pub(super) const SHUTDOWN: u8 = 10;
    pub(super) const RECOVERED: u8 = 11;
    pub(super) const RECOVERY_DONE: u8 = 12;
    pub(super) const STORED: u8 = 13;
    pub(super) const TOOK: u8 = 32;
    pub(super) const REFUSED: u8 = 33;
    pub(super) const MISUSE: u8 = 34;
    pub(super) const DIAL: u8 = 35;
    pub(super) const SEND: u8 = 36;
    pub(super) const PAUSE: u8 = 37;
    pub(super) const RESUME: u8 = 38;
    pub(super) const CLOSE: u8 = 39;
    pub(super) const SHUT: u8 = 40;
    pub(super) const OPEN: u8 = 41;
    pub(super) const NOTICE: u8 = 42;
    pub(super) const HALT: u8 = 43;
    pub(super) const IDLE: u8 = 44;
    pub(super) const IDLE_UNTIL: u8 = 45;
    pub(super) const IDLE_STILL: u8 = 46;
    pub(super) const STORE: u8 = 47;
    pub(super) const DISCARD: u8 = 48;
}

/// What both sides remember from one record to the next.
#[derive(Default)]
pub(crate) struct Codec {
    now: Time,
    sent: Vec<u8>,
    due: Option<(Time, Option<Time>, String)>,
}

impl Codec {
    /// Appends the body of `record` to `out`.
    pub(crate) fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        match *record {
            Record::Call(now, call) => self.encode_call(now, call, out),
            Record::Output(output) => self.encode_output(output, out),
        }
    }

    fn encode_call(&mut self, now: Time, call: Call<'_>, out: &mut Vec<u8>) {
        let again = matches!(call, Call::Sent(_, _, bytes) if bytes == self.sent);
        out.push(match call {
            Call::Start => tag::START,
            Call::Accepted(..) => tag::ACCEPTED,
            Call::Starved(_) => tag::STARVED,
            Call::Dialled(..) => tag::DIALLED,
            Call::Bytes(..) => tag::BYTES,
            Call::Sent(..) if again => tag::SENT_AGAIN,
            Call::Sent(..) => tag::SENT,
            Call::Lost(..) => tag::LOST,
            Call::Timeout => tag::TIMEOUT,
            Call::Shutdown => tag::SHUTDOWN,
            Call::Recovered(..) => tag::RECOVERED,
            Call::RecoveryDone(..) => tag::RECOVERY_DONE,
            Call::Stored(..) => tag::STORED,
        });
        put(out, now.as_micros().wrapping_sub(self.now.as_micros()));
        self.now = now;
        match call {
            Call::Start | Call::Timeout | Call::Shutdown => {}
            Call::Accepted(door, remote) => {
                out.extend_from_slice(&[door.0, u8::from(remote.gone)]);
                put(out, (remote.source >> 64) as u64);
                put(out, remote.source as u64);
            }
            Call::Starved(door) => out.push(door.0),
            Call::Dialled(conn, outcome) => {
                put_conn(out, conn);
                out.push(match outcome {
                    Dialled::Connected => 0,
                    Dialled::Failed => 1,
                });
            }
            Call::Bytes(conn, bytes) => {
                put_conn(out, conn);
                out.extend_from_slice(bytes);
            }
            Call::Sent(conn, count, bytes) => {
                put_conn(out, conn);
                put(out, count);
                if !again {
                    out.extend_from_slice(bytes);
                    self.sent.clear();
                    self.sent.extend_from_slice(bytes);
                }
            }
            Call::Lost(conn, loss) => {
                put_conn(out, conn);
                out.push(match loss {
                    Loss::Finished => 0,
                    Loss::Broken => 1,
                });
            }
            Call::Recovered(volume, number, bytes) | Call::Stored(volume, number, bytes) => {
                out.push(volume.0);
                put(out, number);
                out.extend_from_slice(bytes);
            }
            Call::RecoveryDone(volume, next) => {
                out.push(volume.0);
                put(out, next);
            }
        }
    }

    fn encode_output(&mut self, output: Output<'_>, out: &mut Vec<u8>) {
        let mut with_conn = |tag, conn| {
            out.push(tag);
            put_conn(out, conn);
        };
        match output {
            Output::Took(conn) => with_conn(tag::TOOK, conn),
            Output::Refused => out.push(tag::REFUSED),
            Output::Misuse(misuse) => out.extend_from_slice(&[
                tag::MISUSE,
                match misuse {
                    Misuse::Stale => 0,
                    Misuse::WrongState => 1,
                    Misuse::TooMuch => 2,
                },
            ]),
            Output::Dial(conn, to) => {
                with_conn(tag::DIAL, conn);
                put(out, u64::from(to.0));
            }
            Output::Send(conn) => with_conn(tag::SEND, conn),
            Output::Pause(conn) => with_conn(tag::PAUSE, conn),
            Output::Resume(conn) => with_conn(tag::RESUME, conn),
            Output::Close(conn) => with_conn(tag::CLOSE, conn),
            Output::Shut(door) => out.extend_from_slice(&[tag::SHUT, door.0]),
            Output::Open(door) => out.extend_from_slice(&[tag::OPEN, door.0]),
            Output::Store(volume) => out.extend_from_slice(&[tag::STORE, volume.0]),
            Output::Discard(volume, through) => {
                out.extend_from_slice(&[tag::DISCARD, volume.0]);
                put(out, through);
            }
            Output::Notice(level, text) => {
                out.push(tag::NOTICE);
                out.push(match level {
                    Level::Debug => 0,
                    Level::Info => 1,
                    Level::Warn => 2,
                });
                out.extend_from_slice(text.as_bytes());
            }
            Output::Halt(halt) => out.extend_from_slice(&[
                tag::HALT,
                match halt {
                    Halt::Crash => 0,
                    Halt::Done => 1,
                    Halt::Unfinished => 2,
                },
            ]),
            Output::Idle(None) => {
                out.push(tag::IDLE);
                self.due = None;
            }
            Output::Idle(Some(due)) if self.due() == Some(due) => out.push(tag::IDLE_STILL),
            Output::Idle(Some(due)) => {
                out.push(tag::IDLE_UNTIL);
                let from_now = |time: Time| time.as_micros().wrapping_sub(self.now.as_micros());
                put(out, from_now(due.at));
                put(
                    out,
                    due.judges_at.map_or(0, |at| from_now(at).wrapping_add(1)),
                );
                out.extend_from_slice(due.why.as_bytes());
                self.remember(due);
            }
        }
    }

    /// The record whose body is `body`, or what is wrong with it.
    pub(crate) fn decode<'a>(&'a mut self, body: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let mut fields = Fields(body);
        let tag = fields.byte()?;
        if tag < tag::TOOK {
            let now = self.now.as_micros().wrapping_add(fields.varint()?);
            self.now = Time::from_micros(now);
        }
        let now = self.now;
        let record = match tag {
            tag::START => Record::Call(now, Call::Start),
            tag::ACCEPTED => {
                let door = Door(fields.byte()?);
                let gone = *fields.one_of(&[false, true])?;
                let high = u128::from(fields.varint()?);
                let source = high << 64 | u128::from(fields.varint()?);
                Record::Call(now, Call::Accepted(door, Remote { source, gone }))
            }
            tag::STARVED => Record::Call(now, Call::Starved(Door(fields.byte()?))),
            tag::DIALLED => {
                let conn = fields.conn()?;
                let outcome = *fields.one_of(&[Dialled::Connected, Dialled::Failed])?;
                Record::Call(now, Call::Dialled(conn, outcome))
            }
            tag::BYTES => {
                let conn = fields.conn()?;
                return Ok(Record::Call(now, Call::Bytes(conn, fields.0)));
            }
            tag::SENT => {
                let (conn, count) = (fields.conn()?, fields.varint()?);
                self.sent.clear();
                self.sent.extend_from_slice(fields.0);
                return Ok(Record::Call(now, Call::Sent(conn, count, fields.0)));
            }
            tag::SENT_AGAIN => {
                let (conn, count) = (fields.conn()?, fields.varint()?);
                Record::Call(now, Call::Sent(conn, count, &self.sent))
            }
            tag::LOST => {
                let conn = fields.conn()?;
                let loss = *fields.one_of(&[Loss::Finished, Loss::Broken])?;
                Record::Call(now, Call::Lost(conn, loss))
            }
            tag::TIMEOUT => Record::Call(now, Call::Timeout),
            tag::SHUTDOWN => Record::Call(now, Call::Shutdown),
            tag::RECOVERED => {
                let (volume, number) = (VolumeId(fields.byte()?), fields.varint()?);
                return Ok(Record::Call(now, Call::Recovered(volume, number, fields.0)));
            }
            tag::RECOVERY_DONE => {
                let (volume, next) = (VolumeId(fields.byte()?), fields.varint()?);
                Record::Call(now, Call::RecoveryDone(volume, next))
            }
            tag::STORED => {
                let (volume, count) = (VolumeId(fields.byte()?), fields.varint()?);
                return Ok(Record::Call(now, Call::Stored(volume, count, fields.0)));
            }
            tag::IDLE_UNTIL => {
                let moment = |after: u64| Time::from_micros(now.as_micros().wrapping_add(after));
                let at = moment(fields.varint()?);
                let judges = fields.varint()?;
                let due = Due {
                    at,
                    judges_at: (judges != 0).then(|| moment(judges.wrapping_sub(1))),
                    why: fields.text()?,
                };
                self.remember(due);
                Record::Output(Output::Idle(Some(due)))
            }
            tag::IDLE_STILL => {
                let due = self
                    .due()
                    .ok_or("a timeout that is as before is the first")?;
                Record::Output(Output::Idle(Some(due)))
            }
            tag::IDLE => {
                self.due = None;
                Record::Output(Output::Idle(None))
            }
            _ => Record::Output(fields.output(tag)?),
        };
        if fields.0.is_empty() {
            Ok(record)
        } else {
            Err("there is more after the last field")
        }
    }

    fn due(&self) -> Option<Due<'_>> {
        self.due.as_ref().map(|(at, judges_at, why)| Due {
            at: *at,
            judges_at: *judges_at,
            why,
        })
    }

    fn remember(&mut self, due: Due<'_>) {
        self.due = Some((due.at, due.judges_at, due.why.to_owned()));
    }
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&first, rest) = self.0.split_first().ok_or("a field is missing")?;
        self.0 = rest;
        Ok(first)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut varint = Varint::default();
        loop {
            if let Some(value) = varint.take(self.byte()?)? {
                return Ok(value);
            }
        }
    }

    fn narrow(&mut self) -> Result<u32, &'static str> {
        u32::try_from(self.varint()?).map_err(|_| "a number is too large")
    }

    fn conn(&mut self) -> Result<Conn, &'static str> {
        Ok(Conn::new(self.narrow()?, self.narrow()?))
    }

    fn one_of<T>(&mut self, kinds: &'static [T]) -> Result<&'static T, &'static str> {
        kinds
            .get(usize::from(self.byte()?))
            .ok_or("a kind is unknown")
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let rest = std::mem::take(&mut self.0);
        std::str::from_utf8(rest).map_err(|_| "a text is not UTF-8")
    }

    fn output(&mut self, tag: u8) -> Result<Output<'a>, &'static str> {
        const MISUSES: &[Misuse] = &[Misuse::Stale, Misuse::WrongState, Misuse::TooMuch];
        const HALTS: &[Halt] = &[Halt::Crash, Halt::Done, Halt::Unfinished];
        const LEVELS: &[Level] = &[Level::Debug, Level::Info, Level::Warn];
        Ok(match tag {
            tag::TOOK => Output::Took(self.conn()?),
            tag::REFUSED => Output::Refused,
            tag::MISUSE => Output::Misuse(*self.one_of(MISUSES)?),
            tag::DIAL => Output::Dial(self.conn()?, Place(self.narrow()?)),
            tag::SEND => Output::Send(self.conn()?),
            tag::PAUSE => Output::Pause(self.conn()?),
            tag::RESUME => Output::Resume(self.conn()?),
            tag::CLOSE => Output::Close(self.conn()?),
            tag::SHUT => Output::Shut(Door(self.byte()?)),
            tag::OPEN => Output::Open(Door(self.byte()?)),
            tag::STORE => Output::Store(VolumeId(self.byte()?)),
            tag::DISCARD => Output::Discard(VolumeId(self.byte()?), self.varint()?),
            tag::NOTICE => Output::Notice(*self.one_of(LEVELS)?, self.text()?),
            tag::HALT => Output::Halt(*self.one_of(HALTS)?),
            _ => return Err("the tag is unknown"),
        })
    }
}

/// A varint as its bytes come in.
#[derive(Default)]
pub(crate) struct Varint {
    value: u64,
    shift: u32,
}

impl Varint {
    /// Takes one more byte; gives the value at the last.
    pub(crate) fn take(&mut self, byte: u8) -> Result<Option<u64>, &'static str> {
        let bits = u64::from(byte & 0x7f);
        if self.shift > 63 || (self.shift == 63 && bits > 1) {
            return Err("a number is too large");
        }
        self.value |= bits << self.shift;
        self.shift += 7;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

/// The first `count` records that are unsaved in `volume`, or all if there are fewer, each behind
/// its length.
pub(crate) fn unsaved<M: Machine + ?Sized>(machine: &M, volume: VolumeId, count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let records = (0..count).map_while(|skip| machine.unsaved(volume, skip));
    for record in records {
        put(&mut out, record.len() as u64);
        out.extend_from_slice(record);
    }
    out
}

/// Appends a varint.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_conn(out: &mut Vec<u8>, conn: Conn) {
    put(out, conn.slot() as u64);
    put(out, u64::from(conn.generation()));
}

/// The running sum over all that a file holds.
#[derive(Clone, Copy)]
pub(crate) struct Sum(u32);

impl Sum {
    /// That of a file of this version. From 3 on the version is part of what is summed up.
    pub(crate) fn new(version: u8) -> Self {
        let mut sum = Self(0x811c_9dc5);
        if version > 2 {
            sum.after(&[version]);
        }
        sum
    }

    /// Takes in `bytes`, and gives the two bytes to write after them.
    pub(crate) fn after(&mut self, bytes: &[u8]) -> [u8; 2] {
        self.0 = bytes.iter().fold(self.0, |sum, &byte| {
            (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        ((self.0 >> 16) as u16 ^ self.0 as u16).to_le_bytes()
    }
}

/// Bytes as people read them: as text where they are text.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Accepted(door, remote) => {
                write!(f, "accepted at door {} from {:#x}", door.0, remote.source)?;
                f.write_str(if remote.gone { ", already gone" } else { "" })
            }
            Self::Starved(door) => write!(f, "starved at door {}", door.0),
            Self::Dialled(conn, Dialled::Connected) => write!(f, "dialled {conn}: connected"),
            Self::Dialled(conn, Dialled::Failed) => write!(f, "dialled {conn}: failed"),
            Self::Bytes(conn, bytes) => write!(f, "bytes on {conn}: {}", Shown(bytes)),
            Self::Sent(conn, count, bytes) => {
                write!(f, "sent {count} on {conn}: {}", Shown(bytes))
            }
            Self::Lost(conn, Loss::Finished) => write!(f, "lost {conn}: finished"),
            Self::Lost(conn, Loss::Broken) => write!(f, "lost {conn}: broken"),
            Self::Timeout => f.write_str("timeout"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Recovered(volume, number, bytes) => {
                let bytes = Shown(bytes);
                write!(f, "recovered record {number} of volume {volume}: {bytes}")
            }
            Self::RecoveryDone(volume, next) => {
                write!(f, "recovered volume {volume}: record {next} is next")
            }
            Self::Stored(volume, count, records) => {
                write!(f, "stored {count} in volume {volume}: {}", Shown(records))
            }
        }
    }
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Took(conn) => write!(f, "took it as {conn}"),
            Self::Refused => f.write_str("refused it"),
            Self::Misuse(misuse) => write!(f, "misuse: {misuse}"),
            Self::Dial(conn, to) => write!(f, "dial {conn} to place {}", to.0),
            Self::Send(conn) => write!(f, "send {conn}"),
            Self::Pause(conn) => write!(f, "pause {conn}"),
            Self::Resume(conn) => write!(f, "resume {conn}"),
            Self::Close(conn) => write!(f, "close {conn}"),
            Self::Shut(door) => write!(f, "shut door {}", door.0),
            Self::Open(door) => write!(f, "open door {}", door.0),
            Self::Store(volume) => write!(f, "store volume {volume}"),
            Self::Discard(volume, through) => {
                write!(f, "discard volume {volume} through record {through}")
            }
            Self::Notice(level, text) => write!(f, "notice {level:?} {text:?}"),
            Self::Halt(halt) => write!(f, "halt {halt:?}"),
            Self::Idle(None) => f.write_str("nothing, no timeout"),
            Self::Idle(Some(due)) => {
                write!(f, "nothing until {} for {:?}", due.at, due.why)?;
                match due.judges_at {
                    Some(at) => write!(f, ", judging at {at}"),
                    None => Ok(()),
                }
            }
        }
    }
}
