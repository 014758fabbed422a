//! A full log: what is not kept is counted and announced, and the server stays in the grid.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{ms, us};

/// Server 1 of 4 with a log of so many bytes.
fn limited(log: u64) -> Solo {
    let mut config = Config::new(1, 4);
    config.protocol.log = log;
    Solo::with(config)
}

fn announced(s: &Solo, of: u32) -> Vec<u64> {
    let gap = |n: &News| match n {
        News::Protocol(ChatEvent::Gap { peer, count }) => (*peer == of).then_some(*count),
        News::Up { .. }
        | News::Down { .. }
        | News::Closed { .. }
        | News::Protocol(ChatEvent::Delivered { .. })
        | News::Skipped { .. }
        | News::Misfit { .. }
        | News::Following { .. }
        | News::Starved { .. }
        | News::Protocol(ChatEvent::LogFull { .. })
        | News::Ending => None,
    };
    s.news.iter().filter_map(gap).collect()
}

#[test]
fn what_does_not_fit_is_not_kept_nor_is_any_later_message_of_that_peer() {
    let mut s = limited(5);
    let (m, two, three) = (s.master(), s.peer(2), s.peer(3));
    s.bytes(two, b"msg 2 a\nmsg 2 bb\n");
    assert_eq!(s.log(), "a,bb");
    s.bytes(two, b"msg 2 ccc\n");
    assert!(
        s.news
            .contains(&News::Protocol(ChatEvent::LogFull { bytes: 5 }))
    );
    let mut s2 = limited(5);
    let (p, q) = (s2.peer(2), s2.peer(3));
    // The last would fit, but would leave a gap before it.
    s2.bytes(p, b"msg 2 a\nmsg 2 bbbb\nmsg 2 cc\n");
    s2.bytes(q, b"msg 3 dd\n");
    assert_eq!(s2.log(), "a,dd", "what fits of another peer is kept");
    s.bytes(three, b"msg 3 d\n");
    assert_eq!((s.why(two), s.why(three)), (None, None));
    assert_eq!(s.ask(m, "get"), "messages a,bb\n");
    assert_eq!(s.ask(m, "alive"), "alive 1,2,3\n");
    let full = |s: &Solo| {
        s.news
            .iter()
            .filter(|n| matches!(n, News::Protocol(ChatEvent::LogFull { .. })))
            .count()
    };
    assert_eq!(full(&s), 1);
    let counters = s.server.counters();
    assert_eq!((counters.missed, counters.deliveries), (2, 2));
}

/// Also in its next session: what is kept of a peer has no gap in it.
#[test]
fn a_peer_whose_messages_were_not_kept_stays_so_when_it_comes_back() {
    let mut s = limited(4);
    let p = s.peer(2);
    s.bytes(p, b"msg 2 a\nmsg 2 long\n");
    s.lost(p, Loss::Broken);
    let p = s.peer(2);
    s.bytes(p, b"msg 2 b\n");
    assert_eq!((s.log().as_str(), s.server.counters().missed), ("a", 2));
}

#[test]
fn the_first_gap_is_announced_at_once_and_later_ones_every_so_often() {
    let mut s = limited(1);
    let (w, p) = (s.master(), s.peer(2));
    s.ask(w, "watch");
    s.bytes(p, b"msg 2 a\nmsg 2 b\nmsg 2 c\n");
    let due = s.server.poll_timeout().expect("due");
    assert_eq!((due.at, due.why), (s.now, "protocol"));
    s.judge();
    assert_eq!(s.read(w), "delivered 2 a\ngap 2 2\n");
    s.advance(ms(1));
    let from = s.now;
    s.bytes(p, b"msg 2 d\n");
    s.advance(ms(300));
    s.bytes(p, b"msg 2 e\nmsg 2 f\n");
    s.advance_to(from + GAPS - us(1));
    assert_eq!(s.read(w), "");
    s.advance(us(1));
    assert_eq!(
        (s.read(w).as_str(), announced(&s, 2)),
        ("gap 2 3\n", vec![2, 3])
    );
    // Nothing was missed: nothing is announced.
    s.bytes(p, b"ping 2\n");
    s.advance(GAPS.times(2));
    assert_eq!(announced(&s, 2), [2, 3]);
    // The first of another peer is announced at once.
    let q = s.peer(3);
    s.bytes(q, b"msg 3 x\n");
    s.judge();
    assert_eq!(announced(&s, 3), [1]);
    assert!(s.read(w).ends_with("gap 3 1\n"));
}

#[test]
fn all_gaps_are_announced_by_the_end_however_it_comes() {
    type End = fn(&mut Solo, Conn, Conn);
    let ends: [(End, Halt); 3] = [
        (
            |s, p, _| {
                s.read(p);
                s.server.handle_shutdown(s.now);
            },
            Halt::Done,
        ),
        (
            |s, p, m| {
                s.bytes(m, b"broadcast\nbroadcast\n");
                s.server.handle_shutdown(s.now);
                s.drain();
                s.advance(ms(500));
                s.bytes(p, b"ping 2\n");
                s.advance(ms(400));
                s.bytes(p, b"msg 2 e\n");
                s.advance(ms(100));
            },
            Halt::Unfinished,
        ),
        (|s, _, m| s.bytes(m, b"crash\n"), Halt::Crash),
    ];
    for (end, halt) in ends {
        let mut s = limited(1);
        let (m, p) = (s.master(), s.peer(2));
        s.bytes(p, b"msg 2 a\nmsg 2 b\n");
        s.judge();
        s.advance(ms(10));
        s.bytes(p, b"msg 2 c\nmsg 2 d\n");
        assert_eq!(announced(&s, 2), [1]);
        end(&mut s, p, m);
        s.drain();
        assert_eq!(s.halt, Some(halt));
        let expected = match halt {
            Halt::Unfinished => vec![1, 2, 1],
            Halt::Done | Halt::Crash => vec![1, 2],
        };
        assert_eq!(announced(&s, 2), expected);
        assert_eq!(s.server.counters().missed, expected.iter().sum::<u64>());
    }
}

/// Who watches is told before the end, and of what came while the rest was sent.
#[test]
fn a_watcher_is_told_of_every_gap_before_a_server_ends_in_good_order() {
    let mut s = limited(1);
    let (w, p) = (s.master(), s.peer(2));
    s.ask(w, "watch");
    s.bytes(p, b"msg 2 a\nmsg 2 b\n");
    s.judge();
    s.bytes(p, b"msg 2 c\n");
    s.server.handle_shutdown(s.now);
    s.drain();
    s.bytes(p, b"msg 2 d\nmsg 2 e\n");
    let mut told = String::new();
    while s.open.contains(&w) && !s.server.pending(w, 0).is_empty() {
        told += &s.read(w);
    }
    assert_eq!(s.halt, Some(Halt::Done));
    let lines = told.lines().filter_map(|l| l.strip_prefix("gap 2 "));
    let sum: u64 = lines.map(|n| n.parse::<u64>().expect("a count")).sum();
    assert_eq!((sum, s.server.counters().missed), (4, 4), "{told:?}");
}
