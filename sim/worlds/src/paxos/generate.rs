//! What the clients of a replicated chat room do in a plan.

use chatroom_machine::{Door, Span};
use chatroom_paxos::MASTERS;
use chatroom_sim::generate::{Commands, MS, Maker, Profile};
use chatroom_sim::names::Host;
use chatroom_sim::plan::{Change, DiskFault, Plan};
use chatroom_sim::random::Choice;

/// The client of a host that comes after the heal.
pub(super) const LAST: u8 = 2;
/// When after the heal it says its message. Until then sessions stand again and a leader is found.
pub(super) const LAST_MESSAGE: u64 = 2_000 * MS;
/// When after the heal it asks for the log.
pub(super) const LAST_GET: u64 = 4_200 * MS;

/// Identities of messages that are drawn lie below it, those that are counted from it on.
const DRAWN: u64 = 1 << 50;

/// The clients of a replicated chat room.
struct Clients;

/// The plan of a seed.
pub(super) fn generate(seed: u64, profile: Profile) -> Plan {
    chatroom_sim::generate::generate(seed, profile, |plan, _, _| {
        let profile = profile.to_string();
        plan.notes.insert("protocol".to_owned(), "paxos".to_owned());
        plan.notes.insert("profile".to_owned(), profile);
        Clients
    })
}

/// A message: its word follows from its identity.
fn message(id: u64) -> Vec<u8> {
    format!("msg {id} w{id}\n").into_bytes()
}

/// Moments at which many hosts lose their power at once, their disks being slow: what was promised
/// a moment ago is not durable.
fn storms(maker: &mut Maker<'_, Clients>, host: Host) {
    if !maker.families.crash {
        return;
    }
    let choice = maker.choice.on("storms");
    for i in 0..choice.on("count").below(3) {
        // The moment is the same for all hosts.
        let storm = choice.at(i);
        let at = maker.moment(storm.on("at"));
        let choice = storm.on("host").at(host.0.into());
        if choice.on("slow").chance(500) {
            let by = Span::from_micros(choice.on("by").between(5 * MS, 150 * MS));
            maker.push(at, Change::Disk(host, DiskFault::Slow(by)));
            let end = (at + 1_000 * MS).min(maker.heal);
            maker.push(end, Change::Disk(host, DiskFault::Slow(Span::ZERO)));
        }
        if choice.on("hit").chance(600) {
            let at = (at + choice.on("after").below(300 * MS)).min(maker.heal);
            maker.push(at, Change::Disk(host, DiskFault::PowerCut));
            let back = at + choice.on("back").between(1, 200 * MS);
            maker.push(back, Change::Start(host));
            maker.open(host, 0, back + 20 * MS);
        }
    }
}

impl Commands for Clients {
    const NAME: &'static str = "paxos";
    const DOOR: Door = MASTERS;

    fn burst(&self, _: u8, choice: Choice, count: u64) -> Vec<u8> {
        let id = |i| choice.at(i).bits() % DRAWN;
        (0..count).flat_map(|i| message(id(i))).collect()
    }

    fn stores(&self) -> bool {
        true
    }

    fn crash(&self) -> Option<&'static [u8]> {
        Some(b"crash\n")
    }

    fn talk(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let choice = maker.choice.on("clients").at(host.0.into());
        maker.open(host, 1, choice.on("second").between(100 * MS, maker.heal));
        let hosts = maker.plan.hosts;
        let some_host = |choice: Choice| {
            let number = choice.below(hosts.into());
            Host(u16::try_from(number).unwrap_or(0))
        };
        storms(maker, host);
        let count = choice.on("count").between(4, 24);
        for i in 0..count {
            let choice = choice.at(i);
            let at = choice.on("at").between(300 * MS, maker.heal + 300 * MS);
            let number = u8::from(choice.on("who").chance(250));
            let id = DRAWN + u64::from(host.0) * 10_000 + i * 100;
            let crashes = maker.families.crash && choice.on("crashes").chance(120);
            match choice.on("what").below(100) {
                _ if crashes => {
                    let (a, b) = (some_host(choice.on("a")), some_host(choice.on("b")));
                    let line = match choice.on("which").below(5) {
                        0 => "crashAfterP1b\n".to_owned(),
                        1 => "crashAfterP2b\n".to_owned(),
                        2 => format!("crashP1a {a} {b}\n"),
                        3 => format!("crashP2a {a}\n"),
                        _ => format!("crashDecision {a}\n"),
                    };
                    let at = at.min(maker.heal - 200 * MS);
                    maker.say(host, 0, at, line.into_bytes());
                    maker.say(host, 0, at + MS, message(id));
                }
                0..=59 => {
                    maker.say(host, number, at, message(id));
                    if choice.on("again").chance(400) {
                        // The client has heard nothing and asks again, here or somewhere else.
                        let later = at + choice.on("later").between(1, 600 * MS);
                        maker.say(some_host(choice.on("to")), 0, later, message(id));
                    }
                }
                60..=79 => {
                    let lines = choice.on("lines").between(2, 60);
                    let lines = (0..lines).flat_map(|line| message(id + line));
                    maker.say(host, number, at, lines.collect());
                }
                80..=95 => maker.say(host, number, at, b"get chatLog\n".to_vec()),
                _ => maker.say(host, number, at, b"msg 1\nget all\nmsg x y\n\n".to_vec()),
            }
        }
    }

    fn end(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let heal = maker.heal;
        maker.open(host, LAST, heal + 1_500 * MS);
        let id = 2 * DRAWN + u64::from(host.0);
        maker.say(host, LAST, heal + LAST_MESSAGE, message(id));
        maker.say(host, LAST, heal + LAST_GET, b"get chatLog\n".to_vec());
    }
}
