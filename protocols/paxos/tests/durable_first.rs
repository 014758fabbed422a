//! What a server says only once it is durable, line by line beside a peer that the test plays; and
//! servers that say it too early, as the same look at them shows.

use chatroom_core::{Config, LINKS, Node};
use chatroom_machine::{Conn, Machine, Remote, Time, VolumeId};
use chatroom_paxos::{Broken, ChatRoom, Defect, Options, Paxos};

const STATE: VolumeId = VolumeId(0);

/// Server 0 of three, and its link to server 1.
struct Beside {
    server: Node<Paxos<ChatRoom, Broken>>,
    link: Conn,
}

impl Beside {
    fn new(defect: Option<Defect>) -> Self {
        Self::recovered(defect, &[])
    }

    /// A server that finds these records.
    fn recovered(defect: Option<Defect>, records: &[&str]) -> Self {
        let mut config = Config::<Options<Broken>>::new(0, 3);
        config.protocol.rules = Broken(defect);
        let mut server = Node::new(config).expect("the defaults");
        for (number, record) in (0..).zip(records) {
            server.handle_recovered(Time::ZERO, STATE, number, record.as_bytes());
        }
        server.handle_recovery_done(Time::ZERO, STATE, records.len() as u64);
        server.handle_start(Time::ZERO);
        let link = server.handle_accepted(Time::ZERO, LINKS, Remote::default());
        let link = link.expect("there is room");
        let mut beside = Self { server, link };
        beside.hears("ping 1\npaxos 1 status - 1 0 0\n");
        beside
    }

    /// Server 1 says something; what server 0 says then.
    fn hears(&mut self, lines: &str) -> String {
        let handled = self
            .server
            .handle_bytes(Time::ZERO, self.link, lines.as_bytes());
        handled.expect("it is open");
        self.says()
    }

    fn syncs(&mut self) -> String {
        let records = (0..).map_while(|skip| self.server.unsaved(STATE, skip));
        let count = records.count();
        let stored = self.server.handle_stored(Time::ZERO, STATE, count);
        stored.expect("they were unsaved");
        self.says()
    }

    fn says(&mut self) -> String {
        while self.server.poll().is_some() {}
        let mut said = Vec::new();
        while let piece @ [_, ..] = self.server.pending(self.link, 0) {
            said.extend_from_slice(piece);
            let count = piece.len();
            let sent = self.server.handle_sent(Time::ZERO, self.link, count);
            sent.expect("it was pending");
        }
        String::from_utf8(said).expect("lines are text")
    }
}

/// Whether what `lines` ask for is said only after a sync; that it is said then.
fn waits(defect: Option<Defect>, lines: &str, answer: &str) -> bool {
    let mut server = Beside::new(defect);
    let early = server.hears(lines).contains(answer);
    let late = server.syncs().contains(answer);
    assert!(early != late, "{answer:?} is said once");
    late
}

#[test]
fn promises_acceptances_and_own_ballots_wait_for_the_disk() {
    for (lines, answer, defect) in [
        ("paxos 1 p1a 5.1 0\n", "p1b 5.1\n", Defect::PromiseUnstored),
        (
            "paxos 1 p2a 5.1 0 =7 a\n",
            "p2b 5.1 0\n",
            Defect::AcceptUnstored,
        ),
        // It had asked whether it may lead.
        ("paxos 1 yes 1\n", "p1a 1.0 0\n", Defect::BallotReused),
    ] {
        assert!(waits(None, lines, answer), "{answer:?}");
        assert!(
            !waits(Some(defect), lines, answer),
            "{defect} is not noticed"
        );
    }
}

#[test]
fn what_is_below_the_promise_is_refused() {
    for (lines, answer, defect) in [
        ("paxos 1 p1a 4.1 0\n", "p1b 4.1\n", Defect::StalePromised),
        (
            "paxos 1 p2a 4.1 0 =7 a\n",
            "p2b 4.1 0\n",
            Defect::StaleAccepted,
        ),
    ] {
        for broken in [None, Some(defect)] {
            let mut server = Beside::new(broken);
            server.hears("paxos 1 p1a 5.2 0\n");
            server.syncs();
            let said = server.hears(lines) + &server.syncs();
            assert_eq!(said.contains(answer), broken.is_some(), "{said}");
            assert_eq!(said.contains("nack 5.2\n"), broken.is_none(), "{said}");
        }
    }
}

#[test]
fn a_promise_outlives_its_server() {
    for records in [&["p 5.2"][..], &["p 1.2", "a 3 5.2 =8 b"]] {
        for (defect, word) in [
            (None, "nack 5.2\n"),
            (Some(Defect::PromiseForgotten), "p1b 4.1\n"),
        ] {
            let mut server = Beside::recovered(defect, records);
            let said = server.hears("paxos 1 p1a 4.1 0\n") + &server.syncs();
            assert!(said.contains(word), "{said}");
        }
    }
}

#[test]
fn a_promise_tells_what_was_accepted_and_decided() {
    let records = ["a 0 1.2 =7 a", "d 0", "a 1 1.2 =8 b"];
    for (defect, told) in [(None, true), (Some(Defect::AcceptedHidden), false)] {
        let mut server = Beside::recovered(defect, &records);
        let said = server.hears("paxos 1 p1a 5.1 0\n") + &server.syncs();
        assert!(said.contains("decide 0 =7 a\n"), "{said}");
        assert_eq!(said.contains("pvalue 5.1 1 1.2 =8 b\n"), told, "{said}");
        assert!(said.ends_with("p1b 5.1\n"), "{said}");
    }
}

#[test]
fn a_new_leader_adopts_the_highest_ballot_and_fills_holes() {
    let adopts = |defect| {
        let mut server = Beside::new(defect);
        server.hears("paxos 1 yes 1\n");
        server.syncs();
        server.hears(
            "paxos 1 pvalue 1.0 1 0.2 =8 new\npaxos 1 pvalue 1.0 1 0.1 =9 old\npaxos 1 p1b 1.0\n",
        )
    };
    let said = adopts(None);
    assert!(said.contains("p2a 1.0 0 -\n"), "the hole: {said}");
    assert!(said.contains("p2a 1.0 1 =8 new\n"), "{said}");
    assert!(adopts(Some(Defect::LowestAdopted)).contains("p2a 1.0 1 =9 old\n"));
    assert!(adopts(Some(Defect::NothingAdopted)).contains("p2a 1.0 1 -\n"));
}

#[test]
fn a_server_counts_once() {
    for (defect, decides) in [(None, false), (Some(Defect::CountedTwice), true)] {
        let mut server = Beside::new(defect);
        server.hears("paxos 1 yes 1\n");
        server.syncs();
        server.hears("paxos 1 pvalue 1.0 0 0.1 =9 a\npaxos 1 p1b 1.0\n");
        // The own acceptance is not durable yet.
        let said = server.hears("paxos 1 p2b 1.0 0\npaxos 1 p2b 1.0 0\n");
        assert_eq!(said.contains("decide 0 =9 a\n"), decides, "{said}");
        let said = said + &server.syncs();
        assert!(said.contains("decide 0 =9 a\n"), "{said}");
    }
}
