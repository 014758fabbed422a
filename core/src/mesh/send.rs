//! What is owed to the peers that are up: what is broadcast, how far each has taken it, and whom
//! that holds up.

use super::{Above, Mesh};
use crate::news::Why;
use crate::turn::Turn;
use chatroom_machine::Time;
use chatroom_machine::{Action, Conn, Misuse};

impl Mesh {
    /// Sends `text` to every peer that is up.
    pub(crate) fn broadcast(&mut self, turn: &mut Turn, above: &mut impl Above, text: &[u8]) {
        if self.up == 0 {
            return;
        }
        let start = self.stream.end();
        self.stream.append(&self.prefix);
        self.stream.append(text);
        self.stream.append(b"\n");
        if self.behind != self.up {
            self.behind = self.up;
            for link in self.links.iter_mut().flatten() {
                if link.peer().is_some() && link.cursor == start && !link.sending {
                    link.owe_first(turn.now);
                    turn.act(Action::Send(link.conn));
                }
            }
        }
        let lag = self.limits.lag as u64;
        if self.stream.held() > lag {
            self.end_where(turn, above, |mesh, link| {
                let behind = link.peer().is_some() && mesh.stream.end() - link.cursor > lag;
                // A single broadcast never drops a peer that had taken all before it.
                (behind && link.cursor < start).then_some(Why::FellBehind)
            });
        }
    }

    pub(crate) fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.links[conn.slot()]
            .as_ref()
            .map_or(&[], |link| link.pending(skip, &self.stream))
    }

    pub(crate) fn handle_sent(
        &mut self,
        turn: &mut Turn,
        conn: Conn,
        count: usize,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        if count as u64 > link.owed(&self.stream) {
            return Err(Misuse::TooMuch);
        }
        if count == 0 {
            return Ok(());
        }
        let streamed = link.took(count, turn.now);
        link.sending = link.owed(&self.stream) > 0;
        if streamed > 0 {
            let (from, to) = (link.cursor - streamed, link.cursor);
            self.behind -= usize::from(to == self.stream.end());
            // Only at its end can a block have become free, or when nobody is behind any more.
            // Looking after each link would be quadratic.
            if self.behind == 0 || self.stream.block_ends(from, to) {
                self.trim();
            }
        }
        Ok(())
    }

    /// Frees what every session has read.
    pub(super) fn trim(&mut self) {
        let end = self.stream.end();
        let least = match self.behind {
            0 => end,
            _ => (self.links.iter().flatten())
                .filter(|link| link.peer().is_some())
                .map(|link| link.cursor)
                .min()
                .unwrap_or(end),
        };
        self.stream.trim(least);
    }

    /// Until when those that broadcast are to wait for a peer that lags behind but goes on
    /// reading. One that takes nothing for [`STALL`](crate::config::STALL) holds up nobody until it
    /// has used up three quarters of its limit; from there on it is given more time, as a kernel
    /// reports progress in jumps.
    pub(crate) fn congested(&self, now: Time) -> Option<Time> {
        let high_water = self.limits.high_water as u64;
        if self.stream.held() <= high_water {
            return None;
        }
        let near = (self.limits.lag - self.limits.lag / 4) as u64;
        (self.links.iter().flatten())
            .filter(|link| link.peer().is_some())
            .map(|link| (link, self.stream.end() - link.cursor))
            .filter(|&(_, lag)| lag > high_water)
            .map(|(link, lag)| link.holds_up_until(lag > near))
            .filter(|&until| until > now)
            .max()
    }
}
