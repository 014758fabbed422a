//! What masters ask and what they are told: properties 5 and 9, and service in 12.

use super::master::{Ask, Asked, Master, Told, is_refusal};
use super::sessions::shown;
use super::{BOUNDS, EMPTY_START, Judge, Judgement, OWN, REPLIES, SETTLED, broken, cases, past};
use chatroom_chat::{MASTERS, Why};
use chatroom_machine::{Door, Span, Time};
use chatroom_sim::names::{Peer, Who};
use std::collections::VecDeque;

/// How long what a master says may be under way to its server.
const UNDER_WAY: Span = Span::from_millis(1);

impl Judge {
    pub(super) fn master_opened(&mut self, who: Who, link: u64, peer: Peer) {
        let index = link as usize;
        self.link(link).master = Some(Box::default());
        self.life_mut(who).masters.push(index);
        if let Peer::Client(client) = peer {
            self.masters.insert(client, index);
        }
    }

    /// The server itself ended a master's connection.
    pub(super) fn master_closed(
        &mut self,
        now: Time,
        step: u64,
        who: Who,
        link: usize,
        why: Why,
    ) -> Judgement {
        let count = self.life(who).masters.len();
        self.life_mut(who).masters.retain(|held| *held != link);
        let master = self.links[link].master.as_ref();
        let right = match why {
            Why::Finished | Why::Broken => master.is_some_and(|master| master.lost),
            Why::Ending => self.life(who).leaving,
            Why::Crowded => {
                self.sometimes.hit(cases::CROWDED);
                // As many as make half of the room are closed at once.
                count >= self.limits.nameless / 2
                    && master.is_some_and(|m| m.commands == 0 || m.was_refused())
            }
            Why::Full | Why::Idle => {
                self.sometimes.hit(cases::NO_PLACE);
                master.is_some_and(|m| m.deaf || m.was_refused())
            }
            Why::Http => {
                self.sometimes.hit(cases::HTTP);
                master.is_some_and(|m| m.asked.iter().any(|asked| asked.ask == Ask::Http))
            }
            Why::FellBehind => {
                self.sometimes.hit(cases::WATCHER_DROPPED);
                master.is_some_and(|master| master.watch.is_some() || master.watch_unsure)
            }
            Why::Silent
            | Why::Replaced
            | Why::OtherProtocol
            | Why::OtherSize
            | Why::NoGreeting
            | Why::Refused
            | Why::DialTimeout
            | Why::TooLong
            | Why::NotUtf8
            | Why::Malformed
            | Why::OutsideGrid
            | Why::OwnId
            | Why::OtherId
            | Why::ShouldNotDial
            | Why::NoIdentity
            | Why::Contested => false,
        };
        let held = &self.links[link];
        let unread = held.said - held.handed.min(held.said);
        // Who was refused a place was told so, and reads that or is closed.
        let refused = held.master.as_ref().is_some_and(|m| m.was_refused());
        let by_choice = matches!(why, Why::Crowded | Why::Idle) && !refused;
        if right && by_choice && unread > 0 && past(held.said_at, UNDER_WAY, now) {
            let text = format!(
                "server {who} closed the connection of a master ({why}) and left unread {unread} bytes that it had said by {}",
                held.said_at
            );
            return broken(BOUNDS, text, &[step]);
        }
        if right {
            return Ok(());
        }
        broken(
            BOUNDS,
            format!("server {who} closed the connection of a master: {why}"),
            &[step],
        )
    }

    /// A server closed a connection that it accepted without reading from it.
    pub(super) fn turned_away(&self, step: u64, who: Who, door: Door) -> Judgement {
        if door != MASTERS || self.life(who).leaving {
            return Ok(());
        }
        let text = format!("server {who} turned a master away without reading from it");
        broken(BOUNDS, text, &[step])
    }

    /// Bytes reached a server.
    pub(super) fn received(&mut self, now: Time, step: u64, who: Who, link: u64, bytes: &[u8]) {
        let index = link as usize;
        if bytes.last() != Some(&b'\n') {
            self.sometimes.hit(cases::CUT_LINE);
            let last = bytes.len().saturating_sub(4);
            let cut = std::str::from_utf8(bytes)
                .err()
                .is_some_and(|error| error.error_len().is_none() && error.valid_up_to() >= last);
            if cut {
                self.sometimes.hit(cases::CUT_CHARACTER);
            }
        }
        let limit = self.limits.text;
        let side = usize::from(self.links[index].sides[1].who == Some(who));
        let link = &mut self.links[index];
        link.sides[side].heard = now;
        link.sides[side].came += bytes.len() as u64;
        link.sides[side].within_line = !bytes.ends_with(b"\n");
        link.handed += bytes.len() as u64;
        let Some(master) = &mut link.master else {
            return;
        };
        let life = &self.lives[who.host.index()][who.life as usize];
        let asks = master.say(bytes, limit);
        let spoke = asks.iter().any(|ask| matches!(ask, Ask::Broadcast(_)));
        if spoke && asks.last().is_some_and(|ask| *ask == Ask::Get) {
            self.sometimes.hit(cases::ASKED_AT_ONCE);
        }
        for ask in asks {
            master.lines += 1;
            master.commands += u64::from(!matches!(ask, Ask::Bad | Ask::Http));
            if ask == Ask::Watch && master.watch.is_none() {
                // Only then is it sure to be read at once, and to have a place.
                if master.lines == 1 && life.masters.len() <= self.limits.masters {
                    master.watch = Some(VecDeque::new());
                } else {
                    master.watch_unsure = true;
                }
            }
            master.asked.push_back(Asked {
                ask,
                at: now,
                step,
                entries: life.ends.len(),
                alive: life.alive.len() - 1,
                done: None,
            });
        }
    }

    /// The transport took bytes.
    pub(super) fn sent(&mut self, now: Time, step: u64, who: Who, link: u64, bytes: &[u8]) {
        let index = link as usize;
        let side = usize::from(self.links[index].sides[1].who == Some(who));
        let held = &mut self.links[index];
        held.sides[side].went += bytes.len() as u64;
        if let Some(master) = &mut held.master {
            master.heard_at = now;
            if !master.hear(step, bytes) {
                self.sometimes.hit(cases::LONG_GET);
            }
            self.unjudged.push(index);
            self.unjudged_at = now;
        }
    }

    /// Finds the master whose broadcast a life says that it accepted.
    pub(super) fn attribute(&mut self, step: u64, who: Who, text: &str) -> Judgement {
        let life = &self.lives[who.host.index()][who.life as usize];
        let place = life.ends.len() + 1;
        let mut found: Vec<(usize, usize)> = Vec::new();
        for link in &life.masters {
            if let Some(master) = &self.links[*link].master
                && let Some(index) = master.obeyed().position(|asked| {
                    asked.done.is_none()
                        && matches!(&asked.ask, Ask::Broadcast(asked) if **asked == *text)
                })
            {
                found.push((*link, index));
            }
        }
        let Some((link, index)) = found.first().copied() else {
            let mixed_up = &mut self.life_mut(who).mixed_up;
            if let Some(index) = mixed_up.iter().position(|other| **other == *text) {
                mixed_up.swap_remove(index);
                return Ok(());
            }
            let text = format!(
                "server {who} says that it broadcast {}, which no master asked for",
                shown(text)
            );
            return broken(OWN, text, &[step]);
        };
        if found.len() > 1 {
            for (link, _) in &found {
                if let Some(master) = &mut self.links[*link].master {
                    master.unsure = true;
                }
            }
        }
        if let Some(master) = &mut self.links[link].master {
            master.asked[index].done = Some(place);
            // Else a master that only ever broadcasts would make each broadcast cost more.
            master.settle();
        }
        Ok(())
    }

    /// Tells all watchers of a life what the server must tell them.
    pub(super) fn tell_watchers(&mut self, now: Time, who: Who, told: impl Fn(usize) -> Told) {
        let life = &self.lives[who.host.index()][who.life as usize];
        for link in &life.masters {
            if let Some(master) = &mut self.links[*link].master
                && let Some(watch) = &mut master.watch
            {
                watch.push_back((now, told(*link)));
            }
        }
    }

    /// Judges the replies of a moment, now that all news of it is known.
    pub(super) fn judge_replies(&mut self) -> Judgement {
        let mut links = std::mem::take(&mut self.unjudged);
        for link in links.drain(..) {
            let Some(mut master) = self.links[link].master.take() else {
                continue;
            };
            let who = self.links[link].sides[1].who;
            let result = match who {
                Some(who) => self.judge_master(who, &mut master),
                None => Ok(()),
            };
            self.links[link].master = Some(master);
            result?;
        }
        self.unjudged = links;
        Ok(())
    }

    fn judge_master(&mut self, who: Who, master: &mut Master) -> Judgement {
        while let Some((step, line)) = master.replies.pop_front() {
            let Ok(line) = std::str::from_utf8(&line) else {
                return broken(
                    REPLIES,
                    format!("server {who} sent a master bytes that are no text"),
                    &[step],
                );
            };
            if let Some(told) = watched(line) {
                master.told.push_back((step, told));
            } else if let Some(body) = line.strip_prefix("messages ") {
                let asked = self.answered(who, master, step, &Ask::Get, line)?;
                self.judge_get(who, master, step, &asked, body.as_bytes())?;
            } else if let Some(ids) = line.strip_prefix("alive ") {
                let asked = self.answered(who, master, step, &Ask::Alive, line)?;
                self.judge_alive(who, step, &asked, ids)?;
            } else if line.starts_with("error ") {
                self.judge_error(who, master, step, line)?;
            } else {
                let text = format!("server {who} sent a master {}", shown(line));
                return broken(REPLIES, text, &[step]);
            }
        }
        self.judge_watch(who, master)
    }

    /// Takes the question that a reply belongs to: the first one open.
    fn answered(
        &mut self,
        who: Who,
        master: &mut Master,
        step: u64,
        ask: &Ask,
        line: &str,
    ) -> Result<Asked, super::Violation> {
        while let Some(asked) = master.next_open() {
            match &asked.ask {
                Ask::Broadcast(text) if master.unsure => {
                    self.life_mut(who).mixed_up.push(text.clone());
                }
                Ask::Broadcast(text) => {
                    let text = format!(
                        "server {who} answered {} before it had done the broadcast of {}",
                        shown(line),
                        shown(text)
                    );
                    return broken(OWN, text, &[asked.step, step]);
                }
                Ask::Get | Ask::Alive | Ask::Crash | Ask::Bad | Ask::Http if asked.ask == *ask => {
                    return Ok(asked);
                }
                other
                @ (Ask::Get | Ask::Alive | Ask::Watch | Ask::Crash | Ask::Bad | Ask::Http) => {
                    let text = format!("server {who} answered {} to {other:?}", shown(line));
                    return broken(REPLIES, text, &[asked.step, step]);
                }
            }
        }
        broken(
            REPLIES,
            format!("server {who} said {} unasked", shown(line)),
            &[step],
        )
    }

    fn judge_get(
        &self,
        who: Who,
        master: &mut Master,
        step: u64,
        asked: &Asked,
        body: &[u8],
    ) -> Judgement {
        let life = self.life(who);
        let events = [asked.step, step];
        if !life.log.starts_with(body) {
            let property = if life.log.is_empty() {
                EMPTY_START
            } else {
                REPLIES
            };
            let same = life
                .log
                .iter()
                .zip(body)
                .take_while(|(a, b)| a == b)
                .count();
            let text = format!(
                "server {who} answered a get with {} bytes that are not its log of {}: they differ from byte {same}",
                body.len(),
                life.log.len()
            );
            return broken(property, text, &events);
        }
        let entries = match body.len() {
            0 => 0,
            len => match life.ends.binary_search(&len) {
                Ok(index) => index + 1,
                Err(_) => {
                    let text = format!("server {who} cut a message short in the reply to a get");
                    return broken(REPLIES, text, &events);
                }
            },
        };
        if entries < master.entries && !master.unsure {
            let text = format!(
                "server {who} answered a get with {entries} messages, and one place {} was this master's own or shown to it",
                master.entries
            );
            return broken(OWN, text, &events);
        }
        let behind = master.asked.iter().find_map(|asked| asked.done);
        if let Some(place) = behind.filter(|place| *place <= entries && !master.unsure) {
            let text = format!(
                "server {who} answered a get with {entries} messages, and this master asked for that at place {place} behind it"
            );
            return broken(REPLIES, text, &events);
        }
        if entries < asked.entries {
            let text = format!(
                "server {who} answered a get with {entries} messages when its log had {}",
                asked.entries
            );
            return broken(REPLIES, text, &events);
        }
        master.entries = master.entries.max(entries);
        Ok(())
    }

    fn judge_alive(&self, who: Who, step: u64, asked: &Asked, ids: &str) -> Judgement {
        let mut set = 0_u64;
        let mut last = None;
        for id in ids.split(',') {
            let number = id.parse::<usize>().ok().filter(|n| *n < self.hosts);
            let ascends = number > last || last.is_none();
            match number {
                Some(number) if ascends && id == number.to_string() => set |= 1 << number,
                Some(_) | None => {
                    let text = format!(
                        "server {who} answered alive {}: not ids, ascending",
                        shown(ids)
                    );
                    return broken(REPLIES, text, &[asked.step, step]);
                }
            }
            last = number;
        }
        let life = self.life(who);
        if life.alive[asked.alive..].contains(&set) {
            return Ok(());
        }
        let text = format!(
            "server {who} answered alive {ids}, which is not what it has told of ups and downs"
        );
        broken(REPLIES, text, &[asked.step, step])
    }

    fn judge_error(&mut self, who: Who, master: &mut Master, step: u64, line: &str) -> Judgement {
        if is_refusal(line.as_bytes()) {
            // Nothing more is done for it.
            master.refused = true;
            master.asked.clear();
            master.watch_unsure |= master.watch.take().is_some();
            return Ok(());
        }
        if let Some(asked) = master.next_open() {
            match &asked.ask {
                Ask::Bad => {
                    self.sometimes.hit(cases::REFUSED);
                    return Ok(());
                }
                Ask::Broadcast(text) => {
                    let life = self.life(who);
                    let needed = life.log.len() + text.len() + usize::from(!life.ends.is_empty());
                    if needed as u64 > self.log_limit || master.unsure {
                        return Ok(());
                    }
                    let text = format!("server {who} refused a broadcast: {}", shown(line));
                    return broken(OWN, text, &[asked.step, step]);
                }
                // To a broadcast that was taken for done.
                Ask::Get | Ask::Alive | Ask::Watch | Ask::Crash | Ask::Http
                    if master.unsure && self.life(who).log_was_full =>
                {
                    master.asked.push_front(asked);
                    return Ok(());
                }
                Ask::Get | Ask::Alive | Ask::Watch | Ask::Crash | Ask::Http => {
                    let text = format!("server {who} answered {} to {:?}", shown(line), asked.ask);
                    return broken(REPLIES, text, &[asked.step, step]);
                }
            }
        }
        // To a broadcast that was taken for done, and is the last.
        if master.unsure && self.life(who).log_was_full {
            return Ok(());
        }
        broken(
            REPLIES,
            format!("server {who} said {} unasked", shown(line)),
            &[step],
        )
    }

    fn judge_watch(&mut self, who: Who, master: &mut Master) -> Judgement {
        let Some(watch) = &mut master.watch else {
            if !master.watch_unsure && !master.told.is_empty() {
                let step = master.told[0].0;
                return broken(
                    REPLIES,
                    format!("server {who} told a master that did not watch"),
                    &[step],
                );
            }
            master.told.clear();
            return Ok(());
        };
        while !watch.is_empty() {
            let Some((step, told)) = master.told.pop_front() else {
                break;
            };
            let due = watch.pop_front().map(|(_, due)| due);
            if due.as_ref() != Some(&told) {
                let text = format!("server {who} told a watcher {told:?} when {due:?} was due");
                return broken(REPLIES, text, &[step]);
            }
            if matches!(told, Told::Delivered(..)) {
                self.sometimes.hit(cases::WATCHED);
            }
        }
        Ok(())
    }

    /// No question of a master that reads is open for long, and none waits unread; nor does what
    /// it must be told.
    pub(super) fn all_answered(&self, now: Time, step: u64) -> Judgement {
        for life in self.lives.iter().flatten() {
            if !past(life.resumed, SETTLED, now) {
                continue;
            }
            for link in &life.masters {
                let held = &self.links[*link];
                let Some(master) = &held.master else {
                    continue;
                };
                // A server that goes on answering has not forgotten what is asked behind that.
                let last = master.deaf_until.max(master.heard_at);
                let settled = past(last, SETTLED, now) && !master.deaf;
                let unread = held.said - held.handed.min(held.said);
                if unread > 0 && settled && past(held.said_at, SETTLED, now) {
                    let text = format!(
                        "server {} leaves unread {unread} bytes that a master said until {}",
                        life.who, held.said_at
                    );
                    return broken(BOUNDS, text, &[step]);
                }
                let open = master.asked.iter().find(|asked| {
                    let quiet = asked.ask == Ask::Watch || asked.done.is_some();
                    !quiet && past(asked.at, SETTLED, now)
                });
                if let Some(asked) = open
                    && settled
                    && !master.unsure
                {
                    let text = format!(
                        "server {} was asked {:?} at {} and has not answered",
                        life.who, asked.ask, asked.at
                    );
                    return broken(BOUNDS, text, &[asked.step, step]);
                }
                let due = master.watch.as_ref().and_then(|watch| watch.front());
                if let Some((since, due)) = due
                    && settled
                    && past(*since, SETTLED, now)
                {
                    let text = format!(
                        "server {} has not told a watcher {due:?}, which happened at {since}",
                        life.who
                    );
                    return broken(REPLIES, text, &[step]);
                }
            }
        }
        Ok(())
    }

    /// No watcher was told what did not happen.
    pub(super) fn all_told(&self, step: u64) -> Judgement {
        for link in &self.links {
            if let (Some(master), Some(who)) = (&link.master, link.sides[1].who)
                && let Some((told_at, told)) = master.told.front()
                && master.watch.is_some()
            {
                let text = format!("server {who} told a watcher {told:?}, which did not happen");
                return broken(REPLIES, text, &[*told_at, step]);
            }
        }
        Ok(())
    }
}

/// What a line tells a watcher; `None` if it is another kind of line.
fn watched(line: &str) -> Option<Told> {
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "delivered" => {
            let (sender, text) = rest.split_once(' ')?;
            Some(Told::Delivered(sender.parse().ok()?, text.into()))
        }
        "up" => Some(Told::Up(rest.parse().ok()?)),
        "down" => Some(Told::Down(rest.parse().ok()?)),
        "gap" => {
            let (sender, count) = rest.split_once(' ')?;
            Some(Told::Gap(sender.parse().ok()?, count.parse().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Judge, Setup};
    use crate::chat::{Grid, server};
    use chatroom_chat::MASTERS;
    use chatroom_machine::{Span, Time};
    use chatroom_sim::engine::run;
    use chatroom_sim::names::{Client, Host};
    use chatroom_sim::plan::{Change, Plan};

    #[test]
    fn broadcasts_that_are_done_leave_nothing_to_look_through() {
        let second = |n| Time::ZERO + Span::from_millis(1000).times(n);
        let (host, number) = (Host(0), 0);
        let master = Client { host, number };
        let mut plan = Plan::new(1, 1, second(200));
        plan.push(Time::ZERO, Change::Start(host));
        plan.push(second(1), Change::Open(master, MASTERS));
        for n in 2..200 {
            plan.push(second(n), Change::Say(master, b"broadcast hello\n".into()));
        }
        let judge = Judge::new(&plan, Setup::default());
        let outcome = run(&Grid::new(Setup::default(), server), &plan, judge);
        assert_eq!(outcome.violation, None);
        let judge = outcome.observer;
        assert_eq!(judge.lives[0][0].own.len(), 198);
        let masters = judge.links.iter().filter_map(|link| link.master.as_ref());
        let asked: Vec<_> = masters.map(|master| master.asked.len()).collect();
        assert_eq!(asked, [0]);
    }
}
