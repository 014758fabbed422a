//! From a seed and a profile to a plan: warm-up, trouble, heal, and a quiet end in which all must
//! come right. What goes wrong with hosts and networks is the same for every protocol; what clients
//! say is the protocol's [`Commands`].

mod profile;

pub use profile::{Families, Profile};

use crate::names::{Client, Host};
use crate::plan::{Change, Connects, DiskTrouble, Fate, Plan, Way, disk_trouble};
use crate::random::Choice;
use chatroom_machine::{Door, Span, Time};

/// A millisecond, in the microseconds of a [`Maker`]'s moments.
pub const MS: u64 = 1000;
/// Until then the servers come up.
pub const WARM_UP: u64 = 1_000 * MS;
/// How long after the heal the dead are alive again, at the latest.
const REVIVAL: u64 = 200 * MS;
/// How long after the heal the run ends: the deadline of all that must come true.
pub const END: u64 = 4_500 * MS;

/// What the clients of a protocol do in a plan. A host's client 0 comes with the host, whenever it
/// comes.
pub trait Commands {
    /// The name from which the choices of its plans are drawn.
    const NAME: &'static str;
    /// The listener that clients connect to.
    const DOOR: Door;

    /// Some valid lines, each with its newline: what client 0 says right before its server dies.
    fn burst(&self, number: u8, choice: Choice, count: u64) -> Vec<u8>;

    /// Whether the machines have volumes, so that plans have faults of disks.
    fn stores(&self) -> bool {
        false
    }

    /// What has a server end itself as if it were killed, if there is such a command.
    fn crash(&self) -> Option<&'static [u8]> {
        None
    }

    /// What a client of this number says as soon as it is connected.
    fn greeting(&self, number: u8) -> Option<&'static [u8]> {
        let _ = number;
        None
    }

    /// What the clients of `host` say and do up to the heal.
    fn talk(&self, maker: &mut Maker<'_, Self>, host: Host)
    where
        Self: Sized;

    /// What the clients of `host` ask once all must have come right.
    fn end(&self, maker: &mut Maker<'_, Self>, host: Host)
    where
        Self: Sized;

    /// Many clients come within a moment: a family of its own, as it needs what they say.
    fn crowd(&self, maker: &mut Maker<'_, Self>, host: Host, at: u64, choice: Choice)
    where
        Self: Sized,
    {
        let _ = (maker, host, at, choice);
    }
}

/// Makes a plan. Moments are microseconds since its beginning.
#[derive(Debug)]
pub struct Maker<'a, C> {
    /// The plan so far, in no order.
    pub plan: Plan,
    /// What may go wrong.
    pub families: Families,
    /// Where choices are drawn from.
    pub choice: Choice,
    /// When all trouble ends.
    pub heal: u64,
    commands: &'a C,
}

/// The plan of a seed. `setup` may write notes into it, and gives the commands.
#[must_use]
pub fn generate<C: Commands>(
    seed: u64,
    profile: Profile,
    setup: impl FnOnce(&mut Plan, Families, Choice) -> C,
) -> Plan {
    let choice = Choice::seed(seed).on(C::NAME);
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
    let commands = setup(&mut plan, families, choice);
    network(&mut plan, families, choice.on("net"));
    let mut maker = Maker {
        plan,
        families,
        choice,
        heal,
        commands: &commands,
    };
    for host in (0..hosts).map(Host) {
        maker.life(host);
        commands.talk(&mut maker, host);
        maker.end(host);
        if commands.stores() {
            let choice = choice.on("disks").at(host.0.into());
            let trouble = DiskTrouble::of(profile, choice.on("families"));
            disk_trouble(&mut maker.plan, host, trouble, choice);
        }
    }
    maker.freeze();
    maker.ways();
    maker.plan.events.sort_by_key(|event| event.at);
    maker.plan
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

impl<C: Commands> Maker<'_, C> {
    /// Adds an event.
    pub fn push(&mut self, at: u64, change: Change) {
        self.plan.push(Time::from_micros(at), change);
    }

    /// A moment of the trouble.
    #[must_use]
    pub fn moment(&self, choice: Choice) -> u64 {
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
                let lines = self.commands.burst(0, choice.on("text"), count);
                self.say(host, 0, at.saturating_sub(before), lines);
            }
            match self.commands.crash() {
                Some(crash) if choice.on("told").chance(150) => {
                    self.say(host, 0, at, crash.to_vec());
                }
                Some(_) | None => self.push(at, Change::Kill(host, fate)),
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
            self.commands.crowd(self, host, at, choice);
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

    /// A client connects, and says its greeting.
    pub fn open(&mut self, host: Host, number: u8, at: u64) {
        self.push(at, Change::Open(Client { host, number }, C::DOOR));
        if let Some(greeting) = self.commands.greeting(number) {
            self.say(host, number, at + MS, greeting.to_vec());
        }
    }

    /// A client says something, whole or not.
    pub fn say(&mut self, host: Host, number: u8, at: u64, bytes: Vec<u8>) {
        self.push(at, Change::Say(Client { host, number }, bytes));
    }

    /// After the heal: the dead return, and are asked for what must have come true.
    fn end(&mut self, host: Host) {
        let choice = self.choice.on("end").at(host.0.into());
        if !choice.on("stays").chance(60) {
            let at = self.heal + choice.on("at").below(REVIVAL);
            self.push(at, Change::Start(host));
        }
        if !self.families.damage {
            self.commands.end(self, host);
        }
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
