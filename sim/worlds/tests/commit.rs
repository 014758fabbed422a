//! Three-phase commit keeps its promises when servers only crash.

use chatroom_sim::generate::Profile;
use chatroom_sim::subject::{Subject, judge};
use chatroom_worlds::commit::Playlists;

#[test]
fn crashes_alone_break_nothing() {
    for profile in [Profile::Calm, Profile::Crash] {
        for seed in 0..400 {
            let judged = judge(&Playlists, &Playlists.plan(seed, profile)).expect("a plan of ours");
            assert_eq!(judged.verdict.violation, None, "{profile} {seed}");
        }
    }
}
