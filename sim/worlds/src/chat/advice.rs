//! What is probably not meant in a plan that was written by hand.

use chatroom_sim::names::Client;
use chatroom_sim::plan::{Change, Event, Plan, excerpt};
use std::collections::BTreeMap;

/// A sentence for each line of a client that never gets its newline: a server waits for the rest of
/// it, and does nothing until then.
#[must_use]
pub fn unfinished_lines(plan: &Plan) -> Vec<String> {
    let mut events: Vec<&Event> = plan.events.iter().collect();
    events.sort_by_key(|event| event.at);
    let mut open: BTreeMap<Client, &Event> = BTreeMap::new();
    let mut found = Vec::new();
    for event in events {
        match &event.change {
            Change::Say(_, bytes) if bytes.is_empty() => {}
            Change::Say(client, bytes) if bytes.ends_with(b"\n") => {
                open.remove(client);
            }
            Change::Say(client, _) => {
                open.insert(*client, event);
            }
            // The end of the connection leaves the line as it is, unfinished.
            Change::Open(client, _) | Change::Finish(client) | Change::Leave(client) => {
                found.extend(open.remove(client));
            }
            Change::Deaf(..)
            | Change::Disk(..)
            | Change::Start(_)
            | Change::Kill(..)
            | Change::Pause(_)
            | Change::Resume(_)
            | Change::Stop(_)
            | Change::Jump(..)
            | Change::Drift(..)
            | Change::Starve(..)
            | Change::Cut(_)
            | Change::Mend(_)
            | Change::Clog(_)
            | Change::Unclog(_)
            | Change::Lag(..)
            | Change::Connects(..)
            | Change::Reset(_)
            | Change::HalfOpen(_)
            | Change::Damage(..)
            | Change::Buffer(..)
            | Change::Heal => {}
        }
    }
    found.extend(open.into_values());
    found.sort_by_key(|event| event.at);
    let sentence = |event: &Event| {
        let what = event.change.to_string();
        let more = if excerpt(&what).len() < what.len() {
            "…"
        } else {
            ""
        };
        format!(
            "at {}: {}{more} has no newline at its end: the server waits for the rest of the line \
             (write \\n before the closing quote)",
            event.at.as_micros(),
            excerpt(&what),
        )
    };
    found.into_iter().map(sentence).collect()
}
