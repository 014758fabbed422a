//! What happened in a soak, told by the threads that do it and those that watch: whether deaths
//! were noticed in time, and whether a suspicion had a cause.

use std::time::{Duration, Instant};

/// How long after a trouble of either side a lost session still has that as its cause.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(3);
/// The bound of the contract on noticing a death, and on a pair's becoming whole.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Violations and suspicions that are kept in words; all are counted.
const SHOWN: usize = 40;
/// Stalls, and sessions lost without a cause, that are kept.
const EVENTS: usize = 100_000;
/// A pause of the whole machine that may cost a session.
pub(crate) const STALL: Duration = Duration::from_millis(300);
/// Resolution of [`Times`].
const BIN: Duration = Duration::from_millis(1);
const BINS: usize = 10_000;

/// How a server fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fall {
    /// It was killed or crashed: its sockets closed.
    Death,
    /// It was asked to end, for which it may take a second to send what it owes.
    End,
    /// It was stopped: its sockets stay.
    Stop,
}

/// Many durations, to the millisecond, up to 10 s.
#[derive(Clone, Debug)]
pub struct Times {
    bins: Vec<u32>,
    /// How many.
    pub count: u64,
    /// The longest.
    pub max: Duration,
    /// Those longer than a second.
    pub late: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            bins: vec![0; BINS],
            count: 0,
            max: Duration::ZERO,
            late: 0,
        }
    }
}

impl Times {
    fn add(&mut self, took: Duration) {
        let bin = (took.as_micros() / BIN.as_micros()) as usize;
        self.bins[bin.min(BINS - 1)] += 1;
        self.count += 1;
        self.max = self.max.max(took);
        self.late += u64::from(took > SECOND);
    }

    /// The time that `share` of them, in hundredths, did not exceed.
    #[must_use]
    pub fn quantile(&self, share: u64) -> Duration {
        let wanted = (self.count * share).div_ceil(100);
        let mut seen = 0;
        for (bin, &count) in self.bins.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted && seen > 0 {
                return BIN * (bin as u32 + 1);
            }
        }
        Duration::ZERO
    }
}

/// A server that fell silent and those who have yet to notice.
#[derive(Clone, Debug)]
struct Fallen {
    server: usize,
    fall: Fall,
    at: Instant,
    by: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Server {
    runs: bool,
    /// Since when it runs undisturbed.
    since: Instant,
    /// When it last was in trouble.
    trouble: Instant,
    /// Which peers it says are up.
    sees: Vec<bool>,
    /// When it lost a peer.
    lost: Vec<Instant>,
    /// What each of its lives was asked to broadcast.
    issued: Vec<u64>,
    /// What its present life accepted.
    accepted: u64,
}

/// All that is known across servers.
#[derive(Clone, Debug)]
pub struct Chronicle {
    begin: Instant,
    servers: Vec<Server>,
    fallen: Vec<Fallen>,
    /// From a kill to each peer's notice.
    pub deaths: Times,
    /// From a request to end to each peer's notice.
    pub ends: Times,
    /// From a stop that lasted long enough to each peer's notice.
    pub stops: Times,
    /// From the moment a pair could have a session to each side's notice of it.
    pub reunions: Times,
    /// Peers that had not noticed a stop when it ended, more than a second after it began.
    pub unnoticed: u64,
    /// When sessions were lost without a cause, of either side's; bounded.
    causeless: Vec<Instant>,
    /// When, and for how long, the machine ran nothing of the harness either; bounded.
    pub stalls: Vec<(Instant, Duration)>,
    /// The first sessions lost without a cause, and the first late notices, in words.
    pub notes: Vec<String>,
    /// Violations.
    pub violations: u64,
    /// The first of them, in words.
    pub violation_words: Vec<String>,
    /// Gaps in the part of logs that was there before a watcher came.
    pub unwatched_gaps: u64,
    /// Entries that were judged.
    pub entries: u64,
    /// Replies to `get` that were compared to the byte.
    pub replies: u64,
}

impl Chronicle {
    /// For `n` servers that do not run yet.
    #[must_use]
    pub(crate) fn new(n: usize) -> Self {
        let begin = Instant::now();
        let server = Server {
            runs: false,
            since: begin,
            trouble: begin,
            sees: vec![false; n],
            lost: vec![begin; n],
            issued: Vec::new(),
            accepted: 0,
        };
        Self {
            begin,
            servers: vec![server; n],
            fallen: Vec::new(),
            deaths: Times::default(),
            ends: Times::default(),
            stops: Times::default(),
            reunions: Times::default(),
            unnoticed: 0,
            causeless: Vec::new(),
            stalls: Vec::new(),
            notes: Vec::new(),
            violations: 0,
            violation_words: Vec::new(),
            unwatched_gaps: 0,
            entries: 0,
            replies: 0,
        }
    }

    /// Something that must not be.
    pub(crate) fn violation(&mut self, words: impl Into<String>) {
        self.violations += 1;
        if self.violation_words.len() < SHOWN {
            let words = words.into();
            let after = self.begin.elapsed().as_secs_f64();
            eprintln!("soak: violation after {after:.1} s: {words}");
            self.violation_words.push(format!("{after:.1} s: {words}"));
        }
    }

    fn note(&mut self, at: Instant, words: impl FnOnce() -> String) {
        if self.notes.len() < SHOWN {
            let after = at.saturating_duration_since(self.begin).as_secs_f64();
            self.notes.push(format!("{after:.1} s: {}", words()));
        }
    }

    /// The machine let nothing of the harness run for `time` before `at`.
    pub(crate) fn stalled(&mut self, at: Instant, time: Duration) {
        if self.stalls.len() < EVENTS {
            self.stalls.push((at, time));
        }
    }

    /// How many sessions were lost without a cause: while the machine ran, and in a stall of all
    /// of it, in which no heartbeat could be sent.
    #[must_use]
    pub fn suspicions(&self) -> (usize, usize) {
        let in_stall = |&&at: &&Instant| {
            let near = |&(end, time): &(Instant, Duration)| {
                at + time + STALL > end && at < end + AFTERMATH
            };
            self.stalls.iter().any(near)
        };
        let stalled = self.causeless.iter().filter(in_stall).count();
        (self.causeless.len() - stalled, stalled)
    }

    /// A server's next life begins; gives what each server had accepted before.
    pub(crate) fn born(&mut self, server: usize, at: Instant) -> (u32, Vec<(u32, u64)>) {
        let floors = self.servers.iter().map(|server| {
            let life = server.issued.len().saturating_sub(1);
            (life as u32, server.accepted)
        });
        let floors = floors.collect();
        let this = &mut self.servers[server];
        this.issued.push(0);
        this.accepted = 0;
        this.runs = true;
        (this.since, this.trouble) = (at, at);
        this.sees.fill(false);
        (this.issued.len() as u32 - 1, floors)
    }

    /// A stopped server goes on.
    pub(crate) fn resumed(&mut self, server: usize, at: Instant) {
        let this = &mut self.servers[server];
        this.runs = true;
        (this.since, this.trouble) = (at, at);
        for fallen in self.fallen.extract_if(.., |fallen| fallen.server == server) {
            if at > fallen.at + SECOND {
                self.unnoticed += fallen.by.iter().filter(|&&waits| waits).count() as u64;
            }
        }
    }

    /// A server falls silent.
    pub(crate) fn fell(&mut self, server: usize, fall: Fall, at: Instant) {
        let this = &mut self.servers[server];
        this.runs = false;
        this.trouble = at;
        let sees = |s: &Server| s.runs && s.sees[server];
        let by = self.servers.iter().map(sees).collect();
        // What it had yet to notice itself no longer counts; nor does an earlier fall of its own.
        self.fallen.retain(|fallen| fallen.server != server);
        for fallen in &mut self.fallen {
            fallen.by[server] = false;
        }
        self.fallen.push(Fallen {
            server,
            fall,
            at,
            by,
        });
    }

    /// `server` says that `peer` is up.
    pub(crate) fn up(&mut self, server: usize, peer: usize, at: Instant) {
        let other = (self.servers[peer].runs, self.servers[peer].since);
        let this = &mut self.servers[server];
        this.sees[peer] = true;
        if this.runs && other.0 {
            let could = this.since.max(other.1).max(this.lost[peer]);
            let took = at.saturating_duration_since(could);
            self.reunions.add(took);
            if took > SECOND {
                self.note(at, || format!("{server} has {peer} back after {took:.1?}"));
            }
        }
    }

    /// `server` says that `peer` is down.
    pub(crate) fn down(&mut self, server: usize, peer: usize, at: Instant) {
        let other = self.servers[peer].clone();
        let this = &mut self.servers[server];
        this.sees[peer] = false;
        this.lost[peer] = at;
        let mut late = None;
        for fallen in &mut self.fallen {
            if fallen.server == peer && std::mem::take(&mut fallen.by[server]) {
                let times = match fallen.fall {
                    Fall::Death => &mut self.deaths,
                    Fall::End => &mut self.ends,
                    Fall::Stop => &mut self.stops,
                };
                let took = at.saturating_duration_since(fallen.at);
                times.add(took);
                // Who ends may still be sending for a second.
                let due = fallen.fall != Fall::End;
                late = (due && took > SECOND).then_some((fallen.fall, took));
            }
        }
        let recent = |s: &Server| !s.runs || at < s.trouble + AFTERMATH;
        if !recent(this) && !recent(&other) {
            if self.causeless.len() < EVENTS {
                self.causeless.push(at);
            }
            self.note(at, || format!("{server} lost {peer} without a cause"));
        }
        if let Some((fall, took)) = late {
            self.note(at, || {
                format!("{server} noticed the {fall:?} of {peer} after {took:.3?}")
            });
        }
    }

    /// Forgets falls that everybody noticed.
    pub(crate) fn sweep(&mut self) {
        self.fallen
            .retain(|fallen| fallen.by.iter().any(|&waits| waits));
    }

    /// `count` more broadcasts are asked of the present life; gives the number of the last.
    pub(crate) fn issue(&mut self, server: usize, count: u64) -> u64 {
        let issued = self.servers[server].issued.last_mut();
        issued.map_or(0, |issued| {
            *issued += count;
            *issued
        })
    }

    /// What a life was asked for so far.
    #[must_use]
    pub(crate) fn issued(&self, server: usize, life: u32) -> Option<u64> {
        let lives = &self.servers.get(server)?.issued;
        lives.get(life as usize).copied()
    }

    /// The present life of a server, from 0.
    #[must_use]
    pub(crate) fn life(&self, server: usize) -> u32 {
        self.servers[server].issued.len() as u32 - 1
    }

    /// How many lives there were.
    #[must_use]
    pub(crate) fn lives(&self) -> usize {
        self.servers.iter().map(|server| server.issued.len()).sum()
    }

    /// How many broadcasts were asked for.
    #[must_use]
    pub(crate) fn broadcasts(&self) -> u64 {
        self.servers.iter().flat_map(|server| &server.issued).sum()
    }

    /// A life's own broadcast is in its log.
    pub(crate) fn accepted(&mut self, server: usize, life: u32, number: u64) {
        if self.life(server) == life {
            self.servers[server].accepted = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> (Chronicle, Instant) {
        let mut chronicle = Chronicle::new(3);
        let now = Instant::now();
        for server in 0..3 {
            chronicle.born(server, now);
        }
        for (server, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            chronicle.up(server, peer, now);
        }
        (chronicle, now + Duration::from_secs(60))
    }

    #[test]
    fn a_death_is_timed_by_all_who_could_notice() {
        let (mut chronicle, now) = grid();
        chronicle.fell(2, Fall::Death, now);
        chronicle.fell(1, Fall::Stop, now);
        chronicle.down(0, 2, now + Duration::from_millis(5));
        chronicle.down(1, 2, now + Duration::from_millis(5000));
        assert_eq!((chronicle.deaths.count, chronicle.deaths.late), (1, 0));
        chronicle.down(0, 1, now + Duration::from_millis(1100));
        assert_eq!((chronicle.stops.count, chronicle.stops.late), (1, 1));
        assert_eq!(chronicle.suspicions(), (0, 0));
    }

    #[test]
    fn a_suspicion_without_a_cause_is_one() {
        let (mut chronicle, now) = grid();
        chronicle.down(0, 1, now);
        assert_eq!(chronicle.suspicions(), (1, 0));
        chronicle.fell(1, Fall::Stop, now);
        chronicle.resumed(1, now + Duration::from_millis(1500));
        assert_eq!(chronicle.unnoticed, 1, "server 2 never noticed");
        chronicle.down(2, 1, now + Duration::from_millis(2000));
        assert_eq!(chronicle.suspicions(), (1, 0));
        chronicle.down(2, 1, now + Duration::from_millis(4600));
        assert_eq!(chronicle.suspicions(), (2, 0));
        chronicle.stalled(now, Duration::from_secs(1));
        assert_eq!(chronicle.suspicions(), (1, 1));
    }

    #[test]
    fn quantiles_are_those_of_the_times() {
        let mut times = Times::default();
        assert_eq!(times.quantile(50), Duration::ZERO);
        for millis in 0..100 {
            times.add(Duration::from_millis(millis) + Duration::from_micros(500));
        }
        assert_eq!(times.quantile(50), Duration::from_millis(50));
        assert_eq!(times.quantile(99), Duration::from_millis(99));
        assert_eq!(times.max, Duration::from_micros(99_500));
    }
}
