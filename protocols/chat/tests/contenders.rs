//! A second link that names a peer which is up: it waits until the first ends or falls silent, and
//! is closed if neither happens.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{at_ms, ms, us};

/// Server 0 with peer 2 up since the beginning, and a second link that names it.
fn contested(first: &[u8]) -> (Solo, Conn, Conn) {
    let mut s = Solo::start(0, 4);
    let old = s.peer(2);
    s.bytes(old, b"msg 2 a\nmsg 2 lo");
    let new = s.accept(LINKS);
    s.bytes(new, first);
    (s, old, new)
}

#[test]
fn a_newer_link_waits_while_the_older_is_heard_and_what_it_sent_is_kept() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\nmsg 2 d");
    assert!(s.paused.contains(&new) && s.why(old).is_none() && s.why(new).is_none());
    // Read before the pause was heard of.
    s.bytes(new, b"d\n");
    s.bytes(old, b"st\nmsg 2 b\n");
    assert_eq!((s.log().as_str(), s.read(new).as_str()), ("a,lost,b", ""));
    assert_eq!((s.server.alive(), s.server.counters().ups), (vec![0, 2], 1));
    assert_eq!(s.server.gauges().nameless, 1);
    s.lost(old, Loss::Finished);
    assert_eq!(
        (s.log().as_str(), s.server.gauges().nameless),
        ("a,lost,b,c,dd", 0)
    );
    assert_eq!((s.server.alive(), s.server.counters().ups), (vec![0, 2], 2));
    assert_eq!((s.read(new).as_str(), s.paused.len()), ("ping 0\n", 0));
    s.bytes(new, b"msg 2 e\n");
    assert_eq!(s.log(), "a,lost,b,c,dd,e");
}

#[test]
fn it_takes_over_however_the_older_ends() {
    type End = fn(&mut Solo, Conn);
    let ends: [(End, Why); 4] = [
        (|s, old| s.lost(old, Loss::Finished), Why::Finished),
        (|s, old| s.lost(old, Loss::Broken), Why::Broken),
        (|s, old| s.bytes(old, b"\xff\n"), Why::NotUtf8),
        (|s, old| s.bytes(old, b"st\nping 3\n"), Why::OtherId),
    ];
    for (end, why) in ends {
        let (mut s, old, new) = contested(b"msg 2 x\n");
        end(&mut s, old);
        assert_eq!((s.why(old), s.why(new)), (Some(why), None));
        let log = if why == Why::OtherId {
            "a,lost,x"
        } else {
            "a,x"
        };
        assert_eq!((s.log().as_str(), s.server.alive()), (log, vec![0, 2]));
        let told: Vec<_> = s
            .news
            .iter()
            .filter(|n| matches!(n, News::Up { .. } | News::Down { .. }))
            .collect();
        assert!(matches!(
            told[..],
            [News::Up { .. }, News::Down { .. }, News::Up { .. }]
        ));
    }
}

#[test]
fn it_takes_over_when_the_older_is_dropped_for_its_lag() {
    let mut config = Config::new(0, 3);
    (config.limits.text, config.limits.high_water) = (4, 1);
    config.limits.lag = 2 * "msg 0 abc\n".len();
    let mut s = Solo::with(config);
    let (old, m, new) = (s.peer(2), s.master(), s.accept(LINKS));
    s.bytes(new, b"ping 2\nmsg 2 x\n");
    s.bytes(m, b"broadcast abc\nbroadcast def\n");
    assert_eq!(s.why(old), None);
    s.bytes(m, b"broadcast ghi\n");
    assert_eq!((s.why(old), s.why(new)), (Some(Why::FellBehind), None));
    assert_eq!(s.read(new), "ping 0\n");
    assert_eq!(s.log(), "abc,def,ghi,x");
}

#[test]
fn an_overdue_link_gives_way_and_no_byte_of_it_counts_any_more() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\n");
    s.advance_to(Time::ZERO + OVERDUE - us(1));
    assert_eq!((s.why(old), s.why(new)), (None, None));
    let next = s.server.poll_timeout().expect("due");
    let bound = Time::ZERO + OVERDUE;
    assert_eq!((next.at, next.why), (bound, "contest"));
    assert_eq!(next.judges_at, Some(bound), "read before it is judged");
    s.advance(us(1));
    assert_eq!((s.why(old), s.why(new)), (Some(Why::Replaced), None));
    assert_eq!((s.log().as_str(), s.server.alive()), ("a,c", vec![0, 2]));
    let late = s.server.handle_bytes(s.now, old, b"st\nmsg 2 b\n");
    assert_eq!(late, Err(Misuse::Stale));
    let late = s.server.handle_lost(s.now, old, Loss::Broken);
    assert_eq!(late, Err(Misuse::Stale));
    assert_eq!(s.server.gauges().peers, 1);
}

#[test]
fn a_link_that_is_heard_again_does_not_give_way_and_the_other_is_closed_in_time() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\n");
    s.advance_to(Time::ZERO + OVERDUE - us(1));
    s.bytes(old, b"s");
    s.advance_to(Time::ZERO + GREETING - us(1));
    assert_eq!((s.why(old), s.why(new)), (None, None));
    s.advance(us(1));
    assert_eq!((s.why(old), s.why(new)), (None, Some(Why::Contested)));
    assert_eq!((s.log().as_str(), s.server.alive()), ("a", vec![0, 2]));
    assert!(Why::Contested.is_fault());
    // Nothing is left of it: the next one has all of its time.
    let next = s.accept(LINKS);
    s.bytes(next, b"ping 2\n");
    s.advance_to(Time::ZERO + OVERDUE - us(1) + OVERDUE - us(1));
    assert_eq!((s.why(old), s.why(next)), (None, None));
    s.advance(us(1));
    assert_eq!((s.why(old), s.why(next)), (Some(Why::Replaced), None));
}

#[test]
fn a_link_that_seems_overdue_is_read_before_it_gives_way() {
    for heard in [false, true] {
        let mut s = Solo::start(0, 4);
        let old = s.peer(2);
        s.advance_to(Time::ZERO + OVERDUE);
        let new = s.accept(LINKS);
        s.bytes(new, b"ping 2\nmsg 2 c\n");
        let next = s.server.poll_timeout().expect("due");
        assert_eq!((next.at, next.judges_at), (s.now, Some(s.now)));
        // What waited in its socket.
        if heard {
            s.bytes(old, b"msg 2 b\n");
        }
        s.judge();
        let replaced = (!heard).then_some(Why::Replaced);
        assert_eq!((s.why(old), s.why(new)), (replaced, None));
        assert_eq!(s.log(), if heard { "b" } else { "c" });
    }
}

#[test]
fn contenders_take_over_in_the_order_in_which_they_were_made() {
    let mut s = Solo::start(0, 4);
    let present = s.peer(2);
    let [early, first, second] = [(); 3].map(|()| s.accept(LINKS));
    s.bytes(first, b"ping 2\nmsg 2 first\n");
    s.bytes(second, b"ping 2\nmsg 2 second\n");
    // It was made before the others, and spoke after them.
    s.bytes(early, b"ping 2\nmsg 2 early\n");
    s.bytes(present, b"msg 2 present\n");
    s.lost(present, Loss::Broken);
    assert_eq!(s.log(), "present,early");
    assert!(s.paused.contains(&first) && s.paused.contains(&second));
    s.lost(early, Loss::Finished);
    s.lost(first, Loss::Finished);
    assert_eq!(s.log(), "present,early,first,second");
    assert_eq!((s.why(second), s.server.alive()), (None, vec![0, 2]));
    assert_eq!(s.server.counters().ups, 4);
}

/// A peer that came and went many times while its first link was not read: nobody is closed before
/// what it sent was read, and nobody is let in who would not be.
#[test]
fn who_contends_counts_as_a_newcomer_until_it_takes_over() {
    let mut config = Config::new(0, 4);
    config.limits.nameless = 4;
    let mut s = Solo::with(config);
    let mut present = s.peer(2);
    for round in 0..3 {
        let waiting = [(); 4].map(|()| s.accept(LINKS));
        for (i, &conn) in waiting.iter().enumerate() {
            s.bytes(conn, format!("msg 2 {round}{i}\n").as_bytes());
        }
        assert_eq!(
            (s.server.gauges().nameless, s.shut.contains(&LINKS)),
            (4, true)
        );
        for conn in waiting {
            s.lost(present, Loss::Finished);
            present = conn;
        }
        assert_eq!(
            (s.server.gauges().nameless, s.shut.contains(&LINKS)),
            (0, false)
        );
    }
    assert_eq!(s.log(), "00,01,02,03,10,11,12,13,20,21,22,23");
}

/// The first contender has all of its time behind each link that takes over before it.
#[test]
fn the_next_contender_waits_for_the_greeting_time_behind_each_present_link() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\n");
    let next = s.accept(LINKS);
    s.bytes(next, b"ping 2\nmsg 2 d\n");
    s.advance_to(at_ms(300));
    s.lost(old, Loss::Finished);
    s.bytes(new, b"ping 2\n");
    s.advance_to(at_ms(600));
    s.bytes(new, b"ping 2\n");
    s.advance_to(at_ms(300) + GREETING - us(1));
    assert_eq!((s.why(new), s.why(next)), (None, None));
    s.advance(us(1));
    assert_eq!((s.why(new), s.why(next)), (None, Some(Why::Contested)));
    assert_eq!(s.log(), "a,c");
}

#[test]
fn contenders_that_say_nothing_valid_end_one_after_the_other() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\nnonsense\xff\n");
    let rest: Vec<Conn> = (0..400)
        .map(|_| {
            let conn = s.accept(LINKS);
            s.bytes(conn, b"ping 2\nping 3\n");
            conn
        })
        .collect();
    let last = s.accept(LINKS);
    s.bytes(last, b"msg 2 last\n");
    s.lost(old, Loss::Finished);
    assert_eq!(s.why(new), Some(Why::NotUtf8));
    assert!(rest.iter().all(|&conn| s.why(conn) == Some(Why::OtherId)));
    assert_eq!(
        (s.log().as_str(), s.server.alive()),
        ("a,c,last", vec![0, 2])
    );
}

/// An id below our own never dials us, whether it is up or not.
#[test]
fn only_an_id_above_contends() {
    let mut s = Solo::start(2, 4);
    let below = s.connected(1);
    s.bytes(below, b"ping 1\n");
    let forged = s.accept(LINKS);
    s.bytes(forged, b"ping 1\nmsg 1 x\n");
    assert_eq!(s.why(forged), Some(Why::ShouldNotDial));
    s.lost(below, Loss::Broken);
    assert_eq!((s.log().as_str(), s.server.alive()), ("", vec![2]));
    assert!(s.paused.is_empty());
}

/// Its peer may have died while it waited.
#[test]
fn a_contender_is_suspected_from_when_it_was_heard_not_from_when_it_took_over() {
    let (mut s, old, new) = contested(b"ping 2\n");
    s.advance_to(at_ms(200));
    s.bytes(old, b"s");
    s.advance_to(at_ms(500));
    s.lost(old, Loss::Broken);
    s.advance_to(Time::ZERO + SUSPICION - us(1));
    assert_eq!(s.why(new), None);
    s.advance(us(1));
    assert_eq!((s.why(new), s.server.alive()), (Some(Why::Silent), vec![0]));
}

#[test]
fn a_contender_that_ends_itself_changes_nothing() {
    for loss in [Loss::Finished, Loss::Broken] {
        let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\n");
        s.lost(new, loss);
        s.bytes(old, b"st\n");
        s.lost(old, Loss::Finished);
        assert_eq!((s.log().as_str(), s.server.alive()), ("a,lost", vec![0]));
    }
}

#[test]
fn a_fault_in_what_was_kept_closes_it_when_its_turn_comes() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\nmsg 3 x\nmsg 2 d\n");
    s.lost(old, Loss::Finished);
    assert_eq!(
        (s.why(old), s.why(new)),
        (Some(Why::Finished), Some(Why::OtherId))
    );
    assert_eq!((s.log().as_str(), s.server.alive()), ("a,c", vec![0]));
    assert!(s.open.is_empty());
}

#[test]
fn a_shutdown_closes_a_contender_and_lets_nobody_take_over() {
    let (mut s, old, new) = contested(b"ping 2\nmsg 2 c\n");
    let m = s.master();
    s.bytes(m, b"broadcast x\n");
    s.server.handle_shutdown(s.now);
    s.drain();
    assert_eq!((s.why(old), s.why(new)), (None, Some(Why::Ending)));
    s.lost(old, Loss::Broken);
    assert_eq!((s.log().as_str(), s.halt), ("a,x", Some(Halt::Done)));
}

/// Each link of a peer that comes back time and again ends before a byte of the next counts.
#[test]
fn contenders_of_several_peers_have_their_own_times() {
    let mut s = Solo::start(0, 4);
    let (two, three) = (s.peer(2), s.peer(3));
    s.advance_to(at_ms(100));
    s.bytes(three, b"ping 3\n");
    let (new_two, new_three) = (s.accept(LINKS), s.accept(LINKS));
    s.bytes(new_three, b"ping 3\n");
    s.bytes(new_two, b"ping 2\n");
    s.advance_to(Time::ZERO + OVERDUE);
    assert_eq!((s.why(two), s.why(three)), (Some(Why::Replaced), None));
    s.advance(ms(99) + us(999));
    assert_eq!(s.why(three), None);
    s.advance(us(1));
    assert_eq!(s.why(three), Some(Why::Replaced));
    assert_eq!((s.why(new_two), s.why(new_three)), (None, None));
    assert_eq!(s.server.alive(), [0, 2, 3]);
}

/// With a suspicion below the greeting time a contender may be due when it takes over.
#[test]
fn a_contender_is_read_before_it_is_suspected_whatever_the_times_are() {
    let mut config = Config::new(0, 4);
    config.times.suspicion = ms(500);
    let mut s = Solo::with(config);
    // Its slot lies before the present link's, and behind it.
    for before in [true, false] {
        let from = s.now;
        let first = s.accept(LINKS);
        let second = s.accept(LINKS);
        let (old, new) = if before {
            (first, second)
        } else {
            (first, s.accept(LINKS))
        };
        s.bytes(old, b"ping 2\n");
        s.bytes(new, b"ping 2\n");
        s.advance(ms(100));
        s.bytes(old, b"ping 2\n");
        s.advance_to(from + ms(600));
        assert_eq!((s.why(old), s.why(new)), (Some(Why::Silent), None));
        assert!(!s.paused.contains(&new));
        s.bytes(new, b"ping 2\n");
        s.advance(ms(400));
        assert_eq!((s.why(new), s.server.alive()), (None, vec![0, 2]));
        s.lost(new, Loss::Finished);
        s.advance(ms(1000));
    }
}
