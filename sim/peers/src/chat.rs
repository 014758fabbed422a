//! Five chat servers on our engine, before the judge: a heartbeat for each peer every 100 ms, and a
//! broadcast a second. One write in ten falls apart.

use crate::Run;
use crate::engine::{plan, span};
use crate::workload::{NODES, PERIOD, expected};
use chatroom_chat::{ChatEvent, ChatServer, MASTERS, News};
use chatroom_machine::Time;
use chatroom_worlds::chat::{Grid, Judge, Setup, server};
use chatroom_sim::engine::run;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::Change;
use std::time::Duration;

/// Counts the lines that servers get, and the messages among them.
#[derive(Default)]
struct Count {
    lines: u64,
    messages: u64,
}

impl Observer<ChatServer> for Count {
    fn see(&mut self, _: &Scene<'_, ChatServer>, fact: &Fact<'_, News>) -> Result<(), Violation> {
        match fact {
            Fact::Received { bytes, .. } => {
                self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            Fact::Notice { notice, .. } => {
                let from_peer = matches!(notice, News::Protocol(ChatEvent::Delivered { conn: Some(_), .. }));
                self.messages += u64::from(from_peer);
            }
            _ => {}
        }
        Ok(())
    }
}

pub(crate) fn chat(seconds: u64) -> Run {
    let end = Duration::from_secs(seconds);
    let mut plan = plan(end);
    plan.net.split = 100;
    let master = Client {
        host: Host(0),
        number: 0,
    };
    plan.push(Time::ZERO + span(PERIOD), Change::Open(master, MASTERS));
    let said = b"broadcast hello\n";
    for second in 1..seconds {
        let at = Time::ZERO + span(Duration::from_secs(second));
        plan.push(at, Change::Say(master, said.to_vec()));
    }
    let setup = Setup::of(&plan).expect("no notes");
    let judge = Judge::new(&plan, setup.clone());
    let grid = Grid::new(setup, |mut config| {
        config.times.heartbeat = span(PERIOD);
        server(config)
    });
    let outcome = run(&grid, &plan, (judge, Count::default()));
    assert_eq!(outcome.violation, None);
    let count = outcome.observer.1;
    let broadcasts = seconds - 1;
    assert_eq!(count.messages, broadcasts * (NODES as u64 - 1));
    // The last round is under way at the end; a greeting stands in for it on every stream. A
    // broadcast is a line to the server that is asked for it and to each other one.
    assert_eq!(count.lines, expected(seconds) + broadcasts * NODES as u64);
    Run {
        simulated: end,
        lines: count.lines,
        events: Some(outcome.events),
    }
}
