//! Random crashes, at random moments and in random orders, on servers that only crash: no two
//! servers ever decide differently, what was acknowledged is never lost, and in the end all have the
//! same and go on.

mod grid;

use chatroom_commit::{Event, Options, Txn};
use grid::Grid;
use std::collections::{BTreeMap, BTreeSet};

const ARMS: [&str; 12] = [
    "crashBeforeVote",
    "crashAfterVote",
    "crashAfterAck",
    "crashVoteREQ",
    "crashVoteREQ 1",
    "crashVoteREQ 0 2",
    "crashPartialPreCommit",
    "crashPartialPreCommit 2",
    "crashPartialPreCommit 0 1",
    "crashPartialCommit",
    "crashPartialCommit 0",
    "crashPartialCommit 1 2",
];

/// What was seen in a run, so that a test can tell that the hard cases came up.
#[derive(Debug, Default)]
struct Seen {
    commits: u64,
    aborts: u64,
    total_failures: u64,
    waits: u64,
    copies: u64,
    elections: u64,
}

struct Run {
    grid: Grid,
    servers: usize,
    seed: u64,
    /// By server, its master, made anew with each incarnation.
    masters: Vec<Option<usize>>,
    /// Songs whose `add` was acknowledged as committed, and as aborted.
    committed: BTreeSet<String>,
    aborted: BTreeSet<String>,
    /// By master, the song of the request that is not answered.
    asked: BTreeMap<usize, String>,
    songs: u64,
    seen: Seen,
}

impl Run {
    fn new(servers: usize, seed: u64) -> Self {
        Self {
            grid: Grid::with(servers, Options::default(), Some(seed)),
            servers,
            seed,
            masters: vec![None; servers],
            committed: BTreeSet::new(),
            aborted: BTreeSet::new(),
            asked: BTreeMap::new(),
            songs: 0,
            seen: Seen::default(),
        }
    }

    fn start(&mut self, at: usize) {
        self.grid.start(at);
        self.masters[at] = Some(self.grid.master(at));
    }

    fn kill(&mut self, at: usize) {
        self.grid.kill(at);
        self.forget_dead();
    }

    fn forget_dead(&mut self) {
        let mut live = 0;
        for at in 0..self.servers {
            if self.grid.is_up(at) {
                live += 1;
            } else if self.masters[at].is_some() {
                self.listen(at);
                if let Some(master) = self.masters[at].take() {
                    self.asked.remove(&master);
                }
                self.seen.total_failures += u64::from(live == 0 && at + 1 == self.servers);
            }
        }
    }

    /// Takes in what a master has heard.
    fn listen(&mut self, at: usize) {
        let Some(master) = self.masters[at] else {
            return;
        };
        for line in self.grid.hear(master).lines() {
            match line {
                "ack commit" | "ack abort" => {
                    let song = self.asked.remove(&master);
                    let song =
                        song.unwrap_or_else(|| panic!("seed {}: an ack too many", self.seed));
                    if line == "ack commit" {
                        self.committed.insert(song);
                    } else {
                        self.aborted.insert(song);
                    }
                }
                _ => assert_eq!(line, format!("coordinator {at}"), "seed {}", self.seed),
            }
        }
    }

    fn ask(&mut self, at: usize) {
        self.listen(at);
        if let Some(master) = self.masters[at]
            && !self.asked.contains_key(&master)
        {
            self.songs += 1;
            let song = format!("s{}", self.songs);
            self.grid
                .say(master, &format!("add {song} u{}", self.songs));
            self.asked.insert(master, song);
        }
    }

    /// One thing that happens.
    fn act(&mut self) {
        let at = self.grid.draw(self.servers);
        match self.grid.draw(10) {
            0 if self.grid.is_up(at) => self.kill(at),
            0..=2 if !self.grid.is_up(at) => self.start(at),
            3 => {
                if let Some(master) = self.masters[at] {
                    let arm = self.grid.draw(ARMS.len());
                    self.grid.say(master, ARMS[arm]);
                }
            }
            4 => {
                if let Some(master) = self.masters[at] {
                    self.grid.say(master, "vote NO");
                }
            }
            5..=7 => self.ask(at),
            _ => {
                let ms = self.grid.draw(700) as u64;
                self.grid.run(ms);
            }
        }
        for _ in 0..self.grid.draw(60) {
            self.grid.step();
        }
        self.forget_dead();
    }

    /// Every server is back, and all is well.
    fn end(&mut self) {
        for _ in 0..4 {
            // What was armed may still go off.
            for at in 0..self.servers {
                if !self.grid.is_up(at) {
                    self.start(at);
                }
            }
            self.grid.run(3000);
            self.forget_dead();
            // Whatever was not answered since a coordinator died never is: another master asks.
            let at = self.grid.draw(self.servers);
            if self.grid.is_up(at) {
                let master = self.grid.master(at);
                self.grid.say(master, "delete nothing");
                self.grid.run(3000);
                let said = self.grid.hear(master);
                let answered = said.contains("ack ") || said.contains("coordinator ");
                let dead = (0..self.servers).any(|at| !self.grid.is_up(at));
                assert!(
                    answered || dead,
                    "seed {}: no answer but {said:?}",
                    self.seed
                );
            }
            self.forget_dead();
        }
        for at in 0..self.servers {
            if !self.grid.is_up(at) {
                self.start(at);
            }
        }
        self.grid.run(3000);
        for at in 0..self.servers {
            self.listen(at);
        }
        let seed = self.seed;
        let list = |at: usize| -> Vec<(String, String)> {
            let server = self
                .grid
                .server(at)
                .unwrap_or_else(|| panic!("seed {seed}: {at} died"));
            let songs = server.protocol().songs();
            songs.map(|(song, url)| (song.into(), url.into())).collect()
        };
        let first = list(0);
        for at in 0..self.servers {
            assert_eq!(list(at), first, "seed {seed}: servers 0 and {at} differ");
            let members = self.grid.server(at).expect("it runs").protocol().members();
            let count = members.iter().count();
            assert_eq!(
                count, self.servers,
                "seed {seed}: server {at} knows {members}"
            );
        }
        for song in &self.committed {
            let there = first.iter().any(|(other, _)| other == song);
            assert!(there, "seed {seed}: {song} was committed, and is lost");
        }
        for song in &self.aborted {
            let there = first.iter().any(|(other, _)| other == song);
            assert!(!there, "seed {seed}: {song} was aborted, and is there");
        }
        self.agree();
    }

    /// No two servers decided differently, in any incarnation.
    fn agree(&mut self) {
        let mut decisions: BTreeMap<Txn, bool> = BTreeMap::new();
        for at in 0..self.servers {
            for event in self.grid.events(at) {
                match event {
                    Event::Decided { decision } => {
                        let commit = *decisions.entry(decision.txn).or_insert(decision.commit);
                        assert_eq!(
                            commit, decision.commit,
                            "seed {}: server {at} decided {decision}",
                            self.seed
                        );
                    }
                    Event::Waits { .. } => self.seen.waits += 1,
                    Event::Copied { .. } => self.seen.copies += 1,
                    Event::Coordinator => self.seen.elections += 1,
                    Event::Member { .. } | Event::Recorded { .. } => {}
                    Event::Left => panic!("seed {}: server {at} left", self.seed),
                    Event::Unreadable { number } => {
                        panic!("seed {}: record {number} of server {at}", self.seed)
                    }
                }
            }
        }
        let commits = decisions.values().filter(|commit| **commit).count() as u64;
        self.seen.commits += commits;
        self.seen.aborts += decisions.len() as u64 - commits;
    }
}

#[test]
fn servers_that_only_crash_never_disagree() {
    let seeds = std::env::var("CHATROOM_COMMIT_SEEDS").ok();
    let seeds = seeds.map_or(150, |seeds| seeds.parse().expect("a number of seeds"));
    let mut all = Seen::default();
    for seed in 0..seeds {
        let mut run = Run::new(2 + (seed % 3) as usize, seed);
        // The first server is a grid before the others start: two that start alone at one time
        // are two grids.
        run.start(0);
        run.grid.run(1000);
        for at in 1..run.servers {
            run.start(at);
        }
        run.grid.run(1000);
        for _ in 0..60 {
            run.act();
        }
        run.end();
        all.commits += run.seen.commits;
        all.aborts += run.seen.aborts;
        all.total_failures += run.seen.total_failures;
        all.waits += run.seen.waits;
        all.copies += run.seen.copies;
        all.elections += run.seen.elections;
    }
    assert!(
        all.commits > 0 && all.aborts > 0 && all.waits > 0 && all.copies > 0,
        "{all:?}"
    );
    println!("{seeds} seeds: {all:?}");
}
