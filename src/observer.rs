//! What a server's news turn into: lines of the log.

use chatroom_core::{Level, Machine, News, Notice, Time};
use chatroom_driver::Observer;

/// Writes the news of one server to the log.
#[derive(Debug)]
pub(crate) struct Reporter {
    server: u32,
}

impl Reporter {
    pub(crate) fn new(server: u32) -> Self {
        Self { server }
    }
}

/// One event at a level that is known only when it happens.
macro_rules! event {
    ($level:expr, $($rest:tt)*) => {
        match $level {
            Level::Debug => tracing::debug!($($rest)*),
            Level::Info => tracing::info!($($rest)*),
            Level::Warn => tracing::warn!($($rest)*),
        }
    };
}

impl<M: Machine<Notice = News>> Observer<M> for Reporter {
    fn notice(&mut self, _now: Time, news: &News) {
        let server = self.server;
        let level = news.level();
        match news {
            News::Up { peer, conn } => event!(level, server, peer, %conn, "peer up"),
            News::Down {
                peer,
                conn,
                why,
                silence,
            } => event!(level, server, peer, %conn, %why, %silence, "peer down"),
            News::Closed { conn, why } => event!(level, server, %conn, %why, "connection closed"),
            News::Delivered { .. }
            | News::Skipped { .. }
            | News::Starved { .. }
            | News::LogFull { .. }
            | News::Ending => event!(level, server, "{news}"),
        }
    }

    fn look(&mut self, _now: Time, _machine: &M) {}
}
