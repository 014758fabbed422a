//! The grid as one server is told of it at its start: where it listens, whom it expects, and who
//! of them never came.

use chatroom_machine::{Span, Time};
use std::net::SocketAddr;
use tracing::{info, warn};

/// How long after its start a server waits before it warns of peers that it has never met. The
/// contract gives a grid three seconds, people who start servers by hand take longer.
const PATIENCE: Span = Span::from_millis(10_000);
/// How many such peers have a line each; the others share one.
const LINES: usize = 16;

/// What a server is to begin with.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub(crate) server: u32,
    /// The addresses of all servers' links, by id.
    pub(crate) links: Vec<SocketAddr>,
    pub(crate) masters: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) runtime: &'static str,
    /// The options that have another value than their default, as on the command line.
    pub(crate) differing: Vec<String>,
}

/// Who has been met.
#[derive(Debug)]
pub(crate) struct Expected {
    grid: Grid,
    met: Vec<bool>,
    began: Option<Time>,
    warned: bool,
}

impl Expected {
    pub(crate) fn new(grid: Grid) -> Self {
        let met = (0..).zip(&grid.links).map(|(id, _)| id == grid.server);
        Self {
            met: met.collect(),
            grid,
            began: None,
            warned: false,
        }
    }

    /// Keeps in mind that a peer is up.
    pub(crate) fn meet(&mut self, peer: u32) {
        if let Some(met) = self.met.get_mut(peer as usize) {
            *met = true;
        }
    }

    /// Says at the first call what the server begins with, and later, once, who never came.
    pub(crate) fn look(&mut self, now: Time) {
        let Some(began) = self.began else {
            self.began = Some(now);
            return self.announce();
        };
        if !self.warned && now.since(began) >= PATIENCE {
            self.warned = true;
            self.warn();
        }
    }

    fn announce(&self) {
        let Grid {
            server,
            links,
            masters,
            metrics,
            runtime,
            differing,
        } = &self.grid;
        let own = links[*server as usize];
        let version = env!("CARGO_PKG_VERSION");
        let metrics = metrics.map(tracing::field::display);
        info!(server, links = %own, %masters, metrics, runtime, version, "listening");
        let (dials, awaits) = (ids(0..*server), ids(*server + 1..links.len() as u32));
        match (dials.is_empty(), awaits.is_empty()) {
            (true, true) => info!(server, "no peers: a grid of one server"),
            (true, false) => info!(server, %awaits, "peers expected"),
            (false, true) => info!(server, %dials, "peers expected"),
            (false, false) => info!(server, %dials, %awaits, "peers expected"),
        }
        if !differing.is_empty() {
            info!(
                server,
                options = differing.join(" "),
                "other values than the defaults"
            );
        }
    }

    fn warn(&self) {
        let server = self.grid.server;
        let missing = (0..).zip(&self.met).filter(|(_, met)| !**met);
        let missing: Vec<u32> = missing.map(|(id, _)| id).collect();
        let seconds = PATIENCE.as_micros() / 1_000_000;
        let rest = missing.get(LINES..).unwrap_or_default();
        for &peer in &missing[..missing.len() - rest.len()] {
            if peer < server {
                let at = self.grid.links[peer as usize];
                warn!(
                    server,
                    "peer {peer} has not been up in the {seconds} s since the start: this server dials it at {at}"
                );
            } else {
                let at = self.grid.links[server as usize];
                warn!(
                    server,
                    "peer {peer} has not been up in the {seconds} s since the start: it should dial this server at {at}"
                );
            }
        }
        if !rest.is_empty() {
            let count = rest.len();
            let which = ids(rest.iter().copied());
            warn!(
                server,
                "{count} more peers have not been up in the {seconds} s since the start: {which}"
            );
        }
    }
}

/// Ascending ids, as in `0-3,7`.
fn ids(ids: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let shown = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shown_in_runs() {
        for (given, shown) in [
            (&[][..], ""),
            (&[7], "7"),
            (&[0, 1], "0,1"),
            (&[0, 1, 2, 3, 7], "0-3,7"),
            (&[1, 3, 4, 9, 10, 11], "1,3,4,9-11"),
        ] {
            assert_eq!(ids(given.iter().copied()), shown);
        }
    }
}
