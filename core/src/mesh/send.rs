//! What is owed to the peers that are up: what is broadcast and what is sent to one of them, how
//! far each has taken it, and whom that holds up.

use super::Mesh;
use crate::news::Why;
use crate::outputs::Outputs;
use chatroom_machine::Time;
use chatroom_machine::{Conn, Misuse};

impl Mesh {
    /// Sends `body` to every peer that is up.
    pub(crate) fn broadcast<E>(&mut self, out: &mut Outputs<E>, body: &[u8]) {
        self.count += 1;
        if self.up == 0 && self.kept == 0 {
            return self.log.skip(self.prefix.len() + body.len() + 1);
        }
        let start = self.log.end();
        if self.lagging == 0 {
            self.slowest = start;
        }
        self.log.append(&self.prefix);
        self.log.append(body);
        self.log.append(b"\n");
        if self.lagging != self.up {
            self.lagging = self.up;
            for link in self.links.iter_mut().flatten() {
                if link.streams() && link.offset == start {
                    link.wake(out);
                }
            }
        }
        self.drop_laggards(out, self.log.end() - start);
        self.forget_the_farthest();
    }

    /// Sends `body` to one peer, if it is up.
    pub(crate) fn send<E>(&mut self, out: &mut Outputs<E>, peer: u32, body: &[u8]) {
        debug_assert!(!self.resumes, "a message to one peer cannot be sent again");
        let link = self.peers.get(peer as usize).and_then(|p| p.link);
        let Some(link) = link.and_then(|conn| self.links[conn.slot()].as_mut()) else {
            return;
        };
        let length = link.send(out, &[&self.prefix, body, b"\n"], &self.log);
        self.own += length;
        self.drop_laggards(out, length as u64);
    }

    /// Drops the peers that owe more reading than the limit. The `last` bytes alone drop nobody: a
    /// peer that had taken all before them stays.
    fn drop_laggards<E>(&mut self, out: &mut Outputs<E>, last: u64) {
        let lag = self.limits.lag as u64;
        if self.owed_at_most() > lag {
            self.trim();
            self.end_where(out, |mesh, link| {
                // On one that waits for a `hello` nothing is owed yet, and all of it is kept.
                let owed = link.own_left() as u64 + mesh.log.end() - link.offset;
                let lags = link.peer().is_some() && owed > lag && owed > last;
                lags.then_some(Why::FellBehind)
            });
        }
    }

    /// A bound on what any one peer is owed.
    const fn owed_at_most(&self) -> u64 {
        let broadcasts = match self.lagging {
            0 => 0,
            _ => self.log.end() - self.slowest,
        };
        broadcasts + self.own as u64
    }

    /// Sees that a body is one that a peer takes.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn check_body(&self, body: &[u8]) {
        assert!(
            !body.is_empty() && body.len() <= self.limits.text,
            "a message of {} bytes: expected 1 to {}",
            body.len(),
            self.limits.text
        );
        debug_assert!(!body.contains(&b'\n'), "a message with a newline");
    }

    pub(crate) fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.links[conn.slot()]
            .as_ref()
            .map_or(&[], |link| link.pending(skip, &self.log))
    }

    pub(crate) fn handle_sent<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        count: usize,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        if count as u64 > link.owed(&self.log) {
            return Err(Misuse::TooMuch);
        }
        if count == 0 {
            return Ok(());
        }
        let streamed = link.took(count, out.now);
        self.own -= count - streamed as usize;
        link.sending = link.owed(&self.log) > 0;
        if let Some(why) = link.refused
            && link.own_left() == 0
        {
            self.end(out, conn, why, false);
            return Ok(());
        }
        if streamed > 0 {
            let (from, to) = (link.offset - streamed, link.offset);
            self.lagging -= usize::from(to == self.log.end());
            // Only at its end can a block have become free, or when nobody is behind any more.
            // Looking after each link would be quadratic.
            // What is kept for those who come back is freed when they acknowledge it.
            if (self.lagging == 0 && self.kept == 0) || self.log.block_ends(from, to) {
                self.trim();
            }
        }
        Ok(())
    }

    /// Frees what every session has read and nobody is kept it for.
    pub(super) fn trim(&mut self) {
        let end = self.log.end();
        self.slowest = match self.lagging {
            0 => end,
            _ => (self.links.iter().flatten())
                .filter(|link| link.peer().is_some())
                .map(|link| link.offset)
                .min()
                .unwrap_or(end),
        };
        let kept = match self.kept {
            0 => None,
            _ => self.peers.iter().filter_map(|peer| peer.keep).min(),
        };
        self.log
            .trim(kept.map_or(self.slowest, |kept| kept.min(self.slowest)));
    }

    /// Until when those that broadcast are to wait for a peer that lags behind but goes on
    /// reading. One that takes nothing for [`STALL`](crate::config::STALL) holds up nobody until it
    /// has used up three quarters of its limit; from there on it is given more time, as a kernel
    /// reports progress in jumps.
    pub(crate) fn congested(&self, now: Time) -> Option<Time> {
        let high_water = self.limits.high_water as u64;
        if self.owed_at_most() <= high_water {
            return None;
        }
        let near = (self.limits.lag - self.limits.lag / 4) as u64;
        (self.links.iter().flatten())
            .filter(|link| link.peer().is_some())
            .map(|link| (link, link.owed(&self.log)))
            .filter(|&(_, lag)| lag > high_water)
            .map(|(link, lag)| link.holds_up_until(lag > near))
            .filter(|&until| until > now)
            .max()
    }
}
