//! The checkers: each looks at what a server answers its master, and knows a broadcast by its
//! identity.

use super::Explorable;
use super::act::{id_of, text_of};
use super::state::{Id, Live, State};
use super::step::{Step, Wire};
use crate::chat::judge::{
    ACCURACY, COMPLETENESS, EMPTY_START, FIFO, LIVES, NO_CREATION, NO_DUPLICATION, OWN, PREFIX,
    REPLIES, VALIDITY,
};
use chatroom_machine::{Action, gather};
use chatroom_sim::observer::Violation;

/// What a server was just told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// Its master had it broadcast this.
    Command(Id),
    /// A line arrived at a side of a connection.
    Line(Wire, usize),
    /// Something that brings no message.
    Other,
}

pub(super) fn broken<T>(property: &'static str, text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        property,
        text: text.into(),
        events: Vec::new(),
    })
}

/// What the machine would answer its master now. It is a copy that answers.
fn ask<M: Explorable>(live: &Live<M>, command: &[u8]) -> Vec<u8> {
    let mut machine = live.machine.machine().clone();
    let mut reply = Vec::new();
    if machine
        .handle_bytes(live.now, live.master, command)
        .is_err()
    {
        return reply;
    }
    while let Some(action) = machine.poll() {
        if action != Action::Send(live.master) {
            continue;
        }
        let piece = gather(&machine, live.master, usize::MAX).into_owned();
        if machine
            .handle_sent(live.now, live.master, piece.len())
            .is_ok()
        {
            reply.extend(piece);
        }
    }
    reply
}

/// Looks at a server after it was told something: what safety asks for.
pub(super) fn look<M: Explorable>(
    state: &mut State<M>,
    host: u8,
    cause: Cause,
) -> Result<(), Violation> {
    let live = state.live_mut(host);
    let reply = ask(live, b"get\n");
    let body = reply
        .strip_prefix(b"messages ")
        .and_then(|rest| rest.strip_suffix(b"\n"));
    let Some(body) = body else {
        return broken(REPLIES, format!("server {host} answers no get"));
    };
    let before = live.reply.len();
    if !body.starts_with(&live.reply) {
        let text = format!("a get of server {host} does not extend the one before");
        return broken(REPLIES, text);
    }
    let (new, mut log) = (body[before..].to_vec(), live.log.clone());
    let known = log.len();
    let entries = new.split(|b| *b == b',').filter(|entry| !entry.is_empty());
    for entry in entries {
        take(state, host, cause, &mut log, entry)?;
    }
    if let Cause::Command(id) = cause
        && log.len() == known
    {
        let text = format!("server {host} broadcast {} and has not got it", text_of(id));
        return broken(OWN, text);
    }
    let live = state.live_mut(host);
    alive(live, host)?;
    live.reply.extend_from_slice(&new);
    live.log = log;
    Ok(())
}

/// Looks at one new entry of a log.
fn take<M: Explorable>(
    state: &mut State<M>,
    host: u8,
    cause: Cause,
    log: &mut Vec<Id>,
    entry: &[u8],
) -> Result<(), Violation> {
    let shown = String::from_utf8_lossy(entry);
    let made = |id: &Id| {
        let lives = &state.nodes.get(usize::from(id.host))?.lives;
        lives.get(usize::from(id.life)).copied()
    };
    let known = id_of(entry).filter(|id| made(id).is_some_and(|count| id.number < count));
    let Some(id) = known else {
        let text = format!("server {host} has {shown} in its log, which nobody broadcast");
        return broken(NO_CREATION, text);
    };
    if log.contains(&id) {
        return broken(
            NO_DUPLICATION,
            format!("server {host} has {shown} in its log twice"),
        );
    }
    let last = log.iter().rfind(|e| e.host == id.host);
    if let Some(last) = last {
        let text = format!(
            "server {host} has {shown} in its log after {}",
            text_of(*last)
        );
        if last.life > id.life {
            return broken(LIVES, text);
        }
        if last.life == id.life && last.number > id.number {
            return broken(FIFO, text);
        }
    }
    log.push(id);
    let (wire, side) = match cause {
        Cause::Command(own) if own == id => return Ok(()),
        Cause::Line(wire, side) => (wire, side),
        Cause::Command(_) | Cause::Other => {
            let text = format!("server {host} delivers {shown}, and nothing brought it");
            return broken(NO_CREATION, text);
        }
    };
    let ends = &mut state.link(wire).ends;
    let due = ends[1 - side].first.map(|first| first + ends[side].got);
    let peer = (wire.host(1 - side), ends[1 - side].life);
    ends[side].got += 1;
    if (id.host, id.life) != peer {
        let text = format!("server {host} delivers {shown} from a link of another life");
        return broken(NO_CREATION, text);
    }
    let Some(due) = due.filter(|due| id.number >= *due) else {
        let text = format!("server {host} is sent {shown} from before the session {wire}");
        return broken(EMPTY_START, text);
    };
    if id.number > due {
        let dead = state
            .live(peer.0)
            .is_none_or(|_| state.nodes[usize::from(peer.0)].life() != peer.1);
        let text = format!("server {host} delivers {shown} on {wire}, where number {due} was due");
        return broken(if dead { PREFIX } else { FIFO }, text);
    }
    Ok(())
}

/// `alive` is the server itself and whom it has a session with.
fn alive<M: Explorable>(live: &Live<M>, host: u8) -> Result<(), Violation> {
    let mut expected = "alive ".to_owned();
    for (other, session) in (0..).zip(&live.sessions) {
        if other == host || session.is_some() {
            expected.push_str(&format!("{other},"));
        }
    }
    expected.pop();
    expected.push('\n');
    let reply = ask(live, b"alive\n");
    if reply == expected.as_bytes() {
        return Ok(());
    }
    let reply = String::from_utf8_lossy(&reply).trim_end().to_owned();
    let text = format!(
        "server {host} answers {reply:?}, and told of {:?}",
        expected.trim_end()
    );
    broken(REPLIES, text)
}

/// Looks at a state in which nothing happens any more but for the world's doing: what liveness
/// asks for. True if it is one.
pub(super) fn rest<M: Explorable>(state: &State<M>, steps: &[Step]) -> Result<bool, Violation> {
    if !steps.iter().all(|step| step.is_optional()) {
        return Ok(false);
    }
    for (host, node) in (0..).zip(&state.nodes) {
        let Some(live) = &node.live else {
            continue;
        };
        for other in 0..state.nodes.len() as u8 {
            let up = state.live(other).is_some();
            let session = live.sessions[usize::from(other)].is_some();
            if other == host || up == session {
                continue;
            }
            let text = format!("at rest, server {host} has server {other} alive: {session}");
            return broken(if up { ACCURACY } else { COMPLETENESS }, text);
        }
    }
    for link in &state.links {
        if !link.ends.iter().all(|end| end.up) {
            continue;
        }
        for side in 0..2 {
            let peer = usize::from(link.wire.host(1 - side));
            let end = &link.ends[1 - side];
            let made = state.nodes[peer].lives[usize::from(end.life)];
            if end.first.map(|first| first + link.ends[side].got) != Some(made) {
                let text = format!(
                    "at rest, server {} has not got all of server {peer}'s broadcasts on {}",
                    link.wire.host(side),
                    link.wire
                );
                return broken(VALIDITY, text);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Start};
    use super::*;
    use chatroom_chat::ChatServer;

    #[test]
    fn with_a_command_comes_its_own_broadcast_and_no_other() {
        let mut state = State::<ChatServer>::new(&Bounds {
            servers: 2,
            messages: 2,
            crashes: 0,
            restarts: 0,
            losses: 0,
            start: Start::Down,
        });
        for node in &mut state.nodes {
            node.lives.push(1);
        }
        let [own, other] = [0, 1].map(|host| Id {
            host,
            life: 0,
            number: 0,
        });
        let mut said = |id| {
            let (cause, entry) = (Cause::Command(own), text_of(id));
            let taken = take(&mut state, 0, cause, &mut Vec::new(), entry.as_bytes());
            taken.err().map(|broken| (broken.property, broken.text))
        };
        assert_eq!(said(own), None);
        let text = "server 0 delivers s1l0n0., and nothing brought it".to_owned();
        assert_eq!(said(other), Some((NO_CREATION, text)));
    }
}
