//! What the masters of a chat do in a plan, and the limits of its servers.

use super::Setup;
use super::text::{garbage, text};
use chatroom_chat::MASTERS;
use chatroom_machine::Door;
use chatroom_sim::generate::{Commands, END, Families, MS, Maker, Profile};
use chatroom_sim::names::{Client, Host};
use chatroom_sim::plan::{Change, Plan};
use chatroom_sim::random::Choice;

/// When after the heal the last masters come.
const LAST_MASTERS: u64 = 1_500 * MS;
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

/// The masters of a chat.
struct Masters {
    text_limit: usize,
}

/// The plan of a seed.
#[must_use]
pub fn generate(seed: u64, profile: Profile) -> Plan {
    chatroom_sim::generate::generate(seed, profile, |plan, families, choice| {
        let mut setup = Setup {
            profile,
            ..Setup::default()
        };
        limits(&mut setup, families, choice.on("limits"));
        setup.write(plan);
        Masters {
            text_limit: setup.limits.text,
        }
    })
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
    let choice = choice.on("no-hello");
    if choice.chance(250) {
        setup.no_hello = (0..64)
            .filter(|&host| choice.on("host").at(host).chance(300))
            .fold(0, |mask, host| mask | 1 << host);
    }
    if families.small_log {
        setup.options.log = draw("log", 400, 6_000) as u64;
    }
}

impl Masters {
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
}

impl Commands for Masters {
    const NAME: &'static str = "chat";
    const DOOR: Door = MASTERS;

    fn burst(&self, number: u8, choice: Choice, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for i in 0..count {
            // Equal texts in a row, on purpose.
            let again = choice.on("again").at(i).chance(150) && i > 0;
            self.broadcast(number, choice.at(if again { i - 1 } else { i }), &mut bytes);
        }
        bytes
    }

    fn crash(&self) -> Option<&'static [u8]> {
        Some(b"crash\n")
    }

    fn greeting(&self, number: u8) -> Option<&'static [u8]> {
        (number == WATCHER).then_some(b"watch\n")
    }

    fn talk(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let choice = maker.choice.on("masters").at(host.0.into());
        maker.open(host, 1, choice.on("second").between(100 * MS, maker.heal));
        maker.open(
            host,
            WATCHER,
            choice.on("watcher").between(100 * MS, maker.heal),
        );
        let count = choice.on("count").between(4, 24);
        for i in 0..count {
            let choice = choice.at(i);
            let at = choice.on("at").between(100 * MS, maker.heal + 300 * MS);
            let number = u8::from(choice.on("who").chance(250));
            match choice.on("what").below(100) {
                0..=49 => {
                    let count = choice.on("lines").between(1, 3);
                    maker.say(
                        host,
                        number,
                        at,
                        self.burst(number, choice.on("text"), count),
                    );
                }
                50..=57 => {
                    let count = choice.on("lines").between(4, 40);
                    maker.say(
                        host,
                        number,
                        at,
                        self.burst(number, choice.on("text"), count),
                    );
                }
                58..=69 => maker.say(host, number, at, b"get\n".to_vec()),
                70..=77 => maker.say(host, number, at, b"  alive \r\n".to_vec()),
                78..=83 => {
                    let mut bytes = Vec::new();
                    self.broadcast(number, choice.on("text"), &mut bytes);
                    bytes.extend_from_slice(b"get\nalive\n");
                    self.broadcast(number, choice.on("more"), &mut bytes);
                    bytes.extend_from_slice(b"get\n");
                    maker.say(host, number, at, bytes);
                }
                84..=88 => {
                    if choice.on("web").chance(200) {
                        maker.say(host, number, at, POST.to_vec());
                        maker.open(host, number, at + 100 * MS);
                        continue;
                    }
                    let mut bytes = garbage(choice.on("garbage"), self.text_limit);
                    bytes.push(b'\n');
                    maker.say(host, number, at, bytes);
                }
                89..=92 => {
                    // A line in two pieces, cut in its first word: should another one come between,
                    // what follows is no command.
                    let mut bytes = Vec::new();
                    self.broadcast(number, choice.on("text"), &mut bytes);
                    let middle = choice.on("middle").between(1, 9);
                    let rest = bytes.split_off(usize::try_from(middle).unwrap_or(1));
                    maker.say(host, number, at, bytes);
                    maker.say(host, number, at + choice.on("gap").below(30 * MS), rest);
                }
                93..=95 => {
                    let client = Client { host, number };
                    maker.push(at, Change::Leave(client));
                    maker.open(host, number, at + choice.on("gap").below(400 * MS));
                }
                96 => {
                    maker.say(host, number, at, b"get\nalive\n".to_vec());
                    maker.push(at + 1, Change::Finish(Client { host, number }));
                    maker.open(host, number, at + 100 * MS);
                }
                _ if maker.families.deaf => {
                    let number = number + u8::from(choice.on("watcher").chance(500));
                    let client = Client { host, number };
                    let asks = choice.on("asks").between(1, 60);
                    let long = choice.on("long").between(10 * MS, 1_000 * MS);
                    maker.push(at, Change::Deaf(client, true));
                    let asked = b"get\nalive\n".repeat(usize::try_from(asks).unwrap_or(1));
                    maker.say(host, number, at, asked);
                    maker.push(
                        (at + long).min(maker.heal + 400 * MS),
                        Change::Deaf(client, false),
                    );
                }
                _ => maker.say(host, number, at, b"alive\n".to_vec()),
            }
        }
    }

    fn end(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let choice = maker.choice.on("end").at(host.0.into());
        let at = maker.heal + LAST_MASTERS + choice.on("open").below(20 * MS);
        maker.open(host, LAST, at);
        let mut bytes = Vec::new();
        self.broadcast(LAST, choice.on("text"), &mut bytes);
        bytes.extend_from_slice(b"get\nalive\n");
        maker.say(host, LAST, at + 200 * MS, bytes);
        let at = maker.heal + END - 1_200 * MS + choice.on("ask").below(100 * MS);
        maker.say(host, LAST, at, b"get\nalive\n".to_vec());
    }

    /// Many masters come within a moment, often while the server stands still. Most say one thing
    /// and leave, some say nothing and stay.
    fn crowd(&self, maker: &mut Maker<'_, Self>, host: Host, at: u64, choice: Choice) {
        let count = choice.on("many").between(5, 60);
        if choice.on("asleep").chance(500) {
            let long = choice.on("asleep").between(50 * MS, 600 * MS);
            maker.push(at.saturating_sub(MS), Change::Pause(host));
            maker.push(at + long, Change::Resume(host));
        }
        let apart = choice.on("apart").below(5 * MS);
        for i in 0..count {
            let choice = choice.on("one").at(i);
            let number = CROWD + u8::try_from(i).unwrap_or(0);
            let client = Client { host, number };
            let at = at + i * apart;
            maker.open(host, number, at);
            if choice.on("silent").chance(200) {
                maker.push(maker.heal, Change::Leave(client));
                continue;
            }
            let mut bytes = Vec::new();
            self.broadcast(number, choice.on("text"), &mut bytes);
            maker.say(host, number, at + 1, bytes);
            let gone =
                at + 2 * MS + choice.on("stays").below(2) * choice.on("long").below(900 * MS);
            if choice.on("finish").chance(500) {
                maker.push(gone.min(maker.heal), Change::Finish(client));
            } else {
                maker.push(gone.min(maker.heal), Change::Leave(client));
            }
        }
    }
}
