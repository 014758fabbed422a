//! Three-phase commit of a replicated playlist, on top of a [`Node`]: each add or delete of a song
//! is one transaction of all servers that are up, which all of them commit or none.
//!
//! Sources: Dale Skeen, "Nonblocking Commit Protocols" (SIGMOD 1981); Philip Bernstein, Vassos
//! Hadzilacos and Nathan Goodman, "Concurrency Control and Recovery in Database Systems" (1987),
//! chapter 7, BHG below.
//!
//! # Roles
//! One member is the coordinator; the office goes round by [turns](Rank). A server that starts looks
//! for members for a moment ([`GRACE`]). Are there none, and was it never a member, it is a grid of
//! its own, to which others are admitted between two transactions, once they have caught up.
//!
//! # A transaction
//! 1. The coordinator logs `uncertain` and sends `vote-req`.
//! 2. A participant that votes YES logs `uncertain` and sends `yes`; one that votes NO sends `no`. (It
//!    needs no record: a participant without one counts as one that has not voted, rule T1.)
//! 3. All YES: the coordinator logs `committable` and sends `pre-commit`. Any NO, or a death before
//!    the vote: it logs `abort`, sends it, and that is the end.
//! 4. A participant logs `committable` and sends `ack`.
//! 5. With all acks of those that live the coordinator logs `commit` and sends it.
//! 6. A participant logs `commit`, changes its playlist, and sends `done`. With all of these the
//!    master gets its `ack`: so whoever asks any server afterwards finds what was committed.
//!
//! # Termination
//! When the coordinator dies, the next one asks all members how far they have come (BHG 7.5.2, which
//! calls the rules TR1 to TR4):
//! - **T1** Somebody aborted, or is a participant without a record: abort.
//! - **T2** Somebody committed: commit.
//! - **T3** All that voted are uncertain: abort.
//! - **T4** Some are committable and nobody has decided: send `pre-commit` to the others, wait for
//!   the acks, then commit.
//!
//! A decision that somebody knows (T1, T2) shows in that one's later
//! [position](Report::last): the others take it over. The new coordinator ends the transaction that
//! it inherited before it tells its masters `coordinator ID`, and sends no `ack` for it.
//!
//! # Recovery
//! A server that comes back sends what its log says and takes no part until the coordinator has
//! brought it up to date. After a total failure nothing is decided until those that are back include
//! the one that failed last (Skeen, "Determining the Last Process to Fail", 1985; BHG 7.5.3): the
//! intersection of the sets of servers that they last knew to be up must be among them.
//! Then the rules above apply to what their logs say. Until then one of them is the coordinator for
//! its masters, and holds back what they ask for.
//!
//! # What it promises, and what not
//! As long as servers only crash, and whoever is alive is not suspected: no two servers decide
//! differently, and no death blocks the others. Where the network can be cut, or a server stands
//! still for longer than the suspicion time, both sides go on by these rules, and may decide
//! differently: that is three-phase commit, not this implementation of it. When they meet again,
//! those of the lower rank join the others.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod assembly;
mod command;
mod coordinator;
mod event;
mod ledger;
mod membership;
mod message;
mod participant;
mod pending;
mod servers;
mod transaction;
mod words;

pub use chatroom_core::*;
pub use command::{Arm, Command};
pub use event::Event;
pub use message::Mode;
pub use servers::Servers;
pub use transaction::{Decision, Op, Pending, Rank, Report, Txn};

use crate::coordinator::{Request, Work};
use crate::ledger::Ledger;
use crate::membership::Incoming;
use crate::message::Status;
use crate::pending::Then;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use chatroom_machine::{Conn, Span, Time, Volume, VolumeId, VolumeKind};
use core::fmt::Write;

/// One server of a grid that keeps a playlist.
pub type CommitServer = Node<Commit>;
/// Who a server is and how it behaves.
pub type Config = chatroom_core::Config<Options>;
/// What a server tells people, metrics and checkers.
pub type News = chatroom_core::News<Event>;

/// How long a server that starts looks for others before it takes it that there are none. Peers
/// dial it at least every 80 ms and 2.5 ms for each server that is missing, as long as it was up
/// before.
pub const GRACE: Span = Span::from_millis(500);
/// The longest song and the longest URL, in bytes.
pub const WORD_MAX: usize = 1024;
/// What a playlist may cost: its words and 32 bytes an entry. An `add` for which there is no room
/// gets the vote NO. Below [`Limits::lag`], as a peer that catches up is sent all of it at once.
pub const PLAYLIST_MAX: usize = 12 << 20;
/// Requests of masters that wait. One more is answered with an error.
pub const REQUESTS_MAX: usize = 1024;
/// The longest message, in bytes: how a server stands, with the ids of the largest grid four times
/// and two operations.
const MESSAGE_MAX: usize = 4 * 5 * MAX_SERVERS as usize + 4 * WORD_MAX + 256;
/// The log of transactions.
const DT_LOG: VolumeId = VolumeId(0);

/// By what a server votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vote {
    /// YES, unless a master said `vote NO` before.
    #[default]
    Command,
    /// NO also if a URL to add has more bytes than its own id and five.
    Length,
}

/// How replies are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Each ends in a newline.
    #[default]
    Lines,
    /// Each begins with its length in bytes and a hyphen, as in `10-ack commit`, and has no newline.
    /// A line that is none of the commands is still answered with an `error` line.
    Length,
}

/// What is configured of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// By what it votes.
    pub vote: Vote,
    /// How its replies are told apart.
    pub framing: Framing,
}

/// The crashes that masters have armed, each for one transaction.
#[derive(Clone, Debug, Default, Hash)]
struct Armed {
    before_vote: bool,
    after_vote: bool,
    after_ack: bool,
    vote_req: Option<Servers>,
    pre_commit: Option<Servers>,
    commit: Option<Servers>,
}

/// The state of one server.
#[derive(Clone, Debug, Hash)]
pub struct Commit {
    id: u32,
    servers: u32,
    options: Options,
    ledger: Ledger,
    /// A record that could not be read.
    unreadable: Option<u64>,
    mode: Mode,
    /// Those that take part in transactions, itself included; empty unless it is one.
    members: Servers,
    /// Whether it told masters that it is the coordinator, since another one was.
    claimed: bool,
    /// What the peers that are linked said of themselves last.
    statuses: BTreeMap<u32, Status>,
    /// Until when it looks for others.
    grace: Option<Time>,
    armed: Armed,
    /// Whether it votes NO next.
    vote_no: bool,
    /// What it does as the coordinator.
    work: Option<Work>,
    /// What masters asked for and was not begun: at most [`REQUESTS_MAX`].
    requests: VecDeque<Request>,
    /// Requests that were passed on to the coordinator, with the client of each; as many at most.
    forwarded: BTreeMap<u64, Conn>,
    forwards: u64,
    /// A playlist that is arriving.
    incoming: Option<Incoming>,
    /// A question of a next coordinator that waits for the death of the present one.
    held_question: Option<(u32, Rank)>,
    /// The servers that are to be members once all have that on disk.
    installing: Option<(Rank, Servers)>,
    /// What waits for a record to be durable, in order.
    thens: VecDeque<(u64, Then)>,
    /// Whether it crashed on a command, and only sends what it had to send before.
    ended: bool,
}

type Cx<'a> = Context<'a, Event>;

impl Commit {
    /// Whether it is a member, leads those that came back, or neither.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Those that take part in transactions; empty if this server does not.
    #[must_use]
    pub const fn members(&self) -> &Servers {
        &self.members
    }

    /// How far it has come.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.ledger.report
    }

    /// The URL of a song.
    #[must_use]
    pub fn url(&self, song: &str) -> Option<&str> {
        self.ledger.playlist.get(song).map(String::as_str)
    }

    /// All songs with their URLs, by song.
    pub fn songs(&self) -> impl Iterator<Item = (&str, &str)> {
        let songs = self.ledger.playlist.iter();
        songs.map(|(song, url)| (song.as_str(), url.as_str()))
    }

    /// The server that coordinates, as far as this one knows.
    #[must_use]
    pub fn coordinator(&self) -> Option<u32> {
        let rank = self.ledger.rank?;
        (self.mode != Mode::Out).then(|| rank.coordinator(self.servers))
    }

    fn is_coordinator(&self) -> bool {
        self.mode == Mode::Member && self.coordinator() == Some(self.id)
    }

    /// One reply to a client.
    fn framed(&self, reply: &str) -> String {
        match self.options.framing {
            Framing::Lines => format!("{reply}\n"),
            Framing::Length => format!("{}-{reply}", reply.len()),
        }
    }

    fn reply(&self, cx: &mut Cx<'_>, client: Conn, reply: &str) {
        cx.reply(client, self.framed(reply).as_bytes());
    }

    /// Tells all masters that this server is the coordinator.
    fn announce(&mut self, cx: &mut Cx<'_>) {
        self.claimed = true;
        cx.announce(self.framed(&format!("coordinator {}", self.id)).as_bytes());
        cx.emit(Event::Coordinator);
    }

    /// Ends as a crash does that comes after what was sent so far.
    fn crash_after_sending(&mut self, cx: &mut Cx<'_>) {
        self.ended = true;
        cx.shut_down();
    }
}

impl Protocol for Commit {
    const WORD: &'static str = "commit";
    const VOLUMES: &'static [Volume] = &[Volume {
        name: "dt-log",
        kind: VolumeKind::Log,
    }];

    type Event = Event;
    type Options = Options;
    type Command<'a> = Command;

    fn new(config: &Config) -> Self {
        Self {
            id: config.id,
            servers: config.servers,
            options: config.protocol.clone(),
            ledger: Ledger::default(),
            unreadable: None,
            mode: Mode::Out,
            members: Servers::default(),
            claimed: false,
            statuses: BTreeMap::new(),
            grace: None,
            armed: Armed::default(),
            vote_no: false,
            work: None,
            requests: VecDeque::new(),
            forwarded: BTreeMap::new(),
            forwards: 0,
            incoming: None,
            held_question: None,
            installing: None,
            thens: VecDeque::new(),
            ended: false,
        }
    }

    fn longest_message() -> usize {
        MESSAGE_MAX
    }

    fn longest_command(_: &Limits) -> usize {
        // The longest list of ids, or the longest song and URL.
        64 + (5 * MAX_SERVERS as usize).max(2 * WORD_MAX)
    }

    fn parse(_: &Limits, line: &str) -> Result<Command, String> {
        command::parse(line)
    }

    fn recovered(&mut self, _: VolumeId, number: u64, record: &[u8]) {
        let text = core::str::from_utf8(record).unwrap_or_default();
        if !self.ledger.recover(self.servers, number, text) {
            self.unreadable.get_or_insert(number);
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        if let Some(number) = self.unreadable {
            // It may be a promise.
            cx.emit(Event::Unreadable { number });
            return cx.crash();
        }
        self.grace = Some(cx.now() + GRACE);
        self.consider(cx);
    }

    fn stored(&mut self, cx: &mut Cx<'_>, _: VolumeId, next: u64) {
        self.ledger.stored(cx, next);
        while !self.ended
            && let Some((number, then)) = self.thens.pop_front()
        {
            if number >= next {
                self.thens.push_front((number, then));
                break;
            }
            self.run(cx, then);
        }
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, peer: u32) {
        if !self.ended {
            self.meet(cx, peer);
        }
    }

    fn peer_down(&mut self, cx: &mut Cx<'_>, peer: u32) {
        if !self.ended {
            self.miss(cx, peer);
        }
    }

    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        peer: u32,
        _: Conn,
        body: &[u8],
    ) -> Result<Receipt, Why> {
        let body = core::str::from_utf8(body).map_err(|_| Why::NotUtf8)?;
        let message = message::parse(body, self.servers).ok_or(Why::Malformed)?;
        if !self.ended {
            self.handle(cx, peer, message)?;
        }
        Ok(Receipt::Kept)
    }

    fn command(&mut self, cx: &mut Cx<'_>, client: Conn, command: Command) {
        if self.ended {
            return;
        }
        match command {
            Command::Change(op) => self.request(cx, client, op),
            Command::Get(song) => {
                let url = self.url(&song).unwrap_or("NONE");
                let reply = format!("resp {url}");
                self.reply(cx, client, &reply);
            }
            Command::Alive => {
                let mut reply = String::from("alive ");
                if self.settled_in() {
                    let alive: Servers = cx.alive().into_iter().collect();
                    let _ = write!(reply, "{alive}");
                }
                self.reply(cx, client, &reply);
            }
            Command::VoteNo => self.vote_no = true,
            Command::Crash => cx.crash(),
            Command::Arm(arm) => match arm {
                Arm::BeforeVote => self.armed.before_vote = true,
                Arm::AfterVote => self.armed.after_vote = true,
                Arm::AfterAck => self.armed.after_ack = true,
                Arm::VoteReq(ids) => self.armed.vote_req = Some(ids),
                Arm::PreCommit(ids) => self.armed.pre_commit = Some(ids),
                Arm::Commit(ids) => self.armed.commit = Some(ids),
            },
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) {
        if !self.ended && self.grace.is_some_and(|until| until <= cx.now()) {
            self.grace = None;
            self.consider(cx);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.grace.filter(|_| !self.ended)
    }
}
