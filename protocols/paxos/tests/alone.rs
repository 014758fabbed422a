//! A grid of one server: its own majority, which shows what waits for the disk and what clients
//! read.

use chatroom_machine::{Action, Conn, Halt, Machine, Remote, Time, VolumeId};
use chatroom_paxos::{Config, Framing, MASTERS, PaxosServer};

const STATE: VolumeId = VolumeId(0);

/// A server with a client, and the records on its disk.
struct Alone {
    server: PaxosServer,
    client: Conn,
    disk: Vec<Vec<u8>>,
    halted: Option<Halt>,
    now: Time,
}

impl Alone {
    fn new(framing: Framing, disk: Vec<Vec<u8>>) -> Self {
        let mut config = Config::new(0, 1);
        config.protocol.framing = framing;
        let mut server = PaxosServer::new(config).expect("the defaults");
        let now = Time::ZERO;
        for (number, record) in (0..).zip(&disk) {
            server.handle_recovered(now, STATE, number, record);
        }
        server.handle_recovery_done(now, STATE, disk.len() as u64);
        server.handle_start(now);
        let client = server.handle_accepted(now, MASTERS, Remote::default());
        let client = client.expect("there is room");
        let halted = None;
        let mut alone = Self {
            server,
            client,
            disk,
            halted,
            now,
        };
        alone.drain();
        alone
    }

    fn drain(&mut self) {
        while let Some(action) = self.server.poll() {
            if let Action::Halt(how) = action {
                self.halted = Some(how);
            }
        }
    }

    /// Makes durable what is unsaved, once.
    fn sync(&mut self) {
        let mut count = 0;
        while let Some(record) = self.server.unsaved(STATE, count) {
            self.disk.push(record.to_vec());
            count += 1;
        }
        let stored = self.server.handle_stored(self.now, STATE, count);
        stored.expect("they were unsaved");
        self.drain();
    }

    /// Says something, and gives what is to be read then.
    fn say(&mut self, line: &str) -> String {
        let said = self
            .server
            .handle_bytes(self.now, self.client, line.as_bytes());
        said.expect("it is open");
        self.drain();
        self.read()
    }

    fn read(&mut self) -> String {
        let mut read = Vec::new();
        while let piece @ [_, ..] = self.server.pending(self.client, 0) {
            let count = piece.len();
            read.extend_from_slice(piece);
            let sent = self.server.handle_sent(self.now, self.client, count);
            sent.expect("it was pending");
            self.drain();
        }
        String::from_utf8(read).expect("replies are text")
    }
}

#[test]
fn nothing_is_decided_before_promise_and_acceptance_are_durable() {
    let mut alone = Alone::new(Framing::Lines, vec![]);
    assert_eq!(alone.say("msg 7 hello\n"), "");
    assert_eq!(alone.server.protocol().leads(), None);
    alone.sync();
    assert!(
        alone.server.protocol().leads().is_some(),
        "the promise is durable"
    );
    assert_eq!(alone.read(), "");
    assert_eq!(alone.say("get chatLog\n"), "chatLog \n");
    alone.sync();
    assert_eq!(alone.read(), "ack 7 0\n", "the acceptance is durable");
    assert_eq!(alone.say("get chatLog\n"), "chatLog hello\n");
}

#[test]
fn a_message_is_known_by_its_identity() {
    let mut alone = Alone::new(Framing::Lines, vec![]);
    alone.say("msg 7 one\nmsg 7 one\nmsg 3 one\n");
    alone.sync();
    alone.sync();
    assert_eq!(alone.read(), "ack 3 0\nack 7 1\n");
    assert_eq!(alone.say("msg 7 other\n"), "ack 7 1\n", "again");
    assert_eq!(alone.say("get chatLog\n"), "chatLog one,one\n");
}

#[test]
fn a_server_that_restarts_has_its_log_and_never_uses_a_ballot_again() {
    let mut alone = Alone::new(Framing::Lines, vec![]);
    alone.say("msg 1 a\nmsg 2 b\n");
    alone.sync();
    let first = alone.server.protocol().leads().expect("it leads");
    alone.sync();
    alone.say("msg 3 lost\n");
    let mut again = Alone::new(Framing::Lines, alone.disk);
    // Accepted and decided, but not recorded as decided: the new leader proposes it again.
    again.sync();
    assert!(again.server.protocol().leads().expect("it leads") > first);
    again.sync();
    assert_eq!(again.read(), "ack 1 0\nack 2 1\n");
    assert_eq!(again.say("get chatLog\n"), "chatLog a,b\n");
    assert_eq!(again.say("msg 2 b\n"), "ack 2 1\n");
}

#[test]
fn with_lengths_no_newline_comes() {
    let mut alone = Alone::new(Framing::Length, vec![]);
    alone.say("msg 10 \u{e4}\n");
    alone.sync();
    alone.sync();
    assert_eq!(alone.read(), "8-ack 10 0");
    assert_eq!(alone.say("get chatLog\n"), "10-chatLog \u{e4}");
}

#[test]
fn a_server_crashes_where_it_was_told() {
    let mut alone = Alone::new(Framing::Lines, vec![]);
    assert_eq!(alone.say("crashAfterP2b\nmsg 1 a\n"), "");
    alone.sync();
    assert_eq!(alone.halted, None, "it answered a P1a");
    alone.sync();
    assert_eq!(alone.halted, None, "its client has not read yet");
    assert_eq!(alone.read(), "ack 1 0\n");
    assert_eq!(alone.halted, Some(Halt::Done), "what it sent has left");
}
