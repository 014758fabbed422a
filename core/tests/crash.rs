//! A protocol may crash in any of its calls: the node halts there, says so once, and nothing comes
//! after it.

use chatroom_core::{
    Config, Context, LINKS, Limits, MASTERS, NoEvent, Node, Protocol, Receipt, Why,
};
use chatroom_machine::{Action, Checked, Checks, Conn, Halt, Machine, Remote, Side, Time};

/// The call in which it crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Never,
    Start,
    Up,
    Message,
    Down,
    Command,
    Timeout,
    Ending,
}

#[derive(Clone, Debug, Hash)]
struct Crasher {
    at: At,
    messages: u32,
}

impl Crasher {
    fn called(&self, cx: &mut Context<'_, NoEvent>, at: At) {
        // What is asked for in the same call is not done either.
        if self.at == at {
            cx.broadcast(b"last words");
            cx.crash();
        }
    }
}

impl Protocol for Crasher {
    const WORD: &'static str = "say";
    type Event = NoEvent;
    type Options = At;
    type Command<'a> = ();

    fn new(config: &Config<At>) -> Self {
        Self {
            at: config.protocol,
            messages: 0,
        }
    }

    fn longest_command(_: &Limits) -> usize {
        16
    }

    fn parse(_: &Limits, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn start(&mut self, cx: &mut Context<'_, NoEvent>) {
        self.called(cx, At::Start);
    }

    fn peer_up(&mut self, cx: &mut Context<'_, NoEvent>, _: u32) {
        self.called(cx, At::Up);
    }

    fn peer_down(&mut self, cx: &mut Context<'_, NoEvent>, _: u32) {
        self.called(cx, At::Down);
    }

    fn message(
        &mut self,
        cx: &mut Context<'_, NoEvent>,
        _: u32,
        _: Conn,
        _: &[u8],
    ) -> Result<Receipt, Why> {
        self.messages += 1;
        self.called(cx, At::Message);
        Ok(Receipt::Kept)
    }

    fn command(&mut self, cx: &mut Context<'_, NoEvent>, client: Conn, (): ()) {
        cx.reply(client, b"done\n");
        self.called(cx, At::Command);
    }

    fn timeout(&mut self, cx: &mut Context<'_, NoEvent>) {
        self.called(cx, At::Timeout);
    }

    fn next_timeout(&self) -> Option<Time> {
        (self.at == At::Timeout).then_some(Time::from_micros(7))
    }

    fn ending(&mut self, cx: &mut Context<'_, NoEvent>) {
        self.called(cx, At::Ending);
    }
}

/// Runs a server through all its calls; how it halted, and how many messages it had.
fn run(at: At) -> (Vec<Halt>, u32) {
    let mut config = Config::new(0, 3);
    config.protocol = at;
    let node = Node::<Crasher>::new(config).expect("within bounds");
    let checks = Checks::thorough().panicking().only(Side::Machine);
    let mut node = Checked::new(node, checks);
    let mut halts = Vec::new();
    let mut drain = |node: &mut Checked<Node<Crasher>>| {
        while let Some(action) = node.poll() {
            assert_eq!(halts, [], "{action:?} comes after the halt");
            if let Action::Halt(halt) = action {
                halts.push(halt);
            }
        }
    };
    let now = Time::from_micros;
    node.handle_start(now(0));
    drain(&mut node);
    let accept = |node: &mut Checked<Node<Crasher>>, door| {
        let remote = Remote::default();
        node.handle_accepted(now(1), door, remote)
            .unwrap_or(Conn::new(9, 9))
    };
    let (one, two) = (accept(&mut node, LINKS), accept(&mut node, LINKS));
    let client = accept(&mut node, MASTERS);
    drain(&mut node);
    // A server that has halted takes none of these.
    let _ = node.handle_bytes(now(2), one, b"say 1 a\nsay 1 b\n");
    drain(&mut node);
    let _ = node.handle_bytes(now(3), two, b"ping 2\nsay 1 x\n");
    drain(&mut node);
    let _ = node.handle_bytes(now(4), client, b"x\ny\n");
    drain(&mut node);
    let _ = node.handle_sent(now(5), client, 10);
    drain(&mut node);
    node.handle_timeout(now(8));
    drain(&mut node);
    node.handle_shutdown(now(9));
    drain(&mut node);
    node.handle_timeout(now(3_000_000));
    drain(&mut node);
    (halts, node.protocol().messages)
}

#[test]
fn a_crash_in_any_call_is_the_end() {
    assert_eq!(run(At::Never), (vec![Halt::Unfinished], 2));
    for (at, messages) in [
        (At::Start, 0),
        (At::Up, 0),
        (At::Message, 1),
        (At::Down, 2),
        (At::Command, 2),
        (At::Timeout, 2),
        (At::Ending, 2),
    ] {
        assert_eq!(run(at), (vec![Halt::Crash], messages), "{at:?}");
    }
}
