//! What a server's news turn into: lines of the log, and metrics.

use crate::grid::{Expected, Grid};
use crate::hints::{self, About};
use crate::metrics::Metrics;
use crate::protocols::Served;
use crate::windows::{Ended, Windows};
use chatroom_core::{Config, News, Node, Protocol, Why};
use chatroom_driver::Observer;
use chatroom_machine::{Level, Machine, Notice, Span, Time};
use chatroom_record::Recorder;
use std::fs::File;
use std::sync::Arc;

/// A machine with a server in it.
pub(crate) trait Housing:
    Machine<Notice = News<<Self::Protocol as Protocol>::Event>> + Send
{
    /// What the server plays.
    type Protocol: Served;

    /// The server.
    fn server(&self) -> &Node<Self::Protocol>;
}

impl<P: Served> Housing for Node<P>
where
    Self: Send,
{
    type Protocol = P;

    fn server(&self) -> &Self {
        self
    }
}

impl<P: Served> Housing for Recorder<Node<P>, File>
where
    Self: Send,
{
    type Protocol = P;

    fn server(&self) -> &Node<P> {
        self.machine()
    }
}

/// How many events of one kind are logged within a [`WINDOW`]; further ones are counted.
const BURST: u64 = 5;
/// For how long what is left out of the log is counted before it is told of.
const WINDOW: Span = Span::from_millis(10_000);
/// For how long the reasons are counted that show what is probably wrong; each is warned of once
/// in that time.
const HINT_WINDOW: Span = Span::from_millis(60_000);
/// Kinds that are counted apart, at one time: two for each peer of the largest grid.
const KINDS: usize = 2048;

/// What makes two events alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    level: Level,
    what: &'static str,
    why: Option<Why>,
    peer: Option<u32>,
}

/// Writes the news of one server to the log, and its numbers to the metrics if there are any.
///
/// Nothing that a peer, a master or a stranger does makes it write more than a few lines a second:
/// what repeats is left out and counted.
#[derive(Debug)]
pub(crate) struct Reporter {
    server: u32,
    about: About,
    expected: Expected,
    metrics: Option<Arc<Metrics>>,
    kinds: Windows<Kind>,
    /// The reasons for which connections ended, and whose session, if one did.
    reasons: Windows<(Why, Option<u32>)>,
    /// Connections refused until the last look.
    refused: u64,
    /// The latest moment.
    now: Time,
}

impl Reporter {
    /// For the server that `config` makes, in a grid as `grid` describes it.
    pub(crate) fn new<O>(config: &Config<O>, grid: Grid, metrics: Option<Arc<Metrics>>) -> Self {
        let about = About {
            id: config.id,
            servers: config.servers,
            times: config.times.clone(),
        };
        Self {
            server: config.id,
            about,
            expected: Expected::new(grid),
            metrics,
            kinds: Windows::new(WINDOW, KINDS),
            reasons: Windows::new(HINT_WINDOW, KINDS),
            refused: 0,
            now: Time::ZERO,
        }
    }

    /// Whether an event is to be logged: not below the log's level, and not more of its kind
    /// than a burst. Events at the level of debugging are all logged.
    fn admits(&mut self, kind: Kind) -> bool {
        let server = self.server;
        match kind.level {
            Level::Debug => true,
            level if !is_logged(level) => false,
            Level::Info | Level::Warn => {
                let count = self.kinds.count(self.now, kind, |e| left_out(server, &e));
                count <= BURST
            }
        }
    }

    /// Warns of what is probably wrong, if the end of a connection shows something.
    fn hint(&mut self, why: Why, peer: Option<u32>) {
        if let Some(threshold) = hints::threshold(why, peer.is_some())
            && self.reasons.count(self.now, (why, peer), |_| {}) == threshold
            && let Some(hint) = hints::sentence(&self.about, why, peer, threshold, HINT_WINDOW)
        {
            tracing::warn!(server = self.server, "{hint}");
        }
    }
}

/// What is still to be said when the server ends.
impl Drop for Reporter {
    fn drop(&mut self) {
        let server = self.server;
        self.kinds
            .end_all(self.now, |ended| left_out(server, &ended));
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

/// Whether the log takes events of `level`.
fn is_logged(level: Level) -> bool {
    match level {
        Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(tracing::Level::INFO),
        Level::Warn => tracing::enabled!(tracing::Level::WARN),
    }
}

/// Says how many events a window left out.
fn left_out(server: u32, ended: &Ended<Kind>) {
    let seconds = ended.length.as_micros().div_ceil(1_000_000);
    let count = ended.count.saturating_sub(BURST);
    match ended.key {
        _ if count == 0 => {}
        Some(Kind {
            level,
            what,
            why,
            peer,
        }) => {
            let why = why.map(tracing::field::display);
            event!(
                level,
                server,
                what,
                peer,
                why,
                "{count} more like this in the last {seconds} s were left out"
            );
        }
        None => tracing::warn!(
            server,
            "{count} more of various kinds in the last {seconds} s were left out"
        ),
    }
}

/// What makes a piece of news like another: its kind, its reason, and whom it is about.
fn kind<P: Served>(news: &News<P::Event>) -> Kind {
    let (what, why, peer) = match news {
        News::Up { peer, .. } => ("peer up", None, Some(*peer)),
        News::Down { peer, why, .. } => ("peer down", Some(*why), Some(*peer)),
        News::Closed { why, .. } => ("connection closed", Some(*why), None),
        News::Skipped { peer, .. } => ("skipped", None, Some(*peer)),
        News::Misfit { peer, .. } => ("misfit", None, Some(*peer)),
        News::Following { peer, .. } => ("following", None, Some(*peer)),
        News::Starved { .. } => ("accept failed", None, None),
        News::Ending => ("ending", None, None),
        News::Protocol(event) => {
            let (what, peer) = P::kind(event);
            (what, None, peer)
        }
    };
    Kind {
        level: news.level(),
        what,
        why,
        peer,
    }
}

impl<M: Housing> Observer<M> for Reporter {
    fn notice(&mut self, now: Time, news: &M::Notice) {
        self.now = now;
        self.expected.look(now);
        let (server, kind) = (self.server, kind::<M::Protocol>(news));
        let (level, admitted) = (kind.level, self.admits(kind));
        match news {
            News::Up { peer, conn } => {
                self.expected.meet(*peer);
                if admitted {
                    event!(level, server, peer, %conn, "peer up");
                }
            }
            News::Down {
                peer,
                conn,
                why,
                silence,
            } => {
                if let Some(metrics) = &self.metrics
                    && *why == Why::Silent
                {
                    metrics.suspected(*silence);
                }
                if admitted {
                    event!(level, server, peer, %conn, %why, %silence, "peer down");
                }
                self.hint(*why, Some(*peer));
            }
            News::Closed { conn, why } => {
                if admitted {
                    event!(level, server, %conn, %why, "connection closed");
                }
                self.hint(*why, None);
            }
            News::Skipped { .. }
            | News::Misfit { .. }
            | News::Following { .. }
            | News::Starved { .. }
            | News::Ending
            | News::Protocol(_) => {
                if admitted {
                    event!(level, server, "{news}");
                }
            }
        }
    }

    fn look(&mut self, now: Time, machine: &M) {
        self.now = now;
        self.expected.look(now);
        let (server, machine) = (self.server, machine.server());
        self.kinds.end(now, |ended| left_out(server, &ended));
        let count = machine.counters().refused - self.refused;
        self.refused += count;
        let refusal = Kind {
            level: Level::Info,
            what: "connections refused",
            why: None,
            peer: None,
        };
        if count > 0 && self.admits(refusal) {
            tracing::info!(
                server,
                count,
                "connections refused: their other end had gone, or there was no room for them"
            );
        }
        if let Some(metrics) = &self.metrics {
            metrics.set(machine);
        }
    }
}
