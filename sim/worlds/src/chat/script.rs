//! The lab's scripts on the simulated grid: master.py's commands, in simulated time.

use super::{Grid, Setup, server};
use chatroom_chat::{ChatEvent, ChatServer, Config, MASTERS, MAX_SERVERS, News};
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::{Birth, Engine, World};
use chatroom_sim::generate::Profile;
use chatroom_sim::lines::{ByLine, LineObserver};
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Event, Fate, MAX_HOSTS, Plan};
use chatroom_sim::random::Choice;
use chatroom_sim::trace::Recorder;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How long a server has to be known alive to all, as in master.py.
const START_LIMIT: Span = Span::from_millis(3000);
/// How long a death may take to be noticed, as in master.py.
const CRASH_LIMIT: Span = Span::from_millis(1000);
/// How long a whole run may take, as in master.py.
const RUN_LIMIT: Span = Span::from_millis(120_000);
/// How long a saved plan goes on after the script: time for everything to arrive.
const QUIET: Span = Span::from_millis(4_500);
/// What a master needs at least between two commands. So a saved plan's events come after what the
/// script waited for.
const PAUSE: Span = Span::from_micros(1);
/// The largest id of a server that a script may start here.
const LARGEST: u16 = MAX_HOSTS - 1;

/// What a script printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// On standard output.
    pub output: Vec<u8>,
    /// On standard error: the lab's words for errors, one a line.
    pub errors: Vec<u8>,
    /// A property of the engine that a server broke: see [`Engine`].
    pub violation: Option<Violation>,
}

/// A run of a script with all that happened in it.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// What it printed.
    pub printed: Printed,
    /// What it did, as a plan.
    pub plan: Plan,
    /// The sizes of grid that its starts gave, ascending. A plan has one: the largest.
    pub sizes: Vec<u16>,
    /// Everything that happened.
    pub recorder: Recorder,
}

/// What is seen of the grid: the lines that masters heard, and who is up for whom.
#[derive(Debug)]
struct Listener {
    lines: Vec<Vec<Vec<u8>>>,
    connected: Vec<bool>,
    up: Vec<u64>,
    recorder: Option<Recorder>,
}

impl LineObserver<ChatServer> for Listener {
    fn heard(
        &mut self,
        _: &Scene<'_, ChatServer>,
        client: Client,
        line: &[u8],
    ) -> Result<(), Violation> {
        self.lines[client.host.index()].push(line.to_vec());
        Ok(())
    }

    fn see(
        &mut self,
        scene: &Scene<'_, ChatServer>,
        fact: &Fact<'_, News>,
    ) -> Result<(), Violation> {
        if let Some(recorder) = &mut self.recorder {
            recorder.see(scene, fact)?;
        }
        match fact {
            Fact::Notice { who, notice, .. } => {
                let up = &mut self.up[who.host.index()];
                match notice {
                    News::Up { peer, .. } => *up |= 1 << peer,
                    News::Down { peer, .. } => *up &= !(1 << peer),
                    News::Closed { .. }
                    | News::Protocol(ChatEvent::Delivered { .. })
                    | News::Skipped { .. }
                    | News::Misfit { .. }
                    | News::Following { .. }
                    | News::Starved { .. }
                    | News::Protocol(ChatEvent::LogFull { .. })
                    | News::Protocol(ChatEvent::Gap { .. })
                    | News::Ending => {}
                }
            }
            Fact::Started { who } => self.up[who.host.index()] = 1 << who.host.0,
            Fact::ClientOpened { client, .. } => self.connected[client.host.index()] = true,
            Fact::ClientLost { client, .. } | Fact::ClientLeft { client, .. } => {
                self.connected[client.host.index()] = false;
            }
            Fact::Change { .. }
            | Fact::Ended { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Dialling { .. }
            | Fact::DialFailed { .. }
            | Fact::Opened { .. }
            | Fact::TurnedAway { .. }
            | Fact::Sent { .. }
            | Fact::Received { .. }
            | Fact::Lost { .. }
            | Fact::Closed { .. }
            | Fact::ClientSaid { .. }
            | Fact::ClientHeard { .. }
            | Fact::Disk { .. }
            | Fact::Over => {}
        }
        Ok(())
    }
}

/// A grid whose size each start says.
struct Lab {
    grid: Grid<fn(Config) -> ChatServer>,
    sizes: Rc<[Cell<u16>]>,
}

impl World for Lab {
    type Machine = ChatServer;

    fn spawn(&self, birth: &Birth) -> ChatServer {
        let hosts = self.sizes[birth.host.index()].get();
        self.grid.spawn(&Birth { hosts, ..*birth })
    }
}

struct Master<'a> {
    engine: Engine<'a, Lab, ByLine<Listener>>,
    sizes: Rc<[Cell<u16>]>,
    /// The servers that run, with their ports.
    running: BTreeMap<u16, u64>,
    printed: Printed,
    /// What was done so far.
    done: Vec<Event>,
    grids: BTreeSet<u16>,
}

/// Runs a script on a grid whose network `seed` decides.
#[must_use]
pub fn run(script: &[u8], seed: u64) -> Printed {
    play(script, seed, None).printed
}

/// The same, with everything that happened, to be drawn, and as a plan, to be saved.
#[must_use]
pub fn draw(script: &[u8], seed: u64) -> Drawn {
    play(script, seed, Some(Recorder::default()))
}

fn play(script: &[u8], seed: u64, recorder: Option<Recorder>) -> Drawn {
    let limit = Time::ZERO + RUN_LIMIT;
    let mut plan = Plan::new(seed, MAX_HOSTS, limit);
    let choice = Choice::seed(seed).on("script");
    // The network of a machine with itself, in a good or a bad hour.
    let draw = |name: &str, low: u64, high: u64| choice.on(name).between(low, high);
    plan.net.latency = Span::from_micros(draw("latency", 10, 2_000));
    plan.net.jitter = Span::from_micros(draw("jitter", 0, 5_000));
    plan.net.split = u32::try_from(draw("split", 0, 1000)).unwrap_or(0);
    let hosts = usize::from(MAX_HOSTS);
    let sizes: Rc<[Cell<u16>]> = (0..hosts).map(|_| Cell::new(MAX_HOSTS)).collect();
    let world = Lab {
        grid: Grid::new(Setup::default(), server),
        sizes: Rc::clone(&sizes),
    };
    let listener = Listener {
        lines: vec![Vec::new(); hosts],
        connected: vec![false; hosts],
        up: vec![0; hosts],
        recorder,
    };
    let mut master = Master {
        engine: Engine::new(&world, &plan, ByLine::new(listener)),
        sizes,
        running: BTreeMap::new(),
        printed: Printed::default(),
        done: Vec::new(),
        grids: BTreeSet::new(),
    };
    for line in script.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if line == b"exit" || !master.obey(line) {
            break;
        }
    }
    let Master {
        mut engine,
        mut printed,
        done,
        grids,
        ..
    } = master;
    printed.violation = engine.violation().cloned();
    let ended = engine.now();
    let recorder = engine
        .observer()
        .observer()
        .recorder
        .take()
        .unwrap_or_default();
    let mut plan = Plan {
        hosts: grids.last().copied().unwrap_or(1),
        events: done,
        ..plan.clone()
    };
    (plan.phases.warm_up, plan.phases.trouble) = (ended, ended);
    (plan.phases.heal, plan.phases.end) = (ended, ended + QUIET);
    let setup = Setup {
        profile: Profile::Crash,
        ..Setup::default()
    };
    setup.write(&mut plan);
    Drawn {
        printed,
        plan,
        sizes: grids.into_iter().collect(),
        recorder,
    }
}

/// The first word of a line, and what follows the white space after it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace);
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    (word, rest.trim_ascii_start())
}

/// A number of at most nine digits.
fn number(field: &[u8]) -> Option<u64> {
    let digits = !field.is_empty() && field.len() <= 9 && field.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(field)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

impl Master<'_> {
    fn fail(&mut self, words: &str, what: &[u8]) {
        self.printed.errors.extend_from_slice(words.as_bytes());
        self.printed.errors.extend_from_slice(what);
        self.printed.errors.push(b'\n');
    }

    /// Does something to the grid, and notes it.
    fn apply(&mut self, change: Change) {
        let at = self.engine.now() + PAUSE;
        self.engine.run_until(at);
        self.engine.apply(&change);
        self.done.push(Event { at, change });
    }

    /// Goes on until something holds; false if it does not within the limit.
    fn until(&mut self, limit: Span, holds: impl Fn(&mut Self) -> bool) -> bool {
        let deadline = self.engine.now() + limit;
        while !holds(self) {
            if self.engine.now() >= deadline || !self.engine.step() {
                return false;
            }
        }
        true
    }

    fn host(id: u16) -> (Host, Client) {
        let host = Host(id);
        (host, Client { host, number: 0 })
    }

    /// Does a command; false if the run must end.
    fn obey(&mut self, line: &[u8]) -> bool {
        let (head, rest) = word(line);
        if rest.is_empty() {
            self.fail("Invalid command: ", line);
            return true;
        }
        if head == b"sleep" {
            let span = std::str::from_utf8(rest).ok().and_then(millis);
            let Some(span) = span else {
                self.fail("Invalid command: ", line);
                return true;
            };
            let at = self.engine.now() + span;
            if !self.engine.run_until(at) {
                self.fail("Timeout!", b"");
                return false;
            }
            return true;
        }
        let Some(id) = number(head) else {
            self.fail("Invalid pid: ", head);
            return true;
        };
        let (verb, _) = word(rest);
        // One blank ends the verb; further ones belong to the text.
        let text = rest.get(verb.len() + 1..).unwrap_or(&[]);
        let bare = text.is_empty();
        match verb {
            b"get" | b"alive" if bare => self.ask(id, verb),
            b"crash" if bare => self.crash(id),
            b"broadcast" if !bare => self.broadcast(id, text),
            b"start" => self.start(id, text, line, head),
            _ => self.fail("Invalid command: ", line),
        }
        true
    }

    fn find(&mut self, id: u64) -> Option<u16> {
        let id = u16::try_from(id)
            .ok()
            .filter(|id| self.running.contains_key(id));
        if id.is_none() {
            self.fail("Master or testcase error!", b"");
        }
        id
    }

    fn ask(&mut self, id: u64, request: &[u8]) {
        let Some(id) = self.find(id) else {
            return;
        };
        let (host, client) = Self::host(id);
        self.apply(Change::Say(client, [request, b"\n"].concat()));
        let kind: &[u8] = if request == b"get" {
            b"messages"
        } else {
            b"alive"
        };
        loop {
            let index = host.index();
            let came = self.until(RUN_LIMIT, |master| {
                !master.engine.observer().observer().lines[index].is_empty()
            });
            if !came {
                return self.fail("Timeout!", b"");
            }
            let reply = self.engine.observer().observer().lines[index].remove(0);
            if word(&reply).0 == kind {
                self.printed.output.extend_from_slice(&reply);
                self.printed.output.push(b'\n');
                return;
            }
            self.fail("Invalid Response: ", &reply);
        }
    }

    fn broadcast(&mut self, id: u64, text: &[u8]) {
        if let Some(id) = self.find(id) {
            let (_, client) = Self::host(id);
            let line = [b"broadcast ", text, b"\n"].concat();
            self.apply(Change::Say(client, line));
        }
    }

    fn crash(&mut self, id: u64) {
        let Some(id) = self.find(id) else {
            return;
        };
        let (host, _) = Self::host(id);
        self.apply(Change::Kill(host, Fate::Fin));
        self.running.remove(&id);
        let noticed = self.until(CRASH_LIMIT, |master| {
            let others: Vec<u16> = master.running.keys().copied().collect();
            let up = &master.engine.observer().observer().up;
            others
                .iter()
                .all(|other| up[usize::from(*other)] & 1 << id == 0)
        });
        if !noticed {
            self.fail(
                "a crashed server is still listed: ",
                id.to_string().as_bytes(),
            );
        }
    }

    fn start(&mut self, id: u64, fields: &[u8], line: &[u8], head: &[u8]) {
        let (size, rest) = word(fields.trim_ascii());
        let (port, more) = word(rest);
        if port.is_empty() || !more.is_empty() {
            return self.fail("Invalid command: ", line);
        }
        let Some(size) = number(size).filter(|size| *size > 0) else {
            return self.fail("Invalid command: ", line);
        };
        if size > MAX_SERVERS.into() {
            return self.fail("Master or testcase error!", b"");
        }
        if id >= size {
            return self.fail("Invalid pid: ", head);
        }
        let Some(known) = number(port).filter(|port| (10_000..=65_535).contains(port)) else {
            return self.fail("Invalid port: ", port);
        };
        let Some(id) = u16::try_from(id).ok().filter(|id| *id <= LARGEST) else {
            return self.fail("Invalid pid: ", head);
        };
        if self.running.contains_key(&id) {
            return self.fail("Invalid pid: ", head);
        }
        if self.running.values().any(|taken| *taken == known) {
            return self.fail("Invalid port: ", port);
        }
        let size = u16::try_from(size).unwrap_or(MAX_HOSTS).min(MAX_HOSTS);
        self.sizes[usize::from(id)].set(size);
        self.grids.insert(size);
        let (host, client) = Self::host(id);
        self.engine.observer().observer().lines[host.index()].clear();
        self.apply(Change::Start(host));
        self.apply(Change::Open(client, MASTERS));
        self.running.insert(id, known);
        let operational = self.until(START_LIMIT, |master| {
            let ids: Vec<u16> = master.running.keys().copied().collect();
            let seen = master.engine.observer().observer();
            let all: u64 = ids.iter().map(|id| 1 << id).sum();
            seen.connected[usize::from(id)]
                && seen.up[usize::from(id)] & all == all
                && ids
                    .iter()
                    .all(|other| seen.up[usize::from(*other)] & 1 << id != 0)
        });
        if !operational {
            self.fail(
                "server is not operational after 3 s: ",
                id.to_string().as_bytes(),
            );
        }
    }
}

/// Milliseconds with up to nine digits before and after a point.
fn millis(text: &str) -> Option<Span> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let whole = number(whole.as_bytes())?;
    number(part.as_bytes())?;
    let micros: String = part.chars().chain("000".chars()).take(3).collect();
    Some(Span::from_micros(
        whole * 1000 + micros.parse::<u64>().ok()?,
    ))
}
