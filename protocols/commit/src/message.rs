//! What servers say to each other: one line a message.

use crate::servers::Servers;
use crate::transaction::{Decision, Op, Pending, Rank, Report, Txn};
use crate::words::Words;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// What a server is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It has just started, and belongs to no grid that decides.
    Out,
    /// The same, and it is the coordinator of those that came back from a total failure.
    Lead,
    /// It takes part in transactions.
    Member,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Lead => "lead",
            Self::Member => "member",
        }
    }
}

/// How a server stands: told to a peer at the beginning of a session, and to all when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Status {
    pub(crate) mode: Mode,
    /// The highest rank it knows; none if it never knew one.
    pub(crate) rank: Option<Rank>,
    /// Whether it has been a member in any incarnation.
    pub(crate) known: bool,
    /// Whether it told masters that it is the coordinator.
    pub(crate) claimed: bool,
    /// Whom it is linked with, and itself.
    pub(crate) alive: Servers,
    /// The members, or those that were when it was one.
    pub(crate) up: Servers,
    pub(crate) report: Report,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    Status(Status),
    /// The coordinator asks for a vote.
    VoteReq(Rank, Pending),
    Vote(Txn, bool),
    /// All voted YES.
    PreCommit(Rank, Pending),
    /// The pre-commit is in the log.
    Ack(Rank, Txn),
    /// The coordinator's decision.
    Decide(Rank, Decision),
    /// What the coordinator said is in the log.
    Done(Rank),
    /// A new coordinator asks how far a member has come.
    StateReq(Rank),
    Report(Rank, Report),
    /// The coordinator asks for a whole playlist.
    Pull(Rank),
    /// A whole playlist begins, as it is after this decision.
    State(Rank, Option<Decision>),
    /// One entry of it.
    Song(String, String),
    /// It ends.
    StateEnd(Rank),
    /// From now on these servers are to be taken for up.
    Install(Rank, Servers),
    Installed(Rank),
    /// All have installed: they are members.
    Begin(Rank),
    /// A master's request that came to a server which is not the coordinator, numbered by it.
    Propose(u64, Op),
    /// What became of it.
    Outcome(u64, bool),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = |commit: &bool| if *commit { "commit" } else { "abort" };
        match self {
            Self::Status(status) => {
                let rank = status
                    .rank
                    .map_or(String::from("-"), |rank| format!("{rank}"));
                let (mode, known, claimed) = (
                    status.mode.word(),
                    u8::from(status.known),
                    u8::from(status.claimed),
                );
                let Status {
                    alive, up, report, ..
                } = status;
                write!(
                    f,
                    "status {mode} {rank} {known} {claimed} {alive} {up} {report}"
                )
            }
            Self::VoteReq(rank, pending) => write!(f, "vote-req {rank} {pending}"),
            Self::Vote(txn, true) => write!(f, "yes {txn}"),
            Self::Vote(txn, false) => write!(f, "no {txn}"),
            Self::PreCommit(rank, pending) => write!(f, "pre-commit {rank} {pending}"),
            Self::Ack(rank, txn) => write!(f, "ack {rank} {txn}"),
            Self::Decide(rank, decision) => write!(f, "decide {rank} {decision}"),
            Self::Done(rank) => write!(f, "done {rank}"),
            Self::StateReq(rank) => write!(f, "state-req {rank}"),
            Self::Report(rank, report) => write!(f, "report {rank} {report}"),
            Self::Pull(rank) => write!(f, "pull {rank}"),
            Self::State(rank, Some(last)) => write!(f, "state {rank} {last}"),
            Self::State(rank, None) => write!(f, "state {rank} -"),
            Self::Song(song, url) => write!(f, "song {song} {url}"),
            Self::StateEnd(rank) => write!(f, "state-end {rank}"),
            Self::Install(rank, servers) => write!(f, "install {rank} {servers}"),
            Self::Installed(rank) => write!(f, "installed {rank}"),
            Self::Begin(rank) => write!(f, "begin {rank}"),
            Self::Propose(number, op) => write!(f, "propose {number} {op}"),
            Self::Outcome(number, commit) => write!(f, "outcome {number} {}", verdict(commit)),
        }
    }
}

/// Reads a message; `None` for anything else.
pub(crate) fn parse(body: &str, servers: u32) -> Option<Message> {
    let mut words = Words::new(body, servers);
    let w = &mut words;
    let message = match w.word()? {
        "status" => Message::Status(status(w)?),
        "vote-req" => Message::VoteReq(w.rank()?, w.pending()?),
        "yes" => Message::Vote(w.txn()?, true),
        "no" => Message::Vote(w.txn()?, false),
        "pre-commit" => Message::PreCommit(w.rank()?, w.pending()?),
        "ack" => Message::Ack(w.rank()?, w.txn()?),
        "decide" => Message::Decide(w.rank()?, w.decision()?),
        "done" => Message::Done(w.rank()?),
        "state-req" => Message::StateReq(w.rank()?),
        "report" => Message::Report(w.rank()?, w.report()?),
        "pull" => Message::Pull(w.rank()?),
        "state" => Message::State(w.rank()?, w.maybe(Words::decision)?),
        "song" => Message::Song(w.text()?, w.text()?),
        "state-end" => Message::StateEnd(w.rank()?),
        "install" => Message::Install(w.rank()?, w.servers()?),
        "installed" => Message::Installed(w.rank()?),
        "begin" => Message::Begin(w.rank()?),
        "propose" => Message::Propose(w.number()?, w.op()?),
        "outcome" => {
            let number = w.number()?;
            match w.word()? {
                "commit" => Message::Outcome(number, true),
                "abort" => Message::Outcome(number, false),
                _ => return None,
            }
        }
        _ => return None,
    };
    w.end()?;
    Some(message)
}

fn status(w: &mut Words<'_>) -> Option<Status> {
    let mode = match w.word()? {
        "out" => Mode::Out,
        "lead" => Mode::Lead,
        "member" => Mode::Member,
        _ => return None,
    };
    Some(Status {
        mode,
        rank: w.maybe(Words::rank)?,
        known: w.number::<u8>()? != 0,
        claimed: w.number::<u8>()? != 0,
        alive: w.servers()?,
        up: w.servers()?,
        report: w.report()?,
    })
}
