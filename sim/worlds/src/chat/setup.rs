//! How the servers of a run are set up: their limits, kept in the notes of the plan; and what plans
//! the judge can judge.

use super::drift;
use chatroom_chat::{ChatServer, Config, Limits, MASTERS, Options};
use chatroom_sim::engine::Birth;
use chatroom_sim::generate::Profile;
use chatroom_sim::names::Host;
use chatroom_sim::plan::{Change, Plan, PlanError, excerpt, fault};
use std::str::FromStr;

/// The least that a connection may hold, in bytes.
const LEAST_BUFFER: u32 = 256;
/// The most that the network's own settings may be, in microseconds.
const MOST_LATENCY: u64 = 5_000;
const MOST_JITTER: u64 = 20_000;
const MOST_TIMER_LATE: u64 = 20_000;

/// The limits that every server of a run has, and the profile that the plan was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What kind of plan it is.
    pub profile: Profile,
    /// The servers' limits.
    pub limits: Limits,
    /// The chat's own.
    pub options: Options,
    /// Which servers say no `hello`, as those of the seed's protocol: a bit for each, the lowest for
    /// server 0.
    pub no_hello: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            profile: Profile::Swarm,
            limits: Limits::default(),
            options: Options::default(),
            no_hello: 0,
        }
    }
}

/// The moments that a grid must keep (a second for news of a death, say) are for a network that is
/// quick when nothing is wrong with it, as generated ones are; and clients are masters, each at its
/// server's master door.
fn check(plan: &Plan) -> Result<(), PlanError> {
    let net = &plan.net;
    for (name, span, most) in [
        ("latency", net.latency, MOST_LATENCY),
        ("jitter", net.jitter, MOST_JITTER),
        ("client-latency", net.client_latency, 50),
        ("client-jitter", net.client_jitter, 50),
        ("resend", net.resend, 200_000),
        ("timer-late", net.timer_late, MOST_TIMER_LATE),
    ] {
        let micros = span.as_micros();
        if micros > most {
            return fault(
                0,
                format!("{name} is {micros}, expected at most {most} in a grid"),
            );
        }
    }
    if net.buffer < LEAST_BUFFER {
        return fault(
            0,
            format!(
                "buffer is {}, expected at least {LEAST_BUFFER} in a grid",
                net.buffer
            ),
        );
    }
    let drifts = drift::bounds(MOST_LATENCY + MOST_JITTER, MOST_TIMER_LATE);
    for event in &plan.events {
        if let Change::Drift(_, ppm) = event.change
            && !drifts.contains(&ppm.into())
        {
            return fault(
                0,
                format!(
                    "at {}: {:?} is {ppm} parts per million, expected {} to {} in a grid: with a \
                     clock that is further off, a silent peer can't be noticed within {} ms, or a \
                     heartbeat each {} ms comes too late",
                    event.at.as_micros(),
                    event.change.to_string(),
                    drifts.start(),
                    drifts.end(),
                    super::judge::NOTICE.as_micros() / 1000,
                    chatroom_chat::HEARTBEAT.as_micros() / 1000,
                ),
            );
        }
        if let Change::Open(_, door) = event.change
            && door != MASTERS
        {
            return fault(
                0,
                format!(
                    "at {}: {:?} is not for masters, expected door {}",
                    event.at.as_micros(),
                    event.change.to_string(),
                    MASTERS.0
                ),
            );
        }
    }
    Ok(())
}

fn read<T: FromStr>(plan: &Plan, key: &str, into: &mut T) -> Result<(), PlanError> {
    if let Some(value) = plan.notes.get(key) {
        match value.parse() {
            Ok(value) => *into = value,
            Err(_) => {
                let value = excerpt(value);
                return fault(0, format!("the note {key} can't be {value:?}"));
            }
        }
    }
    Ok(())
}

impl Setup {
    /// The setup that a plan's notes tell of; what they don't is as usual.
    ///
    /// # Errors
    /// A note that is not understood, a limit that is out of its bounds, or a plan that no grid
    /// can be judged by: a slower network than [`Lag`](Change::Lag) and its like are for, or a
    /// client at another door than the masters'.
    pub fn of(plan: &Plan) -> Result<Self, PlanError> {
        check(plan)?;
        let mut setup = Self::default();
        let limits = &mut setup.limits;
        read(plan, "profile", &mut setup.profile)?;
        read(plan, "text", &mut limits.text)?;
        read(plan, "nameless", &mut limits.nameless)?;
        read(plan, "masters", &mut limits.masters)?;
        read(plan, "accepts", &mut limits.accepts)?;
        read(plan, "high-water", &mut limits.high_water)?;
        read(plan, "lag", &mut limits.lag)?;
        read(plan, "replies", &mut limits.replies)?;
        read(plan, "watch", &mut limits.watch)?;
        read(plan, "log", &mut setup.options.log)?;
        read(plan, "no-hello", &mut setup.no_hello)?;
        let mut config = Config::new(0, plan.hosts.into());
        config.limits = setup.limits.clone();
        config.protocol = setup.options.clone();
        match ChatServer::check(&config) {
            Ok(()) => Ok(setup),
            Err(error) => fault(0, format!("the notes: {error}")),
        }
    }

    /// Writes it into a plan's notes: only what is not as usual.
    pub fn write(&self, plan: &mut Plan) {
        let usual = Limits::default();
        let mut note = |key: &str, value: u64, usual: u64| {
            if value != usual {
                plan.notes.insert(key.to_owned(), value.to_string());
            }
        };
        let l = &self.limits;
        note("text", l.text as u64, usual.text as u64);
        note("nameless", l.nameless as u64, usual.nameless as u64);
        note("masters", l.masters as u64, usual.masters as u64);
        note("accepts", l.accepts.into(), usual.accepts.into());
        note("high-water", l.high_water as u64, usual.high_water as u64);
        note("lag", l.lag as u64, usual.lag as u64);
        note("replies", l.replies as u64, usual.replies as u64);
        note("watch", l.watch as u64, usual.watch as u64);
        note("log", self.options.log, Options::default().log);
        note("no-hello", self.no_hello, 0);
        plan.notes
            .insert("profile".to_owned(), self.profile.to_string());
    }

    /// Whether a server is one of those that say no `hello`.
    #[must_use]
    pub const fn says_no_hello(&self, host: Host) -> bool {
        self.no_hello >> (host.0 % 64) & 1 == 1
    }

    /// The configuration of one life.
    #[must_use]
    pub fn config(&self, birth: &Birth) -> Config {
        let mut config = Config::new(birth.host.0.into(), birth.hosts.into());
        config.seed = birth.seed;
        if !self.says_no_hello(birth.host) {
            config.incarnation = u64::from(birth.life) + 1;
        }
        config.observe = true;
        config.limits = self.limits.clone();
        config.protocol = self.options.clone();
        config
    }
}
