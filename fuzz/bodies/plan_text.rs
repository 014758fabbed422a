//! Any text as a plan: it is read or refused, and what was read is written and read again the
//! same (its events in order of time), be it a plan for the engine or a path of the explorer.

use chatroom_sim::plan::{Plan, PlanError};
use chatroom_worlds::explore::Path;

/// Reads `data` as a plan.
pub(crate) fn plan_text(data: &[u8]) {
    if let Err(error) = plan(data) {
        assert!(!error.to_string().contains('\n'));
    }
}

fn plan(data: &[u8]) -> Result<(), PlanError> {
    let mut plan = Plan::parse(data)?;
    let again = Plan::parse(plan.to_string().as_bytes());
    plan.events.sort_by_key(|event| event.at);
    assert_eq!(again.as_ref(), Ok(&plan));
    if let Some(path) = Path::of(&plan)? {
        assert_eq!(Path::of(&path.plan()), Ok(Some(path)));
    }
    Ok(())
}
