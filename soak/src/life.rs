//! One life of one server: its process, and the master connection that makes it speak and watches
//! it to the end.

use crate::chronicle::Chronicle;
use crate::judge::{Digest, Judge};
use crate::text::{self, Identity};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Orders that may wait for a server that is slow or stopped.
const ORDERS: usize = 64;
/// How long a server may take to open its master port.
const OPENING: Duration = Duration::from_secs(30);
/// Bytes written at one time.
const PIECE: usize = 64 << 10;

/// What a server is to be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// To broadcast so many texts with so many bytes of padding.
    Speak { count: u64, length: usize },
    /// For its log, which is compared to what was watched.
    Get,
}

/// What the watcher of a life has seen.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Life and number of the last entry of every server.
    pub(crate) last: Vec<Option<(u32, u64)>>,
    /// Replies to `get` that were compared.
    pub(crate) replies: u64,
    /// Bytes in the log.
    pub(crate) log_bytes: u64,
    /// For every `get` that is not answered: how many broadcasts stood before it.
    asked: VecDeque<u64>,
}

/// What the threads of a life share.
struct Shared {
    id: usize,
    number: u32,
    /// Its end is meant.
    ends: AtomicBool,
    progress: Mutex<Progress>,
    chronicle: Arc<Mutex<Chronicle>>,
}

/// A process and its threads.
pub(crate) struct Life {
    child: Child,
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Life {
    /// Watches over `child`, the `number`-th life of server `id`.
    pub(crate) fn new(
        child: Child,
        (id, number): (usize, u32),
        floors: &[(u32, u64)],
        master: SocketAddr,
        chronicle: &Arc<Mutex<Chronicle>>,
    ) -> Self {
        let (orders, to_do) = sync_channel(ORDERS);
        let shared = Arc::new(Shared {
            id,
            number,
            ends: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                last: vec![None; floors.len()],
                ..Progress::default()
            }),
            chronicle: Arc::clone(chronicle),
        });
        let judge = Judge::new(id, number, floors);
        let speaker = Arc::clone(&shared);
        thread::spawn(move || {
            if let Err(error) = speaker.speak(master, judge, &to_do)
                && !speaker.ends.load(Ordering::Acquire)
            {
                speaker.violation(&format!("12 bounds: cannot be spoken to: {error}"));
            }
        });
        Self {
            child,
            orders,
            shared,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// False if too many orders wait.
    pub(crate) fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.shared.progress)
    }

    /// From now on it may end.
    pub(crate) fn may_end(&self) {
        self.shared.ends.store(true, Ordering::Release);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid() as i32) {
            // A process that is gone is found by `ended`.
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it has ended, at most so long, and kills it if it has not.
    pub(crate) fn reap(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > until {
                self.child.kill()?;
                return self.child.wait();
            }
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.may_end();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shared {
    fn violation(&self, words: &str) {
        let Self { id, number, .. } = self;
        lock(&self.chronicle).violation(format!("server {id} in life {number}: {words}"));
    }

    /// Connects, begins to watch, and carries out orders until the connection ends.
    fn speak(
        self: &Arc<Self>,
        master: SocketAddr,
        judge: Judge,
        orders: &Receiver<Order>,
    ) -> io::Result<()> {
        let begin = Instant::now();
        let mut socket = loop {
            match TcpStream::connect(master) {
                Ok(socket) => break socket,
                Err(error) if begin.elapsed() > OPENING => return Err(error),
                Err(_) if self.ends.load(Ordering::Acquire) => return Ok(()),
                Err(_) => sleep(Duration::from_millis(2)),
            }
        };
        socket.set_nodelay(true)?;
        lock(&self.progress).asked.push_back(0);
        socket.write_all(b"watch\nget\n")?;
        let (watcher, reads) = (Arc::clone(self), socket.try_clone()?);
        thread::spawn(move || {
            let ended = watcher.watch(BufReader::with_capacity(PIECE, reads), judge);
            if !watcher.ends.load(Ordering::Acquire) {
                let how = ended.map_or_else(|error| error.to_string(), |()| "its end".to_owned());
                watcher.violation(&format!("12 bounds: lost its watcher: {how}"));
            }
        });
        let mut buffer = Vec::new();
        for order in orders {
            match order {
                Order::Speak { count, length } => {
                    let last = lock(&self.chronicle).issue(self.id, count);
                    for number in last - count + 1..=last {
                        buffer.extend_from_slice(b"broadcast ");
                        let identity = Identity {
                            server: self.id,
                            life: self.number,
                            number,
                        };
                        text::push(&mut buffer, identity, length);
                        buffer.push(b'\n');
                        if buffer.len() >= PIECE {
                            socket.write_all(&buffer)?;
                            buffer.clear();
                        }
                    }
                }
                Order::Get => {
                    let issued = lock(&self.chronicle).issue(self.id, 0);
                    lock(&self.progress).asked.push_back(issued);
                    buffer.extend_from_slice(b"get\n");
                }
            }
            socket.write_all(&buffer)?;
            buffer.clear();
        }
        Ok(())
    }

    /// Reads what the server tells, and judges it, until its end.
    fn watch(&self, mut reads: BufReader<TcpStream>, mut judge: Judge) -> io::Result<()> {
        let mut line = Vec::new();
        let mut watched = false;
        loop {
            line.clear();
            // A log may be long: it is read text by text, everything else line by line.
            let Some(end) = until_comma_or_newline(&mut reads, &mut line)? else {
                return Ok(());
            };
            if let Some(first) = line.strip_prefix(b"messages ") {
                let first = first.to_vec();
                self.reply(&mut reads, &mut judge, watched, first, end)?;
                watched = true;
                continue;
            }
            if end == b',' {
                line.push(b',');
                reads.read_until(b'\n', &mut line)?;
            }
            self.news(&mut judge, watched, &line);
        }
    }

    fn news(&self, judge: &mut Judge, watched: bool, line: &[u8]) {
        let at = Instant::now();
        let said = String::from_utf8_lossy(line);
        let mut words = said.splitn(3, ' ');
        let (kind, peer) = (words.next(), words.next());
        let n = lock(&self.progress).last.len();
        let peer = (peer.and_then(|peer| peer.parse().ok())).filter(|&peer: &usize| peer < n);
        match (kind, peer) {
            (Some("up"), Some(peer)) => {
                judge.up(peer);
                lock(&self.chronicle).up(self.id, peer, at);
            }
            (Some("down"), Some(peer)) => lock(&self.chronicle).down(self.id, peer, at),
            (Some("delivered"), Some(peer)) => {
                // What came before the first log was read is in it.
                if watched {
                    let text = words.next().unwrap_or_default();
                    self.entry(judge, text.as_bytes(), true, Some(peer));
                }
            }
            _ => self.violation(&format!("12 bounds: says {said:?}")),
        }
    }

    fn entry(&self, judge: &mut Judge, text: &[u8], watched: bool, sender: Option<usize>) {
        let mut chronicle = lock(&self.chronicle);
        chronicle.entries += 1;
        match judge.entry(text, watched, |id, life| chronicle.issued(id, life)) {
            Ok(entry) => {
                if entry.server == self.id {
                    chronicle.accepted(self.id, entry.life, entry.number);
                }
                drop(chronicle);
                if sender.is_some_and(|sender| sender != entry.server) {
                    self.violation(&format!("1 no creation: {sender:?} sent {entry:?}"));
                }
                let mut progress = lock(&self.progress);
                progress.last[entry.server] = judge.last(entry.server);
                progress.log_bytes = judge.digest().bytes;
            }
            Err(words) => {
                drop(chronicle);
                self.violation(&words);
            }
        }
    }

    /// The rest of a `messages` line: the first tells what was there before, each further one
    /// must be what was seen.
    fn reply(
        &self,
        reads: &mut BufReader<TcpStream>,
        judge: &mut Judge,
        watched: bool,
        mut text: Vec<u8>,
        mut end: u8,
    ) -> io::Result<()> {
        let mut digest = Digest::default();
        let mut more = !text.is_empty() || end == b',';
        while more {
            match watched {
                true => digest.add(&text),
                false => self.entry(judge, &text, false, None),
            }
            more = end == b',';
            if more {
                text.clear();
                match until_comma_or_newline(reads, &mut text)? {
                    Some(next) => end = next,
                    None => return Ok(()),
                }
            }
        }
        let asked = lock(&self.progress).asked.pop_front();
        let own = judge.last(self.id).map_or(0, |(_, number)| number);
        if asked != Some(own) {
            self.violation(&format!(
                "5 own messages: {own} in the log, {asked:?} came before the get"
            ));
        }
        if watched {
            let seen = judge.digest();
            if (digest.finish(), digest.texts) != (seen.finish(), seen.texts) {
                self.violation(&format!(
                    "9 exact log: {} texts of {} bytes, watched were {} of {}",
                    digest.texts, digest.bytes, seen.texts, seen.bytes
                ));
            }
        }
        let mut chronicle = lock(&self.chronicle);
        chronicle.replies += 1;
        chronicle.unwatched_gaps += std::mem::take(&mut judge.unwatched_gaps);
        drop(chronicle);
        lock(&self.progress).replies += 1;
        Ok(())
    }
}

/// Appends what comes before the next comma or newline, and gives that; `None` at the end of the
/// stream.
fn until_comma_or_newline(
    reads: &mut BufReader<TcpStream>,
    out: &mut Vec<u8>,
) -> io::Result<Option<u8>> {
    loop {
        let piece = reads.fill_buf()?;
        if piece.is_empty() {
            return Ok(None);
        }
        match piece.iter().position(|&b| b == b',' || b == b'\n') {
            Some(at) => {
                let end = piece[at];
                out.extend_from_slice(&piece[..at]);
                reads.consume(at + 1);
                return Ok(Some(end));
            }
            None => {
                let length = piece.len();
                out.extend_from_slice(piece);
                reads.consume(length);
            }
        }
    }
}
