//! What the driver tells the server and asks of it.

use super::{Broken, Fault, Role};
use chatroom_chat::{LINKS, News, SHUTDOWN, STARVED, Why};
use chatroom_machine::{
    Action, Conn, Dialled, Door, Loss, Machine, Misuse, Refused, Remote, Time, Timeout,
};

impl Machine for Broken {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.enter(now);
        self.started = true;
        self.beat = Some(self.now + self.config.times.heartbeat);
        (0..self.config.id).for_each(|peer| self.dial(peer));
    }

    fn handle_accepted(&mut self, now: Time, door: Door, _: Remote) -> Result<Conn, Refused> {
        self.enter(now);
        if self.ending.is_some() || (self.left && door == LINKS) {
            return Err(Refused);
        }
        if door == LINKS {
            let conn = self.take(Role::Inbound);
            self.deadlines
                .push((self.now + self.config.times.greeting, conn));
            self.settle();
            return Ok(conn);
        }
        let count = self.conns(|link| link.role == Role::Master).len();
        if self.is(Fault::TurnsAway) && count >= self.config.limits.masters {
            return Err(Refused);
        }
        let most = self.config.limits.masters.max(self.config.limits.nameless);
        if self.is(Fault::ClosesOldest) && count >= most {
            let idle = self
                .all()
                .filter(|link| link.role == Role::Master && !link.valid);
            if let Some(oldest) = idle.min_by_key(|link| link.number) {
                self.end(oldest.conn, Why::Crowded, false);
            }
        }
        let conn = self.take(Role::Master);
        self.settle();
        Ok(conn)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.enter(now);
        self.shut_until[usize::from(door.0)] = Some(self.now + STARVED);
        self.settle();
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.enter(now);
        let link = self.at(conn).ok_or(Misuse::Stale)?;
        let Role::Dialling(peer) = link.role else {
            return Err(Misuse::WrongState);
        };
        match outcome {
            Dialled::Failed => self.end(conn, Why::Refused, true),
            Dialled::Connected => {
                let (ping, now) = (self.ping(), self.now);
                if let Some(link) = self.at_mut(conn) {
                    link.role = Role::Outbound(peer);
                    link.since = now;
                }
                self.push(conn, &ping);
            }
        }
        Ok(())
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.enter(now);
        match self.at(conn).ok_or(Misuse::Stale)?.role {
            Role::Master => {
                if self.ending.is_none()
                    && let Some(link) = self.at_mut(conn)
                {
                    link.held.extend_from_slice(bytes);
                    self.serve(conn);
                }
            }
            Role::Dialling(_) => return Err(Misuse::WrongState),
            Role::Peer(_) | Role::Old(_) | Role::Outbound(_) | Role::Inbound => {
                self.link_bytes(conn, bytes);
            }
        }
        self.settle();
        Ok(())
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.enter(now);
        let (now, fault) = (self.now, self.fault);
        let replies = self.config.limits.replies;
        let link = self.at_mut(conn).ok_or(Misuse::Stale)?;
        if count > link.out.len() || (fault == Fault::ShortWriteIsMisuse && count < link.out.len())
        {
            return Err(Misuse::TooMuch);
        }
        link.out.drain(..count);
        if fault == Fault::SilenceSinceSend {
            link.heard = now;
        }
        if link.paused && link.out.len() <= replies / 2 && self.ending.is_none() {
            self.serve(conn);
        }
        if self
            .at(conn)
            .is_some_and(|l| l.finished && l.held.is_empty() && l.out.is_empty())
        {
            self.end(conn, Why::Finished, false);
        }
        self.unblock();
        self.settle();
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.enter(now);
        let fault = self.fault;
        let link = self.at_mut(conn).ok_or(Misuse::Stale)?;
        if link.role == Role::Master
            && loss == Loss::Finished
            && (!link.out.is_empty() || !link.held.is_empty())
        {
            link.finished = true;
            return Ok(());
        }
        if fault == Fault::DeadSpeakLast
            && loss == Loss::Finished
            && let Role::Peer(peer) = link.role
        {
            self.replace(peer, conn, Why::Finished);
            return Ok(());
        }
        if fault == Fault::RestAtEnd && matches!(link.role, Role::Peer(_)) {
            let rest = std::mem::take(&mut link.input);
            // The link ends anyway.
            let _ = self.link_line(conn, &rest);
        }
        match loss {
            Loss::Finished => self.end(conn, Why::Finished, false),
            Loss::Broken => self.end(conn, Why::Broken, true),
        }
        self.settle();
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        self.enter(now);
        if self.halted {
            return;
        }
        let now = self.now;
        for conn in self.conns(|_| true) {
            let due = self.at(conn).and_then(|link| self.due(link));
            if let Some((at, why)) = due
                && at <= now
            {
                self.end(conn, why, false);
            }
        }
        if self.is(Fault::StaleDeadline) {
            let due = self.deadlines.extract_if(.., |(at, _)| *at <= now);
            let due: Vec<_> = due.collect();
            for (_, meant) in due {
                if let Some(found) = self.links[meant.slot()].as_ref().map(|link| link.conn)
                    && found != meant
                {
                    self.end(found, Why::NoGreeting, false);
                }
            }
        }
        for peer in 0..self.config.id {
            if self.peers[peer as usize].redial.is_some_and(|at| at <= now) {
                self.dial(peer);
            }
        }
        for until in &mut self.shut_until {
            until.take_if(|at| *at <= now);
        }
        if self.beat.is_some_and(|at| at <= now) {
            self.heartbeat();
        }
        self.record_late();
        if self.ending.is_some_and(|at| at <= now) {
            self.finish();
        }
        self.settle();
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.enter(now);
        if self.ending.is_some() || self.halted {
            return;
        }
        self.ending = Some(self.now + SHUTDOWN);
        self.tell(News::Ending);
        self.leave(Why::Ending, |link| !matches!(link.role, Role::Peer(_)));
        self.settle();
    }

    fn poll(&mut self) -> Option<Action<News>> {
        let action = self.actions.pop_front();
        if let Some(Action::Close(conn)) = action {
            self.free.push(conn.slot());
        }
        if action.is_none() && self.is(Fault::SpinOnBlockedWrite) && !self.halted {
            let blocked = self.sessions().find(|link| !link.out.is_empty());
            return blocked.map(|link| Action::Send(link.conn));
        }
        action
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        let out = self.at(conn).map(|link| &link.out[..]);
        out.and_then(|out| out.get(skip..)).unwrap_or(&[])
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        if self.halted && self.actions.is_empty() {
            return None;
        }
        let links = || self.all().filter_map(|link| self.due(link));
        let judges = links().filter(|(_, why)| *why != Why::DialTimeout);
        let redials = self.peers.iter().filter_map(|peer| peer.redial);
        let doors = self
            .shut_until
            .iter()
            .flatten()
            .copied()
            .filter(|_| self.ending.is_none());
        let stale = self.deadlines.iter().map(|(at, _)| *at);
        let stale = stale.filter(|_| self.is(Fault::StaleDeadline));
        let first = links()
            .map(|(at, _)| at)
            .chain(redials)
            .chain(doors)
            .chain(stale);
        let first = first.chain(self.beat).chain(self.ending).min()?;
        Some(Timeout {
            at: if self.actions.is_empty() {
                first
            } else {
                self.now
            },
            why: "something",
            judges_at: judges.map(|(at, _)| at).min(),
        })
    }
}
