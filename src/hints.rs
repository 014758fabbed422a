//! What is probably wrong when connections end in a way that a sound grid does not show.

use chatroom_core::{Times, Why};
use chatroom_machine::Span;

/// The server that is asked about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) id: u32,
    pub(crate) servers: u32,
    pub(crate) times: Times,
}

/// How often a reason has to come within a window before it shows something; `None` if it never
/// does. `session` says that a session ended, not a connection before it.
pub(crate) const fn threshold(why: Why, session: bool) -> Option<u64> {
    match (why, session) {
        (Why::OutsideGrid | Why::OwnId | Why::OtherId | Why::ShouldNotDial, _) => Some(1),
        // Once is a stall, or a server that was killed with its machine.
        (Why::Silent, _) => Some(2),
        // A few may be restarts, or a scan of ports.
        (Why::NoGreeting | Why::Contested, _) | (Why::Replaced, true) => Some(3),
        (Why::Finished | Why::Broken, true) => Some(5),
        _ => None,
    }
}

/// The sentence, for a reason that came `count` times within `window`. `peer` is whose session
/// ended, if one did.
pub(crate) fn sentence(
    about: &About,
    why: Why,
    peer: Option<u32>,
    count: u64,
    window: Span,
) -> Option<String> {
    let About { id, servers, times } = about;
    let who = match peer {
        Some(peer) => format!("peer {peer}"),
        None => "the other side of a link".to_owned(),
    };
    let ms = |span: Span| span.as_micros() / 1000;
    let often = format!("{count} times within {} s", ms(window) / 1000);
    Some(match (why, peer) {
        (Why::OutsideGrid, _) => format!(
            "{who} named an id outside this grid of {servers} servers: was a server started with another N?"
        ),
        (Why::OwnId, _) => format!(
            "{who} says that it is server {id}, which is this one: was the id given to two servers?"
        ),
        (Why::OtherId, None) => "the server at the address of a peer says that it is another one: \
             was it started with another id, --base-port or --host?"
            .to_owned(),
        (Why::OtherId, Some(_)) => format!(
            "{who} sent a line with the id of another server: is another program connected in its place?"
        ),
        (Why::ShouldNotDial, _) => format!(
            "a server with an id below {id} dialled this one, but a server dials only ids below its \
             own: was it started with another id or --base-port?"
        ),
        (Why::Silent, _) => format!(
            "{who} was silent for more than {} ms, {often}: is its --heartbeat longer than the \
             --suspicion of this server, or does its machine stall?",
            ms(times.suspicion)
        ),
        (Why::NoGreeting, _) => format!(
            "links said nothing valid within {} ms, {often}: is a server stopped, or does another \
             program use a link port?",
            ms(times.greeting)
        ),
        (Why::Contested, _) => format!(
            "links named a peer that is up and heard on another link, {often}: do two servers run \
             with one id, or does another program pretend to be a server?"
        ),
        (Why::Replaced, Some(_)) => format!(
            "{who} came back on a newer link {often}: do two servers run with its id, or does \
             another program pretend to be it?"
        ),
        (Why::Finished | Why::Broken, Some(_)) => format!(
            "{who} ended its session {often}: its own log says why (--log info); is its \
             --suspicion shorter than the --heartbeat of this server?"
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_has_a_threshold_has_a_sentence_that_names_what_to_look_at() {
        let about = About {
            id: 2,
            servers: 4,
            times: Times::default(),
        };
        let window = Span::from_millis(60_000);
        for why in Why::ALL {
            for peer in [None, Some(3)] {
                let said = sentence(&about, why, peer, 7, window);
                match threshold(why, peer.is_some()) {
                    Some(_) => {
                        let said = said.unwrap_or_else(|| panic!("{why:?}"));
                        assert!(said.ends_with('?') && said.contains(": "), "{said}");
                        assert!(!said.contains("  "), "{said}");
                    }
                    None => assert_eq!(said, None, "{why:?} {peer:?}"),
                }
            }
        }
        let said = |why, peer| sentence(&about, why, peer, 7, window).unwrap();
        assert!(said(Why::Contested, None).starts_with("links named a peer that is up"));
        assert!(said(Why::OutsideGrid, None).contains("outside this grid of 4 servers"));
        assert!(said(Why::Silent, Some(3)).starts_with(
            "peer 3 was silent for more than 900 ms, 7 times within 60 s: is its --heartbeat"
        ));
    }
}
