//! The protocols that a server can play. Each has an entry in two tables here: [`Choice`], which the
//! command line offers, and [`OWN`], the options that only some of them have; and it implements
//! [`Served`], all that the program has to know of it.

use crate::commands::serve::Serve;
use crate::settings;
use chatroom_chat::{Chat, ChatEvent};
use chatroom_cli::failure::Failure;
use chatroom_core::{Config, Node, Protocol};
use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// What a server plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The chat room: a broadcast in FIFO order.
    Chat,
}

impl Choice {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
        }
    }

    /// Runs a server that plays it.
    pub(crate) fn run(self, serve: &Serve) -> Result<ExitCode, Failure> {
        match self {
            Self::Chat => serve.serve::<Chat>(),
        }
    }
}

/// The options of the command line that only some protocols have, each with those that do. An
/// option that does not stand here is every server's.
const OWN: &[(&str, &[Choice])] = &[("max-log", &[Choice::Chat]), ("record", &[Choice::Chat])];

/// Says no to an option, or its variable, that the chosen protocol does not have.
pub(crate) fn check(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(&chosen) = matches.get_one::<Choice>("protocol") else {
        return Ok(());
    };
    let given = |id: &str| match matches.value_source(id) {
        Some(ValueSource::CommandLine | ValueSource::EnvVariable) => true,
        Some(_) | None => false,
    };
    for (option, protocols) in OWN {
        if given(option) && !protocols.contains(&chosen) {
            let names: Vec<_> = protocols.iter().map(|p| p.name()).collect();
            return Err(Failure::usage(
                format!(
                    "--{option} is no option of --protocol {}, but of {}",
                    chosen.name(),
                    names.join(" and ")
                ),
                "leave one of the two out; each can also come from its variable of the environment",
            ));
        }
    }
    Ok(())
}

/// All that the program has to know of a protocol to serve it.
pub(crate) trait Served: Protocol + Send {
    /// Its own part of the configuration.
    fn options(serve: &Serve) -> Self::Options;

    /// Its own options that do not have their default, as on the command line.
    fn differing(options: &Self::Options) -> Vec<String>;

    /// Where it keeps what it stores, if it stores anything.
    ///
    /// # Errors
    /// There is no place for it.
    fn state(serve: &Serve) -> Result<Option<PathBuf>, Failure> {
        let _ = serve;
        Ok(None)
    }

    /// What a recording of it begins with; `None` if it cannot be recorded.
    fn header(config: &Config<Self::Options>) -> Option<String> {
        let _ = config;
        None
    }

    /// What makes an event like another for the log: its kind, and whom it is about.
    fn kind(event: &Self::Event) -> (&'static str, Option<u32>);

    /// How many texts and bytes its log has, for the metrics.
    fn log_size(server: &Node<Self>) -> (u64, u64) {
        let _ = server;
        (0, 0)
    }
}

impl Served for Chat {
    fn options(serve: &Serve) -> Self::Options {
        serve.settings.chat()
    }

    fn differing(options: &Self::Options) -> Vec<String> {
        settings::differing_chat(options)
    }

    fn header(config: &Config<Self::Options>) -> Option<String> {
        Some(settings::header(config))
    }

    fn kind(event: &ChatEvent) -> (&'static str, Option<u32>) {
        match event {
            ChatEvent::Delivered { sender, .. } => ("delivered", Some(*sender)),
            ChatEvent::LogFull { .. } => ("log full", None),
            ChatEvent::Gap { peer, .. } => ("gap", Some(*peer)),
        }
    }

    fn log_size(server: &Node<Self>) -> (u64, u64) {
        (server.protocol().texts(), server.protocol().bytes())
    }
}
