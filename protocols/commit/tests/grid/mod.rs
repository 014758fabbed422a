//! Several servers on a network, and disks, in memory. Each move of bytes or records is one step,
//! and the test chooses their order: all in turn, or by a seed. Virtual time, no threads.
#![allow(dead_code, unreachable_pub, missing_docs)]

use chatroom_commit::{CommitServer, Config, Event, LINKS, MASTERS, News, Options};
use chatroom_machine::{
    Action, Checked, Checks, Conn, Dialled, Halt, Loss, Machine, Remote, Span, Time, VolumeId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const LOG: VolumeId = VolumeId(0);

/// Who is at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Host(usize),
    Client,
    Gone,
}

#[derive(Debug)]
struct Pipe {
    ends: [End; 2],
    /// What is on its way to each end.
    bytes: [Vec<u8>; 2],
}

#[derive(Default)]
struct Host {
    machine: Option<Checked<CommitServer>>,
    /// Records by number, and the number of the next.
    disk: BTreeMap<u64, Vec<u8>>,
    next: u64,
    conns: BTreeMap<Conn, (usize, usize)>,
    /// Those that are not to be read.
    paused: BTreeSet<Conn>,
    dials: VecDeque<(Conn, usize)>,
    queues: [VecDeque<usize>; 2],
    /// What it told, over all its incarnations.
    events: Vec<Event>,
    incarnation: u32,
}

/// One step that could be taken.
#[derive(Clone, Copy, Debug)]
enum Move {
    Dial(usize),
    Accept(usize, usize),
    Write(usize, Conn),
    Read(usize, Conn),
    Store(usize),
}

pub struct Grid {
    pub now: Time,
    options: Options,
    hosts: Vec<Host>,
    pipes: Vec<Pipe>,
    /// What each client has heard and the test has not taken.
    heard: BTreeMap<usize, Vec<u8>>,
    seed: Option<u64>,
}

impl Grid {
    pub fn new(servers: usize) -> Self {
        Self::with(servers, Options::default(), None)
    }

    /// With a seed that chooses the order of steps.
    pub fn with(servers: usize, options: Options, seed: Option<u64>) -> Self {
        Self {
            now: Time::from_micros(1),
            options,
            hosts: (0..servers).map(|_| Host::default()).collect(),
            pipes: vec![],
            heard: BTreeMap::new(),
            seed,
        }
    }

    /// A number below `below`.
    pub fn draw(&mut self, below: usize) -> usize {
        let Some(seed) = &mut self.seed else {
            return 0;
        };
        // SplitMix64.
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    pub fn server(&self, at: usize) -> Option<&CommitServer> {
        self.hosts[at].machine.as_ref().map(Checked::machine)
    }

    pub fn servers(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_up(&self, at: usize) -> bool {
        self.hosts[at].machine.is_some()
    }

    pub fn events(&self, at: usize) -> &[Event] {
        &self.hosts[at].events
    }

    /// Starts a server with what its disk has.
    pub fn start(&mut self, at: usize) {
        assert!(!self.is_up(at), "server {at} runs");
        let host = &mut self.hosts[at];
        host.incarnation += 1;
        let mut config = Config::new(at as u32, self.hosts.len() as u32);
        config.observe = true;
        config.seed = u64::from(self.hosts[at].incarnation);
        config.protocol = self.options.clone();
        let node = CommitServer::new(config).expect("within bounds");
        let mut machine = Checked::new(node, Checks::thorough().panicking());
        let host = &mut self.hosts[at];
        for (&number, record) in &host.disk {
            machine.handle_recovered(self.now, LOG, number, record);
        }
        machine.handle_recovery_done(self.now, LOG, host.next);
        host.machine = Some(machine);
        self.call(at, |m, now| m.handle_start(now));
    }

    /// Kills a server: what it has not written and not stored is lost.
    pub fn kill(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.machine = None;
        host.dials.clear();
        host.paused.clear();
        let queued = host.queues.iter_mut().flat_map(|queue| queue.drain(..));
        let pipes: Vec<_> = queued
            .map(|pipe| (pipe, 1))
            .chain(core::mem::take(&mut host.conns).into_values())
            .collect();
        for (pipe, side) in pipes {
            self.hang_up(pipe, side);
        }
    }

    fn hang_up(&mut self, pipe: usize, side: usize) {
        self.pipes[pipe].ends[side] = End::Gone;
        self.pipes[pipe].bytes[side].clear();
    }

    fn call<R>(
        &mut self,
        at: usize,
        what: impl FnOnce(&mut Checked<CommitServer>, Time) -> R,
    ) -> Option<R> {
        let now = self.now;
        let result = what(self.hosts[at].machine.as_mut()?, now);
        while let Some(machine) = &mut self.hosts[at].machine
            && let Some(action) = machine.poll()
        {
            match action {
                Action::Dial { conn, to } => self.hosts[at].dials.push_back((conn, to.0 as usize)),
                Action::Close(conn) => {
                    self.hosts[at].dials.retain(|dial| dial.0 != conn);
                    if let Some((pipe, side)) = self.hosts[at].conns.remove(&conn) {
                        self.hang_up(pipe, side);
                    }
                }
                Action::Halt(Halt::Crash | Halt::Done | Halt::Unfinished) => self.kill(at),
                Action::Discard { through, .. } => {
                    let kept = self.hosts[at].disk.split_off(&(through + 1));
                    self.hosts[at].disk = kept;
                }
                Action::Notice(News::Protocol(event)) => self.hosts[at].events.push(event),
                Action::Pause(conn) => {
                    self.hosts[at].paused.insert(conn);
                }
                Action::Resume(conn) => {
                    self.hosts[at].paused.remove(&conn);
                }
                Action::Send(_) | Action::Store(_) => {}
                Action::Shut(_) | Action::Open(_) | Action::Notice(_) => {}
            }
        }
        Some(result)
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = vec![];
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(machine) = &host.machine else {
                continue;
            };
            if !host.dials.is_empty() {
                moves.push(Move::Dial(at));
            }
            for door in 0..2 {
                if !host.queues[door].is_empty() {
                    moves.push(Move::Accept(at, door));
                }
            }
            for (&conn, &(pipe, side)) in &host.conns {
                if !machine.pending(conn, 0).is_empty() {
                    moves.push(Move::Write(at, conn));
                }
                let pipe = &self.pipes[pipe];
                if host.paused.contains(&conn) {
                    continue;
                }
                if !pipe.bytes[side].is_empty() || pipe.ends[1 - side] == End::Gone {
                    moves.push(Move::Read(at, conn));
                }
            }
            if machine.unsaved(LOG, 0).is_some() {
                moves.push(Move::Store(at));
            }
        }
        moves
    }

    /// Takes one step; false if there is none to take.
    pub fn step(&mut self) -> bool {
        let moves = self.moves();
        if moves.is_empty() {
            return false;
        }
        let which = self.draw(moves.len());
        match moves[which] {
            Move::Dial(at) => self.dial(at),
            Move::Accept(at, door) => self.accept(at, door),
            Move::Write(at, conn) => self.write(at, conn),
            Move::Read(at, conn) => self.read(at, conn),
            Move::Store(at) => self.store(at),
        }
        true
    }

    fn dial(&mut self, at: usize) {
        let Some((conn, to)) = self.hosts[at].dials.pop_front() else {
            return;
        };
        let outcome = if self.is_up(to) {
            let pipe = self.pipes.len();
            self.pipes.push(Pipe {
                ends: [End::Host(at), End::Host(to)],
                bytes: Default::default(),
            });
            self.hosts[to].queues[0].push_back(pipe);
            self.hosts[at].conns.insert(conn, (pipe, 0));
            Dialled::Connected
        } else {
            Dialled::Failed
        };
        let result = self.call(at, |m, now| m.handle_dialled(now, conn, outcome));
        result.expect("it lives").expect("it was being dialled");
    }

    fn accept(&mut self, at: usize, door: usize) {
        let Some(pipe) = self.hosts[at].queues[door].pop_front() else {
            return;
        };
        let door = if door == 0 { LINKS } else { MASTERS };
        let gone = self.pipes[pipe].ends[0] == End::Gone;
        let remote = Remote { source: 1, gone };
        let result = self.call(at, |m, now| m.handle_accepted(now, door, remote));
        match result.expect("it lives") {
            Ok(conn) => {
                self.hosts[at].conns.insert(conn, (pipe, 1));
            }
            Err(_) => self.hang_up(pipe, 1),
        }
    }

    fn write(&mut self, at: usize, conn: Conn) {
        let Some(&(pipe, side)) = self.hosts[at].conns.get(&conn) else {
            return;
        };
        let Some(machine) = &self.hosts[at].machine else {
            return;
        };
        let piece = machine.pending(conn, 0).to_vec();
        match self.pipes[pipe].ends[1 - side] {
            End::Host(_) => self.pipes[pipe].bytes[1 - side].extend(&piece),
            End::Client => self.heard.entry(pipe).or_default().extend(&piece),
            End::Gone => {}
        }
        let result = self.call(at, |m, now| m.handle_sent(now, conn, piece.len()));
        result.expect("it lives").expect("it was pending");
    }

    fn read(&mut self, at: usize, conn: Conn) {
        let Some(&(pipe, side)) = self.hosts[at].conns.get(&conn) else {
            return;
        };
        let bytes = core::mem::take(&mut self.pipes[pipe].bytes[side]);
        if bytes.is_empty() {
            self.hosts[at].conns.remove(&conn);
            self.hang_up(pipe, side);
            let result = self.call(at, |m, now| m.handle_lost(now, conn, Loss::Broken));
            result.expect("it lives").expect("it was open");
        } else {
            let result = self.call(at, |m, now| m.handle_bytes(now, conn, &bytes));
            result.expect("it lives").expect("it was open");
        }
    }

    fn store(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let Some(machine) = &host.machine else {
            return;
        };
        let mut count = 0;
        while let Some(record) = machine.unsaved(LOG, count) {
            host.disk.insert(host.next, record.to_vec());
            host.next += 1;
            count += 1;
        }
        let result = self.call(at, |m, now| m.handle_stored(now, LOG, count));
        result.expect("it lives").expect("they were unsaved");
    }

    /// Runs for so many milliseconds.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + Span::from_millis(ms);
        loop {
            while self.step() {}
            let due = self.hosts.iter().enumerate().filter_map(|(at, host)| {
                let timeout = host.machine.as_ref()?.poll_timeout()?;
                Some((timeout.at, at))
            });
            let Some((when, at)) = due.min().filter(|&(when, _)| when <= end) else {
                break;
            };
            self.now = self.now.max(when);
            self.call(at, |m, now| m.handle_timeout(now));
        }
        self.now = end;
    }

    /// A master connects to a server that runs.
    pub fn master(&mut self, to: usize) -> usize {
        let pipe = self.pipes.len();
        self.pipes.push(Pipe {
            ends: [End::Client, End::Host(to)],
            bytes: Default::default(),
        });
        self.hosts[to].queues[usize::from(MASTERS.0)].push_back(pipe);
        pipe
    }

    pub fn say(&mut self, master: usize, line: &str) {
        if self.pipes[master].ends[1] != End::Gone {
            self.pipes[master].bytes[1].extend(line.as_bytes());
            self.pipes[master].bytes[1].push(b'\n');
        }
    }

    /// What a master has heard since it last looked.
    pub fn hear(&mut self, master: usize) -> String {
        let bytes = self.heard.remove(&master).unwrap_or_default();
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// What a master hears within half a second after it said something.
    pub fn ask(&mut self, master: usize, line: &str) -> String {
        self.say(master, line);
        self.run(500);
        self.hear(master)
    }
}
