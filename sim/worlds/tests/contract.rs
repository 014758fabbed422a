//! Every rule between machine and driver, in grids: the engine's own checks are the quick ones.

use chatroom_machine::{Checked, Checks};
use chatroom_sim::generate::Profile;
use chatroom_worlds::chat::{run_seed, server};

#[test]
fn thorough_checks_find_no_breach_and_change_no_run() {
    for profile in Profile::ALL {
        for seed in 0..30 {
            let checks = Checks::thorough().panicking();
            let checked = run_seed(|it| Checked::new(server(it), checks), seed, profile);
            // A breach would be a panic, and name the rule.
            let broken = checked.verdict.violation.map(|it| (it.property, it.text));
            assert_eq!(broken, None, "{profile}, seed {seed}");
            let hash = run_seed(server, seed, profile).hash;
            assert_eq!(checked.hash, hash, "{profile}, seed {seed}");
        }
    }
}
