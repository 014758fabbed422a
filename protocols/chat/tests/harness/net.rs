//! Several machines on an in-memory network. Every byte moves when the test says so: nothing is
//! accepted, connected, written or read otherwise, and each connection by itself.

use chatroom_machine::{
    Action, Checked, Checks, Conn, Dialled, Door, Halt, Loss, Machine, Remote, Time,
};
use std::collections::{BTreeMap, VecDeque};

/// One direction of a connection.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// What comes after the bytes.
    end: Option<Loss>,
}

/// Who is at one end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A machine's handle, once it has one.
    Host(usize, Option<Conn>),
    /// The test.
    Client,
    Gone,
}

struct Pipe {
    /// Who connected, and who accepted.
    ends: [End; 2],
    /// To the one that connected, to the one that accepted.
    ways: [Way; 2],
}

pub struct Host<M> {
    pub machine: Checked<M>,
    /// Its connections: pipe and side.
    conns: BTreeMap<Conn, (usize, usize)>,
    /// Dials under way, each to the pipe that was made or to none.
    dials: VecDeque<(Conn, Option<usize>)>,
    /// Who waits at each door, in the order they came.
    queues: [VecDeque<usize>; 2],
}

/// A network of machines that listen at door 0 for one another and at door 1 for clients.
pub struct Net<M> {
    pub now: Time,
    pub hosts: Vec<Option<Host<M>>>,
    pipes: Vec<Pipe>,
}

impl<M: Machine> Net<M> {
    pub fn new(hosts: usize) -> Self {
        Self {
            now: Time::ZERO,
            hosts: (0..hosts).map(|_| None).collect(),
            pipes: vec![],
        }
    }

    pub fn start(&mut self, at: usize, machine: M) {
        assert!(self.hosts[at].is_none());
        self.hosts[at] = Some(Host {
            machine: Checked::new(machine, Checks::thorough().panicking()),
            conns: BTreeMap::new(),
            dials: VecDeque::new(),
            queues: [VecDeque::new(), VecDeque::new()],
        });
        self.call(at, |m, now| m.handle_start(now));
    }

    /// The machine ends as by SIGKILL. Of what it had on the way, `share` parts in 8 get through.
    pub fn kill(&mut self, at: usize, share: usize) {
        let Some(host) = self.hosts[at].take() else {
            return;
        };
        let waiting = host.queues.into_iter().flatten().map(|pipe| (pipe, 1));
        let dialled = host
            .dials
            .into_iter()
            .filter_map(|(_, pipe)| pipe.map(|p| (p, 0)));
        for (pipe, side) in host.conns.into_values().chain(waiting).chain(dialled) {
            let way = &mut self.pipes[pipe].ways[1 - side];
            let keep = way.bytes.len() * share / 8;
            way.bytes.truncate(keep);
            self.hang_up(pipe, side, Loss::Broken);
        }
    }

    fn hang_up(&mut self, pipe: usize, side: usize, loss: Loss) {
        let pipe = &mut self.pipes[pipe];
        pipe.ends[side] = End::Gone;
        pipe.ways[side].bytes.clear();
        pipe.ways[1 - side].end.get_or_insert(loss);
    }

    /// Calls the machine and drains it.
    fn call<R>(&mut self, at: usize, what: impl FnOnce(&mut Checked<M>, Time) -> R) -> Option<R> {
        let now = self.now;
        let result = what(&mut self.hosts[at].as_mut()?.machine, now);
        while let Some(host) = self.hosts[at].as_mut()
            && let Some(action) = host.machine.poll()
        {
            match action {
                Action::Dial { conn, to } => {
                    let target = to.0 as usize;
                    let pipe = self.pipes.len();
                    let stands = self.hosts[target].is_some();
                    if let Some(target) = &mut self.hosts[target] {
                        target.queues[0].push_back(pipe);
                    }
                    if stands {
                        self.pipes.push(Pipe {
                            ends: [End::Host(at, None), End::Host(to.0 as usize, None)],
                            ways: Default::default(),
                        });
                    }
                    if let Some(host) = &mut self.hosts[at] {
                        host.dials.push_back((conn, stands.then_some(pipe)));
                    }
                }
                Action::Close(conn) => {
                    let dial = host.dials.iter().position(|d| d.0 == conn);
                    let dialled = dial.and_then(|i| host.dials.remove(i)).and_then(|d| d.1);
                    let end = host.conns.remove(&conn).or(dialled.map(|p| (p, 0)));
                    if let Some((pipe, side)) = end {
                        self.hang_up(pipe, side, Loss::Finished);
                    }
                }
                Action::Halt(Halt::Crash | Halt::Done | Halt::Unfinished) => self.kill(at, 8),
                // The test moves bytes itself, and reads little at a time.
                Action::Send(_) | Action::Pause(_) | Action::Resume(_) => {}
                Action::Shut(_) | Action::Open(_) | Action::Notice(_) => {}
                Action::Store(_) | Action::Discard { .. } => panic!("a chat has no volumes"),
            }
        }
        Some(result)
    }

    /// The oldest dial of a machine ends.
    pub fn connect(&mut self, at: usize) -> bool {
        let Some(host) = &mut self.hosts[at] else {
            return false;
        };
        let Some((conn, pipe)) = host.dials.pop_front() else {
            return false;
        };
        let stands = pipe.filter(|&p| self.pipes[p].ends[1] != End::Gone);
        let outcome = match stands {
            Some(pipe) => {
                host.conns.insert(conn, (pipe, 0));
                self.pipes[pipe].ends[0] = End::Host(at, Some(conn));
                Dialled::Connected
            }
            None => Dialled::Failed,
        };
        self.call(at, |m, now| m.handle_dialled(now, conn, outcome))
            .expect("it lives")
            .expect("being dialled");
        true
    }

    /// A machine accepts who has waited longest at a door.
    pub fn accept(&mut self, at: usize, door: usize) -> bool {
        let Some(host) = &mut self.hosts[at] else {
            return false;
        };
        let Some(pipe) = host.queues[door].pop_front() else {
            return false;
        };
        match host
            .machine
            .handle_accepted(self.now, Door(door as u8), Remote::default())
        {
            Ok(conn) => {
                host.conns.insert(conn, (pipe, 1));
                self.pipes[pipe].ends[1] = End::Host(at, Some(conn));
            }
            Err(_) => self.hang_up(pipe, 1, Loss::Finished),
        }
        self.call(at, |_, _| ());
        true
    }

    fn pick(&self, at: usize, which: usize) -> Option<(Conn, usize, usize)> {
        let conns = &self.hosts[at].as_ref()?.conns;
        let (&conn, &(pipe, side)) = conns.iter().nth(which % conns.len().max(1))?;
        Some((conn, pipe, side))
    }

    /// A machine writes at most `most` bytes on one of its connections.
    pub fn write(&mut self, at: usize, which: usize, most: usize) -> bool {
        let Some((conn, pipe, side)) = self.pick(at, which) else {
            return false;
        };
        let host = self.hosts[at].as_ref().expect("it lives");
        let piece = host.machine.pending(conn, 0);
        let count = piece.len().min(most);
        if count == 0 {
            return false;
        }
        if self.pipes[pipe].ends[1 - side] != End::Gone {
            self.pipes[pipe].ways[1 - side]
                .bytes
                .extend(&piece[..count]);
        }
        self.call(at, |m, now| m.handle_sent(now, conn, count))
            .expect("it lives")
            .expect("it was pending");
        true
    }

    /// A machine reads at most `most` bytes, or the end, on one of its connections.
    pub fn read(&mut self, at: usize, which: usize, most: usize) -> bool {
        let Some((conn, pipe, side)) = self.pick(at, which) else {
            return false;
        };
        let way = &mut self.pipes[pipe].ways[side];
        if way.bytes.is_empty() {
            let Some(loss) = way.end else {
                return false;
            };
            self.hosts[at]
                .as_mut()
                .expect("it lives")
                .conns
                .remove(&conn);
            self.hang_up(pipe, side, loss);
            self.call(at, |m, now| m.handle_lost(now, conn, Loss::Broken))
                .expect("it lives")
                .expect("it was open");
            return true;
        }
        let count = most.min(way.bytes.len());
        let bytes: Vec<u8> = way.bytes.drain(..count).collect();
        self.call(at, |m, now| m.handle_bytes(now, conn, &bytes))
            .expect("it lives")
            .expect("it was open");
        true
    }

    /// Time goes on; every machine that is due is called.
    pub fn advance(&mut self, to: Time) {
        loop {
            let due = self.hosts.iter().enumerate().filter_map(|(at, host)| {
                let timeout = host.as_ref()?.machine.poll_timeout()?;
                Some((timeout.at, at))
            });
            let Some((at, host)) = due.min().filter(|&(t, _)| t <= to) else {
                break;
            };
            self.now = self.now.max(at);
            self.call(host, |m, now| m.handle_timeout(now));
        }
        self.now = to;
    }

    /// Moves everything there is to move, until nothing is left.
    pub fn round(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for at in 0..self.hosts.len() {
                moved |= self.connect(at) | self.accept(at, 0) | self.accept(at, 1);
                let conns = self.hosts[at].as_ref().map_or(0, |h| h.conns.len());
                for which in 0..conns {
                    moved |= self.write(at, which, 1 << 20);
                    moved |= self.read(at, which, 1 << 20);
                }
            }
        }
    }

    /// Whole rounds, a millisecond apart.
    pub fn rounds(&mut self, count: u64) {
        for _ in 0..count {
            self.round();
            self.advance(super::at_ms(self.now.as_micros() / 1000 + 1));
        }
    }

    /// A client connects to a machine's second door; it says what pipe it has.
    pub fn client(&mut self, to: usize) -> Option<usize> {
        let host = self.hosts[to].as_mut()?;
        let pipe = self.pipes.len();
        host.queues[1].push_back(pipe);
        self.pipes.push(Pipe {
            ends: [End::Client, End::Host(to, None)],
            ways: Default::default(),
        });
        Some(pipe)
    }

    pub fn say(&mut self, client: usize, bytes: &[u8]) {
        if self.pipes[client].ends[1] != End::Gone {
            self.pipes[client].ways[1].bytes.extend(bytes);
        }
    }

    /// What a client has been told since it last looked.
    pub fn hear(&mut self, client: usize) -> Vec<u8> {
        self.pipes[client].ways[0].bytes.drain(..).collect()
    }

    pub fn machine(&self, at: usize) -> Option<&M> {
        self.hosts[at].as_ref().map(|h| h.machine.machine())
    }
}
