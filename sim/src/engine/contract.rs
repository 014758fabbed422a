//! The contract between a machine and its driver, as runs report it.

use super::{Engine, Flow, World};
use crate::observer::{Observer, Violation};
use chatroom_machine::{Breach, Rule};

/// The property that a breach is reported as: rules about one thing go by one name.
const fn property(rule: Rule) -> &'static str {
    let handles = matches!(
        rule,
        Rule::DeadHandle | Rule::SlotInUse | Rule::GenerationReused | Rule::SlotsNotDense
    );
    if handles {
        "bad-handle"
    } else if matches!(rule, Rule::RightCallRefused) {
        "misuse"
    } else {
        rule.name()
    }
}

/// What a breach by `whose` machine, or by its driver, is as a violation.
#[must_use]
pub fn violation(whose: &str, breach: &Breach) -> Violation {
    Violation {
        property: property(breach.rule),
        text: format!("{whose}: {}", breach.detail),
        events: Vec::new(),
    }
}

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    /// Ends the run if a call on a host's machine, or what came of it, broke the contract.
    #[inline]
    pub(super) fn keeps_contract(&self, host: usize) -> Flow {
        let machine = self.machines[host].as_ref();
        match machine.and_then(|machine| machine.breaches().first()) {
            None => Ok(()),
            Some(breach) => self.breaks_contract(host, breach),
        }
    }

    #[cold]
    fn breaks_contract(&self, host: usize, breach: &Breach) -> Flow {
        let found = violation(&format!("host {host}"), breach);
        self.broken(found.property, found.text)
    }
}
