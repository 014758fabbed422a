//! Which connection in one recording is which in another: the two ends of one link.
//!
//! Recordings hold no address with its port, so the ends are told by whom they name and by what
//! crossed: the dialling end knows whom it dialled, the accepting end whom the first line names, and
//! what one end received is a beginning of what the other sent. Two links between the same servers
//! that carried nothing but heartbeats may fit each other's ends as well. So the pairs of ends are
//! gone through from the likeliest on (those whose moments do not contradict each other first, then
//! those on which the most bytes crossed and the fewest are missing, then those with the shortest
//! round trip), and each is taken that agrees with those before: links are accepted in the order
//! in which they are dialled, and two servers' clocks have one difference.

use super::clocks::Bounds;
use super::reading::{Connection, Recording, Side, Stream};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How far the accepting end of a link may stand from the dialling end, counted in links between
/// the two servers: a bound on the work.
const WINDOW: usize = 256;
/// How far the moments of two links between the same servers may contradict each other, in
/// microseconds: what a busy machine may need between reading its clock and reading a socket.
const CONTRADICTION: i128 = 100_000;
/// Contradictions are told apart in steps of so many microseconds.
const STEP: i128 = 10_000;
/// How much further for each microsecond of the recordings, as a divisor: clocks of different
/// machines differ by some 100 ppm.
const DRIFT: i128 = 5_000;

/// One end of a link: which recording, and which of its connections.
pub(super) type End = (usize, usize);

/// The links between the given recordings that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// The end that dialled and the end that accepted.
    pub(super) pairs: Vec<(End, End)>,
    /// What the links of two recordings, the first being the lower, say of their clocks: bounds on
    /// the second one's reading minus the first one's.
    pub(super) bounds: BTreeMap<(usize, usize), Bounds>,
}

/// An assignment that the bytes allow.
struct Candidate {
    /// Bytes that crossed, and bytes that are in one recording only.
    crossed: usize,
    missing: usize,
    bounds: Bounds,
    /// Ranks of the two ends among the links between the two servers.
    ranks: (usize, usize),
}

/// Finds the ends that belong together.
pub(super) fn links(recordings: &[Recording]) -> Links {
    let mut links = Links::default();
    // For each recording the links that it dialled and those that it accepted, by peer.
    let mut ends: BTreeMap<(usize, bool, u32), Vec<usize>> = BTreeMap::new();
    for (at, recording) in recordings.iter().enumerate() {
        for (index, each) in recording.connections.iter().enumerate() {
            if let Some(peer) = each.peer(recording.id, recording.servers) {
                let dialled = matches!(each.side, Side::Dialled(_));
                ends.entry((at, dialled, peer)).or_default().push(index);
            }
        }
    }
    let none = Vec::new();
    for (a, dialler) in recordings.iter().enumerate() {
        for (b, acceptor) in recordings.iter().enumerate() {
            let dialled = ends.get(&(a, true, acceptor.id)).unwrap_or(&none);
            let accepted = ends.get(&(b, false, dialler.id)).unwrap_or(&none);
            if a == b || dialled.is_empty() || accepted.is_empty() {
                continue;
            }
            // What the bounds of two clocks that differ in rate may contradict each other by.
            let drift = -(length(dialler).max(length(acceptor)) / DRIFT);
            let (pairs, bounds) =
                between(&pick(dialler, dialled), &pick(acceptor, accepted), drift);
            for (i, j) in pairs {
                links.pairs.push(((a, dialled[i]), (b, accepted[j])));
            }
            let (key, bounds) = if a < b {
                ((a, b), bounds)
            } else {
                ((b, a), bounds.reversed())
            };
            let all = links.bounds.entry(key).or_default();
            *all = all.and(bounds);
        }
    }
    links
}

fn pick<'a>(recording: &'a Recording, indices: &[usize]) -> Vec<&'a Connection> {
    let all = indices.iter().map(|index| &recording.connections[*index]);
    all.collect()
}

/// The microseconds from a recording's first event to its last.
fn length(recording: &Recording) -> i128 {
    let at = |event: Option<&super::reading::Event>| event.map_or(0, |event| event.at.as_micros());
    let (first, last) = (at(recording.events.first()), at(recording.events.last()));
    i128::from(last.saturating_sub(first))
}

/// Assigns links that one server dialled, in order, to those that the other accepted, in order.
fn between(
    dialled: &[&Connection],
    accepted: &[&Connection],
    drift: i128,
) -> (Vec<(usize, usize)>, Bounds) {
    let mut candidates = Vec::new();
    for (i, one) in dialled.iter().enumerate() {
        let near = i.saturating_sub(WINDOW)..accepted.len().min(i + WINDOW + 1);
        for j in near {
            candidates.extend(candidate(one, accepted[j], (i, j)));
        }
    }
    candidates.sort_by_cached_key(|each| {
        let width = each.bounds.width();
        let against = width.map_or(0, |width| (drift - width).max(0)) / STEP;
        let Candidate {
            crossed,
            missing,
            ranks,
            ..
        } = *each;
        (against, Reverse(crossed), missing, width, ranks)
    });
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    let mut all = Bounds::default();
    for Candidate { bounds, ranks, .. } in candidates {
        let (i, j) = ranks;
        let before = taken.range(..=i).next_back();
        let after = taken.range(i..).next();
        let ordered = before.is_none_or(|(k, l)| *k < i && *l < j)
            && after.is_none_or(|(k, l)| *k > i && *l > j);
        let both = all.and(bounds);
        if ordered
            && both
                .width()
                .is_none_or(|width| width >= drift - CONTRADICTION)
        {
            taken.insert(i, j);
            all = both;
        }
    }
    (taken.into_iter().collect(), all)
}

fn candidate(one: &Connection, other: &Connection, ranks: (usize, usize)) -> Option<Candidate> {
    let there = crossed(&one.sent, &other.received, one.ended)?;
    let back = crossed(&other.sent, &one.received, other.ended)?;
    let crossed = there.0 + back.0;
    (crossed > 0).then(|| Candidate {
        crossed,
        missing: there.1 + back.1,
        bounds: bounds(one, other),
        ranks,
    })
}

/// How many bytes crossed, and how many are in one of the recordings only; `None` if what was
/// received is not what was sent.
fn crossed(sent: &Stream, received: &Stream, ended: bool) -> Option<(usize, usize)> {
    let (sent, received) = (&sent.bytes, &received.bytes);
    let both = sent.len().min(received.len());
    // A recording that ends first lacks what its server sent after that.
    if sent[..both] != received[..both] || (ended && received.len() > sent.len()) {
        return None;
    }
    Some((both, sent.len().max(received.len()) - both))
}

/// What a link says of the clocks of its ends: bounds on the reading of the one that accepted minus
/// that of the one that dialled.
fn bounds(dialler: &Connection, acceptor: &Connection) -> Bounds {
    let mut bounds = Bounds::default();
    // It was accepted after it was dialled.
    bounds.at_most(micros(
        acceptor.began.as_micros(),
        dialler.began.as_micros(),
    ));
    if let Some(least) = least_difference(&dialler.sent, &acceptor.received) {
        bounds.at_most(least);
    }
    if let Some(least) = least_difference(&acceptor.sent, &dialler.received) {
        bounds.at_least(-least);
    }
    bounds
}

fn micros(one: u64, other: u64) -> i128 {
    i128::from(one) - i128::from(other)
}

/// The least difference between the moment of a receipt and that of the sending that its last byte
/// comes from, each on its own clock.
fn least_difference(sent: &Stream, received: &Stream) -> Option<i128> {
    let mut sendings = sent.pieces.iter().peekable();
    let mut least = None;
    for (at, end) in &received.pieces {
        while sendings.next_if(|(_, sent)| sent < end).is_some() {}
        let Some((when, _)) = sendings.peek() else {
            break;
        };
        let difference = micros(at.as_micros(), when.as_micros());
        least = Some(least.map_or(difference, |least: i128| least.min(difference)));
    }
    least
}
