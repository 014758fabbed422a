//! That steps which are called independent are: both orders lead to the same state, everywhere.

use super::state::{Id, State};
use super::{Bounds, Start, Watch, act, search};
use crate::chat::server;
use std::collections::{BTreeSet, HashSet};

const BOUNDS: Bounds = Bounds {
    servers: 3,
    messages: 1,
    crashes: 1,
    restarts: 0,
    losses: 0,
    start: Start::Linked,
};

/// Tries both orders of every two independent steps in every state; gives how many such pairs and
/// which kinds of steps there were.
fn commute(bounds: &Bounds) -> (u64, BTreeSet<String>) {
    let nothing = || Watch::<()>::default();
    let root = search::root(&server, bounds, &mut nothing()).expect("it starts");
    let (mut seen, mut waiting) = (HashSet::from([root.fingerprint()]), vec![root]);
    let (mut pairs, mut kinds) = (0, BTreeSet::new());
    while let Some(state) = waiting.pop() {
        let steps = state.enabled();
        let after = |state: &State<_>, step| {
            let next = state.apply(&server, step, &mut nothing());
            next.expect("the chat holds")
        };
        for one in &steps {
            let first = after(&state, *one);
            for other in steps.iter().filter(|other| *other > one) {
                assert_eq!(one.depends_on(*other), other.depends_on(*one));
                if one.depends_on(*other) {
                    continue;
                }
                let second = after(&state, *other);
                assert!(first.enabled().contains(other), "{one:?} stops {other:?}");
                assert!(second.enabled().contains(one), "{other:?} stops {one:?}");
                let (there, back) = (after(&first, *other), after(&second, *one));
                let same = there.fingerprint() == back.fingerprint();
                assert!(same, "{one:?} and {other:?} do not commute");
                pairs += 1;
                for step in [one, other] {
                    let kind = format!("{step:?}");
                    kinds.insert(kind.split('(').next().unwrap_or_default().to_owned());
                }
            }
            if seen.insert(first.fingerprint()) {
                waiting.push(first);
            }
        }
    }
    (pairs, kinds)
}

#[test]
fn independent_steps_commute_in_every_state() {
    let (mut pairs, mut kinds) = (0, BTreeSet::new());
    let down = Bounds {
        servers: 2,
        start: Start::Down,
        restarts: 1,
        ..BOUNDS
    };
    let lossy = Bounds {
        crashes: 0,
        losses: 1,
        ..BOUNDS
    };
    for bounds in [BOUNDS, down, lossy] {
        let (more, found) = commute(&bounds);
        pairs += more;
        kinds.extend(found);
    }
    assert!(pairs > 1000, "{pairs}");
    let all = "Break Broadcast Crash Cut Deliver Dialled Start Tear Tick";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), all);
}

#[test]
fn a_text_tells_its_broadcast_and_a_part_of_it_tells_none() {
    let id = Id {
        host: 2,
        life: 1,
        number: 10,
    };
    let text = act::text_of(id);
    assert_eq!(act::id_of(text.as_bytes()), Some(id));
    for end in 0..text.len() {
        assert_eq!(act::id_of(&text.as_bytes()[..end]), None);
    }
}
