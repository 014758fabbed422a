//! The checks on the log of one life, entry by entry and in bounded memory: the properties of the
//! contract that one log can break.
//!
//! The simulator's judge is not used: it follows every link of every machine from both ends,
//! which only the simulator can see, and remembers each broadcast of a run. Here a text says
//! which broadcast it is, and one number for each peer is enough to remember.

use crate::text::{self, Identity};
use std::hash::{DefaultHasher, Hasher};

/// What is known of the log of one life so far.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    own: usize,
    life: u32,
    peers: Vec<Peer>,
    digest: Digest,
    /// Gaps between the texts of a first `get`, whose sessions were not watched.
    pub(crate) unwatched_gaps: u64,
}

/// What is known of the entries of one server.
#[derive(Clone, Debug)]
struct Peer {
    /// What that server had accepted when this life began: only later ones may come.
    floor: (u32, u64),
    last: Option<(u32, u64)>,
    /// A session began after the last entry.
    fresh: bool,
}

/// A log, as far as two can be told apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    hasher: DefaultHasher,
    /// Entries.
    pub(crate) texts: u64,
    /// Bytes, with one for each entry's separator.
    pub(crate) bytes: u64,
}

impl Digest {
    /// Adds an entry.
    pub(crate) fn add(&mut self, text: &[u8]) {
        self.hasher.write(text);
        self.hasher.write_u8(b',');
        self.texts += 1;
        self.bytes += text.len() as u64 + 1;
    }

    /// A number that another log would not have.
    #[must_use]
    pub(crate) fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}

impl Judge {
    /// For the log of life `life` of server `own`; `floors` is what every server had accepted
    /// before that life began: its life at that time, and the number of its last broadcast.
    #[must_use]
    pub(crate) fn new(own: usize, life: u32, floors: &[(u32, u64)]) -> Self {
        let peer = |&floor: &(u32, u64)| Peer {
            floor,
            last: None,
            fresh: false,
        };
        Self {
            own,
            life,
            peers: floors.iter().map(peer).collect(),
            digest: Digest::default(),
            unwatched_gaps: 0,
        }
    }

    /// A session with `peer` began.
    pub(crate) fn up(&mut self, peer: usize) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.fresh = true;
        }
    }

    /// The log so far.
    #[must_use]
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Life and number of the last entry of a server.
    #[must_use]
    pub(crate) fn last(&self, server: usize) -> Option<(u32, u64)> {
        self.peers[server].last
    }

    /// Takes the next entry, `watched` if sessions that began before it were told. `issued` says
    /// how many broadcasts a life was asked for so far; `None` if there is no such life.
    ///
    /// # Errors
    /// The property that the entry breaks, and how.
    pub(crate) fn entry(
        &mut self,
        text: &[u8],
        watched: bool,
        issued: impl Fn(usize, u32) -> Option<u64>,
    ) -> Result<Identity, String> {
        self.digest.add(text);
        let Some(entry) = text::parse(text).filter(|entry| entry.server < self.peers.len()) else {
            let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
            return Err(format!("1 no creation: {shown:?} was never broadcast"));
        };
        let Identity {
            server,
            life,
            number,
        } = entry;
        if number == 0 || issued(server, life).is_none_or(|most| number > most) {
            return Err(format!("1 no creation: {entry:?} was never broadcast"));
        }
        let peer = &mut self.peers[server];
        let now = (life, number);
        let before = peer.last.replace(now);
        let fresh = std::mem::take(&mut peer.fresh);
        if server == self.own {
            let next = before.map_or(1, |(_, last)| last + 1);
            if now != (self.life, next) {
                return Err(format!("5 own messages: {entry:?} instead of {next}"));
            }
            return Ok(entry);
        }
        if now <= peer.floor {
            return Err(format!("8 empty log: {entry:?} was sent before this life"));
        }
        let Some(before) = before else {
            return Ok(entry);
        };
        if now == before {
            return Err(format!("2 no duplication: {entry:?} twice"));
        }
        if now < before {
            let rule = if life < before.0 { "4 lives" } else { "3 FIFO" };
            return Err(format!("{rule} in order: {entry:?} after {before:?}"));
        }
        if now != (before.0, before.1 + 1) && !fresh {
            if watched {
                return Err(format!(
                    "3 FIFO, 6 validity: {entry:?} after {before:?} in one session"
                ));
            }
            self.unwatched_gaps += 1;
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOORS: [(u32, u64); 3] = [(0, 0), (0, 0), (4, 10)];

    /// What a judge of life 0 of server 0 says of a log of (server, life, number), `U` being a new
    /// session.
    fn judged(log: &[(usize, u32, u64)], up_before: Option<usize>) -> Result<(), String> {
        let mut judge = Judge::new(0, 0, &FLOORS);
        for (i, &(server, life, number)) in log.iter().enumerate() {
            if up_before == Some(i) {
                judge.up(server);
            }
            let identity = Identity {
                server,
                life,
                number,
            };
            let mut text = Vec::new();
            text::push(&mut text, identity, 5);
            judge.entry(&text, true, |_, life| (life <= 5).then_some(100))?;
        }
        Ok(())
    }

    #[test]
    fn a_right_log_passes() {
        let log = [(0, 0, 1), (1, 0, 4), (2, 4, 11), (1, 0, 5), (0, 0, 2)];
        assert_eq!(judged(&log, None), Ok(()));
        assert_eq!(judged(&[(1, 0, 4), (1, 0, 9)], Some(1)), Ok(()));
        assert_eq!(judged(&[(1, 0, 4), (1, 1, 3)], Some(1)), Ok(()));
    }

    #[test]
    fn every_wrong_log_breaks_its_property() {
        for (log, property) in [
            (&[(1, 0, 101)][..], "1 "),
            (&[(1, 6, 1)], "1 "),
            (&[(7, 0, 1)], "1 "),
            (&[(1, 0, 1), (1, 0, 1)], "2 "),
            (&[(1, 0, 2), (1, 0, 1)], "3 FIFO in"),
            (&[(1, 0, 1), (1, 0, 3)], "3 FIFO, 6"),
            (&[(1, 0, 1), (1, 1, 1)], "3 FIFO, 6"),
            (&[(1, 1, 1), (1, 0, 9)], "4 "),
            (&[(0, 0, 2)], "5 "),
            (&[(0, 0, 1), (0, 0, 3)], "5 "),
            (&[(2, 4, 10)], "8 "),
            (&[(2, 3, 50)], "8 "),
        ] {
            let said = judged(log, None).unwrap_err();
            assert!(said.starts_with(property), "{log:?}: {said}");
        }
        let mut judge = Judge::new(0, 0, &FLOORS);
        let said = judge.entry(b"1.0.1.3:ab", true, |_, _| Some(9));
        assert!(said.unwrap_err().starts_with("1 "));
    }

    #[test]
    fn another_log_has_another_digest() {
        let digest = |texts: &[&str]| {
            let mut digest = Digest::default();
            texts.iter().for_each(|text| digest.add(text.as_bytes()));
            digest.finish()
        };
        assert_eq!(digest(&["a", "b"]), digest(&["a", "b"]));
        for other in [&["b", "a"][..], &["a"], &["a", "b", "b"], &["ab"]] {
            assert_ne!(digest(&["a", "b"]), digest(other));
        }
    }
}
