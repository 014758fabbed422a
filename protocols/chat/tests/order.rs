//! Message ordering on a small network: whatever the interleaving, the chunking and the crash
//! points, properties 1 to 8 of the contract hold; and once the trouble is over, 6, 9 and 11.

mod harness;

use chatroom_chat::{ChatServer, Config};
use harness::net::Net;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(usize),
    Accept(usize, usize),
    Write(usize, usize, usize),
    Read(usize, usize, usize),
    Advance(u64),
    Broadcast(usize),
    Kill(usize, usize),
    Start(usize),
    Round,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 0..5usize;
    let which = 0..8usize;
    let most = prop_oneof![1..6usize, Just(1 << 20)];
    prop::collection::vec(
        prop_oneof![
            3 => host.clone().prop_map(Step::Connect),
            3 => (host.clone(), 0..2usize).prop_map(|(h, d)| Step::Accept(h, d)),
            10 => (host.clone(), which.clone(), most.clone()).prop_map(|(h, w, m)| Step::Write(h, w, m)),
            10 => (host.clone(), which, most).prop_map(|(h, w, m)| Step::Read(h, w, m)),
            2 => (1..2000u64).prop_map(Step::Advance),
            6 => host.clone().prop_map(Step::Broadcast),
            1 => (host.clone(), 0..9usize).prop_map(|(h, s)| Step::Kill(h, s)),
            2 => host.prop_map(Step::Start),
            1 => Just(Step::Round),
        ],
        20..220,
    )
}

/// A broadcast or an entry: sender, life, number.
type Text = (usize, u32, u32);

fn parse(log: &[u8]) -> Vec<Text> {
    let text = std::str::from_utf8(log).expect("UTF-8");
    let parts = text.split(',').filter(|t| !t.is_empty());
    parts
        .map(|entry| {
            let mut numbers = entry.split('.').map(|n| n.parse::<u32>().expect("whole"));
            let mut next = || numbers.next().expect("whole");
            (next() as usize, next(), next())
        })
        .collect()
}

struct Grid {
    net: Net<ChatServer>,
    size: usize,
    lives: Vec<u32>,
    sent: Vec<u32>,
    masters: Vec<Option<usize>>,
    said: BTreeSet<Text>,
    /// In which step each broadcast was first seen in its own server's log.
    accepted: BTreeMap<Text, usize>,
    started: Vec<usize>,
    /// The longest log each life has shown.
    shown: BTreeMap<(usize, u32), Vec<u8>>,
    step: usize,
}

impl Grid {
    fn new(size: usize) -> Self {
        Self {
            net: Net::new(size),
            size,
            lives: vec![0; size],
            sent: vec![0; size],
            masters: vec![None; size],
            said: BTreeSet::new(),
            accepted: BTreeMap::new(),
            started: vec![0; size],
            shown: BTreeMap::new(),
            step: 0,
        }
    }

    fn start(&mut self, at: usize) {
        if self.net.machine(at).is_some() {
            return;
        }
        self.lives[at] += 1;
        self.sent[at] = 0;
        self.started[at] = self.step;
        let mut config = Config::new(at as u32, self.size as u32);
        config.seed = u64::from(self.lives[at]);
        self.net.start(at, ChatServer::new(config).expect("valid"));
        self.masters[at] = self.net.client(at);
    }

    fn broadcast(&mut self, at: usize) {
        if let (Some(master), true) = (self.masters[at], self.net.machine(at).is_some()) {
            self.sent[at] += 1;
            let text = (at, self.lives[at], self.sent[at]);
            self.said.insert(text);
            let line = format!("broadcast {}.{}.{}\nget\n", text.0, text.1, text.2);
            self.net.say(master, line.as_bytes());
        }
    }

    fn apply(&mut self, step: Step) {
        self.step += 1;
        let host = |h: usize| h % self.size;
        match step {
            Step::Connect(h) => drop(self.net.connect(host(h))),
            Step::Accept(h, door) => drop(self.net.accept(host(h), door)),
            Step::Write(h, which, most) => drop(self.net.write(host(h), which, most)),
            Step::Read(h, which, most) => drop(self.net.read(host(h), which, most)),
            Step::Advance(us) => {
                let to = self.net.now + harness::us(us);
                self.net.advance(to);
            }
            Step::Broadcast(h) => self.broadcast(host(h)),
            Step::Kill(h, share) => self.net.kill(host(h), share),
            Step::Start(h) => self.start(host(h)),
            Step::Round => self.net.round(),
        }
        self.check();
    }

    fn check(&mut self) {
        for at in 0..self.size {
            let own = self.net.machine(at).map(|m| parse(&m.protocol().log()));
            for text in own.unwrap_or_default().into_iter().filter(|t| t.0 == at) {
                self.accepted.entry(text).or_insert(self.step);
            }
        }
        for at in 0..self.size {
            let Some(machine) = self.net.machine(at) else {
                continue;
            };
            let log = machine.protocol().log();
            let shown = self.shown.entry((at, self.lives[at])).or_default();
            assert!(log.starts_with(shown), "9: a log only grows");
            if log.len() == shown.len() {
                continue;
            }
            *shown = log.clone();
            let entries = parse(&log);
            let distinct: BTreeSet<&Text> = entries.iter().collect();
            assert_eq!(distinct.len(), entries.len(), "2: no duplication");
            let mut last: BTreeMap<usize, (u32, u32)> = BTreeMap::new();
            for &(sender, life, number) in &entries {
                let text = (sender, life, number);
                assert!(self.said.contains(&text), "1: no creation");
                let when = *self
                    .accepted
                    .get(&text)
                    .expect("the sender's own log has it");
                assert!(when >= self.started[at], "8: nothing from before");
                if let Some(&(l, n)) = last.get(&sender) {
                    assert!(life >= l, "4: lives in order");
                    if life == l {
                        assert_eq!(number, n + 1, "3: FIFO without a gap");
                    }
                } else if sender == at {
                    assert_eq!(
                        (life, number),
                        (self.lives[at], 1),
                        "5: own ones from the first"
                    );
                }
                last.insert(sender, (life, number));
            }
        }
    }

    /// The trouble is over: everybody runs, and the grid is whole again within a second.
    fn heal(&mut self) {
        for at in 0..self.size {
            self.start(at);
        }
        self.net.rounds(1000);
        let all: Vec<u32> = (0..self.size as u32).collect();
        for at in 0..self.size {
            assert_eq!(self.net.machine(at).expect("it runs").alive(), all, "11");
            if let Some(master) = self.masters[at] {
                self.net.hear(master);
            }
            self.broadcast(at);
        }
        self.net.rounds(2);
        self.check();
        for at in 0..self.size {
            let log = self.net.machine(at).expect("it runs").protocol().log();
            let entries = parse(&log);
            for sender in 0..self.size {
                let text = (sender, self.lives[sender], self.sent[sender]);
                assert!(entries.contains(&text), "6: {text:?} reached {at}");
            }
            let master = self.masters[at].expect("it has one");
            let heard = self.net.hear(master);
            let own = format!("{at}.{}.{}", self.lives[at], self.sent[at]);
            let heard = String::from_utf8(heard).expect("UTF-8");
            let reply = heard.strip_prefix("messages ").expect("a reply");
            let entries = reply.strip_suffix('\n').expect("one whole reply");
            assert!(
                entries.split(',').any(|e| e == own),
                "5: own before the reply"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn any_interleaving_chunking_and_crash_keeps_the_order(size in 2..6usize, steps in steps()) {
        let mut grid = Grid::new(size);
        for at in 0..size {
            grid.start(at);
        }
        grid.net.rounds(3);
        for step in steps {
            grid.apply(step);
        }
        grid.heal();
    }
}
