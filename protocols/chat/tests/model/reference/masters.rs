//! Masters: who has a place, who waits for one, and what each is answered.

use super::{IDLE, Master, PLACE, Reference, Told, Who};
use chatroom_chat::Why;
use chatroom_machine::{Conn, Time};

impl Reference {
    pub(crate) fn master(&mut self, conn: Conn) {
        self.made += 1;
        let master = Master {
            order: self.made,
            since: self.now,
            heard: self.now,
            busy: self.now,
            rest: vec![],
            watches: false,
            placed: false,
            waits: None,
            held: vec![],
            finished: false,
            dismissed: false,
        };
        assert!(self.masters.insert(conn, master).is_none());
    }

    /// The connection ended: at once, or once what was said on it has been obeyed.
    pub(crate) fn lost(&mut self, conn: Conn, broken: bool) {
        match self.masters.get_mut(&conn) {
            Some(master) if !broken && master.waits.is_some() => master.finished = true,
            _ if broken => self.end(conn, Why::Broken),
            _ => self.end(conn, Why::Finished),
        }
        self.settle();
    }

    /// Whether a driver may still say something of it.
    pub(crate) fn may_send(&self, conn: Conn) -> bool {
        let master = self.masters.get(&conn);
        master.is_none_or(|m| !m.finished && !m.dismissed)
    }

    pub(crate) fn master_bytes(&mut self, conn: Conn, bytes: &[u8]) {
        let now = self.now;
        let master = self.masters.get_mut(&conn).expect("open");
        match master.waits {
            Some(_) => master.held.extend(bytes),
            None => {
                (master.heard, master.busy) = (now, now);
                self.master_lines(conn, bytes);
            }
        }
        self.settle();
    }

    fn master_lines(&mut self, conn: Conn, bytes: &[u8]) {
        let master = self.masters.get_mut(&conn).expect("open");
        let mut lines = Self::lines(&mut master.rest, bytes).into_iter();
        while let Some(line) = lines.next() {
            let valid = self.is_valid(&line);
            let places = self.masters.values().filter(|m| m.placed).count();
            let waiting = self.masters.values().filter(|m| m.waits.is_some());
            let (waiting, now) = (waiting.count(), self.now);
            let master = self.masters.get_mut(&conn).expect("open");
            if valid && !master.placed {
                if places < self.limits.masters {
                    (master.placed, master.busy) = (true, now);
                } else if waiting >= self.limits.masters {
                    return self.dismiss(conn, Why::Full);
                } else {
                    for line in [line].into_iter().chain(lines) {
                        master.held.extend([&line[..], b"\n"].concat());
                    }
                    master.held.append(&mut master.rest);
                    self.made += 1;
                    master.waits = Some((self.made, now + PLACE));
                    let at = if self.idlest().is_some() {
                        now
                    } else {
                        now + PLACE
                    };
                    self.look_at_places(at);
                    return;
                }
            }
            self.command(conn, &line);
            if self.crashed {
                return;
            }
        }
    }

    pub(super) fn look_at_places(&mut self, at: Time) {
        self.place_at = Some(self.place_at.map_or(at, |t| t.min(at)));
    }

    fn dismiss(&mut self, conn: Conn, why: Why) {
        self.told.entry(conn).or_default().push(Told::Error);
        self.leaving.insert(conn, why);
        let master = self.masters.get_mut(&conn).expect("open");
        (master.placed, master.waits, master.dismissed) = (false, None, true);
        self.look_at_places(self.now + PLACE);
    }

    pub(super) fn idlest(&self) -> Option<Conn> {
        let idle = |m: &Master| m.placed && !m.watches && m.busy + IDLE <= self.now;
        let idle = self.masters.iter().filter(|m| idle(m.1));
        idle.min_by_key(|m| (m.1.busy, m.0.slot())).map(|m| *m.0)
    }

    /// Who waits, in the order in which they came.
    fn waiting(&self) -> Vec<Conn> {
        let mut all: Vec<_> = (self.masters.iter())
            .filter_map(|(c, m)| m.waits.map(|w| (w.0, *c)))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|w| w.1).collect()
    }

    /// Places are looked at: idle masters go for who waits, and who waited for too long is refused.
    pub(super) fn judge_places(&mut self) {
        self.place_at = None;
        for conn in self.waiting() {
            let full = self.masters.values().filter(|m| m.placed).count() >= self.limits.masters;
            let idlest = if full { self.idlest() } else { None };
            let now = self.now;
            if full && idlest.is_none() {
                if self.masters[&conn].waits.expect("it waits").1 <= now {
                    self.dismiss(conn, Why::Full);
                }
                continue;
            }
            if let Some(idlest) = idlest {
                self.dismiss(idlest, Why::Idle);
            }
            let master = self.masters.get_mut(&conn).expect("open");
            (master.placed, master.busy) = (true, now);
        }
        let next = self.masters.values().filter(|m| !m.placed);
        let dismissed = (self.leaving.values())
            .any(|why| matches!(why, Why::Full | Why::Idle))
            .then_some(self.now + PLACE);
        self.place_at = next
            .filter_map(|m| m.waits.map(|w| w.1))
            .chain(dismissed)
            .min();
    }

    /// Who waits goes on where there is a place.
    pub(super) fn settle(&mut self) {
        for conn in self.waiting() {
            let places = self.masters.values().filter(|m| m.placed).count();
            let now = self.now;
            let Some(master) = self.masters.get_mut(&conn) else {
                continue;
            };
            if self.crashed || (!master.placed && places >= self.limits.masters) {
                continue;
            }
            (master.placed, master.waits, master.busy) = (true, None, now);
            let (held, finished) = (std::mem::take(&mut master.held), master.finished);
            self.master_lines(conn, &held);
            if finished && !self.crashed {
                match self.told.get(&conn).is_some_and(|told| !told.is_empty()) {
                    true => drop(self.leaving.insert(conn, Why::Finished)),
                    false => self.end(conn, Why::Finished),
                }
            }
        }
    }

    fn trimmed(line: &[u8]) -> String {
        let line = String::from_utf8_lossy(line).into_owned();
        line.trim_matches([' ', '\t', '\r', '\x0b', '\x0c'])
            .to_string()
    }

    fn is_valid(&self, line: &[u8]) -> bool {
        let line = Self::trimmed(line);
        let text = line.strip_prefix("broadcast ");
        matches!(&line[..], "get" | "alive" | "crash" | "watch")
            || text.is_some_and(|text| !text.contains('\u{fffd}'))
    }

    fn command(&mut self, conn: Conn, line: &[u8]) {
        let line = Self::trimmed(line);
        match &line[..] {
            "get" => self.tell(conn, format!("messages {}", self.log.join(","))),
            "alive" => {
                let ids: Vec<String> = self.alive().iter().map(u32::to_string).collect();
                self.tell(conn, format!("alive {}", ids.join(",")));
            }
            "crash" => self.crashed = true,
            "watch" => self.masters.get_mut(&conn).expect("open").watches = true,
            _ => match line.strip_prefix("broadcast ") {
                Some(text) if !text.contains('\u{fffd}') => {
                    if !self.record(self.id, text) {
                        return self.told.entry(conn).or_default().push(Told::Error);
                    }
                    let peers = self
                        .links
                        .iter()
                        .filter(|l| matches!(l.1.who, Who::Peer(_)));
                    for conn in peers.map(|l| *l.0).collect::<Vec<_>>() {
                        self.tell(conn, format!("msg {} {text}", self.id));
                    }
                }
                Some(_) | None => self.told.entry(conn).or_default().push(Told::Error),
            },
        }
    }
}
