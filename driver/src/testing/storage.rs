//! What every runtime does with the files of a machine, on a real file system:
//! [`storage_suite!`](crate::storage_suite) makes tests of it.

use super::{LONG, Runtime, door, host};
use crate::{Addresses, Error, Outcome, Silent, Stop, Stopper};
use chatroom_storage::testing::{Counter, Plan};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Set for a process that is to be a server and nothing else: where it listens, and its directory.
const CHILD: &str = "CHATROOM_TEST_COUNTER";

/// Makes a test of each case about files, for a runtime.
#[macro_export]
macro_rules! storage_suite {
    ($runtime:ty) => {
        $crate::suite!($runtime:
            nothing_acknowledged_is_lost_by_kill_9,
            a_torn_end_is_cut_off,
            a_flipped_bit_is_named,
            a_full_file_system_ends_the_run_and_loses_nothing,
            a_file_size_limit_ends_the_run_and_loses_nothing,
            two_servers_on_one_directory_are_told_apart,
            volumes_need_a_directory,
            a_long_log_is_cut_into_files_and_discarded
        );
    };
}

/// A directory that is gone in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chatroom-storage-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn addresses(host: Ipv4Addr, state: &Path) -> Addresses {
    Addresses {
        doors: vec![door(host, 0)],
        places: Vec::new(),
        state: Some(state.to_owned()),
    }
}

/// Many snapshots, so that every kind of file comes up.
fn plan() -> Plan {
    Plan {
        every: 500,
        ..Plan::default()
    }
}

/// A counter in this process.
struct Serving {
    host: Ipv4Addr,
    stopper: Stopper,
    thread: JoinHandle<Result<Outcome, Error>>,
}

impl Serving {
    fn new<R: Runtime>(state: &Path, plan: Plan) -> Self {
        let (stopper, stop) = Stop::new().unwrap();
        let host = host();
        let addresses = addresses(host, state);
        let thread = thread::spawn(move || R::run(Counter::new(plan), addresses, Silent, &stop));
        Self {
            host,
            stopper,
            thread,
        }
    }

    fn ends(self) -> Result<Outcome, Error> {
        self.thread.join().unwrap()
    }

    fn stops(self) {
        self.stopper.request();
        assert_eq!(self.ends().unwrap(), Outcome::Done);
    }
}

/// A counter in a process of its own, which is killed in the end.
struct Process {
    host: Ipv4Addr,
    child: Child,
}

impl Process {
    /// Runs the calling case once more, which there becomes a server. `shell` goes before it.
    fn new(state: &Path, shell: &str) -> Self {
        let host = host();
        let current = thread::current();
        let case = current.name().expect("a test's thread has its name");
        let child = Command::new("sh")
            .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args([case, "--exact", "--nocapture"])
            .env(CHILD, format!("{host} {}", state.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { host, child }
    }

    /// Waits for its end; what it said.
    fn ends(mut self) -> String {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(3), "{said}");
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the process that [`Process::new`] started: serves until it is killed, or ends with a status
/// of 3 and says why.
fn serve_if_child<R: Runtime>() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let (host, state) = arguments.split_once(' ').unwrap();
    let addresses = addresses(host.parse().unwrap(), Path::new(state));
    let (_stopper, stop) = Stop::new().unwrap();
    let end = R::run(Counter::new(plan()), addresses, Silent, &stop);
    match end {
        Ok(outcome) => eprintln!("it ended: {outcome:?}"),
        Err(error) => eprintln!("{error}"),
    }
    std::process::exit(3);
}

/// A client that adds, each number once.
struct Client {
    reader: BufReader<TcpStream>,
    next: u64,
}

impl Client {
    /// Connects, once somebody listens.
    fn new(host: Ipv4Addr, first: u64) -> Self {
        let begin = Instant::now();
        let socket = loop {
            match TcpStream::connect(door(host, 0)) {
                Ok(socket) => break socket,
                Err(e) => assert!(begin.elapsed() < LONG, "no server: {e}"),
            }
            thread::sleep(Duration::from_millis(2));
        };
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(socket),
            next: first,
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => Some(line),
            Ok(_) | Err(_) => None,
        }
    }

    fn say(&mut self, text: &str) -> bool {
        self.reader.get_mut().write_all(text.as_bytes()).is_ok()
    }

    /// Sends some additions; whether they could be sent.
    fn adds(&mut self, count: u64) -> bool {
        let from = self.next;
        self.next += count;
        let lines: String = (from..self.next)
            .map(|id| format!("add {id} {}\n", id % 7))
            .collect();
        self.say(&lines)
    }

    /// Waits for an acknowledgement; `None` if the server is gone.
    fn acknowledged(&mut self) -> Option<u64> {
        let line = self.line()?;
        let id = line.strip_prefix("added ").expect("an acknowledgement");
        Some(id.trim_end().parse().expect("a number"))
    }

    fn ids(&mut self) -> Vec<u64> {
        assert!(self.say("ids\n"));
        let line = self.line().expect("an answer");
        let ids = line.strip_prefix("ids").expect("the answer to `ids`");
        let ids = ids.split_whitespace().map(|id| id.parse().unwrap());
        ids.collect()
    }
}

/// What was sent and what was acknowledged, by now.
#[derive(Default)]
struct Ledger {
    sent: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

impl Ledger {
    /// Adds with many outstanding until the server is gone or `most` were acknowledged.
    fn add_until(&mut self, host: Ipv4Addr, most: u64) {
        let first = self.sent.last().map_or(0, |id| id + 1);
        let mut client = Client::new(host, first);
        let begin = Instant::now();
        let mut count = 0;
        while count < most && client.adds(100) {
            assert!(begin.elapsed() < LONG);
            self.sent.extend(client.next - 100..client.next);
            for _ in 0..100 {
                let Some(id) = client.acknowledged() else {
                    return;
                };
                self.acknowledged.insert(id);
                count += 1;
            }
        }
    }

    /// Nothing that was acknowledged is lost, nothing is invented, doubled or out of order.
    fn check(&self, found: &[u64]) {
        assert!(found.is_sorted_by(|a, b| a < b), "doubled or out of order");
        let found: BTreeSet<u64> = found.iter().copied().collect();
        let lost: Vec<_> = self.acknowledged.difference(&found).take(5).collect();
        assert_eq!(lost, [&0; 0], "acknowledged and lost");
        let invented: Vec<_> = found.difference(&self.sent).take(5).collect();
        assert_eq!(invented, [&0; 0], "never sent");
    }
}

/// The only segment of the log, or the last.
fn segment(state: &Path) -> PathBuf {
    let mut segments = segments(state);
    segments.pop().expect("a segment")
}

fn segments(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    segments.sort();
    segments
}

#[allow(missing_docs)]
pub fn nothing_acknowledged_is_lost_by_kill_9<R: Runtime>() {
    serve_if_child::<R>();
    let state = Temporary::new();
    let mut ledger = Ledger::default();
    for round in 0..8 {
        let mut server = Process::new(&state.0, "");
        let found = Client::new(server.host, 0).ids();
        ledger.check(&found);
        assert!(found.len() >= round * 100, "so much was acknowledged");
        let host = server.host;
        thread::scope(|scope| {
            let adding = scope.spawn(|| ledger.add_until(host, u64::MAX));
            // In the middle of something, a different one each time.
            let begin = Instant::now();
            let enough = Duration::from_millis(60 + 13 * round as u64);
            while begin.elapsed() < enough {
                thread::sleep(Duration::from_micros(100));
            }
            server.child.kill().unwrap();
            adding.join().unwrap();
        });
        assert!(!ledger.acknowledged.is_empty());
    }
    let server = Serving::new::<R>(&state.0, plan());
    ledger.check(&Client::new(server.host, 0).ids());
    server.stops();
}

#[allow(missing_docs)]
pub fn a_torn_end_is_cut_off<R: Runtime>() {
    let state = Temporary::new();
    let mut ledger = Ledger::default();
    for torn in [1, 7, 8, 30, 76] {
        let server = Serving::new::<R>(&state.0, Plan::default());
        ledger.add_until(server.host, 100);
        server.stops();
        let segment = segment(&state.0);
        let whole = fs::read(&segment).unwrap();
        // As the next record would begin: the end of a batch that was not synced.
        let mut record = Vec::new();
        let number = ledger.sent.len() as u64;
        chatroom_storage::encode_record(number, &[1; 64], &mut record);
        fs::write(&segment, [&whole, &record[..torn]].concat()).unwrap();

        let server = Serving::new::<R>(&state.0, Plan::default());
        let found = Client::new(server.host, 0).ids();
        ledger.check(&found);
        assert_eq!(found.len(), ledger.sent.len());
        server.stops();
        assert_eq!(fs::read(&segment).unwrap(), whole, "{torn}");
    }
}

#[allow(missing_docs)]
pub fn a_flipped_bit_is_named<R: Runtime>() {
    let state = Temporary::new();
    let server = Serving::new::<R>(&state.0, Plan::default());
    Ledger::default().add_until(server.host, 100);
    server.stops();
    let segment = segment(&state.0);
    let whole = fs::read(&segment).unwrap();
    // In the header, in a record, in the length of the last.
    let last = whole.len() - 77;
    for (at, offset) in [
        (20, 0),
        (200, 132),
        (last + 1, last),
        (whole.len() - 1, last),
    ] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(&segment, &damaged).unwrap();
        let error = Serving::new::<R>(&state.0, Plan::default())
            .ends()
            .unwrap_err();
        let said = error.to_string();
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name), "{said}");
        assert!(
            said.contains(&format!("corrupt at byte {offset}:")),
            "{said}"
        );
        // It is left as it was, for whoever is to look into it.
        assert_eq!(fs::read(&segment).unwrap(), damaged);
    }
}

/// Adds until there is no room; what the server says at its end. All that it acknowledged is
/// there once there is room again.
fn runs_full<R: Runtime>(state: &Path, shell: &str, make_room: impl FnOnce()) -> String {
    let server = Process::new(state, shell);
    let mut ledger = Ledger::default();
    ledger.add_until(server.host, 1_000_000);
    let said = server.ends();
    assert!(ledger.acknowledged.len() >= 500, "{said}");
    assert!(ledger.acknowledged.len() < ledger.sent.len());
    make_room();
    let server = Serving::new::<R>(state, plan());
    ledger.check(&Client::new(server.host, 0).ids());
    ledger.add_until(server.host, 100);
    server.stops();
    said
}

#[allow(missing_docs)]
pub fn a_file_size_limit_ends_the_run_and_loses_nothing<R: Runtime>() {
    serve_if_child::<R>();
    let state = Temporary::new();
    let said = runs_full::<R>(&state.0, "trap '' XFSZ; ulimit -f 200;", || {});
    assert!(said.contains("cannot write to"), "{said}");
    assert!(said.contains(&*state.0.to_string_lossy()), "{said}");
    assert!(said.contains("File too large"), "{said}");
}

/// Only where this process may mount one; the case before it needs no right.
#[allow(missing_docs)]
pub fn a_full_file_system_ends_the_run_and_loses_nothing<R: Runtime>() {
    serve_if_child::<R>();
    let state = Temporary::new();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        command.arg(&state.0).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount("size=256k") {
        println!("not tried: a tmpfs can't be mounted here");
        return;
    }
    let _unmounts = Unmounts(&state.0);
    let said = runs_full::<R>(&state.0, "", || assert!(mount("remount,size=4m")));
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains(&*state.0.to_string_lossy()), "{said}");
}

struct Unmounts<'a>(&'a Path);

impl Drop for Unmounts<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[allow(missing_docs)]
pub fn two_servers_on_one_directory_are_told_apart<R: Runtime>() {
    let state = Temporary::new();
    let server = Serving::new::<R>(&state.0, Plan::default());
    drop(Client::new(server.host, 0));
    let error = Serving::new::<R>(&state.0, Plan::default())
        .ends()
        .unwrap_err();
    let expected = format!(
        "another server uses the directory {}: process {}",
        state.0.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    server.stops();
    // The first one's end is the end of its lock.
    let server = Serving::new::<R>(&state.0, Plan::default());
    drop(Client::new(server.host, 0));
    server.stops();
}

#[allow(missing_docs)]
pub fn volumes_need_a_directory<R: Runtime>() {
    let (_stopper, stop) = Stop::new().unwrap();
    let addresses = Addresses {
        state: None,
        ..addresses(host(), Path::new(""))
    };
    let error = R::run(Counter::new(Plan::default()), addresses, Silent, &stop).unwrap_err();
    assert!(matches!(error, Error::NoState), "{error}");
}

/// Some 20 MB of records, of which a snapshot soon covers most.
#[allow(missing_docs)]
pub fn a_long_log_is_cut_into_files_and_discarded<R: Runtime>() {
    let state = Temporary::new();
    let plan = Plan {
        every: 20_000,
        keep: false,
        ..Plan::default()
    };
    let server = Serving::new::<R>(&state.0, plan);
    let mut client = Client::new(server.host, 0);
    let mut most = 0;
    for _ in 0..26 {
        assert!(client.adds(10_000));
        for _ in 0..10_000 {
            client.acknowledged().expect("it is there");
        }
        most = most.max(segments(&state.0).len());
    }
    server.stops();
    let left = segments(&state.0);
    assert!(most <= 3 && left.len() <= 2, "{most}, {left:?}");
    let first = chatroom_storage::testing::ADDS.0;
    assert!(
        !left[0]
            .to_string_lossy()
            .ends_with(&format!("{first:020}.log"))
    );

    let server = Serving::new::<R>(&state.0, plan);
    let mut client = Client::new(server.host, 260_000);
    assert!(client.say("get\n"));
    let total: u64 = (0..260_000).map(|id| id % 7).sum();
    let expected = format!("total {total} of 260000\n");
    assert_eq!(client.line(), Some(expected));
    server.stops();
}
