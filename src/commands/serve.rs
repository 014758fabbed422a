//! `chatroom serve`: one server of a grid, until a signal or a crash ends it.

use crate::environment;
use crate::grid::Grid;
use crate::metrics::Metrics;
use crate::observer::Reporter;
use crate::process::Process;
use crate::protocols::{Choice, Frame, Served, VoteBy};
use crate::scrape;
use crate::settings::{self, Settings};
use crate::threads;
use chatroom_cli::failure::Failure;
use chatroom_cli::logging::{self, Verbosity};
use chatroom_cli::serve::{self, CRASHED, Runtime, UNFINISHED};
use chatroom_core::{Config, ConfigError, LINKS, MASTERS, Node};
use chatroom_driver::{Addresses, Error, Outcome};
use chatroom_record::Recorder;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

/// The least port that a master may be given: below it lie the links of the largest grid.
const LEAST_MASTER_PORT: u16 = 10_000;

/// Run one server of a grid.
///
/// Server ID of N listens for the servers above it on port BASE + ID, dials those below it, and
/// takes commands from masters on PORT: `get`, `alive`, `broadcast TEXT`, `crash` and `watch`, one
/// a line. It runs until SIGINT, SIGTERM or SIGHUP, on which it sends what it has accepted and ends.
/// There is no configuration to read again; under `nohup` a SIGHUP stays ignored.
///
/// Every option can also be given by the environment variable that is named with it; an empty one
/// counts as unset, and one that begins with CHATROOM_ and has no such name is an error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    Server 1 of a grid of 3, on another address, telling on standard error who comes and goes:

        chatroom serve 1 3 10001 --host 127.0.0.2 --log info

    The same, steered by the environment:

        CHATROOM_HOST=127.0.0.2 CHATROOM_LOG=info ./process 1 3 10001

EXIT STATUS
    0  ended by SIGINT, SIGTERM or SIGHUP, in good order
    1  a port is taken, or the system denied something
    2  the command line is wrong
    3  a master said `crash`")]
pub(crate) struct Serve {
    /// The server's id, from 0.
    #[arg(allow_negative_numbers = true, value_parser = expecting::<u32>("a number from 0, below N"))]
    pub(crate) id: u32,
    /// How many servers the grid has.
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = expecting::<u32>("a number from 1 to 1024"))]
    servers: u32,
    /// Where masters connect: 10000 or above.
    #[arg(value_name = "PORT", allow_negative_numbers = true, value_parser = expecting::<u16>("a port from 10000 to 65535"))]
    master_port: u16,

    /// What the server plays. All servers of a grid play the same.
    #[arg(long, env = "CHATROOM_PROTOCOL", value_enum, default_value = "chat")]
    protocol: Choice,
    /// By what it votes: for --protocol commit.
    #[arg(
        long,
        env = "CHATROOM_VOTE",
        value_name = "HOW",
        value_enum,
        default_value = "command"
    )]
    pub(crate) vote: VoteBy,
    /// How replies to masters are told apart: for --protocol commit and paxos.
    #[arg(
        long,
        env = "CHATROOM_FRAMING",
        value_name = "HOW",
        value_enum,
        default_value = "lines"
    )]
    pub(crate) framing: Frame,
    /// Where servers keep what must survive them: for --protocol commit and paxos.
    ///
    /// Each has a folder HOST/BASE-PROTOCOL-ID of its own there. The default is target/state of the
    /// checkout in which the program was built. `./stopall` removes what it finds there.
    #[arg(long, env = "CHATROOM_STATE", value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// What the server runs on. From outside both are the same.
    #[arg(long, env = "CHATROOM_RUNTIME", value_enum, default_value = "std")]
    runtime: Runtime,
    /// The address of every server of the grid, which is on one machine, and of the master port.
    ///
    /// An address that is not a loopback address also takes --expose.
    #[arg(
        long,
        env = "CHATROOM_HOST",
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        value_parser = expecting::<IpAddr>("an IP address, such as 127.0.0.1 or ::1")
    )]
    pub(crate) host: IpAddr,
    /// Allow an address that other machines can reach.
    ///
    /// Nothing is encrypted and nobody is asked who they are: whoever can reach the ports can
    /// read every message, broadcast in any server's name, and crash the server.
    #[arg(long, env = "CHATROOM_EXPOSE", value_parser = FalseyValueParser::new())]
    expose: bool,
    /// The link port of server 0; server ID listens on BASE + ID.
    #[arg(
        long,
        env = "CHATROOM_BASE_PORT",
        value_name = "BASE",
        default_value = "3000",
        value_parser = expecting::<NonZeroU16>("a port from 1 to 65535")
    )]
    pub(crate) base_port: NonZeroU16,
    /// How much to log on standard error.
    #[arg(
        long,
        env = "CHATROOM_LOG",
        value_name = "LEVEL",
        value_enum,
        default_value = "warn"
    )]
    log: Verbosity,
    /// Decides the jitter of the dials.
    #[arg(long, env = "CHATROOM_SEED", default_value_t = 0)]
    seed: u64,
    /// Record every call into the protocol and its outputs in FILE.
    ///
    /// FILE must not exist; if it is a directory, a new file is made in it.
    #[arg(long, env = "CHATROOM_RECORD", value_name = "FILE")]
    record: Option<PathBuf>,
    /// Answer `GET /metrics` on this address, in the text format of Prometheus or as OpenMetrics.
    ///
    /// The scraper's Accept header decides. The server's numbers are taken after it has done
    /// something, at most four times a second: they are at most 250 ms and a heartbeat old. An
    /// address that is not a loopback address also takes --expose.
    #[arg(
        long,
        env = "CHATROOM_METRICS",
        value_name = "ADDRESS:PORT",
        value_parser = expecting::<SocketAddr>("an address with a port, such as 127.0.0.1:9100 or [::1]:9100")
    )]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Reads a value; says what was expected instead of what is none.
fn expecting<T: FromStr>(what: &'static str) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| text.parse().map_err(|_| format!("expected {what}"))
}

impl Serve {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        serve::end_on_panic();
        environment::check::<Self>()?;
        self.protocol.run(&self)
    }

    /// Runs a server that plays `P`.
    pub(crate) fn serve<P: Served>(&self) -> Result<ExitCode, Failure>
    where
        Node<P>: Send,
    {
        let config = self.config::<P>()?;
        let mut addresses = self.addresses()?;
        addresses.state = P::state(self)?;
        let server = Node::<P>::new(config.clone()).map_err(misfit)?;
        self.probe_threads()?;
        let stop = serve::stop()?;
        let log = logging::begin(self.log);
        let metrics = self.metrics.map(|at| self.measure(at)).transpose()?;
        let (metrics, metrics_at) = metrics.unzip();
        let grid = Grid {
            server: self.id,
            links: addresses.places.clone(),
            masters: addresses.doors[usize::from(MASTERS.0)],
            metrics: metrics_at,
            runtime: self.runtime.name(),
            differing: [settings::differing(&config), P::differing(&config.protocol)].concat(),
        };
        let reporter = Reporter::new(&config, grid, metrics);
        let outcome = match &self.record {
            None => self.runtime.run(server, addresses, reporter, &stop),
            Some(path) => {
                let recorder = record(server, &config, path)?;
                self.runtime.run(recorder, addresses, reporter, &stop)
            }
        };
        match outcome {
            Ok(Outcome::Done) => {
                drop(log);
                Ok(ExitCode::SUCCESS)
            }
            Ok(Outcome::Unfinished) => {
                tracing::warn!("ended before all that was accepted could be sent");
                drop(log);
                Ok(ExitCode::from(UNFINISHED))
            }
            Ok(Outcome::Crash) => std::process::exit(CRASHED.into()),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Sees that there can be as many threads as the server will have with all its peers and one
    /// master.
    fn probe_threads(&self) -> Result<(), Failure> {
        let log = usize::from(self.log != Verbosity::Off);
        let scrapers = self.metrics.map_or(0, |_| scrape::AT_ONCE);
        let (runtime, hint) = match self.runtime {
            // A reader for each connection.
            Runtime::Std => (
                self.servers as usize,
                "raise the limit (ulimit -u, or pids.max of the control group), or take --runtime smol, which needs a thread or two",
            ),
            // The thread of async-io.
            Runtime::Smol => (
                1,
                "raise the limit (ulimit -u, or pids.max of the control group)",
            ),
        };
        let count = log + scrapers + runtime;
        threads::probe(count).map_err(|(made, cause)| {
            let needs = format!("a server of {} on {}", self.servers, self.runtime.name());
            Failure::denied(
                format!("{needs} needs {count} threads besides its first one, and can have {made}: {cause}"),
                hint,
            )
        })
    }

    /// Serves metrics at an address; gives the one that the system chose if the port is 0.
    fn measure(&self, at: SocketAddr) -> Result<(Arc<Metrics>, SocketAddr), Failure> {
        self.keep_private(at.ip())?;
        let metrics = Metrics::new(self.id, self.servers);
        let registry = metrics.registry(self.runtime.name(), Process::beginning());
        let bound = TcpListener::bind(at).and_then(|listener| {
            let at = listener.local_addr()?;
            scrape::serve(listener, registry)?;
            Ok(at)
        });
        match bound {
            Ok(at) => Ok((metrics, at)),
            Err(e) => Err(Failure::denied(
                format!("cannot serve metrics at {at}: {e}"),
                "give every server a free port of this machine for its metrics",
            )),
        }
    }

    /// Says no to an address that other machines can reach, unless that is meant.
    fn keep_private(&self, address: IpAddr) -> Result<(), Failure> {
        if address.to_canonical().is_loopback() || self.expose {
            return Ok(());
        }
        Err(Failure::usage(
            format!("{address} can be reached from other machines"),
            "give --expose if you mean it; `chatroom serve --help` says what it means",
        ))
    }

    fn config<P: Served>(&self) -> Result<Config<P::Options>, Failure> {
        let mut config = Config::new(self.id, self.servers);
        config.seed = self.seed;
        config.incarnation = Process::incarnation();
        config.protocol = P::options(self);
        self.settings.apply(&mut config);
        Node::<P>::check(&config).map_err(misfit)?;
        Ok(config)
    }

    fn addresses(&self) -> Result<Addresses, Failure> {
        if self.master_port < LEAST_MASTER_PORT {
            return Err(Failure::usage(
                format!(
                    "master port {}: expected {LEAST_MASTER_PORT} to 65535",
                    self.master_port
                ),
                "the ports below are for the links between servers",
            ));
        }
        self.keep_private(self.host)?;
        let links = u32::from(self.base_port.get())..u32::from(self.base_port.get()) + self.servers;
        if links.end > 1 << 16 {
            return Err(Failure::usage(
                format!(
                    "the link port of server {} would be {}",
                    self.servers - 1,
                    links.end - 1
                ),
                "ports end at 65535: take a smaller --base-port",
            ));
        }
        if links.contains(&u32::from(self.master_port)) {
            return Err(Failure::usage(
                format!(
                    "master port {} is also the link port of server {}",
                    self.master_port,
                    u32::from(self.master_port) - links.start
                ),
                "take another port, or another --base-port",
            ));
        }
        let places: Vec<_> = links
            .map(|port| SocketAddr::new(self.host, port as u16))
            .collect();
        let mut doors = [places[self.id as usize]; 2];
        doors[usize::from(LINKS.0)] = places[self.id as usize];
        doors[usize::from(MASTERS.0)] = SocketAddr::new(self.host, self.master_port);
        Ok(Addresses {
            doors: doors.to_vec(),
            places,
            state: None,
        })
    }

    fn failure(&self, error: &Error) -> Failure {
        let Error::Bind {
            door,
            address,
            cause,
        } = error
        else {
            return serve::failure(error);
        };
        if cause.kind() != ErrorKind::AddrInUse {
            return serve::failure(error);
        }
        let whose = if *door == MASTERS {
            "the master port"
        } else {
            "the link port"
        };
        Failure::denied(
            format!("{address}, {whose} of server {}, is taken", self.id),
            "end the server that runs there (./stopall), or give another port, --base-port or --host",
        )
    }
}

/// A value that the protocol cannot work with, by the name that the command line has for it.
fn misfit(error: ConfigError) -> Failure {
    let hint = "`chatroom serve --help` tells what each value means";
    match error {
        ConfigError::Servers(_) => Failure::usage(error, "N is the number of servers in the grid"),
        ConfigError::Id { .. } => Failure::usage(error, "ids count from 0"),
        ConfigError::Limit {
            name,
            value,
            min,
            max,
        } => Failure::usage(
            format!("{} {value}: expected {min} to {max}", limit_option(name)),
            match name {
                "lag" => "--max-lag is at least --max-high-water",
                _ => hint,
            },
        ),
        ConfigError::Conflict {
            name,
            value,
            other,
            of,
            least,
        } => Failure::usage(
            format!(
                "{} {of} needs {} of at least {least}, which is {value}",
                limit_option(other),
                limit_option(name)
            ),
            hint,
        ),
        ConfigError::Time { name, value, min } => Failure::usage(
            format!(
                "--{name} {}: expected {} to 3600000 ms",
                value / 1000,
                min.div_ceil(1000)
            ),
            match name {
                "suspicion" => "--suspicion is longer than --heartbeat",
                "backoff-max" => "--backoff-max is at least --backoff-min",
                _ => hint,
            },
        ),
        _ => Failure::usage(error, hint),
    }
}

/// The option that sets the limit which the core calls `name`.
fn limit_option(name: &str) -> String {
    format!("--max-{name}")
}

/// The machine with a recorder around it.
fn record<P: Served>(
    server: Node<P>,
    config: &Config<P::Options>,
    path: &std::path::Path,
) -> Result<Recorder<Node<P>, File>, Failure> {
    let header = P::header(config).unwrap_or_default();
    let stem = format!("server-{}", config.id);
    chatroom_record::create(path, &stem)
        .and_then(|(file, _)| {
            chatroom_record::record(server, file, header.as_bytes(), |error| {
                tracing::error!(%error, "the recording ends here");
            })
        })
        .map_err(|e| {
            Failure::denied(
                format!("cannot record in {}: {e}", path.display()),
                "give a file that does not exist yet, in a directory that does",
            )
        })
}
