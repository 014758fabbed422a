//! The counter on the simulator: what its clients say, and what must hold.

use super::Counter;
use chatroom_core::{Config, MASTERS, Node};
use chatroom_machine::Door;
use chatroom_sim::engine::{Birth, World};
use chatroom_sim::generate::{Commands, MS, Maker, Profile, generate};
use chatroom_sim::lines::{ByLine, LineObserver};
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Fact, Scene, Violation};
use chatroom_sim::plan::{Plan, PlanError};
use chatroom_sim::random::Choice;
use chatroom_sim::subject::Subject;
use std::collections::BTreeMap;

type Server = Node<Counter>;

/// The grids that are simulated.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Counters {
    /// Run counters that are broken on purpose.
    #[arg(long)]
    broken: bool,
}

impl World for Counters {
    type Machine = Server;

    fn spawn(&self, birth: &Birth) -> Server {
        let mut config = Config::new(birth.host.0.into(), birth.hosts.into());
        (config.seed, config.protocol) = (birth.seed, self.broken);
        Node::new(config).expect("the defaults are within their bounds")
    }
}

/// Client 0 adds and asks in the time of trouble, client 1 asks at the end.
impl Commands for Counters {
    const NAME: &'static str = "counter";
    const DOOR: Door = MASTERS;

    fn burst(&self, _: u8, _: Choice, count: u64) -> Vec<u8> {
        (0..count).flat_map(|_| *b"add\n").collect()
    }

    fn talk(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let choice = maker.choice.on("talk").at(host.0.into());
        for i in 0..choice.on("count").between(4, 24) {
            let at = maker.moment(choice.on("at").at(i));
            let adds = choice.on("adds").at(i).chance(600);
            let line: &[u8] = if adds { b"add\n" } else { b"get\n" };
            maker.say(host, 0, at, line.to_vec());
        }
    }

    fn end(&self, maker: &mut Maker<'_, Self>, host: Host) {
        let heal = maker.heal;
        maker.open(host, 1, heal + 3_000 * MS);
        maker.say(host, 1, heal + 4_000 * MS, b"get\n".to_vec());
    }
}

/// No server counts more than was added, and in the end all count the same.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    added: u64,
    /// By host, what it counted in the end, and when it said so.
    last: BTreeMap<Host, (u64, u64)>,
}

impl LineObserver<Server> for Judge {
    fn said(&mut self, _: &Scene<'_, Server>, _: Client, line: &[u8]) -> Result<(), Violation> {
        self.added += u64::from(line == b"add");
        Ok(())
    }

    fn heard(
        &mut self,
        scene: &Scene<'_, Server>,
        client: Client,
        line: &[u8],
    ) -> Result<(), Violation> {
        let line = String::from_utf8_lossy(line);
        let Some(sum) = line.strip_prefix("sum ").and_then(|sum| sum.parse().ok()) else {
            return Ok(());
        };
        let (host, added) = (client.host, self.added);
        if client.number == 1 {
            self.last.insert(host, (sum, scene.step));
        }
        Violation::unless(sum <= added, "no-invention", [scene.step], || {
            format!("server {host} counts {sum}, and {added} were added")
        })
    }

    fn see(
        &mut self,
        _: &Scene<'_, Server>,
        fact: &Fact<'_, <Server as chatroom_machine::Machine>::Notice>,
    ) -> Result<(), Violation> {
        let mut sums = self.last.values().map(|(sum, _)| sum);
        let first = sums.next();
        let agree = sums.all(|sum| Some(sum) == first);
        let steps = self.last.values().map(|(_, step)| *step);
        let over = matches!(fact, Fact::Over);
        Violation::unless(agree || !over, "agreement", steps, || {
            format!("in the end the servers count {:?}", self.last)
        })
    }
}

impl Subject for Counters {
    type World = Self;
    type Judge = ByLine<Judge>;

    fn plan(&self, seed: u64, profile: Profile) -> Plan {
        generate(seed, profile, |_, _, _| self.clone())
    }

    fn prepare(&self, _: &Plan) -> Result<(Self, ByLine<Judge>), PlanError> {
        Ok((self.clone(), ByLine::default()))
    }

    fn options(&self) -> String {
        if self.broken { " --broken" } else { "" }.to_owned()
    }
}
