//! How the servers of a run are set up: their limits, kept in the notes of the plan.

use super::Profile;
use crate::engine::Birth;
use crate::plan::{Plan, PlanError};
use chatroom_core::{Config, Limits};
use std::str::FromStr;

/// The limits that every server of a run has, and the profile that the plan was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What kind of plan it is.
    pub profile: Profile,
    /// The servers' limits.
    pub limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            profile: Profile::Swarm,
            limits: Limits::default(),
        }
    }
}

fn read<T: FromStr>(plan: &Plan, key: &str, into: &mut T) -> Result<(), PlanError> {
    if let Some(value) = plan.notes.get(key) {
        *into = value.parse().map_err(|_| PlanError {
            line: 0,
            text: format!("the note {key} can't be {value:?}"),
        })?;
    }
    Ok(())
}

impl Setup {
    /// The setup that a plan's notes tell of; what they don't is as usual.
    ///
    /// # Errors
    /// A note that is not understood, or a limit that is out of its bounds.
    pub fn of(plan: &Plan) -> Result<Self, PlanError> {
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
        read(plan, "log", &mut limits.log)?;
        let mut config = Config::new(0, plan.hosts.into());
        config.limits = setup.limits.clone();
        config.check().map_err(|error| PlanError {
            line: 0,
            text: format!("the notes: {error}"),
        })?;
        Ok(setup)
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
        note("log", l.log, usual.log);
        plan.notes
            .insert("profile".to_owned(), self.profile.to_string());
    }

    /// The configuration of one life.
    #[must_use]
    pub fn config(&self, birth: &Birth) -> Config {
        let mut config = Config::new(birth.host.0.into(), birth.hosts.into());
        config.seed = birth.seed;
        config.observe = true;
        config.limits = self.limits.clone();
        config
    }
}
