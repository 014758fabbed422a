//! A short soak: that the harness runs, judges, and finds nothing. A long one is
//! `cargo run --release -p chatroom-soak -- --time 60m`.

use chatroom_soak::{Runtimes, Settings, run};
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn ten_seconds_of_trouble_break_no_property() {
    let report = run(&Settings {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_chatroom")),
        servers: 4,
        time: Duration::from_secs(10),
        checkpoint: Duration::from_secs(4),
        runtimes: Runtimes::Mixed,
        seed: 5,
        strict: std::env::var_os("CHATROOM_STRICT").is_some_and(|value| value == "1"),
    })
    .unwrap();
    let chronicle = &report.chronicle;
    assert_eq!(chronicle.violations, 0, "{report}");
    // It did look: at entries, at replies, at deaths, and at whoever lived throughout.
    assert!(chronicle.entries > 500, "{report}");
    assert!(chronicle.replies > 8, "{report}");
    assert!(chronicle.deaths.count > 0, "{report}");
    let elders = report.elders.iter().filter(|series| series.first.is_some());
    assert_eq!(elders.count(), 2, "{report}");
}
