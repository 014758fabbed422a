//! The chat on the simulator: what plans are made of, who judges a run, and the lab's scripts.

mod advice;
pub mod broken;
pub mod cases;
mod drift;
mod generate;
pub mod judge;
pub mod script;
mod setup;
mod text;

pub use advice::unfinished_lines;
pub use generate::generate;
pub use judge::Judge;
pub use setup::Setup;

use broken::{Broken, Defect};

use chatroom_chat::{ChatServer, Config, Counters, Gauges, News};
use chatroom_machine::{Checked, Machine};
use chatroom_sim::engine::{Birth, World};
use chatroom_sim::generate::Profile;
use chatroom_sim::plan::{Plan, PlanError};
use chatroom_sim::sometimes::Sometimes;
use chatroom_sim::subject::{self, Judged, Subject};
use chatroom_sim::trace::Record;

/// A server that the judge can judge: the chat itself, or a broken variant of it.
pub trait Chat: Machine<Notice = News> {
    /// How things stand now.
    fn gauges(&self) -> Gauges;
    /// Sums since it began.
    fn counters(&self) -> &Counters;
    /// How many bytes its log has.
    fn log_bytes(&self) -> u64;
}

impl Chat for ChatServer {
    fn gauges(&self) -> Gauges {
        Self::gauges(self)
    }

    fn counters(&self) -> &Counters {
        Self::counters(self)
    }

    fn log_bytes(&self) -> u64 {
        self.protocol().bytes()
    }
}

impl<M: Chat> Chat for Checked<M> {
    fn gauges(&self) -> Gauges {
        self.machine().gauges()
    }

    fn counters(&self) -> &Counters {
        self.machine().counters()
    }

    fn log_bytes(&self) -> u64 {
        self.machine().log_bytes()
    }
}

/// A grid of servers, each made by a function from its configuration.
#[derive(Clone, Debug)]
pub struct Grid<F> {
    setup: Setup,
    make: F,
}

impl<M: Chat, F: Fn(Config) -> M> Grid<F> {
    /// A grid in which every server has the limits of `setup`.
    pub const fn new(setup: Setup, make: F) -> Self {
        Self { setup, make }
    }
}

impl<M: Chat, F: Fn(Config) -> M> World for Grid<F> {
    type Machine = M;

    fn spawn(&self, birth: &Birth) -> M {
        (self.make)(self.setup.config(birth))
    }
}

/// The chat as it ships. The function to give where a broken variant could stand.
///
/// # Panics
/// If the configuration is out of its bounds, which [`Setup`] does not allow.
#[must_use]
pub fn server(config: Config) -> ChatServer {
    match ChatServer::new(config) {
        Ok(server) => server,
        Err(error) => panic!("a setup was checked and is out of its bounds: {error}"),
    }
}

/// The entry that a record adds to its server's log: whose broadcast it is, and its text. For the
/// log beside a diagram.
#[must_use]
pub fn delivery(record: &Record) -> Option<String> {
    if record.kind != "notice" {
        return None;
    }
    let (from, text) = record.text.strip_prefix("delivered ")?.split_once(": ")?;
    let sender = from.split(' ').next()?;
    Some(format!("{sender}: {text}"))
}

/// Servers made by a function from their configuration, as what is simulated.
#[derive(Clone, Copy, Debug)]
pub struct ChatServers<F> {
    /// The function.
    pub make: F,
    /// What is broken in them, if that is so on purpose.
    defect: Option<Defect>,
}

impl<F> ChatServers<F> {
    /// Servers that `make` makes.
    pub const fn new(make: F) -> Self {
        Self { make, defect: None }
    }
}

/// Servers with a defect, of which the options tell.
#[must_use]
pub fn broken_servers(defect: Defect) -> ChatServers<impl Fn(Config) -> Broken + Copy + Sync> {
    ChatServers {
        make: move |config| Broken::new(config, defect),
        defect: Some(defect),
    }
}

impl<M: Chat, F: Fn(Config) -> M + Clone> Subject for ChatServers<F> {
    type World = Grid<F>;
    type Judge = Judge;

    fn plan(&self, seed: u64, profile: Profile) -> Plan {
        generate(seed, profile)
    }

    fn prepare(&self, plan: &Plan) -> Result<(Grid<F>, Judge), PlanError> {
        let setup = Setup::of(plan)?;
        let judge = Judge::new(plan, setup.clone());
        Ok((Grid::new(setup, self.make.clone()), judge))
    }

    fn options(&self) -> String {
        self.defect
            .map_or_else(String::new, |defect| format!(" --broken {defect}"))
    }

    fn advice(plan: &Plan) -> Vec<String> {
        unfinished_lines(plan)
    }

    fn sometimes(judge: Judge) -> Sometimes {
        judge.into_sometimes()
    }

    fn log(record: &Record) -> Option<String> {
        delivery(record)
    }
}

/// Runs a plan on servers made by `make`, before the judge.
///
/// # Errors
/// The plan is out of its bounds, or its notes are not a [`Setup`].
pub fn judge<M: Chat>(
    make: impl Fn(Config) -> M + Clone,
    plan: &Plan,
) -> Result<Judged, PlanError> {
    subject::judge(&ChatServers::new(make), plan)
}

/// Runs the plan of a seed on servers made by `make`: what a sweep does.
///
/// # Panics
/// If the generator made a plan that is out of bounds.
pub fn run_seed<M: Chat>(
    make: impl Fn(Config) -> M + Clone,
    seed: u64,
    profile: Profile,
) -> Judged {
    subject::run_seed(&ChatServers::new(make), seed, profile)
}
