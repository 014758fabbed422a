//! Any text as a plan: it is read or refused, and what was read is written and read again the
//! same.

use chatroom_sim::plan::Plan;

/// Reads `data` as a plan.
pub(crate) fn plan_text(data: &[u8]) {
    match Plan::parse(data) {
        Ok(plan) => {
            let again = Plan::parse(plan.to_string().as_bytes());
            assert_eq!(again.as_ref(), Ok(&plan));
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}
