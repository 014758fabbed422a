//! The log on standard error.

use clap::ValueEnum;
use std::io;
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Lines that wait for a slow standard error; further ones are dropped.
const WAITING: usize = 1024;

/// How much goes into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verbosity {
    /// Nothing.
    Off,
    /// A recording that ends before its server. What ends a server is said at every level.
    Error,
    /// What an operator should look into.
    Warn,
    /// Where it listens, peers that come up and go down, connections that close, and why.
    Info,
    /// Everything that goes on.
    Debug,
}

/// Begins to log. What waits is written out when the guard is dropped.
///
/// A standard error that nobody reads holds up nothing: lines are dropped instead.
#[must_use]
pub fn begin(verbosity: Verbosity) -> Option<WorkerGuard> {
    let level = match verbosity {
        Verbosity::Off => return None,
        Verbosity::Error => Level::ERROR,
        Verbosity::Warn => Level::WARN,
        Verbosity::Info => Level::INFO,
        Verbosity::Debug => Level::DEBUG,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(io::stderr());
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .init();
    Some(guard)
}
