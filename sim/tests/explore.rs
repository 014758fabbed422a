//! The explorer: that the reduced search sees what the full one sees, that the chat holds in every
//! state of a small grid, and that broken servers are caught with a short path.

use chatroom_core::machine::{
    Action, Conn, Dialled, Door, Loss, Machine, Misuse, Refused, Timeout,
};
use chatroom_core::{ChatServer, Config, Counters, Gauges, MASTERS, News, Time};
use chatroom_sim::chat::{Chat, judge, server};
use chatroom_sim::explore::{
    Bounds, Explorable, Found, Limit, Reduction, Report, Start, Step, explore, walk,
};
use chatroom_sim::trace::Format;
use std::collections::VecDeque;

const ALL: Limit = Limit {
    states: usize::MAX,
    time: None,
};

const fn bounds(servers: u8, messages: u8, crashes: u8, restarts: u8, losses: u8) -> Bounds {
    Bounds {
        servers,
        messages,
        crashes,
        restarts,
        losses,
        start: Start::Linked,
    }
}

fn search<M: Explorable>(
    make: impl Fn(Config) -> M,
    bounds: &Bounds,
    reduction: Reduction,
) -> (Report, Option<Found>) {
    explore(make, bounds, reduction, ALL, &mut |_| ())
}

/// Searches both ways and compares all that must agree.
fn agree(bounds: &Bounds) -> (Report, Report) {
    let (reduced, found) = search(server, bounds, Reduction::SleepSets);
    assert_eq!(found, None, "{bounds:?}");
    let (full, found) = search(server, bounds, Reduction::None);
    assert_eq!(found, None, "{bounds:?}");
    assert!(reduced.exhausted && full.exhausted, "{bounds:?}");
    let saw = |r: &Report| {
        let digests = (r.digest, r.finals_digest);
        (r.states, r.rests, r.finals, r.depth, digests)
    };
    assert_eq!(saw(&reduced), saw(&full), "{bounds:?}");
    (reduced, full)
}

#[test]
fn two_servers_a_message_and_a_crash_hold_in_every_state_reduced_or_not() {
    let (reduced, full) = agree(&bounds(2, 1, 1, 1, 0));
    assert!(reduced.states > 100 && reduced.finals > 10, "{reduced:?}");
    assert!(reduced.transitions < full.transitions);
}

#[test]
fn the_reduction_loses_no_state_with_losses_three_servers_or_a_start_from_nothing() {
    let down = Bounds {
        start: Start::Down,
        ..bounds(2, 1, 1, 1, 0)
    };
    for bounds in [
        bounds(2, 2, 0, 0, 1),
        bounds(2, 1, 2, 1, 0),
        bounds(3, 1, 1, 0, 0),
        bounds(3, 2, 0, 0, 0),
        bounds(3, 1, 1, 1, 0),
        bounds(2, 1, 1, 1, 1),
        down,
    ] {
        let (reduced, full) = agree(&bounds);
        assert!(reduced.transitions <= full.transitions, "{bounds:?}");
    }
}

#[test]
fn a_limit_ends_a_search_that_then_does_not_claim_to_be_complete() {
    let limit = Limit {
        states: 50,
        time: None,
    };
    let bounds = bounds(2, 1, 1, 1, 0);
    let (report, found) = explore(server, &bounds, Reduction::None, limit, &mut |_| ());
    assert_eq!(found, None);
    assert!(!report.exhausted && report.states < 100, "{report:?}");
}

/// How a server is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    /// Delivers each message of a peer twice.
    DeliversTwice,
    /// Sends all that it broadcast so far whenever a peer comes up.
    ResendsLog,
    /// Takes what is left at the end of a stream for a line.
    DeliversRest,
    /// Sends no messages to peers above one that it knows to be dead.
    StopsAtDead,
    /// Logs its own messages twice.
    LogsOwnTwice,
    /// Does not hear of the end of a stream.
    IgnoresEnd,
}

/// The chat server with a fault, made from outside: the server itself has no hooks for it.
#[derive(Clone, Hash)]
struct Mutant {
    inner: ChatServer,
    fault: Fault,
    id: u32,
    now: Time,
    master: Option<Conn>,
    /// What it broadcast, as lines between servers.
    said: Vec<u8>,
    /// What it sends besides what the inner server owes.
    extra: Vec<(Conn, Vec<u8>)>,
    queue: VecDeque<Action<News>>,
    rests: Vec<(Conn, Vec<u8>)>,
    up: Vec<(u32, Conn)>,
    dead: Vec<u32>,
}

impl Mutant {
    fn make(fault: Fault) -> impl Fn(Config) -> Self {
        move |config| Self {
            fault,
            id: config.id,
            inner: server(config),
            now: Time::ZERO,
            master: None,
            said: Vec::new(),
            extra: Vec::new(),
            queue: VecDeque::new(),
            rests: Vec::new(),
            up: Vec::new(),
            dead: Vec::new(),
        }
    }

    fn extra(&self, conn: Conn) -> &[u8] {
        let found = self.extra.iter().find(|(c, _)| *c == conn);
        found.map_or(&[], |(_, bytes)| bytes)
    }

    fn news(&mut self, news: &News) {
        match news {
            News::Up { peer, conn } => {
                self.up.push((*peer, *conn));
                self.dead.retain(|p| p != peer);
                if self.fault == Fault::ResendsLog && !self.said.is_empty() {
                    self.extra.push((*conn, self.said.clone()));
                    self.queue.push_back(Action::Send(*conn));
                }
            }
            News::Down { peer, conn, .. } => {
                self.up.retain(|(_, c)| c != conn);
                self.extra.retain(|(c, _)| c != conn);
                self.dead.push(*peer);
            }
            News::Delivered {
                conn: None, text, ..
            } => {
                let line = format!("msg {} {text}\n", self.id);
                self.said.extend_from_slice(line.as_bytes());
            }
            News::Delivered { .. }
            | News::Closed { .. }
            | News::Skipped { .. }
            | News::Starved { .. }
            | News::LogFull { .. }
            | News::Ending => {}
        }
    }

    /// Whether the messages to a peer are swallowed.
    fn mutes(&self, conn: Conn) -> bool {
        let peer = self.up.iter().find(|(_, c)| *c == conn);
        self.fault == Fault::StopsAtDead
            && peer.is_some_and(|(peer, _)| self.dead.iter().any(|dead| dead < peer))
            && self.inner.pending(conn, 0).starts_with(b"msg ")
    }
}

impl Machine for Mutant {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.inner.handle_start(now);
    }

    fn handle_accepted(&mut self, now: Time, door: Door) -> Result<Conn, Refused> {
        let conn = self.inner.handle_accepted(now, door)?;
        if door == MASTERS {
            self.master = Some(conn);
        }
        Ok(conn)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.inner.handle_starved(now, door);
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.inner.handle_dialled(now, conn, outcome)
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.now = now;
        self.inner.handle_bytes(now, conn, bytes)?;
        let twice = match self.fault {
            Fault::DeliversTwice => bytes.starts_with(b"msg "),
            Fault::LogsOwnTwice => Some(conn) == self.master && bytes.starts_with(b"broadcast "),
            Fault::DeliversRest => {
                if !bytes.ends_with(b"\n") {
                    self.rests.push((conn, bytes.to_vec()));
                }
                false
            }
            Fault::ResendsLog | Fault::StopsAtDead | Fault::IgnoresEnd => false,
        };
        match twice {
            true => self.inner.handle_bytes(now, conn, bytes),
            false => Ok(()),
        }
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        if !self.inner.pending(conn, 0).is_empty() {
            return self.inner.handle_sent(now, conn, count);
        }
        for (c, bytes) in &mut self.extra {
            if *c == conn {
                bytes.drain(..count);
            }
        }
        Ok(())
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        if self.fault == Fault::IgnoresEnd && loss == Loss::Finished {
            return Ok(());
        }
        if self.rests.iter().any(|(c, _)| *c == conn) {
            self.rests.retain(|(c, _)| *c != conn);
            self.inner.handle_bytes(now, conn, b"\n")?;
        }
        self.inner.handle_lost(now, conn, loss)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.inner.handle_timeout(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.inner.handle_shutdown(now);
    }

    fn poll(&mut self) -> Option<Action<News>> {
        let action = self.inner.poll().or_else(|| self.queue.pop_front())?;
        if let Action::Notice(news) = &action {
            self.news(news);
        }
        if let Action::Send(conn) = action
            && self.mutes(conn)
        {
            let count = self.inner.pending(conn, 0).len();
            let _ = self.inner.handle_sent(self.now, conn, count);
        }
        Some(action)
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        match self.inner.pending(conn, skip) {
            [] if skip == 0 => self.extra(conn),
            bytes => bytes,
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.inner.poll_timeout()
    }
}

impl Chat for Mutant {
    fn gauges(&self) -> Gauges {
        self.inner.gauges()
    }

    fn counters(&self) -> &Counters {
        self.inner.counters()
    }
}

/// Looks for a fault both ways; gives the path, which is as short either way.
fn caught(fault: Fault, bounds: &Bounds, property: &str) -> Found {
    let [reduced, full] = [Reduction::SleepSets, Reduction::None].map(|reduction| {
        let (report, found) = search(Mutant::make(fault), bounds, reduction);
        assert!(!report.exhausted, "{fault:?} lives: {report:?}");
        found.expect("a search that did not end found something")
    });
    assert_eq!(reduced.violation.property, property, "{reduced:?}");
    assert_eq!(full.violation.property, property, "{full:?}");
    assert_eq!(reduced.steps.len(), full.steps.len(), "{fault:?}");
    let walked = walk(Mutant::make(fault), bounds, &reduced.steps);
    assert_eq!(walked.violation.as_ref(), Some(&reduced.violation));
    // One line for the start, one for each step.
    assert_eq!(walked.lines.len(), 1 + reduced.steps.len());
    let well = walk(server, bounds, &reduced.steps);
    assert_eq!(well.violation, None, "{fault:?}: the chat itself does it");
    reduced
}

#[test]
fn a_message_delivered_twice_is_caught() {
    let found = caught(
        Fault::DeliversTwice,
        &bounds(2, 1, 1, 1, 0),
        judge::NO_DUPLICATION,
    );
    // A broadcast and its arrival: no shorter path could show it.
    assert_eq!(found.steps.len(), 2);
}

#[test]
fn an_own_message_logged_twice_is_caught() {
    let found = caught(
        Fault::LogsOwnTwice,
        &bounds(2, 1, 1, 1, 0),
        judge::NO_DUPLICATION,
    );
    assert!(matches!(found.steps[..], [Step::Broadcast(_)]));
}

#[test]
fn a_log_sent_again_on_reconnect_is_caught() {
    let found = caught(
        Fault::ResendsLog,
        &bounds(2, 1, 1, 1, 0),
        judge::EMPTY_START,
    );
    assert!(found.steps.iter().any(|s| matches!(s, Step::Crash(_))));
}

#[test]
fn a_rest_taken_for_a_line_is_caught() {
    let found = caught(
        Fault::DeliversRest,
        &bounds(2, 1, 1, 0, 0),
        judge::NO_CREATION,
    );
    assert!(matches!(found.steps.last(), Some(Step::Tear(..))));
}

#[test]
fn a_server_that_stops_sending_at_a_dead_peer_is_caught() {
    let found = caught(Fault::StopsAtDead, &bounds(3, 1, 1, 0, 0), judge::VALIDITY);
    assert!(found.steps.iter().any(|s| matches!(s, Step::Crash(_))));
}

#[test]
fn a_server_that_does_not_hear_of_ends_is_caught() {
    caught(
        Fault::IgnoresEnd,
        &bounds(2, 0, 1, 0, 0),
        judge::COMPLETENESS,
    );
}

#[test]
fn a_path_is_told_and_recorded_step_by_step() {
    let bounds = bounds(2, 1, 1, 1, 0);
    let (_, found) = search(
        Mutant::make(Fault::ResendsLog),
        &bounds,
        Reduction::SleepSets,
    );
    let found = found.expect("it is caught");
    let walked = walk(Mutant::make(Fault::ResendsLog), &bounds, &found.steps);
    let said = |what: &str| walked.lines.iter().any(|line| line.contains(what));
    assert!(said("broadcasts \"s"), "{:?}", walked.lines);
    assert!(said("is killed"), "{:?}", walked.lines);
    assert!(said("accepts the connection"), "{:?}", walked.lines);
    let trace = walked.recorder.write(Format::JsonLines);
    for kind in ["change", "killed", "received", "opened", "notice"] {
        assert!(trace.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
    let page = walked.html(&bounds);
    assert!(page.contains("8-empty-start") && page.contains("is killed"));
}
