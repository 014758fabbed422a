//! Three-phase commit on the simulator: what its masters say, and what must hold when servers only
//! crash. Profiles with other faults are for seeing where the protocol breaks.

use chatroom_commit::{Commit, Config, Decision, Event, MASTERS, News, Txn};
use chatroom_core::Node;
use chatroom_machine::{Door, Machine};
use chatroom_sim::engine::{Birth, World};
use chatroom_sim::generate::{Commands, MS, Maker, Profile, generate};
use chatroom_sim::lines::{ByLine, LineObserver};
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Ending, Fact, Scene, Violation};
use chatroom_sim::plan::{Plan, PlanError};
use chatroom_sim::random::Choice;
use chatroom_sim::sometimes::Sometimes;
use chatroom_sim::subject::Subject;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

type Server = Node<Commit>;

/// The grids that are simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Playlists;

/// Crashes that a master arms, with the most ids that follow.
const ARMS: [(&str, u64); 6] = [
    ("crashBeforeVote", 0),
    ("crashAfterVote", 0),
    ("crashAfterAck", 0),
    ("crashVoteREQ", 3),
    ("crashPartialPreCommit", 3),
    ("crashPartialCommit", 3),
];

impl World for Playlists {
    type Machine = Server;

    fn spawn(&self, birth: &Birth) -> Server {
        let mut config = Config::new(birth.host.0.into(), birth.hosts.into());
        config.incarnation = u64::from(birth.life) + 1;
        (config.seed, config.observe) = (birth.seed, true);
        Node::new(config).expect("the defaults are within their bounds")
    }
}

impl Playlists {
    /// One line of a master: mostly an `add` of one of a few songs.
    fn line(choice: Choice, url: u64) -> String {
        let song = choice.on("song").below(6);
        match choice.on("what").below(16) {
            0..=8 => format!("add s{song} u{url}\n"),
            9 | 10 => format!("delete s{song}\n"),
            11 => "vote NO\n".to_owned(),
            12 | 13 => format!("get s{song}\n"),
            _ => {
                let arm = choice.on("arm").below(ARMS.len() as u64) as usize;
                let (mut line, most) = (ARMS[arm].0.to_owned(), ARMS[arm].1);
                for i in 0..choice.on("ids").below(most + 1) {
                    line += &format!(" {}", choice.on("id").at(i).below(5));
                }
                line + "\n"
            }
        }
    }
}

impl Commands for Playlists {
    const NAME: &'static str = "commit";
    const DOOR: Door = MASTERS;

    fn burst(&self, _: u8, choice: Choice, count: u64) -> Vec<u8> {
        let adds = (0..count.min(3)).map(|i| format!("add b{i} u{}\n", choice.at(i).below(1000)));
        adds.collect::<String>().into_bytes()
    }

    fn stores(&self) -> bool {
        true
    }

    fn crash(&self) -> Option<&'static [u8]> {
        Some(b"crash\n")
    }

    fn talk(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let choice = maker.choice.on("talk").at(host.0.into());
        for i in 0..choice.on("count").between(2, 16) {
            let at = maker.moment(choice.on("at").at(i));
            let line = Self::line(choice.on("line").at(i), u64::from(host.0) * 100 + i);
            maker.say(host, 0, at, line.into_bytes());
        }
    }

    fn end(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let heal = maker.heal;
        maker.open(host, 1, heal + 3_000 * MS);
    }
}

/// What a run must keep. AC1 to AC5 are the conditions of Bernstein, Hadzilacos and Goodman,
/// section 7.3.
#[derive(Debug, Default)]
pub struct Judge {
    /// How each transaction was decided first, by whom, and when that was seen.
    decisions: BTreeMap<Txn, (Decision, Host, u64)>,
    /// Who has a record of each transaction that is no NO.
    voted: BTreeMap<Txn, BTreeSet<u32>>,
    /// The participants of each.
    participants: BTreeMap<Txn, BTreeSet<u32>>,
    /// By client, the changes that were asked for and not answered.
    asked: BTreeMap<Client, VecDeque<Vec<u8>>>,
    /// Whether anything happened that may lead to an abort or a death.
    troubled: bool,
    cases: Sometimes,
}

impl Judge {
    fn decided(
        &mut self,
        scene: &Scene<'_, Server>,
        host: Host,
        decision: &Decision,
    ) -> Result<(), Violation> {
        let step = scene.step;
        let (txn, commit) = (decision.txn, decision.commit);
        self.cases.hit(if commit { "committed" } else { "aborted" });
        let first = self
            .decisions
            .entry(txn)
            .or_insert((decision.clone(), host, step));
        let (before, whose, seen) = first;
        // AC2, that nobody reverses its own decision, is the same for one server.
        Violation::unless(
            before.commit == commit && before.op == decision.op,
            "ac1-agreement",
            [*seen, step],
            || format!("server {host} decided {decision}, and server {whose} {before}"),
        )?;
        let none = BTreeSet::new();
        let voted = self.voted.get(&txn).unwrap_or(&none);
        let all = self.participants.get(&txn).unwrap_or(&none);
        Violation::unless(
            !commit || all.is_subset(voted),
            "ac3-commit-validity",
            [step],
            || {
                format!(
                    "server {host} decided {decision}: {all:?} take part, and {voted:?} voted YES"
                )
            },
        )?;
        Violation::unless(
            commit || self.troubled,
            "ac4-non-triviality",
            [step],
            || format!("server {host} decided {decision}, and nothing had gone wrong"),
        )
    }

    /// AC5: in the end all that live have decided everything, and have the same.
    fn ended(&self, scene: &Scene<'_, Server>) -> Result<(), Violation> {
        let hosts = (0..u16::MAX).map(Host).take(16);
        let live: Vec<_> = hosts
            .filter_map(|host| Some((host, scene.machine(host)?.protocol())))
            .collect();
        let Some((one, first)) = live.first() else {
            return Ok(());
        };
        let first: Vec<_> = first.songs().collect();
        for (host, server) in &live {
            // After a total failure from which the last has not come back nothing is decided.
            if server.members().is_empty() {
                continue;
            }
            let pending = &server.report().pending;
            Violation::unless(pending.is_none(), "ac5-termination", [scene.step], || {
                format!("server {host} has not decided {pending:?}")
            })?;
            let songs: Vec<_> = server.songs().collect();
            let alone = live.iter().any(|(_, other)| other.members().is_empty());
            Violation::unless(
                alone || songs == first,
                "ac1-agreement",
                [scene.step],
                || format!("in the end servers {one} and {host} have {first:?} and {songs:?}"),
            )?;
        }
        Ok(())
    }
}

impl LineObserver<Server> for Judge {
    fn said(
        &mut self,
        _: &Scene<'_, Server>,
        client: Client,
        line: &[u8],
    ) -> Result<(), Violation> {
        self.troubled |= line.starts_with(b"vote") || line.starts_with(b"crash");
        if line.starts_with(b"add") || line.starts_with(b"delete") {
            self.asked
                .entry(client)
                .or_default()
                .push_back(line.to_vec());
        }
        Ok(())
    }

    fn heard(
        &mut self,
        scene: &Scene<'_, Server>,
        client: Client,
        line: &[u8],
    ) -> Result<(), Violation> {
        if line == b"ack commit" || line == b"ack abort" {
            let asked = self.asked.get_mut(&client).and_then(VecDeque::pop_front);
            self.cases.hit("acknowledged");
            return Violation::unless(asked.is_some(), "ack-for-nothing", [scene.step], || {
                format!("client {client:?} was acknowledged what it never asked for")
            });
        }
        Ok(())
    }

    fn see(
        &mut self,
        scene: &Scene<'_, Server>,
        fact: &Fact<'_, <Server as Machine>::Notice>,
    ) -> Result<(), Violation> {
        if let Fact::Ended { how, .. } = fact {
            self.troubled = true;
            self.cases.hit(match how {
                Ending::Killed(_) => "killed",
                Ending::Crashed => "crashed at once",
                Ending::Done => "crashed after sending",
                Ending::Failed => "failed with its disk",
            });
        } else if let Fact::Over = fact {
            return self.ended(scene);
        } else if let Fact::Notice {
            who,
            notice: News::Protocol(event),
            ..
        } = fact
        {
            match event {
                Event::Recorded { pending } => {
                    let all = pending.participants.iter().collect();
                    self.participants.insert(pending.txn, all);
                    let voted = self.voted.entry(pending.txn).or_default();
                    voted.insert(who.host.0.into());
                }
                Event::Decided { decision } => return self.decided(scene, who.host, decision),
                Event::Waits { .. } => self.cases.hit("waited for the last to fail"),
                Event::Copied { .. } => self.cases.hit("caught up"),
                Event::Coordinator => self.cases.hit("elected"),
                Event::Left => self.cases.hit("left"),
                Event::Member { .. } | Event::Unreadable { .. } => {}
            }
        }
        Ok(())
    }
}

impl Subject for Playlists {
    type World = Self;
    type Judge = ByLine<Judge>;

    fn options(&self) -> String {
        " --protocol commit".to_owned()
    }

    fn plan(&self, seed: u64, profile: Profile) -> Plan {
        generate(seed, profile, |_, _, _| *self)
    }

    fn prepare(&self, _: &Plan) -> Result<(Self, ByLine<Judge>), PlanError> {
        Ok((*self, ByLine::default()))
    }

    fn sometimes(mut judge: ByLine<Judge>) -> Sometimes {
        std::mem::take(&mut judge.observer().cases)
    }
}
