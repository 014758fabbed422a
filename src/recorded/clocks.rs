//! How the clocks of several recordings stand to each other.
//!
//! A recording has its server's monotonic clock, which begins at zero with the server, and no wall
//! clock. A message is received after it was sent (Lamport, "Time, Clocks, and the Ordering of
//! Events in a Distributed System", 1978), so each one that crossed a link bounds the difference of
//! the two clocks from one side. The tightest bounds of both directions are the least differences
//! seen, and the middle between them is NTP's estimate (Mills, RFC 5905, sections 8 and 10): it is right
//! where the fastest message each way took equally long, and never wrong by more than half the
//! round trip of the two. Bounds of several links are a system of difference constraints, solved by
//! shortest paths, so that what goes around in a circle is in order as well.

use std::collections::BTreeMap;

/// Bounds on the reading of one clock minus that of another, in microseconds; `None` where no
/// message says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) low: Option<i128>,
    pub(super) high: Option<i128>,
}

impl Bounds {
    pub(super) fn at_most(&mut self, value: i128) {
        self.high = Some(self.high.map_or(value, |high| high.min(value)));
    }

    pub(super) fn at_least(&mut self, value: i128) {
        self.low = Some(self.low.map_or(value, |low| low.max(value)));
    }

    /// What holds if both hold.
    pub(super) fn and(mut self, other: Self) -> Self {
        other.high.into_iter().for_each(|high| self.at_most(high));
        other.low.into_iter().for_each(|low| self.at_least(low));
        self
    }

    /// The same of the other clock minus the one.
    pub(super) fn reversed(self) -> Self {
        Self {
            low: self.high.map(|high| -high),
            high: self.low.map(|low| -low),
        }
    }

    /// How far the bounds lie apart: the round trip of the fastest message each way. Negative if
    /// they contradict each other.
    pub(super) fn width(self) -> Option<i128> {
        Some(self.high? - self.low?)
    }
}

/// How a recording's clock stands to that of its group's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Its reading minus that of the group's first clock, in microseconds.
    pub(super) ahead: i128,
    /// How far that may be from the truth; `None` if messages bound it on one side only.
    pub(super) error: Option<i128>,
    /// The recording, of those that links join, that is the first.
    pub(super) group: usize,
}

/// Where nothing is known.
const FAR: i128 = i128::MAX / 4;

/// How the clocks of `count` recordings stand to each other, given bounds on the second one's
/// reading minus the first one's for pairs of them.
pub(super) fn align(count: usize, bounds: &BTreeMap<(usize, usize), Bounds>) -> Vec<Clock> {
    // most[i][j]: the most that clock j may be ahead of clock i.
    let mut most = vec![vec![FAR; count]; count];
    for (i, row) in most.iter_mut().enumerate() {
        row[i] = 0;
    }
    for ((i, j), between) in bounds {
        most[*i][*j] = between.high.unwrap_or(FAR);
        most[*j][*i] = between.low.map_or(FAR, |low| -low);
    }
    let mut most = closure(most);
    let sure = most.clone();
    let mut clocks: Vec<Option<Clock>> = vec![None; count];
    for group in 0..count {
        if clocks[group].is_some() {
            continue;
        }
        clocks[group] = Some(Clock {
            ahead: 0,
            error: Some(0),
            group,
        });
        // The one that is best known comes next: it narrows what is known of the others.
        while let Some(next) = (0..count)
            .filter(|each| clocks[*each].is_none())
            .filter(|each| most[group][*each] < FAR || most[*each][group] < FAR)
            .min_by_key(|each| sum(most[group][*each], most[*each][group]))
        {
            let ahead = match (most[group][next], most[next][group]) {
                (FAR.., low) => -low,
                (high, FAR..) => high,
                (high, low) => (high - low).div_euclid(2),
            };
            let (high, low) = (sure[group][next], sure[next][group]);
            let known = high < FAR && low < FAR;
            clocks[next] = Some(Clock {
                ahead,
                error: known.then(|| (high - ahead).max(ahead + low).max(0)),
                group,
            });
            fix(&mut most, group, next, ahead);
        }
    }
    let none = Clock {
        ahead: 0,
        error: None,
        group: 0,
    };
    clocks
        .into_iter()
        .map(|clock| clock.unwrap_or(none))
        .collect()
}

fn sum(one: i128, other: i128) -> i128 {
    if one >= FAR || other >= FAR {
        FAR
    } else {
        one + other
    }
}

/// The tightest bounds that follow from those given. Where these contradict each other, because a
/// clock was read a little before what it stands for, all are widened until they don't.
fn closure(given: Vec<Vec<i128>>) -> Vec<Vec<i128>> {
    let mut wider = 0;
    loop {
        let mut most = given.clone();
        for (i, row) in most.iter_mut().enumerate() {
            for (j, each) in row.iter_mut().enumerate() {
                if i != j && *each < FAR {
                    *each += wider;
                }
            }
        }
        let contradiction = (0..most.len()).find_map(|via| {
            shorten(&mut most, via);
            (0..most.len()).map(|i| most[i][i]).find(|round| *round < 0)
        });
        let Some(round) = contradiction else {
            return most;
        };
        // There are at least two bounds on the way round.
        wider += (-round + 1) / 2;
    }
}

/// Takes in all ways through `via`.
fn shorten(most: &mut [Vec<i128>], via: usize) {
    let from = most[via].clone();
    for row in most {
        let to = row[via];
        for (each, rest) in row.iter_mut().zip(&from) {
            *each = (*each).min(sum(to, *rest));
        }
    }
}

/// Takes in that clock `next` is `ahead` of clock `first`.
fn fix(most: &mut [Vec<i128>], first: usize, next: usize, ahead: i128) {
    most[first][next] = ahead;
    most[next][first] = -ahead;
    shorten(most, first);
    shorten(most, next);
}
