//! Running one server of a grid, whatever its protocol.

use crate::failure::Failure;
use crate::logging::{self, Verbosity};
use crate::signals;
use chatroom_driver::{Addresses, Error, Observer, Outcome, Stop};
use chatroom_machine::{Level, Machine, Notice, Time};
use clap::{Args, ValueEnum};
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit status of a server that crashed, as a client's command may have asked for.
pub const CRASHED: u8 = 3;
/// The exit status after a shutdown whose bound passed before all was sent.
pub const UNFINISHED: u8 = 4;
/// The hint when the system denies something.
pub const LIMITS: &str = "look at the limits of processes and descriptors (ulimit -a)";

/// What a server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// A thread for each connection.
    Std,
    /// One thread for all of them.
    Smol,
}

impl Runtime {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Std => "std",
            Self::Smol => "smol",
        }
    }

    /// Runs a machine until it ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn run<M, O>(
        self,
        machine: M,
        addresses: Addresses,
        observer: O,
        stop: &Stop,
    ) -> Result<Outcome, Error>
    where
        M: Machine + Send,
        O: Observer<M> + Send,
    {
        match self {
            Self::Std => chatroom_runtime_std::run(machine, addresses, observer, stop),
            Self::Smol => chatroom_runtime_smol::run(machine, addresses, observer, stop),
        }
    }
}

/// Has a panic in any thread end the process: of a server without one of its threads the peers had
/// better hear that it is dead.
pub fn end_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        std::process::abort();
    }));
}

/// A stop that signals request.
///
/// # Errors
/// The system denies it.
pub fn stop() -> Result<Stop, Failure> {
    signals::stop().map_err(|e| Failure::denied(format!("cannot catch signals: {e}"), LIMITS))
}

/// Why a server could not run, as a person reads it.
#[must_use]
pub fn failure(error: &Error) -> Failure {
    match error {
        Error::Bind { cause, .. } if cause.kind() == ErrorKind::AddrInUse => Failure::denied(
            error,
            "end what listens there, or give another port or address",
        ),
        Error::Bind { .. } => Failure::denied(
            error,
            "is that an address of this machine, and a descriptor left (ulimit -n)?",
        ),
        Error::NoState => Failure::usage(error, "give it one"),
        Error::Locked { .. } => {
            Failure::denied(error, "end that server, or take another directory")
        }
        Error::Storage { .. } => Failure::denied(
            error,
            "the server ends rather than go on with records that may be lost",
        ),
        Error::System { .. } | _ => Failure::denied(error, LIMITS),
    }
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
        end_on_panic();
        let stop = stop()?;
        let _guard = logging::begin(self.log);
        let outcome = self.runtime.run(machine, addresses, Logged, &stop);
        match outcome.map_err(|error| failure(&error))? {
            Outcome::Done => Ok(ExitCode::SUCCESS),
            Outcome::Crash => Ok(ExitCode::from(CRASHED)),
            Outcome::Unfinished => Ok(ExitCode::from(UNFINISHED)),
        }
    }
}
