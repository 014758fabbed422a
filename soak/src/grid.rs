//! The course of a soak: what is done to the grid, and the checkpoints.

use crate::chronicle::{Chronicle, Fall, STALL};
use crate::life::{Life, Order, lock};
use crate::report::{Deeds, Report, Series};
use crate::sample::Usage;
use crate::strangers::Strangers;
use crate::{Runtimes, Settings};
use fastrand::Rng;
use rustix::process::Signal;
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio, id};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const BASE: u16 = 3000;
const MASTERS: u16 = 10_000;
/// The exit status after a master's `crash`.
const CRASHED: i32 = 3;
/// How long a server may take to end; after a second at most it has sent what it owes.
const REAP: Duration = Duration::from_secs(20);
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(10);
/// Between two samples of what the processes use.
const SAMPLE: Duration = Duration::from_secs(1);
/// A condition that does not come true by then, on any machine, never will.
const LONG: Duration = Duration::from_secs(60);
/// After so long without all texts, some more are sent: a session may have broken.
const AGAIN: Duration = Duration::from_secs(3);
/// How long strangers' descriptors may take to be given back.
const GIVE_BACK: Duration = Duration::from_secs(20);
/// How far memory besides the log may grow in a life that lasts as long as the soak.
const GROWTH: u64 = 32 << 20;

/// A place in the grid.
struct Seat {
    life: Option<Life>,
    starts_at: Option<Instant>,
    resumes_at: Option<Instant>,
    usage: Usage,
    series: Series,
}

pub(crate) struct Grid<'a> {
    settings: &'a Settings,
    host: Ipv4Addr,
    rng: Rng,
    chronicle: Arc<Mutex<Chronicle>>,
    seats: Vec<Seat>,
    strangers: Strangers,
    deeds: Deeds,
    /// The most that any life used.
    peak: Usage,
    /// Milliseconds of processor time of lives that are over.
    cpu: u64,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        let n = settings.servers;
        let [.., a, b] = id().to_be_bytes();
        let host = Ipv4Addr::new(127, 16 | (a & 15), b, 200);
        let seat = |_| Seat {
            life: None,
            starts_at: Some(Instant::now()),
            resumes_at: None,
            usage: Usage::default(),
            series: Series::default(),
        };
        let links = (0..n).map(|id| BASE + id as u16).collect();
        let masters = (0..n).map(|id| MASTERS + id as u16).collect();
        let strangers = Strangers::new(host, links, masters, settings.seed);
        Self {
            settings,
            host,
            rng: Rng::with_seed(settings.seed),
            chronicle: Arc::new(Mutex::new(Chronicle::new(n))),
            seats: (0..n).map(seat).collect(),
            strangers,
            deeds: Deeds::default(),
            peak: Usage::default(),
            cpu: 0,
        }
    }

    pub(crate) fn run(mut self) -> io::Result<Report> {
        let begin = Instant::now();
        let end = begin + self.settings.time;
        notice_stalls(&self.chronicle);
        let mut next_deed = begin;
        let mut next_sample = begin;
        // A first checkpoint once all run: what is measured there is compared to the last.
        self.checkpoint()?;
        let mut next_checkpoint = Instant::now() + self.settings.checkpoint;
        while Instant::now() < end {
            let now = Instant::now();
            self.do_due(now)?;
            self.find_dead()?;
            if now >= next_deed {
                self.deed(now)?;
                next_deed = now + Duration::from_millis(self.rng.u64(50..500));
            }
            if now >= next_sample {
                self.sample();
                lock(&self.chronicle).sweep();
                next_sample = now + SAMPLE;
            }
            if now >= next_checkpoint {
                self.checkpoint()?;
                next_checkpoint = Instant::now() + self.settings.checkpoint;
            }
            sleep(TICK);
        }
        self.checkpoint()?;
        self.finish()?;
        Ok(self.report(begin.elapsed()))
    }

    fn violation(&self, words: impl Into<String>) {
        lock(&self.chronicle).violation(words);
    }

    fn master(&self, id: usize) -> SocketAddr {
        SocketAddr::from((self.host, MASTERS + id as u16))
    }

    fn n(&self) -> usize {
        self.seats.len()
    }

    /// Whether a server lives as long as the soak: what it uses tells of leaks.
    fn is_elder(&self, id: usize) -> bool {
        id == 0 || (id + 1 == self.n() && self.n() > 2)
    }

    fn start(&mut self, id: usize) -> io::Result<()> {
        let runtime = match self.settings.runtimes {
            Runtimes::Std => "std",
            Runtimes::Smol => "smol",
            Runtimes::Mixed => ["std", "smol"][self.rng.usize(..2)],
        };
        let mut command = Command::new(&self.settings.binary);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CHATROOM_") {
                command.env_remove(name);
            }
        }
        command.arg("serve");
        command.args([id, self.n(), usize::from(MASTERS) + id].map(|number| number.to_string()));
        command.args(["--host", &self.host.to_string(), "--runtime", runtime]);
        command.args(["--base-port", &BASE.to_string(), "--log", "error"]);
        let seat = &mut self.seats[id];
        // Before the process: nothing that was accepted earlier may be in its log.
        let (life, floors) = lock(&self.chronicle).born(id, Instant::now());
        let child = command.stdin(Stdio::null()).spawn()?;
        let master = SocketAddr::from((self.host, MASTERS + id as u16));
        let chronicle = &self.chronicle;
        seat.life = Some(Life::new(child, (id, life), &floors, master, chronicle));
        seat.starts_at = None;
        Ok(())
    }

    fn resume(&mut self, id: usize) {
        self.seats[id].resumes_at = None;
        if let Some(life) = &self.seats[id].life {
            life.signal(Signal::CONT);
            lock(&self.chronicle).resumed(id, Instant::now());
        }
    }

    /// Starts and resumes whoever has waited long enough.
    fn do_due(&mut self, now: Instant) -> io::Result<()> {
        for id in 0..self.n() {
            if self.seats[id].starts_at.is_some_and(|at| at <= now) {
                self.start(id)?;
            }
            if self.seats[id].resumes_at.is_some_and(|at| at <= now) {
                self.resume(id);
            }
        }
        Ok(())
    }

    /// Replaces servers that ended by themselves, which none may.
    fn find_dead(&mut self) -> io::Result<()> {
        for id in 0..self.n() {
            if let Some(life) = &mut self.seats[id].life
                && let Some(status) = life.ended()?
            {
                life.may_end();
                self.violation(format!("12 bounds: server {id} ended by itself: {status}"));
                lock(&self.chronicle).fell(id, Fall::Death, Instant::now());
                self.bury(id, Instant::now());
            }
        }
        Ok(())
    }

    /// Takes leave of a life; the next one begins at `back_at`.
    fn bury(&mut self, id: usize, back_at: Instant) {
        let seat = &mut self.seats[id];
        self.cpu += std::mem::take(&mut seat.usage).cpu;
        seat.life = None;
        seat.resumes_at = None;
        seat.starts_at = Some(back_at);
    }

    /// Ends a life in one of three ways.
    fn kill(&mut self, id: usize, back_in: Duration) -> io::Result<()> {
        let way = self.rng.usize(..4);
        let master = self.master(id);
        let stopped = self.seats[id].resumes_at.is_some();
        let Some(life) = &mut self.seats[id].life else {
            return Ok(());
        };
        life.may_end();
        let at = Instant::now();
        let fall = match way == 0 && !stopped {
            true => Fall::End,
            false => Fall::Death,
        };
        lock(&self.chronicle).fell(id, fall, at);
        // How it may end: as asked, or by a signal that we sent.
        let (code, signal) = match way {
            0 if !stopped => {
                life.signal(Signal::TERM);
                self.deeds.ends += 1;
                (Some(0), Signal::TERM)
            }
            1 if !stopped => {
                // Before it listens it cannot be told.
                let told = TcpStream::connect_timeout(&master, Duration::from_millis(200))
                    .and_then(|mut socket| socket.write_all(b"crash\n"));
                if told.is_err() {
                    life.signal(Signal::KILL);
                }
                self.deeds.crashes += 1;
                (Some(CRASHED), Signal::KILL)
            }
            _ => {
                life.signal(Signal::KILL);
                self.deeds.kills += 1;
                (None, Signal::KILL)
            }
        };
        let begin = Instant::now();
        let status = life.reap(REAP)?;
        let slow = begin.elapsed() >= REAP;
        let by_code = status.code().is_some() && status.code() == code;
        if slow || !(by_code || status.signal() == Some(signal.as_raw())) {
            self.violation(format!("12 bounds: server {id}, asked to end, {status}"));
        }
        self.bury(id, Instant::now() + back_in);
        Ok(())
    }

    fn stop(&mut self, id: usize, now: Instant) {
        let long = self.rng.bool();
        let millis = match long {
            true => self.rng.u64(1300..4000),
            false => self.rng.u64(50..700),
        };
        let seat = &mut self.seats[id];
        if let (Some(life), None) = (&seat.life, seat.resumes_at) {
            lock(&self.chronicle).fell(id, Fall::Stop, Instant::now());
            life.signal(Signal::STOP);
            seat.resumes_at = Some(now + Duration::from_millis(millis));
            match long {
                true => self.deeds.long_stops += 1,
                false => self.deeds.short_stops += 1,
            }
        }
    }

    fn order(&mut self, id: usize, order: Order) {
        if let Some(life) = &self.seats[id].life
            && !life.order(order)
        {
            self.deeds.orders_dropped += 1;
        }
    }

    /// Does one thing to the grid, by chance.
    fn deed(&mut self, now: Instant) -> io::Result<()> {
        let any = self.rng.usize(..self.n());
        let mortal = self.rng.usize(1..(self.n() - 1).max(2));
        match self.rng.u32(..100) {
            0..55 => {
                let (count, length) = (self.rng.u64(1..50), self.rng.usize(..200));
                self.order(any, Order::Speak { count, length });
                self.deeds.talks += 1;
            }
            55..61 => {
                let (count, length) = (self.rng.u64(500..2000), self.rng.usize(..200));
                self.order(any, Order::Speak { count, length });
                self.deeds.bursts += 1;
            }
            61..63 => {
                let (count, length) = (20, 60_000);
                self.order(any, Order::Speak { count, length });
                self.deeds.large += 1;
            }
            63..73 => self.order(any, Order::Get),
            73..85 => {
                let back_in = Duration::from_millis(self.rng.u64(0..1500));
                let at_once = self.rng.bool();
                self.kill(mortal, if at_once { Duration::ZERO } else { back_in })?;
            }
            85..87 => {
                // Killed while it speaks: what arrives is a prefix.
                let (count, length) = (2000, 100);
                self.order(mortal, Order::Speak { count, length });
                sleep(Duration::from_millis(self.rng.u64(..20)));
                self.kill(mortal, Duration::from_millis(300))?;
            }
            87..99 => {
                if any != 0 {
                    self.stop(any, now);
                }
            }
            _ => {
                for id in 0..self.n() {
                    if !self.is_elder(id) {
                        self.kill(id, Duration::ZERO)?;
                    }
                }
                self.deeds.all_at_once += 1;
            }
        }
        Ok(())
    }

    fn sample(&mut self) {
        for seat in &mut self.seats {
            let Some(usage) = seat.life.as_ref().and_then(|life| Usage::of(life.pid())) else {
                continue;
            };
            seat.usage = usage;
            self.peak.resident = self.peak.resident.max(usage.resident);
            self.peak.descriptors = self.peak.descriptors.max(usage.descriptors);
        }
    }

    /// Leaves the grid in peace, and waits until it is whole and every text is everywhere.
    fn checkpoint(&mut self) -> io::Result<()> {
        self.strangers.rest(true);
        for id in 0..self.n() {
            if self.seats[id].starts_at.is_some() {
                self.start(id)?;
            }
            if self.seats[id].resumes_at.is_some() {
                self.resume(id);
            }
        }
        self.become_whole();
        self.settle();
        self.sample();
        self.measure();
        self.find_dead()?;
        self.deeds.checkpoints += 1;
        self.strangers.rest(false);
        Ok(())
    }

    /// Waits until every server lists every server.
    fn become_whole(&mut self) {
        let begin = Instant::now();
        let ids: Vec<_> = (0..self.n()).map(|id| id.to_string()).collect();
        let wanted = format!("alive {}\n", ids.join(","));
        let mut said = vec![String::new(); self.n()];
        while begin.elapsed() < LONG {
            for (id, said) in said.iter_mut().enumerate() {
                *said = alive(self.master(id)).unwrap_or_else(|error| error.to_string());
            }
            if said.iter().all(|said| *said == wanted) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        self.violation(format!(
            "11 accuracy: not whole after {LONG:?} of peace: {said:?}"
        ));
    }

    /// Waits until every server has the last text of every server, and every log was compared.
    fn settle(&mut self) {
        let begin = Instant::now();
        let mut asked = vec![None; self.n()];
        let mut spoke_at = None;
        loop {
            if spoke_at.is_none_or(|at: Instant| at.elapsed() > AGAIN) {
                spoke_at = Some(Instant::now());
                for id in 0..self.n() {
                    self.order(
                        id,
                        Order::Speak {
                            count: 10,
                            length: 30,
                        },
                    );
                }
            }
            let mut behind = Vec::new();
            for (id, asked) in asked.iter_mut().enumerate() {
                let Some(life) = &self.seats[id].life else {
                    continue;
                };
                let lacks: Vec<_> = {
                    let last = life.progress().last.clone();
                    let chronicle = lock(&self.chronicle);
                    let newest = |id| {
                        let life = chronicle.life(id);
                        chronicle.issued(id, life).map(|number| (life, number))
                    };
                    (0..self.n()).filter(|&of| last[of] != newest(of)).collect()
                };
                let replies = life.progress().replies;
                match *asked {
                    _ if !lacks.is_empty() => behind.push(format!("{id} lacks {lacks:?}")),
                    None => {
                        if life.order(Order::Get) {
                            // The first reply is that of the watcher's beginning.
                            *asked = Some(replies);
                        }
                        behind.push(format!("{id} is not asked"));
                    }
                    Some(before) if replies <= before => {
                        behind.push(format!("{id} has not answered"));
                    }
                    Some(_) => {}
                }
            }
            if behind.is_empty() {
                return;
            }
            if begin.elapsed() > LONG {
                self.violation(format!("6 validity: after {LONG:?} of peace {behind:?}"));
                return;
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Samples those that live as long as the soak, and finds what they lost.
    fn measure(&mut self) {
        for id in 0..self.n() {
            if !self.is_elder(id) {
                continue;
            }
            let begin = Instant::now();
            loop {
                let seat = &self.seats[id];
                let Some(life) = &seat.life else {
                    return;
                };
                let log = life.progress().log_bytes;
                let Some(usage) = Usage::of(life.pid()) else {
                    return;
                };
                let first = seat
                    .series
                    .first
                    .map_or(u64::MAX, |first| first.descriptors);
                let patient = begin.elapsed() < GIVE_BACK;
                if usage.descriptors > first && patient {
                    sleep(Duration::from_millis(50));
                    continue;
                }
                if usage.descriptors > first {
                    self.violation(format!(
                        "12 bounds: server {id} has {} descriptors in peace, {first} at first",
                        usage.descriptors
                    ));
                }
                let seat = &mut self.seats[id];
                seat.series.add(usage, log);
                let growth = seat.series.growth();
                if growth > GROWTH {
                    self.violation(format!(
                        "12 bounds: server {id} grew by {growth} bytes besides its log"
                    ));
                }
                break;
            }
        }
    }

    /// Ends every server in good order.
    fn finish(&mut self) -> io::Result<()> {
        self.strangers.rest(true);
        for (id, seat) in self.seats.iter().enumerate() {
            if let Some(life) = &seat.life {
                life.may_end();
                lock(&self.chronicle).fell(id, Fall::End, Instant::now());
                life.signal(Signal::TERM);
            }
        }
        for id in 0..self.n() {
            if let Some(life) = &mut self.seats[id].life {
                let status = life.reap(REAP)?;
                if !status.success() {
                    self.violation(format!("12 bounds: server {id}, asked to end, {status}"));
                }
            }
            self.bury(id, Instant::now());
        }
        Ok(())
    }

    fn report(self, took: Duration) -> Report {
        let mut chronicle = lock(&self.chronicle);
        if self.settings.strict {
            let late = chronicle.deaths.late + chronicle.stops.late + chronicle.unnoticed;
            let (suspicions, _) = chronicle.suspicions();
            if late > 0 {
                chronicle.violation(format!("10 completeness: {late} noticed after 1 s"));
            }
            if suspicions > 0 {
                chronicle.violation(format!("11 accuracy: {suspicions} without a cause"));
            }
        }
        Report {
            settings: self.settings.clone(),
            took,
            chronicle: chronicle.clone(),
            deeds: self.deeds,
            strangers: self.strangers.counts(),
            elders: self.seats.into_iter().map(|seat| seat.series).collect(),
            peak: self.peak,
            cpu: Duration::from_millis(self.cpu),
            own: Usage::of(id()).unwrap_or_default(),
        }
    }
}

/// Notes when nothing runs for a while, until the soak is over.
fn notice_stalls(chronicle: &Arc<Mutex<Chronicle>>) {
    let chronicle = Arc::downgrade(chronicle);
    thread::spawn(move || {
        let mut last = Instant::now();
        while let Some(chronicle) = chronicle.upgrade() {
            let now = Instant::now();
            if now > last + STALL {
                lock(&chronicle).stalled(now, now - last);
            }
            last = now;
            drop(chronicle);
            sleep(TICK);
        }
    });
}

/// What a server says to `alive` on a connection of its own.
fn alive(master: SocketAddr) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&master, LONG)?;
    socket.set_read_timeout(Some(LONG))?;
    socket.write_all(b"alive\n")?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line)?;
    Ok(line)
}
