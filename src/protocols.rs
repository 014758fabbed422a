//! The protocols that a server can play. Each has an entry in two tables here: [`Choice`], which the
//! command line offers, and [`OWN`], the options that only some of them have; and it implements
//! [`Served`], all that the program has to know of it.

use crate::commands::serve::Serve;
use crate::settings;
use chatroom_chat::{Chat, ChatEvent};
use chatroom_cli::failure::Failure;
use chatroom_commit::{Commit, Event, Framing, Vote};
use chatroom_core::{Config, Node, Protocol};
use chatroom_paxos::{ChatRoom, Paxos, PaxosEvent};
use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a server plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The chat room: a broadcast in FIFO order.
    Chat,
    /// Three-phase commit: a playlist that all servers change together.
    Commit,
    /// Paxos: a chat room in one order for all servers.
    Paxos,
}

/// By what a server of `--protocol commit` votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VoteBy {
    /// YES, unless a master said `vote NO` before.
    Command,
    /// NO also if a URL is longer than the server's own id and 5.
    Length,
}

/// How a master tells one reply from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Frame {
    /// Each ends in a newline.
    Lines,
    /// Each begins with its length and a hyphen, as in `10-ack commit`.
    Length,
}

impl Choice {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Commit => "commit",
            Self::Paxos => "paxos",
        }
    }

    /// Runs a server that plays it.
    pub(crate) fn run(self, serve: &Serve) -> Result<ExitCode, Failure> {
        match self {
            Self::Chat => serve.serve::<Chat>(),
            Self::Commit => serve.serve::<Commit>(),
            Self::Paxos => serve.serve::<Paxos<ChatRoom>>(),
        }
    }
}

/// The options of the command line that only some protocols have, each with those that do. An
/// option that does not stand here is every server's.
const OWN: &[(&str, &[Choice])] = &[
    ("max-log", &[Choice::Chat]),
    ("record", &[Choice::Chat]),
    ("vote", &[Choice::Commit]),
    ("framing", &[Choice::Commit, Choice::Paxos]),
    ("state", &[Choice::Commit, Choice::Paxos]),
];

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

impl Served for Commit {
    fn options(serve: &Serve) -> Self::Options {
        chatroom_commit::Options {
            vote: match serve.vote {
                VoteBy::Command => Vote::Command,
                VoteBy::Length => Vote::Length,
            },
            framing: match serve.framing {
                Frame::Lines => Framing::Lines,
                Frame::Length => Framing::Length,
            },
        }
    }

    fn differing(options: &Self::Options) -> Vec<String> {
        let mut given = Vec::new();
        if options.vote != Vote::default() {
            given.push("--vote length".to_owned());
        }
        if options.framing != Framing::default() {
            given.push("--framing length".to_owned());
        }
        given
    }

    fn state(serve: &Serve) -> Result<Option<PathBuf>, Failure> {
        state_directory(serve, Choice::Commit).map(Some)
    }

    fn kind(event: &Event) -> (&'static str, Option<u32>) {
        let what = match event {
            Event::Coordinator => "coordinator",
            Event::Waits { .. } => "waits",
            Event::Member { .. } => "member",
            Event::Left => "left",
            Event::Recorded { .. } => "recorded",
            Event::Decided { .. } => "decided",
            Event::Copied { .. } => "copied",
            Event::Unreadable { .. } => "unreadable",
        };
        (what, None)
    }
}

impl Served for Paxos<ChatRoom> {
    fn options(serve: &Serve) -> Self::Options {
        chatroom_paxos::Options {
            framing: match serve.framing {
                Frame::Lines => chatroom_paxos::Framing::Lines,
                Frame::Length => chatroom_paxos::Framing::Length,
            },
            ..Default::default()
        }
    }

    fn differing(options: &Self::Options) -> Vec<String> {
        match options.framing {
            chatroom_paxos::Framing::Lines => Vec::new(),
            chatroom_paxos::Framing::Length => vec!["--framing length".to_owned()],
        }
    }

    fn state(serve: &Serve) -> Result<Option<PathBuf>, Failure> {
        state_directory(serve, Choice::Paxos).map(Some)
    }

    fn kind(event: &PaxosEvent) -> (&'static str, Option<u32>) {
        match event {
            PaxosEvent::Leading { .. } => ("leading", None),
            PaxosEvent::Deposed { .. } => ("deposed", None),
            PaxosEvent::Decided { .. } => ("decided", None),
            PaxosEvent::Disagreement { peer, .. } => ("disagreement", Some(*peer)),
        }
    }

    fn log_size(server: &Node<Self>) -> (u64, u64) {
        let room = server.protocol().machine();
        (room.words(), room.text().len() as u64)
    }
}

/// The directory of one server's files: `DIR/HOST/BASE-PROTOCOL-ID`, so that all servers of a
/// machine can be given the same DIR. Without one it is `state` in the `target` folder in which
/// cargo built the program.
fn state_directory(serve: &Serve, protocol: Choice) -> Result<PathBuf, Failure> {
    let all = match &serve.state {
        Some(given) => given.clone(),
        None => beside_program().ok_or_else(|| {
            Failure::usage(
                format!(
                    "--protocol {} needs a directory for its files",
                    protocol.name()
                ),
                "give --state DIR",
            )
        })?,
    };
    let own = format!("{}-{}-{}", serve.base_port, protocol.name(), serve.id);
    Ok(all.join(serve.host.to_string()).join(own))
}

/// `target/state`, if the program lies where `./build` or cargo puts it.
fn beside_program() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let target = program.ancestors().find(|path| path.ends_with("target"))?;
    Some(target.join("state"))
}
