//! Running one server of a grid, whatever its protocol.

use crate::failure::Failure;
use crate::logging::{self, Verbosity};
use crate::signals;
use chatroom_driver::{Addresses, Observer, Outcome};
use chatroom_machine::{Level, Machine, Notice, Time};
use clap::{Args, ValueEnum};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// What drives a server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Runtime {
    /// Plain threads.
    Std,
    /// The smol executor.
    Smol,
}

/// Run one server of a grid.
#[derive(Debug, Args)]
pub struct Serve {
    /// Its id: 0 to N - 1.
    #[arg(value_name = "ID")]
    pub id: u16,
    /// How many servers the grid has.
    #[arg(value_name = "N")]
    pub servers: u16,
    /// Where its clients connect.
    #[arg(value_name = "PORT")]
    pub port: u16,
    /// The address of all servers of the grid.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Where server 0 is linked to; the others follow.
    #[arg(long, default_value_t = 20_000)]
    pub base_port: u16,
    /// What drives it.
    #[arg(long, value_enum, default_value = "std")]
    pub runtime: Runtime,
    /// The directory for what it stores.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How much goes into the log on standard error.
    #[arg(long, value_enum, default_value = "info")]
    pub log: Verbosity,
}

/// Logs what a machine has to say.
struct Logged;

impl<M: Machine> Observer<M> for Logged {
    fn notice(&mut self, _: Time, notice: &M::Notice) {
        match notice.level() {
            Level::Debug => tracing::debug!("{notice}"),
            Level::Info => tracing::info!("{notice}"),
            Level::Warn => tracing::warn!("{notice}"),
        }
    }

    fn look(&mut self, _: Time, _: &M) {}
}

impl Serve {
    /// Runs the server that `make` makes of an id and a number of servers, until a signal or the
    /// server itself ends it. Listener 0 is for links, listener 1 for clients.
    ///
    /// # Errors
    /// What `make` says, or why the system can't run it.
    pub fn run<M, E>(
        &self,
        make: impl FnOnce(u32, u32) -> Result<M, E>,
    ) -> Result<ExitCode, Failure>
    where
        M: Machine + Send,
        E: Display,
    {
        let last = self.base_port.checked_add(self.servers.saturating_sub(1));
        let Some(last) = last else {
            return Err(Failure::usage(
                format!(
                    "{} servers from port {} on: ports end at 65535",
                    self.servers, self.base_port
                ),
                "give a lower --base-port",
            ));
        };
        let links: Vec<SocketAddr> = (self.base_port..=last)
            .map(|port| (self.host, port).into())
            .collect();
        let machine = make(self.id.into(), self.servers.into())
            .map_err(|error| Failure::usage(error, "ids are 0 to N - 1"))?;
        let own = links.get(usize::from(self.id)).copied();
        let addresses = Addresses {
            doors: own
                .into_iter()
                .chain([(self.host, self.port).into()])
                .collect(),
            places: links,
            state: self.state.clone(),
        };
        let denied = |error: &dyn Display| {
            Failure::denied(error, "is another server of this id still running?")
        };
        let stop = signals::stop().map_err(|error| denied(&error))?;
        let _guard = logging::begin(self.log);
        let outcome = match self.runtime {
            Runtime::Std => chatroom_runtime_std::run(machine, addresses, Logged, &stop),
            Runtime::Smol => chatroom_runtime_smol::run(machine, addresses, Logged, &stop),
        };
        match outcome.map_err(|error| denied(&error))? {
            Outcome::Done => Ok(ExitCode::SUCCESS),
            Outcome::Crash => Ok(ExitCode::from(3)),
            Outcome::Unfinished => Ok(ExitCode::from(4)),
        }
    }
}
