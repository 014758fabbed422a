//! The log, its masters, and what is broadcast.

use super::{Broken, Fault, Role};
use chatroom_chat::{ChatEvent, News, Why};
use chatroom_machine::{Action, Conn, Halt};

impl Broken {
    pub(super) fn record(&mut self, sender: u32, conn: Option<Conn>, text: &str) -> bool {
        let comma = usize::from(!self.texts.is_empty());
        let bytes = self.config.protocol.log;
        if (self.log.len() + comma + text.len()) as u64 > bytes {
            if !self.log_was_full {
                self.tell(News::Protocol(ChatEvent::LogFull { bytes }));
            }
            self.log_was_full = true;
            return false;
        }
        if comma > 0 {
            self.log.push(b',');
        }
        self.log.extend_from_slice(text.as_bytes());
        self.texts.push((sender, text.to_owned()));
        self.tell(News::Protocol(ChatEvent::Delivered {
            sender,
            conn,
            text: text.into(),
        }));
        self.tell_watchers(&format!("delivered {sender} {text}\n"));
        true
    }

    /// Counts a message of a peer that is not kept, and says so.
    pub(super) fn miss(&mut self, peer: u32) {
        self.missed[peer as usize] = true;
        self.counters.missed += 1;
        let second = self.counters.missed.is_multiple_of(2);
        if self.is(Fault::SilentGap) || (second && self.is(Fault::GapTooSmall)) {
            return;
        }
        let count = 1 + u64::from(self.is(Fault::GapTooLarge));
        self.tell(News::Protocol(ChatEvent::Gap { peer, count }));
        self.tell_watchers(&format!("gap {peer} {count}\n"));
    }

    pub(super) fn record_late(&mut self) {
        for text in std::mem::take(&mut self.late) {
            self.counters.broadcasts += u64::from(self.record(self.config.id, None, &text));
        }
    }

    pub(super) fn tell_watchers(&mut self, line: &str) {
        for conn in self.conns(|link| link.watching) {
            let owed = self.at(conn).map_or(0, |link| link.out.len());
            if owed + line.len() > self.config.limits.watch {
                self.end(conn, Why::FellBehind, false);
            } else {
                self.push(conn, line.as_bytes());
            }
        }
    }

    pub(super) fn stuffed(&self, conn: Conn) -> bool {
        self.at(conn)
            .is_some_and(|link| link.out.len() > self.config.limits.replies)
    }

    /// Does what a master says until it owes too much reading.
    pub(super) fn serve(&mut self, conn: Conn) {
        let longest = b"broadcast ".len() + self.config.limits.text + 64;
        while !self.halted {
            let stuffed = self.stuffed(conn);
            let Some(link) = self.at_mut(conn) else {
                return;
            };
            if stuffed {
                if !link.paused {
                    link.paused = true;
                    self.actions.push_back(Action::Pause(conn));
                }
                return;
            }
            if link.held.is_empty() {
                break;
            }
            let end = link.held.iter().position(|byte| *byte == b'\n');
            let piece: Vec<u8> = link
                .held
                .drain(..end.map_or(link.held.len(), |end| end + 1))
                .collect();
            let mut line = None;
            if !link.skipping {
                link.input
                    .extend_from_slice(&piece[..piece.len() - usize::from(end.is_some())]);
                if link.input.len() > longest {
                    link.skipping = true;
                    link.input.clear();
                    line = Some(b"too long".to_vec());
                } else if end.is_some() {
                    line = Some(std::mem::take(&mut link.input));
                }
            }
            link.skipping &= end.is_none();
            if let Some(line) = line {
                self.command(conn, &line);
            }
        }
        let forget = self.is(Fault::ForgetResume);
        if let Some(link) = self.at_mut(conn)
            && link.paused
            && !link.finished
            && !forget
        {
            link.paused = false;
            self.actions.push_back(Action::Resume(conn));
        }
    }

    pub(super) fn command(&mut self, conn: Conn, line: &[u8]) {
        let line = std::str::from_utf8(line.trim_ascii()).unwrap_or("not UTF-8");
        let is_http = ["GET /", "POST /", "Host:"]
            .iter()
            .any(|begin| line.starts_with(begin));
        if is_http && !self.is(Fault::ObeysWebPages) {
            return self.end(conn, Why::Http, false);
        }
        let text = line.strip_prefix("broadcast ");
        let text = text.filter(|text| !text.is_empty() && text.len() <= self.config.limits.text);
        let words = match text {
            Some(text) if self.is(Fault::TextAsCommand) => text,
            Some(_) | None => line,
        };
        if let Some(link) = self.at_mut(conn) {
            link.valid |= text.is_some() || matches!(words, "get" | "alive" | "watch");
        }
        let reply = match words {
            "get" => {
                let mut reply = b"messages ".to_vec();
                reply.extend_from_slice(&self.log);
                if self.is(Fault::GetCutShort) {
                    reply.truncate(100);
                }
                reply
            }
            "alive" => {
                let mut ids = self.order.clone();
                ids.push(self.config.id);
                if self.fault != Fault::AliveByArrival {
                    ids.sort_unstable();
                }
                let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
                format!("alive {}", ids.join(",")).into_bytes()
            }
            "watch" => {
                if let Some(link) = self.at_mut(conn) {
                    link.watching = true;
                }
                return;
            }
            "crash" => {
                // What was done is told: it may have been sent already.
                self.actions
                    .retain(|action| matches!(action, Action::Notice(_)));
                self.actions.push_back(Action::Halt(Halt::Crash));
                self.halted = true;
                return;
            }
            _ => match text {
                Some(text) if self.broadcast(text) => return,
                Some(_) => b"error the log is full".to_vec(),
                None => b"error no such command".to_vec(),
            },
        };
        self.counters.errors += u64::from(reply.starts_with(b"error "));
        self.push(conn, &reply);
        self.push(conn, b"\n");
    }

    /// Takes a broadcast; false if the log is full.
    pub(super) fn broadcast(&mut self, text: &str) -> bool {
        if self.is(Fault::OwnLate) {
            self.late.push(text.to_owned());
        } else if self.record(self.config.id, None, text) {
            self.counters.broadcasts += 1;
        } else {
            return false;
        }
        if self.is(Fault::OwnTwice) {
            self.record(self.config.id, None, text);
        }
        let line = self.msg(text);
        let conns = self.listeners();
        if self.is(Fault::OneHoldsUpAll) {
            self.backlog.push_back((conns, line));
            self.unblock();
        } else if self.is(Fault::HoldLast) {
            self.backlog.push_back((conns, line));
            if self.backlog.len() > 1
                && let Some((conns, line)) = self.backlog.pop_front()
            {
                self.send(&conns, &line);
            }
        } else {
            self.send(&conns, &line);
        }
        true
    }

    /// Whom a broadcast is sent to.
    pub(super) fn listeners(&self) -> Vec<Conn> {
        let mut conns = Vec::new();
        for (id, peer) in (0..).zip(&self.peers) {
            conns.extend(peer.link);
            if peer.link.is_none() && id != self.config.id && self.is(Fault::StopAtFirstDead) {
                break;
            }
        }
        conns
    }

    pub(super) fn send(&mut self, conns: &[Conn], line: &[u8]) {
        conns.iter().for_each(|conn| self.push(*conn, line));
        let lag = self.config.limits.lag;
        self.end_where(Why::FellBehind, |link| {
            matches!(link.role, Role::Peer(_)) && link.out.len() > lag
        });
    }

    /// For a fault: sends the next line once all peers took the last one.
    pub(super) fn unblock(&mut self) {
        while self.is(Fault::OneHoldsUpAll)
            && self.sessions().all(|link| link.out.is_empty())
            && let Some((conns, line)) = self.backlog.pop_front()
        {
            self.send(&conns, &line);
        }
    }
}
