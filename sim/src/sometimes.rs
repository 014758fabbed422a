//! Counters of interesting cases: a safety check that never met its case has shown nothing.

use std::collections::BTreeMap;

/// How often each interesting case came up, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sometimes(BTreeMap<&'static str, u64>);

impl Sometimes {
    /// No counters.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Makes sure that a counter is there, at zero if it is new: a sweep in which it stays there
    /// has missed its case.
    pub fn expect(&mut self, name: &'static str) {
        self.0.entry(name).or_insert(0);
    }

    /// Counts a case.
    pub fn hit(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts `count` cases; saturates. Where there are none, no counter comes of it.
    pub fn add(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            let counter = self.0.entry(name).or_insert(0);
            *counter = counter.saturating_add(count);
        }
    }

    /// Adds all counters of another.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in other.iter() {
            self.expect(name);
            self.add(name, count);
        }
    }

    /// The count of one case; 0 if it is unknown.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All counters, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, count)| (*name, *count))
    }

    /// The expected cases that never came up.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.iter()
            .filter(|(_, count)| *count == 0)
            .map(|(name, _)| name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_case_that_is_expected_is_missed() {
        let mut one = Sometimes::new();
        one.add("none", 0);
        one.add("two", 2);
        assert_eq!(one.missing(), [""; 0]);
        one.expect("none");
        one.expect("two");
        let mut sum = Sometimes::new();
        sum.merge(&one);
        sum.merge(&one);
        assert_eq!(sum.iter().collect::<Vec<_>>(), [("none", 0), ("two", 4)]);
        assert_eq!(sum.missing(), ["none"]);
    }
}
