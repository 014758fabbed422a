//! Counts of like events in windows of time, so that the log can leave out what repeats.

use chatroom_machine::{Span, Time};
use std::collections::{BTreeMap, VecDeque};

/// How often events of each key came since the first of them, for the length of a window; then
/// the next one begins a new window.
///
/// It holds a bounded number of windows. Events of further keys are counted together until one
/// of the others ends.
#[derive(Debug)]
pub(crate) struct Windows<K> {
    length: Span,
    most: usize,
    /// The key of those that are counted together is `None`.
    counts: BTreeMap<Option<K>, u64>,
    /// When each began, the oldest first.
    begins: VecDeque<(Time, Option<K>)>,
}

/// A window that is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended<K> {
    /// Whose events it counted; `None` for those that found no room.
    pub(crate) key: Option<K>,
    /// How many there were.
    pub(crate) count: u64,
    /// For how long it counted.
    pub(crate) length: Span,
}

impl<K: Ord + Clone> Windows<K> {
    /// No window yet. There will be at most `most` besides the one that is shared.
    pub(crate) fn new(length: Span, most: usize) -> Self {
        Self {
            length,
            most,
            counts: BTreeMap::new(),
            begins: VecDeque::new(),
        }
    }

    /// Counts one event: which one of its window it is, from 1 on. What has ended by now is given
    /// to `ended` before.
    pub(crate) fn count(&mut self, now: Time, key: K, ended: impl FnMut(Ended<K>)) -> u64 {
        self.end(now, ended);
        let mut key = Some(key);
        if self.counts.len() >= self.most && !self.counts.contains_key(&key) {
            key = None;
        }
        let count = self.counts.entry(key.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.begins.push_back((now, key));
        }
        *count
    }

    /// Gives each window that has ended by `now` to `ended`, the oldest first.
    pub(crate) fn end(&mut self, now: Time, mut ended: impl FnMut(Ended<K>)) {
        while let Some((began, _)) = self.begins.front()
            && now.since(*began) >= self.length
        {
            self.end_oldest(self.length, &mut ended);
        }
    }

    /// Ends all windows at `now`, however old they are.
    pub(crate) fn end_all(&mut self, now: Time, mut ended: impl FnMut(Ended<K>)) {
        while let Some((began, _)) = self.begins.front() {
            self.end_oldest(now.since(*began), &mut ended);
        }
    }

    fn end_oldest(&mut self, length: Span, ended: &mut impl FnMut(Ended<K>)) {
        if let Some((_, key)) = self.begins.pop_front()
            && let Some(count) = self.counts.remove(&key)
        {
            ended(Ended { key, count, length });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Span = Span::from_millis(10_000);

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    fn none<K: std::fmt::Debug>(ended: Ended<K>) {
        panic!("{ended:?}");
    }

    #[test]
    fn a_window_begins_with_its_first_event_and_ends_after_its_length() {
        let mut windows = Windows::new(LENGTH, 8);
        assert_eq!(windows.count(at(5), "a", none), 1);
        assert_eq!(windows.count(at(5), "a", none), 2);
        assert_eq!(windows.count(at(7), "b", none), 1);
        assert_eq!(windows.count(at(10_004), "a", none), 3);
        let mut ended = Vec::new();
        let again = windows.count(at(10_005), "a", |e| ended.push(e));
        let first = Ended {
            key: Some("a"),
            count: 3,
            length: LENGTH,
        };
        assert_eq!((again, ended), (1, vec![first]));
        // Quiet keys end without an event of theirs.
        let mut ended = Vec::new();
        windows.end(at(60_000), |e| ended.push((e.key, e.count)));
        assert_eq!(ended, [(Some("b"), 1), (Some("a"), 1)]);
        windows.end(at(90_000), none);
    }

    #[test]
    fn all_end_with_the_time_that_they_had() {
        let mut windows = Windows::new(LENGTH, 8);
        windows.count(at(0), "a", none);
        windows.count(at(4_000), "b", none);
        let mut ended = Vec::new();
        windows.end_all(at(6_000), |e| ended.push((e.key, e.length)));
        let (six, two) = (Span::from_millis(6_000), Span::from_millis(2_000));
        assert_eq!(ended, [(Some("a"), six), (Some("b"), two)]);
        windows.end_all(at(6_000), none);
    }

    #[test]
    fn past_its_bound_keys_are_counted_together_and_nothing_grows() {
        let mut windows = Windows::new(LENGTH, 3);
        for key in 0..3 {
            assert_eq!(windows.count(at(1), key, none), 1);
        }
        for key in 3..1000 {
            assert_eq!(windows.count(at(2), key, none), key - 2);
        }
        assert_eq!(windows.count(at(3), 2, none), 2);
        assert_eq!((windows.counts.len(), windows.begins.len()), (4, 4));
        let mut ended = Vec::new();
        windows.end(at(20_000), |e| ended.push((e.key, e.count)));
        let all = [(Some(0), 1), (Some(1), 1), (Some(2), 2), (None, 997)];
        assert_eq!(ended, all);
        assert!(windows.counts.is_empty() && windows.begins.is_empty());
        // There is room again.
        windows.count(at(20_000), 999, none);
        assert!(windows.counts.contains_key(&Some(999)));
    }
}
