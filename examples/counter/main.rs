//! A protocol of one's own: a counter on every server of a grid. docs/BUILD-YOUR-OWN.md walks
//! through it.
//!
//!     cargo run --example counter serve 0 3 7000
//!     cargo run --example counter serve 1 3 7001 --runtime smol
//!     cargo run --example counter sim sweep
//!     cargo run --example counter sim sweep --broken
//!
//! Clients connect to the port and say `add`, `get` or `alive`.

mod world;

use chatroom_core::{Config, Context, Limits, NoEvent, Node, Protocol, Receipt, Why};
use chatroom_machine::Conn;
use std::process::ExitCode;

/// What each server has added, as far as this one knows: a grow-only counter (Shapiro et al.,
/// "Conflict-free Replicated Data Types", 2011).
#[derive(Clone, Debug, Hash)]
struct Counter {
    id: u32,
    added: Vec<u64>,
    broken: bool,
}

enum Command {
    Add,
    Get,
    Alive,
}

impl Protocol for Counter {
    const WORD: &'static str = "added";
    type Event = NoEvent;
    /// Whether it is broken on purpose.
    type Options = bool;
    type Command<'a> = Command;

    fn new(config: &Config<bool>) -> Self {
        let added = vec![0; config.servers as usize];
        Self {
            id: config.id,
            added,
            broken: config.protocol,
        }
    }

    fn longest_command(_: &Limits) -> usize {
        16
    }

    fn parse(_: &Limits, line: &str) -> Result<Command, String> {
        match line {
            "add" => Ok(Command::Add),
            "get" => Ok(Command::Get),
            "alive" => Ok(Command::Alive),
            _ => Err(format!(
                "unknown command {line:?}: expected add, get or alive"
            )),
        }
    }

    /// A peer that came up is told everything: it may have missed some of it.
    fn peer_up(&mut self, cx: &mut Context<'_, NoEvent>, peer: u32) {
        for (server, total) in self.added.iter().enumerate() {
            cx.send(peer, format!("{server} {total}").as_bytes());
        }
    }

    /// `SERVER TOTAL`: what is news is told on.
    fn message(
        &mut self,
        cx: &mut Context<'_, NoEvent>,
        _: u32,
        _: Conn,
        body: &[u8],
    ) -> Result<Receipt, Why> {
        let body = std::str::from_utf8(body).map_err(|_| Why::NotUtf8)?;
        let (server, total) = body.split_once(' ').ok_or(Why::Malformed)?;
        let total: u64 = total.parse().map_err(|_| Why::Malformed)?;
        let server: usize = server.parse().map_err(|_| Why::Malformed)?;
        let known = self.added.get_mut(server).ok_or(Why::OutsideGrid)?;
        if total > *known {
            // The planted bug takes a total for an increment.
            *known = if self.broken { *known + total } else { total };
            cx.broadcast(body.as_bytes());
        }
        Ok(Receipt::Kept)
    }

    fn command(&mut self, cx: &mut Context<'_, NoEvent>, client: Conn, command: Command) {
        let reply = match command {
            Command::Add => {
                let total = &mut self.added[self.id as usize];
                *total += 1;
                return cx.broadcast(format!("{} {total}", self.id).as_bytes());
            }
            Command::Get => format!("sum {}\n", self.added.iter().sum::<u64>()),
            Command::Alive => format!("alive {:?}\n", cx.alive()),
        };
        cx.reply(client, reply.as_bytes());
    }
}

fn main() -> ExitCode {
    chatroom_cli::main::<world::Counters, _, _>("counter", |id, servers| {
        Node::<Counter>::new(Config::new(id, servers))
    })
}
