//! The machine around a machine that writes down what passes.

use crate::format::{
    Call, Codec, Due, HEADER_MAX, MAGIC, Output, RECORD_MAX, Record, Sum, VERSION, put, unsaved,
};
use chatroom_machine::Time;
use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Misuse, Notice, Refused, Remote, Timeout,
    Volume, VolumeId, gather,
};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes after which the tape is written out, even within a turn.
const FLUSH_AT: usize = 64 << 10;

/// A machine that passes every call on to another and writes down the call and what came of it.
///
/// What was recorded is handed to the writer whenever the machine has been drained, when it
/// halts, and when the recorder is dropped. Where writing fails, the recording ends, the function
/// given to [`Recorder::new`] is told so, once, and the machine goes on undisturbed.
pub struct Recorder<M, W: Write> {
    machine: M,
    tape: Arc<Mutex<Tape<W>>>,
}

/// A hold on a recorder's tape from elsewhere: for a panic hook, so that the call that the
/// machine did not survive is on file.
pub struct Rescue<W: Write>(Arc<Mutex<Tape<W>>>);

type Complain = Box<dyn FnOnce(io::Error) + Send>;

struct Tape<W: Write> {
    /// `None` once writing has failed.
    out: Option<(W, Complain)>,
    codec: Codec,
    sum: Sum,
    body: Vec<u8>,
    text: String,
    buffer: Vec<u8>,
}

impl<M: Machine, W: Write> Recorder<M, W> {
    /// Begins a recording of `machine` on `out` with `header`, from which a replay is to build
    /// the machine again. `complain` is called at most once, with the error that ended the
    /// recording.
    ///
    /// # Errors
    /// If the opening can't be written, or `header` is longer than [`HEADER_MAX`].
    pub fn new(
        machine: M,
        mut out: W,
        header: &[u8],
        complain: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        if header.len() > HEADER_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the header of a recording has at most {HEADER_MAX} bytes"),
            ));
        }
        let mut sum = Sum::new(VERSION);
        let mut opening = MAGIC.to_vec();
        opening.push(VERSION);
        put(&mut opening, header.len() as u64);
        opening.extend_from_slice(header);
        opening.extend_from_slice(&sum.after(header));
        out.write_all(&opening)?;
        out.flush()?;
        let tape = Tape {
            out: Some((out, Box::new(complain))),
            codec: Codec::default(),
            sum,
            body: Vec::new(),
            text: String::new(),
            buffer: Vec::new(),
        };
        Ok(Self {
            machine,
            tape: Arc::new(Mutex::new(tape)),
        })
    }

    /// The machine that is recorded.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// A hold on the tape that can write out what is still buffered.
    #[must_use]
    pub fn rescue(&self) -> Rescue<W> {
        Rescue(Arc::clone(&self.tape))
    }

    fn call(&self, now: Time, call: Call<'_>) {
        lock(&self.tape).add(&Record::Call(now, call));
    }

    fn output(&self, output: Output<'_>) {
        lock(&self.tape).add(&Record::Output(output));
    }

    fn judged(&self, result: Result<(), Misuse>) -> Result<(), Misuse> {
        if let Err(misuse) = result {
            self.output(Output::Misuse(misuse));
        }
        result
    }
}

impl<W: Write> Rescue<W> {
    /// Writes out what is buffered; does nothing if the tape is just being written to.
    pub fn flush(&self) {
        if let Ok(mut tape) = self.0.try_lock() {
            tape.flush();
        }
    }
}

impl<M: Machine, W: Write> Machine for Recorder<M, W> {
    type Notice = M::Notice;

    fn volumes(&self) -> &'static [Volume] {
        self.machine.volumes()
    }

    fn handle_recovered(&mut self, now: Time, volume: VolumeId, number: u64, record: &[u8]) {
        self.call(now, Call::Recovered(volume, number, record));
        self.machine.handle_recovered(now, volume, number, record);
    }

    fn handle_recovery_done(&mut self, now: Time, volume: VolumeId, next: u64) {
        self.call(now, Call::RecoveryDone(volume, next));
        self.machine.handle_recovery_done(now, volume, next);
    }

    fn handle_start(&mut self, now: Time) {
        self.call(now, Call::Start);
        self.machine.handle_start(now);
    }

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        self.call(now, Call::Accepted(door, remote));
        let result = self.machine.handle_accepted(now, door, remote);
        self.output(result.map_or(Output::Refused, Output::Took));
        result
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.call(now, Call::Starved(door));
        self.machine.handle_starved(now, door);
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.call(now, Call::Dialled(conn, outcome));
        let result = self.machine.handle_dialled(now, conn, outcome);
        self.judged(result)
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.call(now, Call::Bytes(conn, bytes));
        let result = self.machine.handle_bytes(now, conn, bytes);
        self.judged(result)
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        let sent = gather(&self.machine, conn, count);
        self.call(now, Call::Sent(conn, count as u64, &sent));
        let result = self.machine.handle_sent(now, conn, count);
        self.judged(result)
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.call(now, Call::Lost(conn, loss));
        let result = self.machine.handle_lost(now, conn, loss);
        self.judged(result)
    }

    fn handle_stored(&mut self, now: Time, volume: VolumeId, count: usize) -> Result<(), Misuse> {
        let records = unsaved(&self.machine, volume, count as u64);
        self.call(now, Call::Stored(volume, count as u64, &records));
        let result = self.machine.handle_stored(now, volume, count);
        self.judged(result)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.call(now, Call::Timeout);
        self.machine.handle_timeout(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.call(now, Call::Shutdown);
        self.machine.handle_shutdown(now);
    }

    fn poll(&mut self) -> Option<Action<M::Notice>> {
        let action = self.machine.poll();
        match &action {
            Some(action) => lock(&self.tape).add_action(action),
            None => {
                let due = self.machine.poll_timeout();
                self.output(Output::Idle(due.as_ref().map(due_of)));
            }
        }
        if matches!(action, None | Some(Action::Halt(_))) {
            lock(&self.tape).flush();
        }
        action
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.machine.pending(conn, skip)
    }

    fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        self.machine.unsaved(volume, skip)
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.machine.poll_timeout()
    }
}

impl<W: Write> Tape<W> {
    fn add_action<N: Notice>(&mut self, action: &Action<N>) {
        let mut text = std::mem::take(&mut self.text);
        self.add(&Record::Output(output_of(action, &mut text)));
        self.text = text;
    }

    fn add(&mut self, record: &Record<'_>) {
        if self.out.is_none() {
            return;
        }
        self.body.clear();
        self.codec.encode(record, &mut self.body);
        if self.body.len() > RECORD_MAX {
            self.fail(io::Error::other("one call was too large for a record"));
            return;
        }
        put(&mut self.buffer, self.body.len() as u64);
        self.buffer.extend_from_slice(&self.body);
        self.buffer.extend_from_slice(&self.sum.after(&self.body));
        if self.buffer.len() >= FLUSH_AT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if let Some((out, _)) = &mut self.out {
            let result = out.write_all(&self.buffer).and_then(|()| out.flush());
            self.buffer.clear();
            if let Err(error) = result {
                self.fail(error);
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        if let Some((_, complain)) = self.out.take() {
            complain(error);
        }
    }
}

/// What was recorded of a machine that is dropped, in a panic or not, is on file.
impl<W: Write> Drop for Tape<W> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What a file holds of `action`; a notice's text is left in `text`.
pub(crate) fn output_of<'a, N: Notice>(action: &Action<N>, text: &'a mut String) -> Output<'a> {
    match action {
        Action::Dial { conn, to } => Output::Dial(*conn, *to),
        Action::Send(conn) => Output::Send(*conn),
        Action::Pause(conn) => Output::Pause(*conn),
        Action::Resume(conn) => Output::Resume(*conn),
        Action::Close(conn) => Output::Close(*conn),
        Action::Shut(door) => Output::Shut(*door),
        Action::Open(door) => Output::Open(*door),
        Action::Store(volume) => Output::Store(*volume),
        Action::Discard { volume, through } => Output::Discard(*volume, *through),
        Action::Notice(notice) => {
            text.clear();
            // A notice that can't be displayed is recorded as far as it could.
            let _ = write!(text, "{notice}");
            Output::Notice(notice.level(), text)
        }
        Action::Halt(halt @ (Halt::Crash | Halt::Done | Halt::Unfinished)) => Output::Halt(*halt),
    }
}

/// What a file holds of `timeout`.
pub(crate) fn due_of(timeout: &Timeout) -> Due<'static> {
    Due {
        at: timeout.at,
        judges_at: timeout.judges_at,
        why: timeout.why,
    }
}

/// A panic of the machine does not happen while the tape is held, one of the writer may: what it
/// left is still whole records.
fn lock<W: Write>(tape: &Mutex<Tape<W>>) -> MutexGuard<'_, Tape<W>> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}
