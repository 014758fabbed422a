//! A recording's calls, made to a fresh machine, and its outputs, compared with the recorded.

use crate::difference::Difference;
use crate::format::{Call, Output, Record, unsaved};
use crate::reader::FormatError;
use crate::recorder::{due_of, output_of};
use crate::records::Records;
use chatroom_machine::{Conn, Machine, Misuse, gather};
use chatroom_machine::{Span, Time};
use std::fmt;
use std::io::Read;

/// What a replay that got every output again has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many calls were made.
    pub calls: u64,
    /// How many outputs were compared.
    pub outputs: u64,
    /// From the first call to the last.
    pub span: Span,
    /// How many bytes at the end of the file were no whole record, and were ignored: a recorder
    /// that was killed may leave some.
    pub torn: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls over {} gave the same {} outputs",
            self.calls, self.span, self.outputs
        )?;
        if self.torn > 0 {
            write!(
                f,
                "; the last record is torn, and its {} bytes were ignored",
                self.torn
            )?;
        }
        Ok(())
    }
}

/// Why a replay did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The machine did something else than what was recorded.
    Differs(Box<Difference>),
    /// The file is no sound recording.
    Format(FormatError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(difference) => difference.fmt(f),
            Self::Format(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// Makes the calls that were recorded in `input` to the machine that `build` makes of the
/// recording's header, and compares every output.
///
/// Holds one record at a time: the memory needed does not grow with the file.
///
/// # Errors
/// The first difference, or what is wrong with the file. A torn end is neither: see
/// [`Report::torn`].
///
/// # Panics
/// If the machine does; never because of what the file holds.
pub fn replay<M: Machine>(
    input: impl Read,
    build: impl FnOnce(&[u8]) -> Result<M, String>,
) -> Result<Report, Failure> {
    let mut records = Records::open(input)?;
    let machine = build(records.header()).map_err(FormatError::Header)?;
    let mut player = Player::new(machine);
    while let Some(record) = records.next_record()? {
        player.play(record)?;
    }
    Ok(Report {
        torn: records.torn(),
        ..player.report
    })
}

struct Player<M> {
    machine: M,
    /// The result of the last call, if it must be on file and its record has not come yet.
    owed: Option<Output<'static>>,
    /// The number of the record that is being played.
    record: u64,
    /// The last call, for people.
    call: String,
    first: Option<Time>,
    now: Time,
    text: String,
    report: Report,
}

impl<M: Machine> Player<M> {
    fn new(machine: M) -> Self {
        Self {
            machine,
            owed: None,
            record: 0,
            call: String::from("none"),
            first: None,
            now: Time::ZERO,
            text: String::new(),
            report: Report {
                calls: 0,
                outputs: 0,
                span: Span::ZERO,
                torn: 0,
            },
        }
    }

    fn play(&mut self, record: Record<'_>) -> Result<(), Failure> {
        self.record += 1;
        match record {
            Record::Call(now, call) => {
                if let Some(owed) = self.owed.take() {
                    return Err(self.differs(&format!("the call {call}"), &owed.to_string()));
                }
                self.call(now, call)
            }
            Record::Output(recorded) => self.compare(recorded),
        }
    }

    fn call(&mut self, now: Time, call: Call<'_>) -> Result<(), Failure> {
        self.now = now;
        self.report.calls += 1;
        self.report.span = now.since(*self.first.get_or_insert(now));
        self.call.clear();
        // A String takes whatever is written.
        let _ = fmt::write(&mut self.call, format_args!("{call}"));
        let machine = &mut self.machine;
        let judged = |result: Result<(), Misuse>| result.err().map(Output::Misuse);
        self.owed = match call {
            Call::Start => {
                machine.handle_start(now);
                None
            }
            Call::Accepted(door, remote) => Some(
                machine
                    .handle_accepted(now, door, remote)
                    .map_or(Output::Refused, Output::Took),
            ),
            Call::Starved(door) => {
                machine.handle_starved(now, door);
                None
            }
            Call::Dialled(conn, outcome) => judged(machine.handle_dialled(now, conn, outcome)),
            Call::Bytes(conn, bytes) => judged(machine.handle_bytes(now, conn, bytes)),
            Call::Sent(conn, count, bytes) => {
                self.compare_sent(conn, count, bytes)?;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                judged(self.machine.handle_sent(now, conn, count))
            }
            Call::Lost(conn, loss) => judged(machine.handle_lost(now, conn, loss)),
            Call::Timeout => {
                machine.handle_timeout(now);
                None
            }
            Call::Shutdown => {
                machine.handle_shutdown(now);
                None
            }
            Call::Recovered(volume, number, bytes) => {
                machine.handle_recovered(now, volume, number, bytes);
                None
            }
            Call::RecoveryDone(volume, next) => {
                machine.handle_recovery_done(now, volume, next);
                None
            }
            Call::Stored(volume, count, records) => {
                self.report.outputs += 1;
                let taken = unsaved(&self.machine, volume, count);
                if *taken != *records {
                    let recorded = Call::Stored(volume, count, records).to_string();
                    let got = Call::Stored(volume, count, &taken).to_string();
                    return Err(self.differs(&recorded, &got));
                }
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                judged(self.machine.handle_stored(now, volume, count))
            }
        };
        Ok(())
    }

    fn compare_sent(&mut self, conn: Conn, count: u64, recorded: &[u8]) -> Result<(), Failure> {
        self.report.outputs += 1;
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = gather(&self.machine, conn, most);
        if *taken == *recorded {
            return Ok(());
        }
        let recorded = Call::Sent(conn, count, recorded).to_string();
        let got = Call::Sent(conn, count, &taken).to_string();
        Err(self.differs(&recorded, &got))
    }

    fn compare(&mut self, recorded: Output<'_>) -> Result<(), Failure> {
        self.report.outputs += 1;
        let mut text = std::mem::take(&mut self.text);
        let got = match (self.owed.take(), recorded) {
            (Some(owed), _) => owed,
            (None, Output::Took(_) | Output::Refused | Output::Misuse(_)) => {
                let got = "the call was no misuse";
                return Err(self.differs(&recorded.to_string(), got));
            }
            (
                None,
                Output::Dial(..)
                | Output::Send(_)
                | Output::Pause(_)
                | Output::Resume(_)
                | Output::Close(_)
                | Output::Shut(_)
                | Output::Open(_)
                | Output::Store(_)
                | Output::Discard(..)
                | Output::Notice(..)
                | Output::Halt(_)
                | Output::Idle(_),
            ) => match self.machine.poll() {
                Some(action) => output_of(&action, &mut text),
                None => Output::Idle(self.machine.poll_timeout().as_ref().map(due_of)),
            },
        };
        if got == recorded {
            self.text = text;
            return Ok(());
        }
        Err(self.differs(&recorded.to_string(), &got.to_string()))
    }

    fn differs(&self, recorded: &str, got: &str) -> Failure {
        let difference = Difference::new(self.record, self.now, &self.call, recorded, got);
        Failure::Differs(Box::new(difference))
    }
}
