//! The core beside a reference model: any run of calls leads both to the same logs, the same
//! living, the same ends for the same reasons, and the same lines to everybody.

#[path = "../harness/mod.rs"]
mod harness;
mod reference;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use proptest::prelude::*;
use reference::{Reference, Told};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Accept,
    Master,
    Dialled(bool),
    LinkBytes(usize, Vec<u8>),
    MasterBytes(usize, Vec<u8>),
    Lose(usize, bool),
    Advance(u64),
    /// The server does nothing for so long, and finds everything due at once.
    Away(u64),
}

fn link_bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        5 => (0..6u32).prop_map(|id| format!("ping {id}\n").into_bytes()),
        5 => (0..6u32, "[a-c ,\u{e4}]{0,6}").prop_map(|(id, t)| format!("msg {id} {t}\n").into_bytes()),
        1 => "[a-z ]{0,8}\n".prop_map(String::into_bytes),
        1 => "(ping|msg) ?[+0-9x]{0,3}[ \r]?\n".prop_map(String::into_bytes),
        1 => Just(b"msg 3 \xff\n".to_vec()),
        1 => "(p|ping |msg 3 )".prop_map(String::into_bytes),
    ];
    prop::collection::vec(line, 1..4).prop_map(|lines| lines.concat())
}

fn master_bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => Just(b"get\n".to_vec()),
        3 => Just(b" alive\r\n".to_vec()),
        6 => "broadcast [a-c ,\u{e4}]{0,6}\n".prop_map(String::into_bytes),
        2 => Just(b"watch\n".to_vec()),
        1 => "[a-z ]{0,8}\n".prop_map(String::into_bytes),
        1 => "(g|broadcast |al)".prop_map(String::into_bytes),
        1 => Just(b"broadcast \xff\n".to_vec()),
    ];
    prop::collection::vec(line, 1..4).prop_map(|lines| lines.concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..6usize;
    let step = prop_oneof![
        4 => Just(Step::Accept),
        2 => Just(Step::Master),
        4 => any::<bool>().prop_map(Step::Dialled),
        16 => (which.clone(), link_bytes()).prop_map(|(w, b)| Step::LinkBytes(w, b)),
        10 => (which.clone(), master_bytes()).prop_map(|(w, b)| Step::MasterBytes(w, b)),
        2 => (which, any::<bool>()).prop_map(|(w, b)| Step::Lose(w, b)),
        5 => (1..400u64).prop_map(Step::Advance),
        2 => (0..30u64).prop_map(Step::Advance),
        1 => (10_000..10_100u64).prop_map(Step::Advance),
        1 => (490..1000u64).prop_map(Step::Away),
    ];
    let crash = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec![Step::Master, Step::MasterBytes(0, b"broadcast x\ncrash\nget\n".to_vec())]),
    ];
    (prop::collection::vec(step, 1..70), crash).prop_map(|(steps, crash)| [steps, crash].concat())
}

struct Pair {
    solo: Solo,
    model: Reference,
    links: Vec<Conn>,
    masters: Vec<Conn>,
    known_dials: BTreeMap<u32, Conn>,
}

impl Pair {
    fn new(log: u64) -> Self {
        let mut config = Config::new(2, 5);
        config.limits.nameless = 4;
        config.limits.masters = 2;
        config.protocol.log = log;
        let limits = config.limits.clone();
        let mut pair = Self {
            solo: Solo::with(config),
            model: Reference::new(2, 5, limits, log),
            links: vec![],
            masters: vec![],
            known_dials: BTreeMap::new(),
        };
        pair.see_dials(false);
        pair
    }

    /// Tells the model which dials have begun up to now.
    fn see_dials(&mut self, away: bool) {
        let mut begun: Vec<(u32, Conn, Time)> = vec![];
        for (&peer, &conn) in &self.solo.dials {
            if self.known_dials.get(&peer) != Some(&conn) {
                begun.push((peer, conn, self.solo.now));
            }
        }
        self.model.advance(self.solo.now, &begun, away);
        self.known_dials = self.solo.dials.clone();
    }

    fn step(&mut self, step: Step) {
        let pick = |of: &Vec<Conn>, which: usize| of.get(which % of.len().max(1)).copied();
        match step {
            Step::Accept if self.model.shut(false) => {}
            Step::Master if self.model.shut(true) => {}
            Step::Accept => {
                let conn = self.solo.accept(LINKS);
                self.model.accepted(conn);
                self.links.push(conn);
            }
            Step::Master => {
                let conn = self.solo.master();
                self.model.master(conn);
                self.masters.push(conn);
            }
            Step::Dialled(connected) => {
                let Some((&peer, &conn)) = self.solo.dials.iter().next() else {
                    return;
                };
                match connected {
                    true => {
                        self.solo.connected(peer);
                        self.links.push(conn);
                    }
                    false => self.solo.dial_fails(peer),
                }
                self.model.dialled(conn, connected);
                self.known_dials.remove(&peer);
            }
            Step::LinkBytes(which, bytes) => {
                if let Some(conn) = pick(&self.links, which) {
                    self.solo.bytes(conn, &bytes);
                    self.model.link_bytes(conn, &bytes);
                }
            }
            Step::MasterBytes(which, bytes) => {
                if let Some(conn) = pick(&self.masters, which)
                    && self.model.may_send(conn)
                {
                    self.solo.bytes(conn, &bytes);
                    self.model.master_bytes(conn, &bytes);
                }
            }
            Step::Lose(which, broken) => {
                let all = [&self.links[..], &self.masters[..]].concat();
                if let Some(conn) = pick(&all, which)
                    && (broken || self.model.may_send(conn))
                {
                    let loss = match broken {
                        true => Loss::Broken,
                        false => Loss::Finished,
                    };
                    self.solo.lost(conn, loss);
                    self.model.lost(conn, broken);
                }
            }
            Step::Away(ms) => {
                self.solo.tick();
                self.see_dials(false);
                self.solo.now = self.solo.now + harness::ms(ms);
                self.solo.tick();
                self.see_dials(true);
            }
            Step::Advance(ms) => {
                // From timeout to timeout, so that every dial is seen when it begins.
                let to = self.solo.now + harness::ms(ms);
                while self.solo.now < to && !self.model.crashed {
                    let next = self.solo.server.poll_timeout().map_or(to, |t| t.at);
                    self.solo.advance_to(next.min(to));
                    self.see_dials(false);
                    self.compare_all();
                }
            }
        }
        self.compare_all();
        if !self.model.crashed {
            // What is to be judged at once.
            self.solo.judge();
            self.see_dials(false);
            self.compare_all();
        }
    }

    /// Compares until nobody is told anything more: reading may end a connection, which may give
    /// its place to another.
    fn compare_all(&mut self) {
        self.compare();
        while !self.model.crashed && self.model.has_news() {
            self.compare();
        }
    }

    fn compare(&mut self) {
        if self.model.crashed {
            assert_eq!(self.solo.halt, Some(Halt::Crash));
            assert_eq!(self.solo.log(), self.model.log.join(","));
            return;
        }
        assert_eq!(self.solo.halt, None);
        let ended = std::mem::take(&mut self.model.ended);
        for (conn, why) in &ended {
            assert_eq!(self.solo.why(*conn), Some(*why), "{conn}");
        }
        let told = self
            .solo
            .news
            .drain(..)
            .filter(|news| matches!(news, News::Down { .. } | News::Closed { .. }));
        assert_eq!(told.count(), ended.len());
        self.links.retain(|conn| !ended.contains_key(conn));
        self.masters.retain(|conn| !ended.contains_key(conn));
        assert_eq!(self.solo.server.alive(), self.model.alive());
        assert_eq!(self.solo.log(), self.model.log.join(","));
        assert_eq!(self.solo.server.counters().missed, self.model.missed);
        let shut = [(LINKS, false), (MASTERS, true)];
        for (door, masters) in shut {
            assert_eq!(self.solo.shut.contains(&door), self.model.shut(masters));
        }
        for &conn in self.links.iter().chain(&self.masters) {
            let heard = self.solo.read(conn);
            let expected = self.model.told.remove(&conn).unwrap_or_default();
            let lines: Vec<Told> = heard
                .split_terminator('\n')
                .map(|line| match line.starts_with("error ") {
                    true => Told::Error,
                    false => Told::Line(line.to_string()),
                })
                .collect();
            assert_eq!(lines, expected, "to {conn}");
            assert!(heard.is_empty() || heard.ends_with('\n'));
        }
        self.model.all_read();
    }
}

/// So many cases, or as many as PROPTEST_CASES says.
fn cases(usual: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = usual;
    }
    config
}

proptest! {
    #![proptest_config(cases(600))]
    #[test]
    fn any_run_of_calls_does_what_the_reference_does(
        steps in steps(),
        log in prop_oneof![3 => Just(1u64 << 30), 1 => 5..40u64],
    ) {
        let mut pair = Pair::new(log);
        for step in steps {
            if !pair.model.crashed {
                pair.step(step);
            }
        }
    }
}
