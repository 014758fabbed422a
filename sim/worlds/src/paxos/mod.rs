//! The replicated log on the simulator: what its clients do, and who judges a run.

mod generate;
mod judge;

pub use judge::{
    ACKNOWLEDGED, AGREEMENT, ALIKE, DURABILITY, Judge, ORDER, PROGRESS, PROGRESS_BOUND, VALIDITY,
};

pub use chatroom_paxos::Defect;

use chatroom_paxos::{Broken, ChatRoom, Config, Node, Options, Paxos, Rules, Sound};
use chatroom_sim::engine::{Birth, World};
use chatroom_sim::generate::Profile;
use chatroom_sim::lines::ByLine;
use chatroom_sim::plan::{Plan, PlanError};
use chatroom_sim::sometimes::Sometimes;
use chatroom_sim::subject::Subject;
use chatroom_sim::trace::Record;

/// Servers of a replicated chat room as what is simulated, all under the same rules.
#[derive(Clone, Debug, Default)]
pub struct PaxosServers<R = Sound> {
    rules: R,
    defect: Option<Defect>,
}

/// The servers as they ship.
#[must_use]
pub fn servers() -> PaxosServers {
    PaxosServers::default()
}

/// Servers with a defect, of which the options tell.
#[must_use]
pub fn broken_servers(defect: Defect) -> PaxosServers<Broken> {
    let rules = Broken(Some(defect));
    let defect = Some(defect);
    PaxosServers { rules, defect }
}

impl<R: Rules> World for PaxosServers<R> {
    type Machine = Node<Paxos<ChatRoom, R>>;

    fn spawn(&self, birth: &Birth) -> Self::Machine {
        let usual = Config::new(birth.host.0.into(), birth.hosts.into());
        let config = chatroom_core::Config {
            id: usual.id,
            servers: usual.servers,
            seed: birth.seed,
            incarnation: u64::from(birth.life) + 1,
            observe: true,
            times: usual.times,
            limits: usual.limits,
            protocol: Options {
                framing: usual.protocol.framing,
                rules: self.rules.clone(),
            },
        };
        match Node::new(config) {
            Ok(server) => server,
            Err(error) => panic!("the defaults are out of their bounds: {error}"),
        }
    }
}

impl<R: Rules> Subject for PaxosServers<R> {
    type World = Self;
    type Judge = ByLine<Judge>;

    fn plan(&self, seed: u64, profile: Profile) -> Plan {
        generate::generate(seed, profile)
    }

    fn prepare(&self, plan: &Plan) -> Result<(Self, ByLine<Judge>), PlanError> {
        Ok((self.clone(), ByLine::new(Judge::new(plan))))
    }

    fn options(&self) -> String {
        let broken = |defect| format!(" --broken {defect}");
        let broken = self.defect.map_or_else(String::new, broken);
        format!(" --protocol paxos{broken}")
    }

    fn sometimes(mut judge: ByLine<Judge>) -> Sometimes {
        judge.observer().sometimes()
    }

    fn log(record: &Record) -> Option<String> {
        let text = record.text.strip_prefix("decided ")?;
        (record.kind == "notice").then(|| text.to_owned())
    }
}
