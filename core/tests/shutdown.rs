//! A protocol may end its node in good order: what it sent before goes out, also to clients that
//! have said nothing, and nobody new is taken in.

use chatroom_core::{
    Config, Context, LINKS, Limits, MASTERS, NoEvent, Node, Protocol, Receipt, Why,
};
use chatroom_machine::{Action, Checked, Checks, Conn, Halt, Machine, Remote, Side, Time};

/// Ends once it has passed on what a client said.
#[derive(Clone, Debug, Hash)]
struct Last;

impl Protocol for Last {
    const WORD: &'static str = "say";
    type Event = NoEvent;
    type Options = ();
    type Command<'a> = &'a str;

    fn new(_: &Config) -> Self {
        Self
    }

    fn longest_message() -> usize {
        100
    }

    fn longest_command(_: &Limits) -> usize {
        16
    }

    fn parse<'a>(_: &Limits, line: &'a str) -> Result<&'a str, String> {
        Ok(line)
    }

    fn message(
        &mut self,
        cx: &mut Context<'_, NoEvent>,
        peer: u32,
        _: Conn,
        _: &[u8],
    ) -> Result<Receipt, Why> {
        cx.send(peer, b"too late");
        Ok(Receipt::Kept)
    }

    fn command(&mut self, cx: &mut Context<'_, NoEvent>, _: Conn, command: &str) {
        cx.send(1, command.as_bytes());
        cx.announce(b"all\n");
        cx.shut_down();
    }
}

fn pending(node: &Checked<Node<Last>>, conn: Conn) -> String {
    String::from_utf8_lossy(node.pending(conn, 0)).into_owned()
}

fn drain(node: &mut Checked<Node<Last>>) -> Vec<Halt> {
    let mut halts = Vec::new();
    while let Some(action) = node.poll() {
        if let Action::Halt(halt) = action {
            halts.push(halt);
        }
    }
    halts
}

#[test]
fn what_was_sent_before_goes_out_and_then_it_halts() {
    let node = Node::<Last>::new(Config::new(0, 2)).expect("within bounds");
    let checks = Checks::thorough().panicking().only(Side::Machine);
    let mut node = Checked::new(node, checks);
    let now = Time::from_micros;
    node.handle_start(now(0));
    assert_eq!(drain(&mut node), []);
    let mut accept = |door| {
        let conn = node.handle_accepted(now(1), door, Remote::default());
        assert_eq!(drain(&mut node), []);
        conn.expect("there is room")
    };
    let (link, client, silent) = (accept(LINKS), accept(MASTERS), accept(MASTERS));
    node.handle_bytes(now(2), link, b"ping 1\n").expect("open");
    node.handle_bytes(now(3), client, b"bye\n").expect("open");
    assert_eq!(drain(&mut node), []);
    assert_eq!(pending(&node, link), "ping 0\nsay 0 bye\n");
    for client in [client, silent] {
        assert_eq!(pending(&node, client), "all\n");
        node.handle_sent(now(4), client, 4).expect("it was pending");
    }
    // Nobody comes in any more, and it has not ended while the peer has not taken everything.
    assert!(
        node.handle_accepted(now(5), MASTERS, Remote::default())
            .is_err()
    );
    assert_eq!(drain(&mut node), []);
    let all = pending(&node, link).len();
    node.handle_sent(now(6), link, all).expect("it was pending");
    assert_eq!(drain(&mut node), [Halt::Done]);
}

#[test]
fn a_text_has_room_for_what_the_protocol_says_by_itself() {
    let mut config = Config::new(0, 2);
    config.limits.text = 99;
    let told = Node::<Last>::check(&config).map_err(|error| error.to_string());
    let expected = "limit text of 99: expected 100 to 1073741824".to_owned();
    assert_eq!(told, Err(expected));
    config.limits.text = 100;
    assert_eq!(Node::<Last>::check(&config), Ok(()));
}
