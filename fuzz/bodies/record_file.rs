//! Any file as a recording: it is replayed or refused, and never panics or grows without bound.

use chatroom_chat::{ChatServer, Config};

/// Replays `data` on a fresh server, whatever its header says.
pub(crate) fn record_file(data: &[u8]) {
    let mut config = Config::new(1, 3);
    config.protocol.log = 1 << 20;
    let replayed = chatroom_record::replay(data, |_| {
        ChatServer::new(config).map_err(|error| error.to_string())
    });
    match replayed {
        Ok(report) => assert!(report.torn <= data.len() as u64),
        Err(failure) => assert!(!failure.to_string().is_empty()),
    }
}
