//! Steps, done: what a driver and a network would do, on a copy of a state.

use super::judge::{self, Cause, broken};
use super::state::{Id, Item, Link, Live, Node, State, Tail};
use super::step::{Step, Wire};
use super::{Explorable, Watch};
use crate::chat::judge::BOUNDS;
use chatroom_chat::{ChatEvent, Config, LINKS, MASTERS, News};
use chatroom_machine::{
    Action, Checked, Checks, Conn, Dialled, Loss, Machine, Remote, Span, Time, gather,
};
use chatroom_sim::engine::violation;
use chatroom_sim::names::{Client, Host, Peer, Who};
use chatroom_sim::observer::{self, Ending, Fact, Observer, Violation};
use chatroom_sim::plan::Fate;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// Deadlines before this moment are reached; a server has only dials there.
pub(super) const HORIZON: Time = Time::from_micros(1_000_000);

/// The configuration of a server: as shipped, but that time stands still for all but dials. Its
/// heartbeats, suspicions and greetings lie past [`HORIZON`].
fn config(host: u8, servers: u8) -> Config {
    let mut config = Config::new(host.into(), servers.into());
    config.observe = true;
    config.times.heartbeat = Span::from_millis(1_800_000);
    for late in [
        &mut config.times.suspicion,
        &mut config.times.greeting,
        &mut config.times.dial,
    ] {
        *late = Span::from_millis(3_600_000);
    }
    config.times.backoff_min = Span::from_micros(1);
    config.times.backoff_max = Span::from_micros(1);
    config
}

/// The text of a broadcast. No text is the beginning of another.
pub(super) fn text_of(id: Id) -> String {
    format!("s{}l{}n{}.", id.host, id.life, id.number)
}

/// The broadcast that has this text.
pub(super) fn id_of(text: &[u8]) -> Option<Id> {
    let text = std::str::from_utf8(text).ok()?;
    let (host, rest) = text.strip_prefix('s')?.split_once('l')?;
    let (life, number) = rest.strip_suffix('.')?.split_once('n')?;
    let id = Id {
        host: host.parse().ok()?,
        life: life.parse().ok()?,
        number: number.parse().ok()?,
    };
    (text_of(id) == text).then_some(id)
}

/// A master's link in traces; those of servers are numbered below.
const MASTER_LINKS: u64 = 1 << 32;

impl<M: Explorable> State<M> {
    /// The state after `step`, which must be enabled.
    ///
    /// # Errors
    /// A property broke.
    pub(super) fn apply<F: Fn(Config) -> M, O: Observer<M>>(
        &self,
        make: &F,
        step: Step,
        watch: &mut Watch<O>,
    ) -> Result<Self, Violation> {
        let mut next = self.clone();
        match step {
            Step::Dialled(wire) => next.dialled(wire, watch)?,
            Step::Deliver(wire, side) => next.deliver(wire, side.into(), watch)?,
            Step::Cut(wire, side) => {
                let side = usize::from(side);
                next.link(wire).pipes[side].items.clear();
                next.lost(wire, side, Loss::Broken, watch)?;
            }
            Step::Tear(wire, side) => next.tear(wire, side.into(), watch)?,
            Step::Tick(host) => next.tick(host, watch)?,
            Step::Broadcast(host) => next.broadcast(host, watch)?,
            Step::Start(host) => next.start(make, host, watch)?,
            Step::Crash(host) => next.crash(host, watch)?,
            Step::Store(host, volume) => next.store(host, volume, watch)?,
            Step::Break(wire) => {
                next.budget.losses -= 1;
                for pipe in &mut next.link(wire).pipes {
                    pipe.tail = Tail::Ending(Loss::Broken);
                }
            }
        }
        next.sweep();
        Ok(next)
    }

    pub(super) fn link(&mut self, wire: Wire) -> &mut Link {
        match self.find(wire) {
            Some(index) => Rc::make_mut(&mut self.links[index]),
            None => unreachable!("a step on {wire}, which nobody holds"),
        }
    }

    fn node(&mut self, host: u8) -> &mut Node<M> {
        &mut self.nodes[usize::from(host)]
    }

    pub(super) fn live_mut(&mut self, host: u8) -> &mut Live<M> {
        match &mut self.node(host).live {
            Some(live) => Rc::make_mut(live),
            None => unreachable!("a step of server {host}, which is down"),
        }
    }

    pub(super) fn who(&self, host: u8) -> Who {
        Who {
            host: Host(host.into()),
            life: self.nodes[usize::from(host)].life().into(),
        }
    }

    /// The number of a connection in traces.
    fn number(&self, wire: Wire) -> u64 {
        let pairs = self.nodes.len() * self.nodes.len();
        (self.pair(wire.from, wire.to) + pairs * usize::from(wire.number)) as u64
    }

    fn dialled<O: Observer<M>>(
        &mut self,
        wire: Wire,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let up = self.live(wire.to).is_some();
        let life = self.nodes[usize::from(wire.to)].life();
        let pair = self.pair(wire.from, wire.to);
        let (who, link) = (self.who(wire.from), self.number(wire));
        let entry = self.link(wire);
        entry.dialling = false;
        let Some(conn) = entry.ends[0].conn else {
            unreachable!("a dial without a handle");
        };
        let outcome = if up {
            entry.ends[1].life = life;
            entry.ends[1].open = true;
            entry.push(0, Item::Open);
            watch.see(&Fact::Opened {
                who,
                conn,
                link,
                peer: Peer::Host(self.who(wire.to)),
                door: None,
            })?;
            Dialled::Connected
        } else {
            entry.close(0);
            self.dials[pair].1 = true;
            self.live_mut(wire.from).conns.remove(&conn);
            watch.see(&Fact::DialFailed { who, conn, link })?;
            Dialled::Failed
        };
        let live = self.live_mut(wire.from);
        // A wrong answer is a breach, which is found as the machine settles. So below.
        let _ = live.machine.handle_dialled(live.now, conn, outcome);
        self.settle(wire.from, Cause::Other, watch)
    }

    /// The next thing in flight arrives at a side.
    fn deliver<O: Observer<M>>(
        &mut self,
        wire: Wire,
        side: usize,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let pipe = &mut self.link(wire).pipes[side];
        match (pipe.items.pop_front(), pipe.tail) {
            (Some(Item::Open), _) => self.accept(wire, watch),
            (Some(Item::Line(line)), _) => self.arrive(wire, side, &line, false, watch),
            (None, Tail::Ending(loss)) => self.lost(wire, side, loss, watch),
            (None, Tail::Flowing | Tail::Over) => unreachable!("nothing is in flight on {wire}"),
        }
    }

    fn accept<O: Observer<M>>(
        &mut self,
        wire: Wire,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let host = wire.to;
        let (who, link) = (self.who(host), self.number(wire));
        let live = self.live_mut(host);
        match live
            .machine
            .handle_accepted(live.now, LINKS, Remote::default())
        {
            Ok(conn) => {
                live.conns.insert(conn, (wire, 1));
                let end = &mut self.link(wire).ends;
                end[1].conn = Some(conn);
                let life = end[0].life.into();
                let peer = Who {
                    host: Host(wire.from.into()),
                    life,
                };
                watch.see(&Fact::Opened {
                    who,
                    conn,
                    link,
                    peer: Peer::Host(peer),
                    door: Some(LINKS),
                })?;
            }
            Err(_) => {
                self.link(wire).close(1);
                watch.see(&Fact::TurnedAway {
                    who,
                    door: LINKS,
                    link,
                })?;
            }
        }
        self.settle(host, Cause::Other, watch)
    }

    fn arrive<O: Observer<M>>(
        &mut self,
        wire: Wire,
        side: usize,
        bytes: &[u8],
        torn: bool,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let host = wire.host(side);
        let (who, number) = (self.who(host), self.number(wire));
        let link = self.link(wire);
        let offset = link.pipes[side].read;
        link.pipes[side].read += bytes.len() as u64;
        let Some(conn) = link.ends[side].conn else {
            unreachable!("a line before the connection");
        };
        watch.see(&Fact::Received {
            who,
            conn,
            link: number,
            offset,
            bytes,
        })?;
        let live = self.live_mut(host);
        let _ = live.machine.handle_bytes(live.now, conn, bytes);
        let cause = if torn {
            Cause::Other
        } else {
            Cause::Line(wire, side)
        };
        self.settle(host, cause, watch)
    }

    fn tear<O: Observer<M>>(
        &mut self,
        wire: Wire,
        side: usize,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let pipe = &mut self.link(wire).pipes[side];
        let front = pipe.items.pop_front();
        pipe.items.clear();
        let tail = pipe.tail;
        let (Some(Item::Line(line)), Tail::Ending(loss)) = (front, tail) else {
            unreachable!("no line of a dead end on {wire}");
        };
        // Without the last byte of the text: what is left is nobody's broadcast.
        self.arrive(wire, side, &line[..line.len() - 2], true, watch)?;
        match self.find(wire) {
            Some(index) if self.links[index].ends[side].open => self.lost(wire, side, loss, watch),
            Some(_) | None => Ok(()),
        }
    }

    /// A side is told that nothing more comes.
    fn lost<O: Observer<M>>(
        &mut self,
        wire: Wire,
        side: usize,
        loss: Loss,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let host = wire.host(side);
        let (who, number) = (self.who(host), self.number(wire));
        let other = wire.host(1 - side);
        let link = self.link(wire);
        link.pipes[side].tail = Tail::Over;
        let Some(conn) = link.ends[side].conn else {
            unreachable!("an end before the connection");
        };
        let peer_life = link.ends[1 - side].life;
        if loss == Loss::Broken {
            link.close(side);
            self.release(host, conn);
        }
        let gone = self.live(other).is_none() || self.node(other).life() != peer_life;
        watch.see(&Fact::Lost {
            who,
            conn,
            link: number,
            loss,
            cause: match gone {
                true => observer::Cause::Ended(Ending::Killed(Fate::Fin)),
                false if loss == Loss::Finished => observer::Cause::Closed,
                false => observer::Cause::Plan,
            },
        })?;
        let live = self.live_mut(host);
        let _ = live.machine.handle_lost(live.now, conn, loss);
        self.settle(host, Cause::Other, watch)
    }

    fn tick<O: Observer<M>>(&mut self, host: u8, watch: &mut Watch<O>) -> Result<(), Violation> {
        let live = self.live_mut(host);
        if let Some(due) = live.machine.poll_timeout() {
            live.now = live.now.max(due.at);
        }
        live.machine.handle_timeout(live.now);
        self.settle(host, Cause::Other, watch)
    }

    fn broadcast<O: Observer<M>>(
        &mut self,
        host: u8,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        self.budget.messages -= 1;
        let node = self.node(host);
        let life = node.life();
        let count = &mut node.lives[usize::from(life)];
        let id = Id {
            host,
            life,
            number: *count,
        };
        *count += 1;
        let line = format!("broadcast {}\n", text_of(id)).into_bytes();
        let who = self.who(host);
        let client = Client {
            host: who.host,
            number: 0,
        };
        let link = MASTER_LINKS + u64::from(host) * 256 + u64::from(life);
        let offset = (0..id.number)
            .map(|number| 11 + text_of(Id { number, ..id }).len() as u64)
            .sum();
        watch.see(&Fact::ClientSaid {
            client,
            link,
            offset,
            bytes: &line,
        })?;
        let live = self.live_mut(host);
        let conn = live.master;
        watch.see(&Fact::Received {
            who,
            conn,
            link,
            offset,
            bytes: &line,
        })?;
        let _ = live.machine.handle_bytes(live.now, conn, &line);
        self.settle(host, Cause::Command(id), watch)
    }

    fn start<F: Fn(Config) -> M, O: Observer<M>>(
        &mut self,
        make: &F,
        host: u8,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let servers = self.nodes.len();
        let mut machine = Checked::new(make(config(host, servers as u8)), Checks::quick());
        let node = self.node(host);
        let again = !node.lives.is_empty();
        node.lives.push(0);
        self.budget.restarts -= u8::from(again);
        for other in 0..servers as u8 {
            for pair in [self.pair(host, other), self.pair(other, host)] {
                self.dials[pair].1 = false;
            }
        }
        let who = self.who(host);
        watch.see(&Fact::Started { who })?;
        self.recover(host, &mut machine, watch)?;
        machine.handle_start(Time::ZERO);
        let Ok(master) = machine.handle_accepted(Time::ZERO, MASTERS, Remote::default()) else {
            return broken(BOUNDS, format!("server {host} takes no master"));
        };
        let client = Client {
            host: who.host,
            number: 0,
        };
        let link = MASTER_LINKS + u64::from(host) * 256 + u64::from(who.life);
        watch.see(&Fact::ClientOpened { client, link })?;
        watch.see(&Fact::Opened {
            who,
            conn: master,
            link,
            peer: Peer::Client(client),
            door: Some(MASTERS),
        })?;
        self.node(host).live = Some(Rc::new(Live {
            machine,
            now: Time::ZERO,
            conns: BTreeMap::new(),
            paused: BTreeSet::new(),
            master,
            sessions: vec![None; servers],
            reply: Vec::new(),
            log: Vec::new(),
            fingerprint: 0,
        }));
        self.settle(host, Cause::Other, watch)
    }

    fn crash<O: Observer<M>>(&mut self, host: u8, watch: &mut Watch<O>) -> Result<(), Violation> {
        self.budget.crashes -= 1;
        watch.see(&Fact::Ended {
            who: self.who(host),
            how: Ending::Killed(Fate::Fin),
        })?;
        self.node(host).live = None;
        for link in &mut self.links {
            for side in 0..2 {
                if link.wire.host(side) == host && link.ends[side].open {
                    Rc::make_mut(link).close(side);
                }
            }
        }
        Ok(())
    }

    /// Whether all that was told a machine, and all that came of it, keeps the contract.
    fn keeps_contract(&self, host: u8) -> Result<(), Violation> {
        let machine = self.live(host).map(|live| &live.machine);
        match machine.and_then(|machine| machine.breaches().first()) {
            None => Ok(()),
            Some(breach) => Err(violation(&format!("server {host}"), breach)),
        }
    }

    /// Drains a machine, does what it says, then has the checkers look at it.
    pub(super) fn settle<O: Observer<M>>(
        &mut self,
        host: u8,
        cause: Cause,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        loop {
            let action = self.live_mut(host).machine.poll();
            self.keeps_contract(host)?;
            let Some(action) = action else {
                break;
            };
            match action {
                Action::Dial { conn, to } => self.dial(host, conn, to.0, watch)?,
                Action::Send(conn) => self.send(host, conn, watch)?,
                Action::Close(conn) => {
                    let Some((wire, side)) = self.release(host, conn) else {
                        return broken(BOUNDS, format!("server {host} closes its master"));
                    };
                    let (who, link) = (self.who(host), self.number(wire));
                    self.link(wire).close(side);
                    watch.see(&Fact::Closed { who, conn, link })?;
                }
                Action::Notice(news) => {
                    self.news(host, &news);
                    let (who, local) = (self.who(host), self.live_mut(host).now);
                    watch.see(&Fact::Notice {
                        who,
                        local,
                        notice: &news,
                    })?;
                }
                Action::Halt(_) => {
                    return broken(BOUNDS, format!("server {host} ended by itself"));
                }
                Action::Pause(conn) => {
                    self.live_mut(host).paused.insert(conn);
                }
                Action::Resume(conn) => {
                    self.live_mut(host).paused.remove(&conn);
                }
                // So few come that nobody ever has to wait.
                Action::Shut(_) | Action::Open(_) => {}
                // A step of its own, whenever it may be.
                Action::Store(_) => {}
                Action::Discard { volume, through } => self.discard(host, volume, through)?,
            }
        }
        judge::look(self, host, cause)?;
        let live = self.live_mut(host);
        let mut hasher = DefaultHasher::new();
        (&live.machine, live.now, &live.conns, &live.sessions).hash(&mut hasher);
        live.log.hash(&mut hasher);
        live.fingerprint = hasher.finish();
        Ok(())
    }

    fn release(&mut self, host: u8, conn: Conn) -> Option<(Wire, usize)> {
        let live = self.live_mut(host);
        live.paused.remove(&conn);
        let (wire, side) = live.conns.remove(&conn)?;
        Some((wire, side.into()))
    }

    fn dial<O: Observer<M>>(
        &mut self,
        host: u8,
        conn: Conn,
        to: u32,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let known = u8::try_from(to).ok().filter(|to| *to < host);
        let Some(to) = known else {
            return broken(BOUNDS, format!("server {host} dials server {to}"));
        };
        let pair = self.pair(host, to);
        let number = self.dials[pair].0;
        let Some(next) = number.checked_add(1) else {
            let text = format!("server {host} dials server {to} more than {number} times");
            return broken(BOUNDS, text);
        };
        self.dials[pair].0 = next;
        let wire = Wire {
            from: host,
            to,
            number,
        };
        let mut link = Link::new(wire, self.node(host).life());
        link.ends[0].conn = Some(conn);
        let at = self.links.partition_point(|l| l.wire < wire);
        self.links.insert(at, Rc::new(link));
        self.live_mut(host).conns.insert(conn, (wire, 0));
        watch.see(&Fact::Dialling {
            who: self.who(host),
            conn,
            to: chatroom_machine::Place(to.into()),
            host: Some(Host(to.into())),
            link: self.number(wire),
        })
    }

    /// Takes all that is pending, line by line.
    fn send<O: Observer<M>>(
        &mut self,
        host: u8,
        conn: Conn,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let live = self.live_mut(host);
        let bytes = gather(&live.machine, conn, usize::MAX).into_owned();
        let _ = live.machine.handle_sent(live.now, conn, bytes.len());
        self.keeps_contract(host)?;
        let live = self.live_mut(host);
        let Some((wire, side)) = live.conns.get(&conn).copied() else {
            // A reply to the master: the checkers ask for themselves. Or closed since.
            return Ok(());
        };
        let side = usize::from(side);
        let (who, number) = (self.who(host), self.number(wire));
        let link = self.link(wire);
        let offset = link.pipes[1 - side].sent;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            link.push(side, Item::Line(line.into()));
        }
        watch.see(&Fact::Sent {
            who,
            conn,
            link: number,
            offset,
            bytes: &bytes,
        })
    }

    /// Keeps book of sessions.
    fn news(&mut self, host: u8, news: &News) {
        let live = self.live_mut(host);
        let conn = match news {
            News::Up { conn, .. } => conn,
            News::Down { peer, .. } => {
                live.sessions[*peer as usize] = None;
                return;
            }
            News::Closed { .. }
            | News::Protocol(ChatEvent::Delivered { .. })
            | News::Skipped { .. }
            | News::Misfit { .. }
            | News::Following { .. }
            | News::Starved { .. }
            | News::Protocol(ChatEvent::LogFull { .. })
            | News::Protocol(ChatEvent::Gap { .. })
            | News::Ending => return,
        };
        let Some((wire, side)) = live.conns.get(conn).copied() else {
            return;
        };
        let side = usize::from(side);
        live.sessions[usize::from(wire.host(1 - side))] = Some(wire);
        let node = self.node(host);
        let count = node.lives[usize::from(node.life())];
        let end = &mut self.link(wire).ends[side];
        end.up = true;
        end.first.get_or_insert(count);
    }
}
