//! The log as far as one server has learned it: the values of slots that were decided.

use crate::value::Value;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What was decided. Unbounded as yet: nothing is ever forgotten.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Log {
    /// The slots from 0 on without a gap.
    decided: Vec<Value>,
    /// Decided slots behind a gap.
    ahead: BTreeMap<u64, Value>,
}

/// What became of a decision that a server was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    New,
    Known,
    /// Another value was learned for this slot before. Agreement is broken.
    Differs,
}

impl Log {
    /// The first slot that is not known to be decided.
    pub(crate) const fn frontier(&self) -> u64 {
        self.decided.len() as u64
    }

    /// Whether something is known to be decided behind a gap.
    pub(crate) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    pub(crate) fn get(&self, slot: u64) -> Option<&Value> {
        match usize::try_from(slot).ok().and_then(|i| self.decided.get(i)) {
            Some(value) => Some(value),
            None => self.ahead.get(&slot),
        }
    }

    pub(crate) fn learn(&mut self, slot: u64, value: Value) -> Learned {
        if let Some(known) = self.get(slot) {
            return match *known == value {
                true => Learned::Known,
                false => Learned::Differs,
            };
        }
        self.ahead.insert(slot, value);
        while let Some(value) = self.ahead.remove(&self.frontier()) {
            self.decided.push(value);
        }
        Learned::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::Command(text.into())
    }

    #[test]
    fn slots_count_once_all_before_them_are_known_and_never_change() {
        let mut log = Log::default();
        assert_eq!(log.learn(1, value("b")), Learned::New);
        assert_eq!((log.frontier(), log.has_gap()), (0, true));
        assert_eq!(log.learn(1, value("x")), Learned::Differs);
        assert_eq!(log.learn(0, Value::Noop), Learned::New);
        assert_eq!((log.frontier(), log.has_gap()), (2, false));
        assert_eq!(log.learn(0, Value::Noop), Learned::Known);
        assert_eq!(log.learn(0, value("a")), Learned::Differs);
        assert_eq!(log.get(1), Some(&value("b")));
        assert_eq!(log.get(2), None);
    }
}
