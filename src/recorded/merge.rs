//! Several recordings told as one run, in an order in which everything comes after its cause.

use super::clocks::{Clock, align};
use super::matching::{End, links};
use super::reading::{Connection, Event, Recording, Side, What};
use chatroom_chat::{LINKS, MASTERS};
use chatroom_machine::Time;
use chatroom_machine::{Door, Halt, Level, Loss, Notice, Place};
use chatroom_sim::names::{Client, Host, Peer, Who};
use chatroom_sim::observer::{Cause, Ending, Fact};
use chatroom_sim::trace::Recorder;
use std::collections::BTreeMap;
use std::fmt;

/// Several recordings as one run.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// What happened, in order.
    pub(crate) recorder: Recorder,
    /// How each recording's clock was aligned.
    pub(crate) aligned: Vec<Aligned>,
    /// How many links were found at both ends.
    pub(crate) links: usize,
    /// How many links with a recorded server were found at one end only.
    pub(crate) single: usize,
    /// The most microseconds by which an event was moved on so that it comes after its cause.
    pub(crate) moved: u64,
}

/// How a recording's clock was aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aligned {
    /// The microseconds of the picture at which the recording's clock stood at zero.
    pub(crate) zero: i128,
    /// How many microseconds that may be wrong, beside the group's first recording; `None` if
    /// messages bound it on one side only.
    pub(crate) error: Option<i128>,
    /// The first of the recordings that links join with this one. The clocks of two groups are not
    /// known to each other: each begins at zero.
    pub(crate) group: usize,
}

/// Who is at the other end of a connection, and what is known of that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// A server in whose recording the other end was found.
    Matched(Who),
    /// A server that is recorded, but not this end.
    Single(Who),
    /// A server without a recording; whether it was seen yet.
    Unrecorded(Who, bool),
    /// A master or a stranger.
    Client(Client),
    /// Nobody yet.
    Nobody,
}

/// A notice in the words that were recorded.
#[derive(Debug)]
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Notice for Said<'_> {
    fn level(&self) -> Level {
        Level::Debug
    }
}

/// Tells recordings of different servers of one grid as one run.
pub(crate) fn merge(recordings: &[Recording]) -> Merged {
    let links = links(recordings);
    let clocks = align(recordings.len(), &links.bounds);
    let aligned = aligned(recordings, &clocks);
    let mut merge = Merge::new(recordings, &aligned);
    for (one, other) in &links.pairs {
        merge.pair(*one, *other);
    }
    while let Some(from) = merge.choose() {
        merge.take(from);
    }
    Merged {
        recorder: merge.recorder,
        aligned: aligned.clone(),
        links: links.pairs.len(),
        single: merge.single,
        moved: merge.moved,
    }
}

/// Each group of recordings begins at zero.
fn aligned(recordings: &[Recording], clocks: &[Clock]) -> Vec<Aligned> {
    let mut begin: BTreeMap<usize, i128> = BTreeMap::new();
    for (recording, clock) in recordings.iter().zip(clocks) {
        if let Some(event) = recording.events.first() {
            let at = i128::from(event.at.as_micros()) - clock.ahead;
            let least = begin.entry(clock.group).or_insert(at);
            *least = (*least).min(at);
        }
    }
    let zero = |clock: &Clock| -clock.ahead - begin.get(&clock.group).copied().unwrap_or(0);
    let all = clocks.iter().map(|clock| Aligned {
        zero: zero(clock),
        error: clock.error,
        group: clock.group,
    });
    all.collect()
}

struct Merge<'a> {
    recordings: &'a [Recording],
    aligned: &'a [Aligned],
    recorder: Recorder,
    /// For each recording, how many of its events were told.
    told: Vec<usize>,
    /// For each connection the end at which it was found as well, how many bytes it was told to
    /// have sent, and who is at its other end.
    partners: Vec<Vec<Option<End>>>,
    sent: Vec<Vec<usize>>,
    others: Vec<Vec<Other>>,
    /// The links' numbers; a link has the same at both ends.
    numbers: BTreeMap<End, u64>,
    next: u64,
    /// For each server the numbers of its clients that are connected.
    clients: BTreeMap<u32, Vec<bool>>,
    now: u64,
    moved: u64,
    single: usize,
}

impl<'a> Merge<'a> {
    fn new(recordings: &'a [Recording], aligned: &'a [Aligned]) -> Self {
        fn table<T: Clone>(recordings: &[Recording], value: T) -> Vec<Vec<T>> {
            let all = recordings.iter();
            all.map(|each| vec![value.clone(); each.connections.len()])
                .collect()
        }
        let mut merge = Self {
            recordings,
            aligned,
            recorder: Recorder::default(),
            told: vec![0; recordings.len()],
            partners: table(recordings, None),
            sent: table(recordings, 0),
            others: table(recordings, Other::Nobody),
            numbers: BTreeMap::new(),
            next: 0,
            clients: BTreeMap::new(),
            now: 0,
            moved: 0,
            single: 0,
        };
        for (at, recording) in recordings.iter().enumerate() {
            for (index, each) in recording.connections.iter().enumerate() {
                let Some(peer) = each.peer(recording.id, recording.servers) else {
                    continue;
                };
                let recorded = recordings.iter().any(|other| other.id == peer);
                merge.others[at][index] = match recorded {
                    true => Other::Single(who(peer)),
                    false => Other::Unrecorded(who(peer), false),
                };
                let carried = !each.received.bytes.is_empty();
                merge.single += usize::from(recorded && carried);
            }
        }
        merge
    }

    fn pair(&mut self, one: End, other: End) {
        for ((at, index), partner) in [(one, other), (other, one)] {
            self.partners[at][index] = Some(partner);
            self.others[at][index] = Other::Matched(who(self.recordings[partner.0].id));
            let received = &self.recordings[at].connections[index].received;
            self.single -= usize::from(!received.bytes.is_empty());
        }
    }

    /// The recording whose event comes next: of those whose cause was told, the earliest.
    fn choose(&self) -> Option<usize> {
        let heads = self.recordings.iter().enumerate().filter_map(|(at, each)| {
            let event = each.events.get(self.told[at])?;
            // A recording whose cause never comes does not hold up the others for ever.
            Some((!self.is_ready(at, event), self.moment(at, event), at))
        });
        heads.min().map(|(_, _, at)| at)
    }

    /// The moment of an event in the picture.
    fn moment(&self, at: usize, event: &Event) -> u64 {
        let moment = i128::from(event.at.as_micros()) + self.aligned[at].zero;
        u64::try_from(moment.max(0)).unwrap_or(u64::MAX)
    }

    /// Whether what must come before was told.
    fn is_ready(&self, at: usize, event: &Event) -> bool {
        match &event.what {
            What::Received(index, range) => {
                self.partners[at][*index].is_none_or(|(other, end)| {
                    // Its recording may end before.
                    let all = self.recordings[other].connections[end].sent.bytes.len();
                    self.sent[other][end] >= range.end.min(all)
                })
            }
            What::Accepted(index) => {
                let partner = self.partners[at][*index];
                partner.is_none_or(|partner| self.numbers.contains_key(&partner))
            }
            What::Started
            | What::Dialling(_)
            | What::Connected(_)
            | What::DialFailed(_)
            | What::TurnedAway(_)
            | What::Sent(..)
            | What::Lost(..)
            | What::Closed(_)
            | What::Notice(_)
            | What::Remark(..)
            | What::Halted(_)
            | What::End => true,
        }
    }

    fn number(&mut self, end: End) -> u64 {
        let partner = self.partners[end.0][end.1];
        let known = partner.and_then(|partner| self.numbers.get(&partner));
        let number = match (self.numbers.get(&end), known) {
            (Some(number), _) | (None, Some(number)) => *number,
            (None, None) => self.fresh(),
        };
        self.numbers.insert(end, number);
        number
    }

    const fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn tell(&mut self, fact: &Fact<'_, Said<'_>>) {
        self.recorder.tell(Time::from_micros(self.now), fact);
        self.amend(None);
    }

    /// A recording does not know which of its server's lives it is of; and some facts have other
    /// words in it.
    fn amend(&mut self, text: Option<String>) {
        if let Some(record) = self.recorder.records.last_mut() {
            record.life = None;
            if let Some(text) = text {
                record.text = text;
            }
        }
    }

    fn remark(&mut self, own: Who, kind: &'static str, text: &str) {
        self.recorder
            .remark(Time::from_micros(self.now), own, kind, text);
        self.amend(None);
    }

    fn take(&mut self, at: usize) {
        let recording = &self.recordings[at];
        let event = &recording.events[self.told[at]];
        self.told[at] += 1;
        let moment = self.moment(at, event);
        self.now = self.now.max(moment);
        self.moved = self.moved.max(self.now - moment);
        let own = who(recording.id);
        match &event.what {
            What::Started => {
                self.tell(&Fact::Started { who: own });
                self.amend(Some("recorded".to_owned()));
            }
            What::Dialling(index) => {
                let link = self.number((at, *index));
                let connection = &recording.connections[*index];
                if let Side::Dialled(peer) = connection.side {
                    self.tell(&Fact::Dialling {
                        who: own,
                        conn: connection.conn,
                        to: Place(peer),
                        host: Some(who(peer).host),
                        link,
                    });
                }
            }
            What::Connected(index) => self.opened(own, (at, *index)),
            What::DialFailed(index) => {
                let link = self.number((at, *index));
                let conn = recording.connections[*index].conn;
                self.tell(&Fact::DialFailed {
                    who: own,
                    conn,
                    link,
                });
            }
            What::Accepted(index) => self.accepted(own, (at, *index)),
            What::TurnedAway(door) => {
                let link = self.fresh();
                self.tell(&Fact::TurnedAway {
                    who: own,
                    door: *door,
                    link,
                });
            }
            What::Received(index, range) => {
                let connection = &recording.connections[*index];
                let bytes = &connection.received.bytes[range.clone()];
                self.received(own, (at, *index), range.start as u64, bytes);
            }
            What::Sent(index, range) => {
                let link = self.number((at, *index));
                self.sent[at][*index] = range.end;
                let connection = &recording.connections[*index];
                self.tell(&Fact::Sent {
                    who: own,
                    conn: connection.conn,
                    link,
                    offset: range.start as u64,
                    bytes: &connection.sent.bytes[range.clone()],
                });
            }
            What::Lost(index, loss) => {
                let link = self.number((at, *index));
                let conn = recording.connections[*index].conn;
                self.tell(&Fact::Lost {
                    who: own,
                    conn,
                    link,
                    loss: *loss,
                    cause: Cause::Closed,
                });
                let why = match loss {
                    Loss::Finished => "the other side finished",
                    Loss::Broken => "the connection broke",
                };
                self.amend(Some(format!("{conn}: {why}")));
                if *loss == Loss::Broken {
                    self.leave((at, *index));
                }
            }
            What::Closed(index) => {
                let link = self.number((at, *index));
                let conn = recording.connections[*index].conn;
                self.tell(&Fact::Closed {
                    who: own,
                    conn,
                    link,
                });
                self.leave((at, *index));
            }
            What::Notice(text) => self.tell(&Fact::Notice {
                who: own,
                local: event.at,
                notice: &Said(text),
            }),
            What::Remark(kind, text) => self.remark(own, kind, text),
            What::Halted(halt) => {
                let (how, text) = match halt {
                    Halt::Crash => (Ending::Crashed, None),
                    Halt::Done => (Ending::Done, None),
                    Halt::Unfinished => (Ending::Done, Some("ended before all was sent")),
                };
                self.tell(&Fact::Ended { who: own, how });
                self.amend(text.map(str::to_owned));
            }
            What::End => self.remark(own, "record-end", "the recording ends here"),
        }
    }

    fn connection(&self, end: End) -> &'a Connection {
        &self.recordings[end.0].connections[end.1]
    }

    /// A dialled connection stands.
    fn opened(&mut self, own: Who, end: End) {
        let link = self.number(end);
        let conn = self.connection(end).conn;
        if let Other::Matched(peer) | Other::Single(peer) | Other::Unrecorded(peer, _) =
            self.others[end.0][end.1]
        {
            self.tell(&Fact::Opened {
                who: own,
                conn,
                link,
                peer: Peer::Host(peer),
                door: None,
            });
            self.amend(Some(format!("{conn} to server{}", peer.host)));
        }
    }

    fn accepted(&mut self, own: Who, end: End) {
        let link = self.number(end);
        let connection = self.connection(end);
        let conn = connection.conn;
        let Side::Accepted(door) = connection.side else {
            return;
        };
        let (peer, name) = match self.others[end.0][end.1] {
            Other::Unrecorded(peer, _) => {
                self.appear(own, end);
                (Peer::Host(peer), format!("server{}", peer.host))
            }
            Other::Matched(peer) | Other::Single(peer) => {
                (Peer::Host(peer), format!("server{}", peer.host))
            }
            Other::Client(_) | Other::Nobody => {
                let client = self.enter(own);
                self.others[end.0][end.1] = Other::Client(client);
                self.tell(&Fact::ClientOpened { client, link });
                self.amend(Some(seen_by(own)));
                (Peer::Client(client), format!("client{client}"))
            }
        };
        let door = Some(door);
        self.tell(&Fact::Opened {
            who: own,
            conn,
            link,
            peer,
            door,
        });
        let port = match door {
            Some(LINKS) => "link port",
            Some(MASTERS) => "master port",
            Some(Door(_)) | None => "port",
        };
        self.amend(Some(format!("{conn} from {name} at the {port}")));
    }

    /// The side of a server without a recording, as far as the one with a recording sees it.
    fn appear(&mut self, own: Who, end: End) {
        let Other::Unrecorded(peer, false) = self.others[end.0][end.1] else {
            return;
        };
        self.others[end.0][end.1] = Other::Unrecorded(peer, true);
        let link = self.number(end);
        let connection = self.connection(end);
        let dialled = matches!(connection.side, Side::Dialled(_));
        self.tell(&Fact::Opened {
            who: peer,
            conn: connection.conn,
            link,
            peer: Peer::Host(own),
            door: dialled.then_some(LINKS),
        });
        self.amend(Some(seen_by(own)));
    }

    fn received(&mut self, own: Who, end: End, offset: u64, bytes: &[u8]) {
        let link = self.number(end);
        let conn = self.connection(end).conn;
        match self.others[end.0][end.1] {
            Other::Client(client) => self.tell(&Fact::ClientSaid {
                client,
                link,
                offset,
                bytes,
            }),
            Other::Unrecorded(who, _) => {
                self.appear(own, end);
                self.tell(&Fact::Sent {
                    who,
                    conn,
                    link,
                    offset,
                    bytes,
                });
            }
            Other::Matched(_) | Other::Single(_) | Other::Nobody => {}
        }
        self.tell(&Fact::Received {
            who: own,
            conn,
            link,
            offset,
            bytes,
        });
    }

    /// A client of a server, by the first number that is free. More than there are numbers share the
    /// last one.
    fn enter(&mut self, own: Who) -> Client {
        let taken = self.clients.entry(own.host.0.into()).or_default();
        let free = taken.iter().position(|taken| !taken);
        let free = free.unwrap_or(taken.len());
        let number = u8::try_from(free).unwrap_or(u8::MAX);
        if taken.len() <= number.into() {
            taken.push(false);
        }
        taken[usize::from(number)] = true;
        Client {
            host: own.host,
            number,
        }
    }

    fn leave(&mut self, end: End) {
        if let Other::Client(client) = self.others[end.0][end.1]
            && let Some(taken) = self.clients.get_mut(&client.host.0.into())
        {
            taken[usize::from(client.number)] = false;
        }
    }
}

/// Ids are below `MAX_SERVERS`.
fn who(id: u32) -> Who {
    Who {
        host: Host(u16::try_from(id).unwrap_or(u16::MAX)),
        life: 0,
    }
}

fn seen_by(own: Who) -> String {
    format!("as server{} saw it", own.host)
}
