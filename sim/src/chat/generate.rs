//! From a seed and a profile to a plan: warm-up, trouble, heal, and a quiet end in which all must
//! come right.

use super::profile::Families;
use super::text::{garbage, text};
use super::{Profile, Setup};
use crate::names::{Client, Host};
use crate::plan::{Change, Connects, Fate, Plan, Way};
use crate::random::Choice;
use chatroom_chat::MASTERS;
use chatroom_machine::{Span, Time};

const MS: u64 = 1000;
/// Until then the servers come up.
const WARM_UP: u64 = 1_000 * MS;
/// How long after the heal the dead are alive again, at the latest.
const REVIVAL: u64 = 200 * MS;
/// When after the heal the last masters come.
const LAST_MASTERS: u64 = 1_500 * MS;
/// When after the heal the run ends: the deadline of all that must come true.
const END: u64 = 4_500 * MS;
/// The client of a host that comes after the heal; those below it come and go.
const LAST: u8 = 3;
/// The client of a host that watches.
const WATCHER: u8 = 2;

/// More than stands around a text in any line.
const AROUND: usize = 24;
/// The first client of a host that comes with a crowd.
const CROWD: u8 = 10;

/// What a browser sends for a web page that wants to command a server.
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nbroadcast posted\ncrash\n";

struct Maker {
    plan: Plan,
    families: Families,
    choice: Choice,
    text_limit: usize,
    heal: u64,
}

/// The plan of a seed.
#[must_use]
pub fn generate(seed: u64, profile: Profile) -> Plan {
    let choice = Choice::seed(seed).on("chat");
    let families = Families::of(profile, choice.on("families"));
    let hosts = match choice.on("hosts").below(16) {
        0 => 2,
        1..=6 => 3,
        7..=10 => 4,
        11..=14 => 5,
        _ => 7,
    };
    let heal = WARM_UP + choice.on("trouble").between(1_000 * MS, 6_000 * MS);
    let mut plan = Plan::new(seed, hosts, Time::from_micros(heal + END));
    plan.phases.warm_up = Time::from_micros(WARM_UP);
    plan.phases.trouble = Time::from_micros(heal);
    plan.phases.heal = Time::from_micros(heal);
    let mut setup = Setup {
        profile,
        ..Setup::default()
    };
    limits(&mut setup, families, choice.on("limits"));
    setup.write(&mut plan);
    network(&mut plan, families, choice.on("net"));
    let mut maker = Maker {
        plan,
        families,
        choice,
        text_limit: setup.limits.text,
        heal,
    };
    for host in 0..hosts {
        maker.life(Host(host));
        maker.masters(Host(host));
        maker.end(Host(host));
    }
    maker.freeze();
    maker.ways();
    maker.plan.events.sort_by_key(|event| event.at);
    maker.plan
}

fn limits(setup: &mut Setup, families: Families, choice: Choice) {
    let limits = &mut setup.limits;
    let draw = |name: &str, low: u64, high: u64| {
        usize::try_from(choice.on(name).between(low, high)).unwrap_or(usize::MAX)
    };
    if families.small_limits {
        limits.text = draw("text", 64, 1_500);
        limits.high_water = draw("high-water", 100, 4_000);
        let lag = limits.high_water + draw("lag", 0, 8_000);
        limits.lag = lag.max(limits.text + AROUND);
        limits.replies = draw("replies", 200, 4_000);
        limits.watch = draw("watch", 300, 6_000).max(limits.text + AROUND);
        limits.masters = draw("masters", 4, 6);
    }
    if families.crowd {
        limits.nameless = draw("nameless", 2, 40);
        limits.masters = draw("places", 2, 6);
    }
    if families.small_log {
        setup.options.log = draw("log", 400, 6_000) as u64;
    }
}

fn network(plan: &mut Plan, families: Families, choice: Choice) {
    let net = &mut plan.net;
    let draw = |name: &str, low: u64, high: u64| choice.on(name).between(low, high);
    net.latency = Span::from_micros(draw("latency", 20, 5_000));
    net.jitter = Span::from_micros(draw("jitter", 0, 20_000));
    if families.split {
        net.split = u32::try_from(draw("split", 0, 1000)).unwrap_or(0);
        net.short_write = u32::try_from(draw("short", 0, 600)).unwrap_or(0);
        net.read = u32::try_from(draw("read", 1, 4_096)).unwrap_or(1);
    }
    if families.small_buffers {
        net.buffer = u32::try_from(draw("buffer", 512, 16_384)).unwrap_or(512);
        net.backlog = u32::try_from(draw("backlog", 4, 64)).unwrap_or(4);
    }
    if families.clocks {
        net.timer_late = Span::from_micros(draw("late", 0, 20_000));
    }
}

impl Maker {
    fn push(&mut self, at: u64, change: Change) {
        self.plan.push(Time::from_micros(at), change);
    }

    /// A moment of the trouble.
    fn moment(&self, choice: Choice) -> u64 {
        choice.between(WARM_UP, self.heal - 1)
    }

    /// What becomes of a host: its deaths and returns, its pauses, its clock.
    fn life(&mut self, host: Host) {
        let choice = self.choice.on("life").at(host.0.into());
        let begin = choice.on("begin").below(60 * MS);
        self.push(begin, Change::Start(host));
        self.open(host, 0, begin + 50 * MS);
        let families = self.families;
        let some = |maker: &Self, on: bool, name: &str, most: u64| {
            let choice = choice.on(name);
            let count = if on {
                choice.on("count").below(most + 1)
            } else {
                0
            };
            (0..count)
                .map(|i| (maker.moment(choice.at(i).on("at")), choice.at(i)))
                .collect::<Vec<_>>()
        };
        for (at, choice) in some(self, families.crash, "crash", 3) {
            let fate = match choice.on("fate").below(4) {
                0 | 1 => Fate::Fin,
                2 => Fate::Rst,
                _ => Fate::Silence,
            };
            // Often right after a burst, so that it dies in the middle of sending it.
            if choice.on("burst").chance(500) {
                let count = choice.on("lines").between(2, 12);
                let before = choice.on("before").between(1, 8 * MS);
                self.burst(host, 0, at.saturating_sub(before), choice.on("text"), count);
            }
            if choice.on("told").chance(150) {
                self.say(host, 0, at, b"crash\n".to_vec());
            } else {
                self.push(at, Change::Kill(host, fate));
            }
            self.back(host, at, choice);
        }
        for (at, choice) in some(self, families.stop, "stop", 1) {
            self.push(at, Change::Stop(host));
            self.back(host, at + 1_100 * MS, choice);
        }
        for (at, choice) in some(self, families.pause, "pause", 2) {
            let long = choice.on("long").between(MS, 3_000 * MS);
            self.push(at, Change::Pause(host));
            self.push(at + long, Change::Resume(host));
        }
        for (at, choice) in some(self, families.crowd, "crowd", 2) {
            self.crowd(host, at, choice);
        }
        for (at, choice) in some(self, families.clocks, "jump", 1) {
            let by = choice.on("by").between(MS, 5_000 * MS);
            self.push(at, Change::Jump(host, Span::from_micros(by)));
        }
        for (at, choice) in some(self, families.clocks, "drift", 2) {
            let ppm = i32::try_from(choice.on("ppm").below(100_001)).unwrap_or(0) - 50_000;
            self.push(at, Change::Drift(host, ppm));
        }
        for (at, choice) in some(self, families.starve, "starve", 2) {
            let long = choice.on("long").between(MS, 1_500 * MS);
            self.push(at, Change::Starve(host, true));
            self.push(at + long, Change::Starve(host, false));
        }
    }

    /// Many masters come within a moment, often while the server stands still. Most say one thing
    /// and leave, some say nothing and stay.
    fn crowd(&mut self, host: Host, at: u64, choice: Choice) {
        let count = choice.on("many").between(5, 60);
        if choice.on("asleep").chance(500) {
            let long = choice.on("asleep").between(50 * MS, 600 * MS);
            self.push(at.saturating_sub(MS), Change::Pause(host));
            self.push(at + long, Change::Resume(host));
        }
        let apart = choice.on("apart").below(5 * MS);
        for i in 0..count {
            let choice = choice.on("one").at(i);
            let number = CROWD + u8::try_from(i).unwrap_or(0);
            let client = Client { host, number };
            let at = at + i * apart;
            self.open(host, number, at);
            if choice.on("silent").chance(200) {
                self.push(self.heal, Change::Leave(client));
                continue;
            }
            let mut bytes = Vec::new();
            self.broadcast(number, choice.on("text"), &mut bytes);
            self.say(host, number, at + 1, bytes);
            let gone =
                at + 2 * MS + choice.on("stays").below(2) * choice.on("long").below(900 * MS);
            if choice.on("finish").chance(500) {
                self.push(gone.min(self.heal), Change::Finish(client));
            } else {
                self.push(gone.min(self.heal), Change::Leave(client));
            }
        }
    }

    /// The whole machine stands still, all servers from one moment to another.
    fn freeze(&mut self) {
        let choice = self.choice.on("freeze");
        if !self.families.freeze {
            return;
        }
        let at = self.moment(choice.on("at"));
        let long = choice.on("long").between(100 * MS, 4_000 * MS);
        for host in (0..self.plan.hosts).map(Host) {
            self.push(at, Change::Pause(host));
            self.push(at + long, Change::Resume(host));
        }
    }

    /// A host that went at `at` comes back, if it does before the heal.
    fn back(&mut self, host: Host, at: u64, choice: Choice) {
        if choice.on("back").chance(800) {
            let wait = match choice.on("soon").below(3) {
                0 => choice.on("wait").between(1, 20 * MS),
                1 => choice.on("wait").between(20 * MS, 400 * MS),
                _ => choice.on("wait").between(400 * MS, 2_000 * MS),
            };
            self.push(at + wait, Change::Start(host));
            self.open(host, 0, at + wait + 20 * MS);
        }
    }

    fn open(&mut self, host: Host, number: u8, at: u64) {
        self.push(at, Change::Open(Client { host, number }, MASTERS));
        if number == WATCHER {
            self.say(host, number, at + MS, b"watch\n".to_vec());
        }
    }

    fn say(&mut self, host: Host, number: u8, at: u64, bytes: Vec<u8>) {
        self.push(at, Change::Say(Client { host, number }, bytes));
    }

    /// One text, ended by a newline. The second master's differ from the first's, so that a judge
    /// can tell whose they are.
    fn broadcast(&self, number: u8, choice: Choice, into: &mut Vec<u8>) {
        let limit = self.text_limit.saturating_sub(3).max(1);
        into.extend_from_slice(b"broadcast ");
        into.extend_from_slice(text(choice, limit).as_bytes());
        if number > 0 {
            into.extend_from_slice(format!("#{number}").as_bytes());
        }
        into.push(b'\n');
    }

    fn burst(&mut self, host: Host, number: u8, at: u64, choice: Choice, count: u64) {
        let mut bytes = Vec::new();
        for i in 0..count {
            // Equal texts in a row, on purpose.
            let again = choice.on("again").at(i).chance(150) && i > 0;
            self.broadcast(number, choice.at(if again { i - 1 } else { i }), &mut bytes);
        }
        self.say(host, number, at, bytes);
    }

    /// What the masters of a host say and do in the time of trouble.
    fn masters(&mut self, host: Host) {
        let choice = self.choice.on("masters").at(host.0.into());
        self.open(host, 1, choice.on("second").between(100 * MS, self.heal));
        self.open(
            host,
            WATCHER,
            choice.on("watcher").between(100 * MS, self.heal),
        );
        let count = choice.on("count").between(4, 24);
        for i in 0..count {
            let choice = choice.at(i);
            let at = choice.on("at").between(100 * MS, self.heal + 300 * MS);
            let number = u8::from(choice.on("who").chance(250));
            match choice.on("what").below(100) {
                0..=49 => {
                    let count = choice.on("lines").between(1, 3);
                    self.burst(host, number, at, choice.on("text"), count);
                }
                50..=57 => {
                    let count = choice.on("lines").between(4, 40);
                    self.burst(host, number, at, choice.on("text"), count);
                }
                58..=69 => self.say(host, number, at, b"get\n".to_vec()),
                70..=77 => self.say(host, number, at, b"  alive \r\n".to_vec()),
                78..=83 => {
                    let mut bytes = Vec::new();
                    self.broadcast(number, choice.on("text"), &mut bytes);
                    bytes.extend_from_slice(b"get\nalive\n");
                    self.broadcast(number, choice.on("more"), &mut bytes);
                    bytes.extend_from_slice(b"get\n");
                    self.say(host, number, at, bytes);
                }
                84..=88 => {
                    if choice.on("web").chance(200) {
                        self.say(host, number, at, POST.to_vec());
                        self.open(host, number, at + 100 * MS);
                        continue;
                    }
                    let mut bytes = garbage(choice.on("garbage"), self.text_limit);
                    bytes.push(b'\n');
                    self.say(host, number, at, bytes);
                }
                89..=92 => {
                    // A line in two pieces, cut in its first word: should another one come between,
                    // what follows is no command.
                    let mut bytes = Vec::new();
                    self.broadcast(number, choice.on("text"), &mut bytes);
                    let middle = choice.on("middle").between(1, 9);
                    let rest = bytes.split_off(usize::try_from(middle).unwrap_or(1));
                    self.say(host, number, at, bytes);
                    self.say(host, number, at + choice.on("gap").below(30 * MS), rest);
                }
                93..=95 => {
                    let client = Client { host, number };
                    self.push(at, Change::Leave(client));
                    self.open(host, number, at + choice.on("gap").below(400 * MS));
                }
                96 => {
                    self.say(host, number, at, b"get\nalive\n".to_vec());
                    self.push(at + 1, Change::Finish(Client { host, number }));
                    self.open(host, number, at + 100 * MS);
                }
                _ if self.families.deaf => {
                    let number = number + u8::from(choice.on("watcher").chance(500));
                    let client = Client { host, number };
                    let asks = choice.on("asks").between(1, 60);
                    let long = choice.on("long").between(10 * MS, 1_000 * MS);
                    self.push(at, Change::Deaf(client, true));
                    let asked = b"get\nalive\n".repeat(usize::try_from(asks).unwrap_or(1));
                    self.say(host, number, at, asked);
                    self.push(
                        (at + long).min(self.heal + 400 * MS),
                        Change::Deaf(client, false),
                    );
                }
                _ => self.say(host, number, at, b"alive\n".to_vec()),
            }
        }
    }

    /// After the heal: the dead return, new masters come, and ask for what must have come true.
    fn end(&mut self, host: Host) {
        let choice = self.choice.on("end").at(host.0.into());
        if !choice.on("stays").chance(60) {
            let at = self.heal + choice.on("at").below(REVIVAL);
            self.push(at, Change::Start(host));
        }
        if self.families.damage {
            return;
        }
        let at = self.heal + LAST_MASTERS + choice.on("open").below(20 * MS);
        self.open(host, LAST, at);
        let mut bytes = Vec::new();
        self.broadcast(LAST, choice.on("text"), &mut bytes);
        bytes.extend_from_slice(b"get\nalive\n");
        self.say(host, LAST, at + 200 * MS, bytes);
        let at = self.heal + END - 1_200 * MS + choice.on("ask").below(100 * MS);
        self.say(host, LAST, at, b"get\nalive\n".to_vec());
    }

    /// What goes wrong between two hosts.
    fn ways(&mut self) {
        let hosts = self.plan.hosts;
        let count = u64::from(hosts) * 2;
        for i in 0..count {
            let choice = self.choice.on("way").at(i);
            let from = choice.on("from").below(hosts.into());
            let to = (from + choice.on("to").between(1, u64::from(hosts) - 1)) % u64::from(hosts);
            let host = |number: u64| Host(u16::try_from(number).unwrap_or(0));
            let way = Way {
                from: host(from),
                to: host(to),
                both: choice.on("both").chance(500),
            };
            let at = self.moment(choice.on("at"));
            let long = match choice.on("how").below(2) {
                0 => choice.on("long").between(MS, 300 * MS),
                _ => choice.on("long").between(300 * MS, 3_000 * MS),
            };
            let families = self.families;
            let (on, begin, end) = match choice.on("what").below(9) {
                0 => (families.cut, Change::Cut(way), Some(Change::Mend(way))),
                1 => (families.clog, Change::Clog(way), Some(Change::Unclog(way))),
                2 => {
                    let span = Span::from_micros(choice.on("span").between(MS, 600 * MS));
                    let end = Change::Lag(way, Span::ZERO);
                    (families.lag, Change::Lag(way, span), Some(end))
                }
                3 => (families.reset, Change::Reset(way), None),
                4 => (families.half_open, Change::HalfOpen(way), None),
                5 => {
                    let how = if choice.on("hang").chance(500) {
                        Connects::Hang
                    } else {
                        Connects::Refused
                    };
                    // Nobody dials unless a connection breaks.
                    if families.connects {
                        self.push(at + 1, Change::Reset(way));
                    }
                    let end = Change::Connects(way, Connects::Work);
                    (families.connects, Change::Connects(way, how), Some(end))
                }
                6 => {
                    let share = u32::try_from(choice.on("share").between(1, 400)).unwrap_or(1);
                    let end = Change::Damage(way, 0);
                    (families.damage, Change::Damage(way, share), Some(end))
                }
                7 => {
                    // All of a server's ways clog, and open one after the other.
                    if families.clog {
                        self.swizzle(way.from, at, choice);
                    }
                    continue;
                }
                _ => {
                    let bytes = u32::try_from(choice.on("bytes").between(64, 2_000)).unwrap_or(64);
                    let end = Change::Buffer(way, 0);
                    (
                        families.small_buffers,
                        Change::Buffer(way, bytes),
                        Some(end),
                    )
                }
            };
            if on {
                self.push(at, begin);
                if let Some(end) = end {
                    self.push(at + long, end);
                }
            }
        }
    }

    fn swizzle(&mut self, from: Host, at: u64, choice: Choice) {
        for to in (0..self.plan.hosts).map(Host).filter(|to| *to != from) {
            let choice = choice.on("swizzle").at(to.0.into());
            let way = Way {
                from,
                to,
                both: false,
            };
            let begin = at + choice.on("begin").below(300 * MS);
            self.push(begin, Change::Clog(way));
            let long = choice.on("long").between(10 * MS, 1_500 * MS);
            self.push(begin + long, Change::Unclog(way));
        }
    }
}
