//! A grid of real processes on a loopback address of its own, every server recorded. When a case
//! is done with its grid, all recordings are replayed and must match.

pub(crate) mod master;
pub(crate) mod pump;
pub(crate) mod stranger;
pub(crate) mod turn;

use master::{Master, Watch};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

/// A condition that does not come true by then never will.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// Times so long that no live server is suspected, however busy the machine: for the cases in
/// which nobody falls silent, whose messages must therefore all arrive.
const PATIENT: &str = "--suspicion 25000 --greeting 25000 --dial 25000";
/// How many messages were broadcast to see whether they arrive.
static REACHES: AtomicUsize = AtomicUsize::new(0);
const BASE: u16 = 3000;
const MASTERS: u16 = 10_000;

/// The binary that is tested: the one of this build, or another release that
/// `CHATROOM_TEST_BINARY` names, to see a case fail with it.
pub(crate) fn binary() -> OsString {
    let other = env::var_os("CHATROOM_TEST_BINARY");
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_chatroom").into())
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, a thread for each connection.
    Std,
    /// Ours, one thread for all of them.
    Smol,
    /// The one of `tests/foreign`, which shares no code with ours.
    Foreign,
    /// The same, broadcasting before its first ping.
    MsgFirst,
}

/// Whether bounds on time are asserted, which only a calm machine can keep. Then servers run with
/// the times that they have by default, too.
pub(crate) fn strict() -> bool {
    env::var_os("CHATROOM_STRICT").is_some_and(|v| v == "1")
}

/// Whether the cases that have a longer form take it.
pub(crate) fn long() -> bool {
    env::var_os("CHATROOM_LONG").is_some_and(|v| v == "1")
}

/// The options of a grid in which nobody falls silent.
pub(crate) fn patient() -> &'static str {
    if strict() { "" } else { PATIENT }
}

/// Prints what something took; asserts its bound on a calm machine.
pub(crate) fn within(what: &str, took: Duration, bound: Duration) {
    eprintln!("{what}: {took:.1?}, to be within {bound:?}");
    assert!(!strict() || took <= bound, "{what}: {took:?}");
}

/// Waits until `holds`, and says how long it took.
///
/// # Panics
/// After [`LONG`].
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let asked = Instant::now();
        if holds() {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < LONG, "not in time: {what}");
        // At most half of the time goes into asking.
        sleep(asked.elapsed().max(Duration::from_millis(3)));
    }
}

/// `n` servers of one kind.
pub(crate) fn all(kind: Kind, n: usize) -> Vec<Kind> {
    vec![kind; n]
}

/// A grid of processes, killed when the case is done with it.
pub(crate) struct Grid {
    pub(crate) host: Ipv4Addr,
    folder: PathBuf,
    options: String,
    seats: Vec<Seat>,
}

/// A place in the grid and the process that has it.
struct Seat {
    kind: Kind,
    /// Options of this server alone.
    options: String,
    /// Descriptors that the process may have.
    descriptors: Option<u32>,
    process: Option<Child>,
}

impl Grid {
    /// A grid that does not run yet, with `options` for every server of ours.
    pub(crate) fn new(kinds: &[Kind], options: &str) -> Self {
        static USED: AtomicU8 = AtomicU8::new(1);
        let [.., a, b] = id().to_be_bytes();
        let number = USED.fetch_add(1, Ordering::Relaxed);
        let host = Ipv4Addr::new(127, 192 | (a & 63), b, number);
        let name = format!("grid-{}-{number}", id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let seat = |&kind: &Kind| Seat {
            kind,
            options: String::new(),
            descriptors: None,
            process: None,
        };
        Self {
            host,
            folder,
            options: options.to_owned(),
            seats: kinds.iter().map(seat).collect(),
        }
    }

    /// A grid that runs and is whole.
    pub(crate) fn up(kinds: &[Kind], options: &str) -> Self {
        let mut grid = Self::new(kinds, options);
        grid.start_all();
        grid.whole();
        grid
    }

    pub(crate) fn ids(&self) -> Vec<usize> {
        (0..self.seats.len()).collect()
    }

    /// All ids but one.
    pub(crate) fn others(&self, but: usize) -> Vec<usize> {
        self.ids().into_iter().filter(|&id| id != but).collect()
    }

    /// Gives one server options of its own, from its next start on.
    pub(crate) fn set_options(&mut self, id: usize, options: &str) {
        options.clone_into(&mut self.seats[id].options);
    }

    /// Limits the descriptors of one server, from its next start on.
    pub(crate) fn set_descriptors(&mut self, id: usize, most: u32) {
        self.seats[id].descriptors = Some(most);
    }

    pub(crate) fn link_port(id: usize) -> u16 {
        BASE + id as u16
    }

    pub(crate) fn master_port(id: usize) -> u16 {
        MASTERS + id as u16
    }

    fn command(&self, id: usize) -> Command {
        let seat = &self.seats[id];
        let place = [id, self.seats.len(), usize::from(Self::master_port(id))];
        let place = place.map(|value| value.to_string());
        let binary = binary();
        let mut command = match (seat.kind, seat.descriptors) {
            (Kind::Std | Kind::Smol, None) => Command::new(binary),
            (Kind::Std | Kind::Smol, Some(most)) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(binary);
                shell
            }
            (Kind::Foreign | Kind::MsgFirst, _) => {
                let mut python = Command::new("python3");
                python.arg(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/foreign/foreign.py"
                ));
                python
            }
        };
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CHATROOM_") {
                command.env_remove(name);
            }
        }
        command.env("CHATROOM_HOST", self.host.to_string());
        command.env("CHATROOM_BASE_PORT", BASE.to_string());
        match seat.kind {
            Kind::Std | Kind::Smol => {
                let runtime = if seat.kind == Kind::Std {
                    "std"
                } else {
                    "smol"
                };
                command.arg("serve").args(place);
                command.args(["--runtime", runtime, "--log", "error"]);
                // Of an option that is given twice the last counts.
                let words = [&self.options, &seat.options].map(|o| o.split_whitespace());
                let words: Vec<_> = words.into_iter().flatten().collect();
                let options: BTreeMap<_, _> = words.chunks(2).map(|o| (o[0], o[1])).collect();
                for (name, value) in options {
                    command.args([name, value]);
                }
                command.arg("--record").arg(&self.folder);
            }
            Kind::Foreign => {
                command.args(place);
            }
            Kind::MsgFirst => {
                command.args(place).arg("--msg-first");
            }
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts one server.
    pub(crate) fn start(&mut self, id: usize) {
        let child = self.command(id).spawn().unwrap();
        let seat = &mut self.seats[id];
        assert!(seat.process.is_none(), "server {id} runs");
        seat.process = Some(child);
    }

    pub(crate) fn start_all(&mut self) {
        for id in self.ids() {
            self.start(id);
        }
    }

    /// Starts another process at the place of a server, and says with which status it ended.
    pub(crate) fn rival(&self, id: usize) -> Option<i32> {
        let mut command = self.command(id);
        command.stderr(Stdio::null());
        command.status().unwrap().code()
    }

    pub(crate) fn pid(&self, id: usize) -> u32 {
        self.seats[id].process.as_ref().expect("it runs").id()
    }

    pub(crate) fn signal(&self, id: usize, signal: Signal) {
        let pid = Pid::from_raw(self.pid(id) as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, id: usize) {
        let mut child = self.seats[id].process.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self, id: usize) {
        self.signal(id, Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, id: usize) {
        self.signal(id, Signal::CONT);
    }

    /// Waits until a server has ended, and says with which status.
    pub(crate) fn ended(&mut self, id: usize) -> Option<i32> {
        let mut child = self.seats[id].process.take().expect("it runs");
        let mut status = None;
        until("the server ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// A new connection to the master port of a server.
    pub(crate) fn master(&self, id: usize) -> Master {
        Master::new(self.host, Self::master_port(id))
    }

    pub(crate) fn watch(&self, id: usize) -> Watch {
        Watch::new(self.master(id))
    }

    /// Waits until each of `ids` says that exactly they are alive.
    pub(crate) fn agree(&self, ids: &[usize]) -> Duration {
        let begin = Instant::now();
        let mut masters: Vec<_> = ids.iter().map(|&id| self.master(id)).collect();
        // All of them at one time, not one after another.
        until(&format!("all of {ids:?} list one another"), || {
            masters.iter_mut().all(|master| master.alive() == ids)
        });
        begin.elapsed()
    }

    /// Waits until server `id` says that exactly `ids` are alive.
    pub(crate) fn agree_at(&self, id: usize, ids: &[usize]) {
        let mut master = self.master(id);
        until(&format!("{id} lists {ids:?}"), || master.alive() == ids);
    }

    /// Resident bytes of a server.
    pub(crate) fn memory(&self, id: usize) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid(id))).unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    /// Waits until every server lists every server.
    pub(crate) fn whole(&self) -> Duration {
        self.agree(&self.ids())
    }

    /// Broadcasts at `from` until each of `to` has such a message: where sessions may be broken
    /// by a busy machine, one may be lost.
    pub(crate) fn reaches(&self, from: usize, to: &[usize]) {
        let mut sender = self.master(from);
        let mut receivers: Vec<_> = to.iter().map(|&id| self.master(id)).collect();
        until(&format!("a message of {from} reaches {to:?}"), || {
            // No two are alike, or one of before would do.
            let text = format!("reach.{from}.{}", REACHES.fetch_add(1, Ordering::Relaxed));
            sender.tell(&format!("broadcast {text}"));
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(2) {
                if receivers.iter_mut().all(|m| m.get().contains(&text)) {
                    return true;
                }
                sleep(Duration::from_millis(3));
            }
            false
        });
    }

    fn end_all(&mut self) -> Vec<usize> {
        let mut dead = Vec::new();
        for (id, seat) in self.seats.iter_mut().enumerate() {
            if let Some(mut child) = seat.process.take() {
                if !matches!(child.try_wait(), Ok(None)) {
                    dead.push(id);
                }
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        dead
    }

    fn replay(&self) {
        let entries = fs::read_dir(&self.folder).unwrap();
        // One that is empty was made by a server that was killed before it did anything.
        let files: Vec<_> = (entries.map(|entry| entry.unwrap()))
            .filter(|entry| entry.metadata().unwrap().len() > 0)
            .map(|entry| entry.path())
            .collect();
        if files.is_empty() {
            return;
        }
        let mut command = Command::new(binary());
        let output = command.arg("replay").args(&files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "a replay differs:\n{said}{complaints}"
        );
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        let dead = self.end_all();
        if panicking() {
            eprintln!("the recordings are in {}", self.folder.display());
            return;
        }
        assert!(dead.is_empty(), "servers {dead:?} ended by themselves");
        self.replay();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}
