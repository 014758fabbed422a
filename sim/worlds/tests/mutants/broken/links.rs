//! Links: lines between servers, who is at the other end, messages and the faults of both.

use super::{Broken, Fault, Link, Role};
use chatroom_chat::{News, Why};
use chatroom_machine::{Action, Conn};

impl Broken {
    pub(super) fn link_bytes(&mut self, conn: Conn, bytes: &[u8]) {
        let (now, fault) = (self.now, self.fault);
        let longest = b"msg 1024 ".len() + self.config.limits.text;
        let suspicion = self.config.times.suspicion;
        let Some(link) = self.at_mut(conn) else {
            return;
        };
        let gap = now.since(link.heard);
        link.heard = now;
        link.excused_until = None;
        if fault == Fault::BacklogIsFresh && gap > suspicion {
            link.heard = now + gap;
        }
        if let Role::Old(peer) = link.role {
            if fault == Fault::KeepOldLink
                && let Some(present) = self.peers[peer as usize].link
                && let Some(present) = self.at_mut(present)
            {
                present.heard = now;
            }
            if fault != Fault::OldBytesCount {
                return;
            }
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let Some(link) = self.at_mut(conn) else {
                return;
            };
            link.input
                .extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if link.input.len() > longest {
                return self.end(conn, Why::TooLong, false);
            }
            let Some(end) = end else {
                return;
            };
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut link.input);
            if let Err(why) = self.link_line(conn, &line) {
                return self.end(conn, why, false);
            }
        }
    }

    pub(super) fn link_line(&mut self, conn: Conn, line: &[u8]) -> Result<(), Why> {
        let line = std::str::from_utf8(line).map_err(|_| Why::NotUtf8)?;
        let Some(role) = self.at(conn).map(|link| link.role) else {
            return Ok(());
        };
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (sender, text) = match kind {
            "ping" => (rest, None),
            "msg" => {
                let (sender, text) = rest.split_once(' ').ok_or(Why::Malformed)?;
                (sender, Some(text).filter(|text| !text.is_empty()))
            }
            _ => {
                let Role::Peer(peer) = role else {
                    return Err(Why::NoIdentity);
                };
                self.counters.skipped += 1;
                self.tell(News::Skipped { peer, count: 1 });
                return Ok(());
            }
        };
        let sender: u32 = sender.parse().map_err(|_| Why::Malformed)?;
        if sender >= self.config.servers {
            return Err(Why::OutsideGrid);
        }
        if sender == self.config.id {
            return Err(Why::OwnId);
        }
        match role {
            Role::Peer(peer) | Role::Old(peer) | Role::Outbound(peer) | Role::Dialling(peer) => {
                if peer != sender {
                    return Err(Why::OtherId);
                }
            }
            Role::Inbound if sender < self.config.id => return Err(Why::ShouldNotDial),
            Role::Inbound | Role::Master => {}
        }
        if matches!(role, Role::Inbound | Role::Outbound(_)) {
            self.name(conn, sender)?;
        }
        match text {
            Some(text) if text.len() > self.config.limits.text => Err(Why::TooLong),
            Some(text) => {
                self.deliver(sender, conn, text);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A link said who it is.
    pub(super) fn name(&mut self, conn: Conn, peer: u32) -> Result<(), Why> {
        let now = self.now;
        let Some(link) = self.at_mut(conn) else {
            return Ok(());
        };
        let (number, inbound) = (link.number, link.role == Role::Inbound);
        if let Some(present) = self.peers[peer as usize].link {
            if self
                .at(present)
                .is_some_and(|present| present.number > number)
            {
                return Err(Why::Replaced);
            }
            if self.is(Fault::ContendsForEver) {
                if let Some(link) = self.at_mut(conn) {
                    link.role = Role::Old(peer);
                }
                self.contenders[peer as usize] = true;
                self.actions.push_back(Action::Pause(conn));
                return Ok(());
            }
            if self.is(Fault::KeepOldLink) {
                if let Some(link) = self.at_mut(conn) {
                    link.role = Role::Old(peer);
                }
                let ping = self.ping();
                self.push(conn, &ping);
                return Ok(());
            }
            if self.is(Fault::OldCloseKillsNew) || self.is(Fault::OldBytesCount) {
                self.replace(peer, present, Why::Replaced);
            } else {
                self.end(present, Why::Replaced, false);
            }
        }
        if self.contenders[peer as usize] {
            return Err(Why::Contested);
        }
        if inbound {
            let ping = self.ping();
            self.push(conn, &ping);
        }
        if let Some(link) = self.at_mut(conn) {
            link.role = Role::Peer(peer);
            link.since = now;
        }
        let entry = &mut self.peers[peer as usize];
        entry.link = Some(conn);
        entry.redial = None;
        self.order.push(peer);
        self.counters.ups += 1;
        self.tell(News::Up { peer, conn });
        self.tell_watchers(&format!("up {peer}\n"));
        if self.is(Fault::ResendLog) {
            let own = self.texts.iter().filter(|(id, _)| *id == self.config.id);
            let lines: Vec<_> = own.map(|(_, text)| self.msg(text)).collect();
            lines.iter().for_each(|line| self.push(conn, line));
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, peer: u32, conn: Conn, text: &str) {
        let Some(link) = self.at_mut(conn) else {
            return;
        };
        let number = link.messages;
        link.messages += 1;
        if self.is(Fault::DeadSpeakLast) {
            let held = self.tails[peer as usize].replace((conn, text.to_owned()));
            if let Some((from, held)) = held {
                if from != conn {
                    self.tails[peer as usize] = None;
                    self.counters.deliveries += u64::from(self.record(peer, Some(conn), text));
                }
                self.counters.deliveries += u64::from(self.record(peer, Some(from), &held));
            }
            return;
        }
        if self.is(Fault::DropSameText) && self.texts.iter().any(|(_, known)| known == text) {
            return;
        }
        if self.is(Fault::NumbersWithoutLife) {
            let highest = &mut self.peers[peer as usize].highest;
            if number < *highest {
                return;
            }
            *highest = number + 1;
        }
        if self.is(Fault::PanicOnCommas) {
            assert!(text != ",,,", "three commas");
        }
        if self.is(Fault::TextAsLine)
            && let Some(rest) = text.strip_prefix("msg ")
            && let Some((sender, text)) = rest.split_once(' ')
            && let Ok(sender) = sender.parse()
        {
            self.record(sender, Some(conn), text);
            self.counters.deliveries += 1;
            return;
        }
        let missed = self.missed[peer as usize] && !self.is(Fault::KeepsAfterGap);
        if !missed && self.record(peer, Some(conn), text) {
            self.counters.deliveries += 1;
        } else {
            self.miss(peer);
        }
        if self.is(Fault::Relay) {
            let line = self.msg(text);
            let others = |link: &Link| matches!(link.role, Role::Peer(other) if other != peer);
            self.conns(others)
                .into_iter()
                .for_each(|conn| self.push(conn, &line));
        }
        self.record_late();
    }

    pub(super) fn ping(&self) -> Vec<u8> {
        format!("ping {}\n", self.config.id).into_bytes()
    }

    pub(super) fn msg(&self, text: &str) -> Vec<u8> {
        let mut text = text.to_owned();
        if self.is(Fault::BlanksCollapse) {
            text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        format!("msg {} {text}\n", self.config.id).into_bytes()
    }
}
