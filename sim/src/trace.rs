//! Records of a run: kept by an observer, only when somebody wants to read them, and written as
//! text, as JSON lines or for ShiViz. Each has a vector clock, so that what could have caused what
//! can be read off.

mod write;

pub use write::{Format, write_json_string};

use crate::names::{Client, Host, Peer, Who};
use crate::observer::{Cause, Fact, Observer, Scene, Violation};
use crate::plan::Change;
use chatroom_machine::Time;
use chatroom_machine::{Machine, Notice};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};

/// How many bytes of a piece are shown.
const SHOWN: usize = 160;

/// Where in a space-time diagram a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What the plan does.
    Plan,
    /// A host, through all its lives.
    Host(Host),
    /// A client from outside.
    Client(Client),
}

/// Written `plan`, `server2`, `client2/0`: one word.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => f.write_str("plan"),
            Self::Host(host) => write!(f, "server{host}"),
            Self::Client(client) => write!(f, "client{client}"),
        }
    }
}

impl Lane {
    /// The host that the lane is about: its own, or the one that the client talks to.
    #[must_use]
    pub const fn host(self) -> Option<Host> {
        match self {
            Self::Plan => None,
            Self::Host(host) => Some(host),
            Self::Client(client) => Some(client.host),
        }
    }
}

impl From<Peer> for Lane {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Host(who) => Self::Host(who.host),
            Peer::Client(client) => Self::Client(client),
        }
    }
}

/// One fact, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fact's number in the run; equal to its index in [`Recorder::records`] if the recorder
    /// saw the run from its start.
    pub step: u64,
    /// When.
    pub at: Time,
    /// Whose fact it is.
    pub lane: Lane,
    /// The host's life.
    pub life: Option<u32>,
    /// The kind of fact: `change`, `started`, `killed`, `crashed`, `done`, `paused`, `resumed`,
    /// `notice`, `dialling`, `dial-failed`, `opened`, `turned-away`, `sent`, `received`,
    /// `finished`, `broken`, `closed`, `left`, `over`; of recordings also `timeout`, `shutdown`,
    /// `misuse`, `starved`, `reading`, `accepting`, `record-end`.
    pub kind: &'static str,
    /// The link it is about.
    pub link: Option<u64>,
    /// The other side of that link, as far as it is known.
    pub peer: Option<Lane>,
    /// The range of the link's bytes in this direction (`sent`, `received`).
    pub range: Option<(u64, u64)>,
    /// What happened, in words; a single line.
    pub text: String,
    /// What the plan did (`change`).
    pub change: Option<Change>,
    /// The steps that this one follows from, in other lanes: for a receipt the sendings that its
    /// bytes come from, for an end what ended it, for an accepted connection the dial.
    pub from: Vec<u64>,
    /// The vector clock after the fact: index into [`Recorder::lanes`], count; ascending.
    pub clock: Vec<(u32, u64)>,
}

/// A sending that was not read to its end.
#[derive(Clone, Copy, Debug)]
struct Sending {
    end: u64,
    record: usize,
}

/// The sides of a link: dialler first.
#[derive(Clone, Debug)]
struct Ends {
    peers: [Option<Peer>; 2],
    /// The record of the dial, and of each side's closing.
    dialled: Option<usize>,
    closed: [Option<usize>; 2],
    sendings: [VecDeque<Sending>; 2],
}

/// An observer that keeps a [`Record`] of every fact. Memory grows with the run: for one run that
/// somebody wants to read, not for sweeps.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// The records.
    pub records: Vec<Record>,
    /// The lanes, in the order in which they first did something.
    pub lanes: Vec<Lane>,
    clocks: Vec<BTreeMap<u32, u64>>,
    links: BTreeMap<u64, Ends>,
    ended: BTreeMap<Who, usize>,
}

/// A record that is being made.
struct Draft {
    lane: Lane,
    life: Option<u32>,
    kind: &'static str,
    link: Option<u64>,
    range: Option<(u64, u64)>,
    text: String,
    change: Option<Change>,
    from: Vec<usize>,
}

impl Draft {
    fn of_plan(kind: &'static str, text: String) -> Self {
        Self {
            lane: Lane::Plan,
            life: None,
            kind,
            link: None,
            range: None,
            text,
            change: None,
            from: Vec::new(),
        }
    }

    fn of(who: Who, kind: &'static str, text: String) -> Self {
        Self {
            lane: Lane::Host(who.host),
            life: Some(who.life),
            ..Self::of_plan(kind, text)
        }
    }

    fn of_client(client: Client, kind: &'static str, text: String) -> Self {
        Self {
            lane: Lane::Client(client),
            ..Self::of_plan(kind, text)
        }
    }

    fn on(self, link: u64) -> Self {
        Self {
            link: Some(link),
            ..self
        }
    }

    fn bytes(self, link: u64, offset: u64, bytes: &[u8]) -> Self {
        Self {
            link: Some(link),
            range: Some((offset, offset + bytes.len() as u64)),
            text: shown(bytes),
            ..self
        }
    }
}

impl<M: Machine> Observer<M> for Recorder {
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        let draft = self.draft(fact);
        self.keep(scene.now, scene.step, draft);
        Ok(())
    }
}

impl Recorder {
    /// Keeps a fact that no engine saw, such as one of a recording. Facts come in the order of
    /// their moments, and every cause before what follows from it.
    pub fn tell<N: Notice>(&mut self, at: Time, fact: &Fact<'_, N>) {
        let draft = self.draft(fact);
        self.keep(at, self.records.len() as u64, draft);
    }

    /// Keeps something that there is no [`Fact`] for, in words; a line break is escaped.
    pub fn remark(&mut self, at: Time, who: Who, kind: &'static str, text: &str) {
        let draft = Draft::of(who, kind, one_line(text));
        self.keep(at, self.records.len() as u64, draft);
    }

    fn draft<N: Notice>(&mut self, fact: &Fact<'_, N>) -> Draft {
        let index = self.records.len();
        match fact {
            Fact::Change { change } => Draft {
                change: Some((*change).clone()),
                ..Draft::of_plan("change", change.to_string())
            },
            Fact::Over => Draft::of_plan("over", "the end of the plan".to_owned()),
            Fact::Disk { who, event } => Draft::of(*who, event.kind(), event.to_string()),
            Fact::Started { who } => Draft::of(*who, "started", format!("life {}", who.life)),
            Fact::Ended { who, how } => {
                self.ended.insert(*who, index);
                let (kind, text) = match how {
                    crate::observer::Ending::Killed(fate) => {
                        ("killed", format!("killed ({fate:?})"))
                    }
                    crate::observer::Ending::Crashed => ("crashed", "crashed".to_owned()),
                    crate::observer::Ending::Done => ("done", "ended in good order".to_owned()),
                    crate::observer::Ending::Failed => ("failed", "ended by its disk".to_owned()),
                };
                Draft::of(*who, kind, text)
            }
            Fact::Paused { who } => Draft::of(*who, "paused", "stands still".to_owned()),
            Fact::Resumed { who } => Draft::of(*who, "resumed", "goes on".to_owned()),
            Fact::Notice { who, notice, .. } => {
                Draft::of(*who, "notice", one_line(&notice.to_string()))
            }
            Fact::Dialling {
                who,
                conn,
                to,
                host,
                link,
            } => {
                let ends = self.ends(*link);
                ends.peers[0] = Some(Peer::Host(*who));
                ends.dialled = Some(index);
                let to = host.map_or_else(
                    || format!("place {}, where nobody is", to.0),
                    |host| Lane::Host(host).to_string(),
                );
                Draft::of(*who, "dialling", format!("{conn} to {to}")).on(*link)
            }
            Fact::DialFailed { who, conn, link } => {
                Draft::of(*who, "dial-failed", conn.to_string()).on(*link)
            }
            Fact::Opened {
                who,
                conn,
                link,
                peer,
                door,
                ..
            } => {
                let ends = self.ends(*link);
                let own = usize::from(door.is_some());
                ends.peers[own] = Some(Peer::Host(*who));
                ends.peers[1 - own] = Some(*peer);
                let dial = ends.dialled.filter(|_| own == 1);
                let text = match door {
                    Some(door) => format!("{conn} from {peer} at door {}", door.0),
                    None => format!("{conn} to {peer}"),
                };
                let mut draft = Draft::of(*who, "opened", text).on(*link);
                draft.from.extend(dial);
                draft
            }
            Fact::TurnedAway { who, door, link } => {
                Draft::of(*who, "turned-away", format!("at door {}", door.0)).on(*link)
            }
            Fact::Sent {
                who,
                link,
                offset,
                bytes,
                ..
            } => {
                self.sending(*link, Peer::Host(*who), offset + bytes.len() as u64);
                Draft::of(*who, "sent", String::new()).bytes(*link, *offset, bytes)
            }
            Fact::Received {
                who,
                link,
                offset,
                bytes,
                ..
            } => {
                let from = self.receipt(*link, Peer::Host(*who), offset + bytes.len() as u64);
                Draft {
                    from,
                    ..Draft::of(*who, "received", String::new()).bytes(*link, *offset, bytes)
                }
            }
            Fact::Lost {
                who,
                conn,
                link,
                loss,
                cause,
            } => {
                let mut draft =
                    Draft::of(*who, kind_of(*loss), format!("{conn}: {}", because(*cause)))
                        .on(*link);
                draft.from = self.behind(*link, Peer::Host(*who), Some(*cause));
                draft
            }
            Fact::Closed { who, conn, link } => {
                self.closing(*link, Peer::Host(*who));
                Draft::of(*who, "closed", conn.to_string()).on(*link)
            }
            Fact::ClientOpened { client, link } => {
                self.ends(*link).peers[0] = Some(Peer::Client(*client));
                self.ends(*link).dialled = Some(index);
                Draft::of_client(*client, "opened", "connected".to_owned()).on(*link)
            }
            Fact::ClientSaid {
                client,
                link,
                offset,
                bytes,
            } => {
                self.sending(*link, Peer::Client(*client), offset + bytes.len() as u64);
                Draft::of_client(*client, "sent", String::new()).bytes(*link, *offset, bytes)
            }
            Fact::ClientHeard {
                client,
                link,
                offset,
                bytes,
            } => {
                let end = offset + bytes.len() as u64;
                let from = self.receipt(*link, Peer::Client(*client), end);
                Draft {
                    from,
                    ..Draft::of_client(*client, "received", String::new())
                        .bytes(*link, *offset, bytes)
                }
            }
            Fact::ClientLost { client, link, loss } => {
                let mut draft =
                    Draft::of_client(*client, kind_of(*loss), "by the host".to_owned()).on(*link);
                draft.from = self.behind(*link, Peer::Client(*client), None);
                draft
            }
            Fact::ClientLeft { client, link } => {
                self.closing(*link, Peer::Client(*client));
                Draft::of_client(*client, "left", "closed its connection".to_owned()).on(*link)
            }
        }
    }

    fn keep(&mut self, at: Time, step: u64, draft: Draft) {
        let lane = self.lane(draft.lane);
        let mut clock = std::mem::take(&mut self.clocks[lane]);
        for cause in &draft.from {
            for (other, count) in &self.records[*cause].clock {
                let known = clock.entry(*other).or_insert(0);
                *known = (*known).max(*count);
            }
        }
        *clock
            .entry(u32::try_from(lane).unwrap_or(u32::MAX))
            .or_insert(0) += 1;
        let record = Record {
            step,
            at,
            lane: draft.lane,
            life: draft.life,
            kind: draft.kind,
            link: draft.link,
            peer: draft
                .link
                .and_then(|link| self.other_lane(link, draft.lane)),
            range: draft.range,
            text: draft.text,
            change: draft.change,
            from: draft
                .from
                .iter()
                .map(|cause| self.records[*cause].step)
                .collect(),
            clock: clock.iter().map(|(lane, count)| (*lane, *count)).collect(),
        };
        self.clocks[lane] = clock;
        self.records.push(record);
    }

    fn lane(&mut self, lane: Lane) -> usize {
        if let Some(index) = self.lanes.iter().position(|each| *each == lane) {
            return index;
        }
        self.lanes.push(lane);
        self.clocks.push(BTreeMap::new());
        self.lanes.len() - 1
    }

    fn ends(&mut self, link: u64) -> &mut Ends {
        self.links.entry(link).or_insert_with(|| Ends {
            peers: [None; 2],
            dialled: None,
            closed: [None; 2],
            sendings: [VecDeque::new(), VecDeque::new()],
        })
    }

    fn other_lane(&self, link: u64, lane: Lane) -> Option<Lane> {
        let [one, two] = self
            .links
            .get(&link)?
            .peers
            .map(|peer| peer.map(Lane::from));
        if one == Some(lane) { two } else { one }
    }

    /// Which side of a link `peer` is.
    fn side(&mut self, link: u64, peer: Peer) -> usize {
        usize::from(self.ends(link).peers[0] != Some(peer))
    }

    fn sending(&mut self, link: u64, by: Peer, end: u64) {
        let record = self.records.len();
        let side = self.side(link, by);
        self.ends(link).sendings[side].push_back(Sending { end, record });
    }

    /// The sendings from which the bytes up to `end` come that were not read before.
    fn receipt(&mut self, link: u64, by: Peer, end: u64) -> Vec<usize> {
        let side = self.side(link, by);
        let sendings = &mut self.ends(link).sendings[1 - side];
        let mut from = Vec::new();
        while let Some(sending) = sendings.front().copied() {
            from.push(sending.record);
            if sending.end > end {
                break;
            }
            sendings.pop_front();
            if sending.end == end {
                break;
            }
        }
        from
    }

    fn closing(&mut self, link: u64, by: Peer) {
        let record = self.records.len();
        let side = self.side(link, by);
        self.ends(link).closed[side] = Some(record);
    }

    /// What is behind an end that `by` is told of.
    fn behind(&mut self, link: u64, by: Peer, cause: Option<Cause>) -> Vec<usize> {
        let side = self.side(link, by);
        let ends = self.ends(link);
        let other = ends.peers[1 - side];
        let closed = ends.closed[1 - side];
        let ended = match other {
            Some(Peer::Host(who)) => self.ended.get(&who).copied(),
            Some(Peer::Client(_)) | None => None,
        };
        match cause {
            Some(Cause::Plan) => None,
            Some(Cause::Ended(_) | Cause::Unknown | Cause::Closed) | None => closed.or(ended),
        }
        .into_iter()
        .collect()
    }
}

fn kind_of(loss: chatroom_machine::Loss) -> &'static str {
    match loss {
        chatroom_machine::Loss::Finished => "finished",
        chatroom_machine::Loss::Broken => "broken",
    }
}

fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Closed => "the other side closed it",
        Cause::Ended(_) => "the other side's life ended",
        Cause::Unknown => "the other side does not know it",
        Cause::Plan => "the plan broke it",
    }
}

/// Bytes as a line of text: valid UTF-8 as it is, all else escaped; long ones cut short.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let mut text = String::new();
    for chunk in cut.utf8_chunks() {
        text.push_str(&one_line(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if cut.len() < bytes.len() {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for each in text.chars() {
        if each.is_control() {
            line.extend(each.escape_default());
        } else {
            line.push(each);
        }
    }
    line
}
