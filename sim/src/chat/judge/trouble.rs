//! What the plan does to hosts and ways, and so which losses of a peer are no fault of a server.

use crate::names::Host;
use crate::plan::{Change, Connects, Way};
use chatroom_core::{Span, Time};

/// How long news of a broken connection may take, when only silence tells.
const UNNOTICED: Span = Span::from_millis(1000);

#[derive(Clone, Debug, Default)]
struct WayTrouble {
    cut: bool,
    clogged: bool,
    lag: bool,
    connects: bool,
    damage: bool,
    buffer: bool,
    /// When connections were last broken without a word to one side.
    severed: Time,
    /// When the last trouble ended.
    last: Time,
}

impl WayTrouble {
    const fn active(&self) -> bool {
        self.cut || self.clogged || self.lag || self.connects || self.damage || self.buffer
    }
}

#[derive(Clone, Debug, Default)]
struct HostTrouble {
    /// Since when it stands still.
    paused: Option<Time>,
    starved: bool,
    last: Time,
}

/// The troubles of a run so far.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    hosts: Vec<HostTrouble>,
    ways: Vec<WayTrouble>,
    /// By pair, the smaller id first: losses that a server was right to bring about.
    losses: Vec<Time>,
}

impl Trouble {
    pub(super) fn new(hosts: usize) -> Self {
        Self {
            hosts: vec![HostTrouble::default(); hosts],
            ways: vec![WayTrouble::default(); hosts * hosts],
            losses: vec![Time::ZERO; hosts * hosts],
        }
    }

    fn way(&mut self, way: Way, now: Time, set: impl Fn(&mut WayTrouble)) {
        let hosts = self.hosts.len();
        let (from, to) = (way.from.index(), way.to.index());
        for (index, meant) in [(from * hosts + to, true), (to * hosts + from, way.both)] {
            if meant {
                let way = &mut self.ways[index];
                set(way);
                way.last = way.last.max(now);
            }
        }
    }

    /// The plan changes something.
    pub(super) fn change(&mut self, now: Time, change: &Change) {
        match change {
            Change::Cut(way) => self.way(*way, now, |way| way.cut = true),
            Change::Mend(way) => self.way(*way, now, |way| way.cut = false),
            Change::Clog(way) => self.way(*way, now, |way| way.clogged = true),
            Change::Unclog(way) => self.way(*way, now, |way| way.clogged = false),
            Change::Lag(way, span) => self.way(*way, now, |way| way.lag = *span > Span::ZERO),
            Change::Connects(way, how) => {
                self.way(*way, now, |way| way.connects = *how != Connects::Work);
            }
            Change::Damage(way, share) => self.way(*way, now, |way| way.damage = *share > 0),
            Change::Buffer(way, bytes) => self.way(*way, now, |way| way.buffer = *bytes > 0),
            // The news of a reset is lost on a way that is blocked.
            Change::Reset(way) | Change::HalfOpen(way) => {
                self.way(*way, now + UNNOTICED, |way| way.severed = now);
            }
            Change::Starve(host, on) => {
                let host = &mut self.hosts[host.index()];
                host.starved = *on;
                host.last = host.last.max(now);
            }
            Change::Jump(host, _) | Change::Drift(host, _) => self.host(*host, now),
            Change::Heal => {
                for way in self.ways.iter_mut().filter(|way| way.active()) {
                    *way = WayTrouble {
                        severed: way.severed,
                        last: now.max(way.last),
                        ..WayTrouble::default()
                    };
                }
                for host in self.hosts.iter_mut().filter(|host| host.starved) {
                    host.starved = false;
                    host.last = now;
                }
            }
            Change::Start(_)
            | Change::Kill(..)
            | Change::Pause(_)
            | Change::Resume(_)
            | Change::Stop(_)
            | Change::Open(..)
            | Change::Say(..)
            | Change::Finish(_)
            | Change::Leave(_)
            | Change::Deaf(..) => {}
        }
    }

    fn host(&mut self, host: Host, now: Time) {
        let host = &mut self.hosts[host.index()];
        host.last = host.last.max(now);
    }

    pub(super) fn paused(&mut self, host: Host, now: Time, paused: bool) {
        self.host(host, now);
        let state = &mut self.hosts[host.index()].paused;
        if paused {
            state.get_or_insert(now);
        } else if let Some(since) = state.take() {
            // What broke while it stood still is noticed by a silence that begins only now.
            let (hosts, at) = (self.hosts.len(), host.index());
            for (index, way) in self.ways.iter_mut().enumerate() {
                if (index / hosts == at || index % hosts == at) && way.severed >= since {
                    way.last = way.last.max(now + UNNOTICED);
                }
            }
        }
    }

    /// A life began or ended: nothing of the former one's troubles stays.
    pub(super) fn renewed(&mut self, host: Host) {
        let host = &mut self.hosts[host.index()];
        host.paused = None;
        host.starved = false;
    }

    pub(super) fn is_paused(&self, host: Host) -> bool {
        self.hosts[host.index()].paused.is_some()
    }

    /// Whether the host's clock, descriptors or pauses troubled it, and until when.
    pub(super) fn of_host(&self, host: Host, now: Time) -> Time {
        let host = &self.hosts[host.index()];
        if host.paused.is_some() || host.starved {
            now
        } else {
            host.last
        }
    }

    /// A server was right to give up another.
    pub(super) fn loss(&mut self, one: Host, other: Host, now: Time) {
        let index = self.pair(one, other);
        self.losses[index] = now;
    }

    fn pair(&self, one: Host, other: Host) -> usize {
        let (low, high) = (one.min(other), one.max(other));
        low.index() * self.hosts.len() + high.index()
    }

    /// Until when there was trouble between two hosts, `now` at the latest unless news of it is
    /// still under way.
    pub(super) fn between(&self, one: Host, other: Host, now: Time) -> Time {
        let hosts = self.hosts.len();
        let ways = [
            &self.ways[one.index() * hosts + other.index()],
            &self.ways[other.index() * hosts + one.index()],
        ];
        let mut last = self.of_host(one, now).max(self.of_host(other, now));
        last = last.max(self.losses[self.pair(one, other)]);
        for way in ways {
            last = last.max(if way.active() {
                now.max(way.last)
            } else {
                way.last
            });
        }
        last
    }
}
