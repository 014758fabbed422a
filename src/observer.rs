//! What a server's news turn into: lines of the log, and metrics.

use crate::metrics::Metrics;
use chatroom_core::{ChatServer, Level, Machine, News, Notice, Time, Why};
use chatroom_driver::Observer;
use chatroom_record::Recorder;
use std::fs::File;
use std::sync::Arc;

/// A machine with a chat server in it.
pub(crate) trait Housing: Machine<Notice = News> + Send {
    /// The server.
    fn server(&self) -> &ChatServer;
}

impl Housing for ChatServer {
    fn server(&self) -> &ChatServer {
        self
    }
}

impl Housing for Recorder<ChatServer, File> {
    fn server(&self) -> &ChatServer {
        self.machine()
    }
}

/// Writes the news of one server to the log, and its numbers to the metrics if there are any.
#[derive(Debug)]
pub(crate) struct Reporter {
    server: u32,
    metrics: Option<Arc<Metrics>>,
}

impl Reporter {
    pub(crate) fn new(server: u32, metrics: Option<Arc<Metrics>>) -> Self {
        Self { server, metrics }
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

impl<M: Housing> Observer<M> for Reporter {
    fn notice(&mut self, _now: Time, news: &News) {
        let server = self.server;
        let level = news.level();
        if let (Some(metrics), News::Down { why, silence, .. }) = (&self.metrics, news)
            && *why == Why::Silent
        {
            metrics.suspected(*silence);
        }
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

    fn look(&mut self, _now: Time, machine: &M) {
        if let Some(metrics) = &self.metrics {
            let server = machine.server();
            metrics.set(server.counters(), server.gauges(), &server.alive());
        }
    }
}
