//! What the plan does to hosts and ways, and so which losses of a peer are no fault of a server.

use chatroom_chat::{HEARTBEAT, LATE};
use chatroom_machine::{Span, Time};
use chatroom_sim::names::Host;
use chatroom_sim::plan::{Change, Connects, Way};

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
    /// When it last stood still, from and to, and when the last trouble before that had ended.
    stood_still: Option<(Time, Time)>,
    before: Time,
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
            // A chat stores nothing: a power cut is a death.
            Change::Disk(..)
            | Change::Start(_)
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
        let state = &mut self.hosts[host.index()];
        if paused && state.paused.is_none() {
            state.before = state.last;
        }
        self.host(host, now);
        let state = &mut self.hosts[host.index()];
        if paused {
            state.paused.get_or_insert(now);
        } else if let Some(since) = state.paused.take() {
            state.stood_still = Some((since, now));
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

    /// Whether all trouble was over a second ago.
    pub(super) fn is_over(&self, now: Time) -> bool {
        let ways = self
            .ways
            .iter()
            .all(|way| !way.active() && way.last + UNNOTICED < now);
        let host = |host: &HostTrouble| host.paused.is_none() && host.last + UNNOTICED < now;
        ways && self.hosts.iter().all(host)
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

    /// If the last trouble of two hosts was that both stood still from one moment to another, and
    /// nothing else since: until when there was other trouble between them, and since when they
    /// stood still.
    pub(super) fn frozen_together(
        &self,
        one: Host,
        other: Host,
        now: Time,
    ) -> Option<(Time, Time)> {
        let [a, b] = [one, other].map(|host| &self.hosts[host.index()]);
        let (since, until) = a.stood_still.filter(|_| a.stood_still == b.stood_still)?;
        // A server that was away for less does not know that it was.
        let noticed = until.since(since) > HEARTBEAT + LATE;
        let awake = [a, b]
            .iter()
            .all(|host| host.paused.is_none() && !host.starved && host.last == until);
        let ways = self.ways_between(one, other, now);
        let losses = self.losses[self.pair(one, other)];
        (noticed && awake).then(|| (a.before.max(b.before).max(ways).max(losses), since))
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
        let last = self.of_host(one, now).max(self.of_host(other, now));
        let losses = self.losses[self.pair(one, other)];
        last.max(losses).max(self.ways_between(one, other, now))
    }

    fn ways_between(&self, one: Host, other: Host, now: Time) -> Time {
        let hosts = self.hosts.len();
        let (there, back) = (
            &self.ways[one.index() * hosts + other.index()],
            &self.ways[other.index() * hosts + one.index()],
        );
        let until = |way: &WayTrouble| {
            if way.active() {
                now.max(way.last)
            } else {
                way.last
            }
        };
        until(there).max(until(back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: u16 = 4;

    const fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    /// Until when there was trouble, by pair, as of ten seconds: pairs without any left out.
    fn told(trouble: &Trouble) -> Vec<(u16, u16, u64)> {
        let pairs = (0..HOSTS).flat_map(|a| (0..HOSTS).map(move |b| (a, b)));
        let until = |(a, b)| trouble.between(Host(a), Host(b), at(10_000)).as_micros() / 1000;
        let told = pairs
            .filter(|(a, b)| a != b)
            .map(|(a, b)| (a, b, until((a, b))));
        told.filter(|(.., until)| *until > 0).collect()
    }

    fn both(a: u16, b: u16, until: u64) -> Vec<(u16, u16, u64)> {
        vec![(a.min(b), a.max(b), until), (a.max(b), a.min(b), until)]
    }

    const fn way(from: u16, to: u16, both: bool) -> Way {
        let (from, to) = (Host(from), Host(to));
        Way { from, to, both }
    }

    #[test]
    fn a_fault_of_a_way_is_trouble_of_its_two_hosts_until_it_ends() {
        let cases: [fn(Way) -> [Change; 2]; 6] = [
            |way| [Change::Cut(way), Change::Mend(way)],
            |way| [Change::Clog(way), Change::Unclog(way)],
            |way| {
                [
                    Change::Lag(way, Span::from_micros(1)),
                    Change::Lag(way, Span::ZERO),
                ]
            },
            |way| {
                [
                    Change::Connects(way, Connects::Hang),
                    Change::Connects(way, Connects::Work),
                ]
            },
            |way| [Change::Damage(way, 1), Change::Damage(way, 0)],
            |way| [Change::Buffer(way, 1), Change::Buffer(way, 0)],
        ];
        for case in cases {
            for from in 0..HOSTS {
                for to in (0..HOSTS).filter(|to| *to != from) {
                    let [begin, end] = case(way(from, to, false));
                    let mut trouble = Trouble::new(usize::from(HOSTS));
                    trouble.change(at(100), &begin);
                    assert_eq!(told(&trouble), both(from, to, 10_000), "{begin:?}");
                    trouble.change(at(200), &end);
                    assert_eq!(told(&trouble), both(from, to, 200), "{begin:?}");
                    // One direction at a time, or both at once.
                    trouble.change(at(300), &case(way(from, to, true))[0]);
                    trouble.change(at(400), &end);
                    assert_eq!(told(&trouble), both(from, to, 10_000), "{begin:?}");
                    trouble.change(at(500), &case(way(to, from, false))[1]);
                    assert_eq!(told(&trouble), both(from, to, 500), "{begin:?}");
                }
            }
        }
    }

    #[test]
    fn a_loss_is_trouble_of_its_two_hosts_and_no_others() {
        for one in 0..HOSTS {
            for other in (0..HOSTS).filter(|other| *other != one) {
                let mut trouble = Trouble::new(usize::from(HOSTS));
                trouble.loss(Host(one), Host(other), at(100));
                assert_eq!(told(&trouble), both(one, other, 100));
            }
        }
    }

    #[test]
    fn what_broke_during_a_pause_is_noticed_by_a_silence_that_begins_at_its_end() {
        for (moment, until) in [(999, 4000), (1000, 5000), (1001, 5000)] {
            for host in [1, 2] {
                let mut trouble = Trouble::new(usize::from(HOSTS));
                let reset = Change::Reset(way(1, 2, false));
                if moment < 1000 {
                    trouble.change(at(moment), &reset);
                }
                trouble.paused(Host(host), at(1000), true);
                if moment >= 1000 {
                    trouble.change(at(moment), &reset);
                }
                trouble.paused(Host(host), at(4000), false);
                let pair = trouble.between(Host(1), Host(2), at(10_000));
                assert_eq!(pair, at(until), "{moment} {host}");
                // Of the other pairs only the host's own pause.
                for (a, b, until) in told(&trouble) {
                    if (a.min(b), a.max(b)) != (1, 2) {
                        assert!((a == host || b == host) && until == 4000, "{a} {b} {until}");
                    }
                }
            }
        }
        // A pause of a third host is nothing to them.
        let mut trouble = Trouble::new(usize::from(HOSTS));
        for host in [0, 3] {
            trouble.paused(Host(host), at(1000), true);
            trouble.change(at(1500), &Change::Reset(way(1, 2, true)));
            trouble.paused(Host(host), at(4000), false);
        }
        assert_eq!(trouble.between(Host(1), Host(2), at(10_000)), at(2500));
    }
}
