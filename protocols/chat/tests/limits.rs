//! Every limit at its bound and one past it.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;

/// What each piece that is owed to a master costs beside its bytes.
const OVERHEAD: usize = 64;

fn limited(servers: u32, change: impl FnOnce(&mut Limits)) -> Solo {
    let mut config = Config::new(0, servers);
    change(&mut config.limits);
    Solo::with(config)
}

#[test]
fn text_from_a_master_and_from_a_peer() {
    let mut s = limited(2, |l| l.text = 4);
    let (m, p) = (s.master(), s.peer(1));
    assert_eq!(s.ask(m, "broadcast abcd"), "");
    assert!(
        s.ask(m, "broadcast abcde")
            .starts_with("error a text of 5 bytes")
    );
    // A line past all bounds is one error, however it is cut, and what follows is obeyed.
    let line = "broadcast ".len() + 4 + 64;
    assert!(
        s.ask(m, &"x".repeat(line))
            .starts_with("error unknown command")
    );
    assert!(
        s.ask(m, &"x".repeat(line + 1))
            .starts_with("error a line longer than 78")
    );
    for _ in 0..5 {
        s.bytes(m, &vec![b'x'; line / 2]);
    }
    s.bytes(m, b"get\nget\n");
    let told = s.read(m);
    assert!(told.starts_with("error a line longer") && told.ends_with("messages abcd\n"));
    assert_eq!(told.lines().count(), 2);
    s.bytes(p, b"msg 1 abcd\n");
    s.bytes(p, b"msg 1 abcde\n");
    assert_eq!(
        (s.log().as_str(), s.why(p)),
        ("abcd,abcd", Some(Why::TooLong))
    );
}

#[test]
fn a_line_of_the_longest_id_and_text_passes_and_one_byte_more_is_not_kept() {
    let mut s = limited(1024, |l| l.text = 4);
    let p = s.peer(1023);
    s.bytes(p, b"msg 1023 abcd");
    s.bytes(p, b"\n");
    assert_eq!((s.log().as_str(), s.why(p)), ("abcd", None));
    s.bytes(p, b"msg 1023 abcde");
    assert_eq!(s.why(p), Some(Why::TooLong));
}

#[test]
fn accepts_in_a_second_shut_that_door_for_the_rest_of_it() {
    let mut s = limited(1, |l| l.accepts = 3);
    s.advance_to(harness::at_ms(1500));
    for _ in 0..2 {
        s.master();
    }
    assert!(s.shut.is_empty());
    s.master();
    assert!(s.shut.contains(&MASTERS));
    s.accept(LINKS);
    s.advance_to(harness::at_ms(2500) - harness::us(1));
    assert!(s.shut.contains(&MASTERS) && !s.shut.contains(&LINKS));
    s.advance(harness::us(1));
    assert!(s.shut.is_empty());
    s.master();
    assert!(s.shut.is_empty());
}

#[test]
fn high_water_pauses_at_one_byte_past_it() {
    let line = "msg 0 abc\n".len();
    let mut s = limited(2, |l| l.high_water = 2 * line);
    let (p, m) = (s.peer(1), s.master());
    s.bytes(m, b"broadcast abc\nbroadcast abc\n");
    assert!(s.paused.is_empty());
    s.bytes(m, b"broadcast abc\n");
    assert!(s.paused.contains(&m));
    assert_eq!(s.server.gauges().lag_bytes, 3 * line as u64);
    s.take(p, line);
    assert!(s.paused.is_empty());
}

#[test]
fn lag_drops_who_is_one_byte_past_it_and_nobody_else() {
    let line = "msg 0 abc\n".len();
    let mut s = limited(3, |l| {
        l.text = 4;
        l.lag = 3 * line;
        l.high_water = 1;
    });
    let (slow, fast, m) = (s.peer(1), s.peer(2), s.master());
    for _ in 0..3 {
        s.bytes(m, b"broadcast abc\n");
        s.read(fast);
        s.advance(STALL);
    }
    assert_eq!(s.why(slow), None);
    s.bytes(m, b"broadcast abc\n");
    assert_eq!((s.why(slow), s.why(fast)), (Some(Why::FellBehind), None));
    assert_eq!(s.read(fast), "msg 0 abc\n");
    assert_eq!(
        (s.server.alive(), s.server.gauges().lag_bytes),
        (vec![0, 2], 0)
    );
    let back = s.peer(1);
    s.bytes(m, b"broadcast d\n");
    assert_eq!(s.read(back), "msg 0 d\n");
}

#[test]
fn a_peer_just_at_the_lag_stays_when_another_is_dropped_for_being_past_it() {
    let line = "msg 0 abc\n".len();
    let mut s = limited(3, |l| {
        l.text = 4;
        l.lag = 3 * line;
        l.high_water = 1;
    });
    let (past, at, m) = (s.peer(1), s.peer(2), s.master());
    for _ in 0..3 {
        s.bytes(m, b"broadcast abc\n");
        s.advance(STALL);
    }
    s.take(at, line);
    s.advance(STALL);
    s.bytes(m, b"broadcast abc\n");
    assert_eq!((s.why(past), s.why(at)), (Some(Why::FellBehind), None));
    assert_eq!(s.read(at), "msg 0 abc\n".repeat(3));
}

#[test]
fn what_all_peers_have_read_is_not_kept_while_they_are_still_behind() {
    let mut s = limited(3, |_| ());
    let (p, q, m) = (s.peer(1), s.peer(2), s.master());
    s.bytes(m, b"broadcast abc\n");
    s.read(p);
    s.read(q);
    let text = "x".repeat(60_000);
    for _ in 0..4 {
        s.bytes(m, format!("broadcast {text}\n").as_bytes());
    }
    let all = 4 * ("msg 0 \n".len() + text.len());
    let lag = |s: &Solo| s.server.gauges().lag_bytes as usize;
    s.take(p, 150_000);
    assert_eq!(lag(&s), all, "the other has read nothing");
    s.take(q, 100_000);
    // To within a block of what the slower of them still needs.
    assert!(lag(&s) < all - 100_000 + (64 << 10));
    s.take(q, 100_000);
    assert!(lag(&s) < all - 150_000 + (64 << 10));
    s.read(p);
    s.read(q);
    assert_eq!(lag(&s), 0);
}

#[test]
fn replies_past_the_limit_hold_what_was_read_and_lose_none_of_it() {
    let reply = "alive 0\n".len();
    let mut s = limited(1, |l| l.replies = OVERHEAD + 24 * reply);
    let m = s.master();
    s.bytes(m, &b"alive\n".repeat(24));
    assert!(s.paused.is_empty());
    s.bytes(m, &b"alive\n".repeat(6));
    assert!(s.paused.contains(&m));
    assert_eq!(s.server.gauges().owed_bytes, 25 * reply as u64);
    // What was read before the pause was heard of waits with the rest.
    s.bytes(m, b"broadcast a\nget\n");
    assert_eq!(s.log(), "");
    // It goes on at half of the limit.
    s.take(m, 17 * reply - 1);
    assert_eq!(s.server.gauges().owed_bytes, 8 * reply as u64 + 1);
    s.take(m, 1);
    let more = "messages a\n".len();
    assert_eq!(s.server.gauges().owed_bytes, (13 * reply + more) as u64);
    s.lost(m, Loss::Finished);
    assert_eq!(s.read(m), format!("{}messages a\n", "alive 0\n".repeat(13)));
    assert_eq!((s.why(m), s.paused.len()), (Some(Why::Finished), 0));
}

#[test]
fn replies_count_what_they_cost_beside_their_bytes() {
    // A reply to `get` is three pieces while the log is short, and two more for each that follows.
    let cost = |gets: usize| (2 * gets + 1) * OVERHEAD + gets * "messages a\n".len();
    for (limit, paused) in [(cost(5), false), (cost(5) - 1, true)] {
        let mut s = limited(1, |l| l.replies = limit);
        let m = s.master();
        s.bytes(m, b"broadcast a\n");
        s.bytes(m, &b"get\n".repeat(5));
        assert_eq!(s.paused.contains(&m), paused);
    }
}

#[test]
fn a_watcher_that_does_not_read_is_dropped_one_byte_past_its_limit() {
    let mut s = limited(2, |l| {
        l.text = 4;
        l.watch = 2 * "delivered 1 abc\n".len();
    });
    let (w, m, p) = (s.master(), s.master(), s.peer(1));
    let reads = s.master();
    s.bytes(w, b"watch\n");
    s.bytes(reads, b"watch\n");
    s.bytes(p, b"msg 1 abc\nmsg 1 abc\n");
    assert_eq!(s.why(w), None);
    assert_eq!(s.read(reads), "delivered 1 abc\n".repeat(2));
    s.bytes(p, b"msg 1 x\n");
    assert_eq!(s.why(w), Some(Why::FellBehind));
    assert_eq!(s.read(reads), "delivered 1 x\n");
    assert_eq!(s.ask(m, "get"), "messages abc,abc,x\n");
}

#[test]
fn a_full_log_refuses_own_broadcasts_and_goes_on() {
    let mut config = Config::new(0, 2);
    config.protocol.log = 7;
    let mut s = Solo::with(config);
    let (m, p) = (s.master(), s.peer(1));
    s.bytes(m, b"broadcast abc\nbroadcast def\n");
    assert_eq!(s.read(m), "");
    let full = News::Protocol(ChatEvent::LogFull { bytes: 7 });
    for _ in 0..3 {
        assert_eq!(s.ask(m, "broadcast x"), "error the log is full: 7 bytes\n");
        let told = s.news.iter().filter(|n| **n == full).count();
        assert_eq!(told, 1, "at once, and once");
    }
    assert_eq!(s.ask(m, "get"), "messages abc,def\n");
    assert_eq!(s.read(p), "msg 0 abc\nmsg 0 def\n");
    assert_eq!(s.server.alive(), [0, 1]);
}

#[test]
fn input_that_was_held_is_obeyed_in_order_and_may_wait_again_for_a_slow_peer() {
    let reply = "alive 0,1\n".len();
    let mut s = limited(2, |l| {
        l.replies = OVERHEAD + reply;
        l.high_water = 5;
    });
    let (p, m) = (s.peer(1), s.master());
    s.bytes(m, b"alive\nalive\nbroadcast abc\nalive\n");
    assert_eq!((s.log().as_str(), s.paused.contains(&m)), ("", true));
    s.take(m, 2 * reply - 1);
    assert_eq!(s.log(), "");
    s.take(m, 1);
    assert_eq!(s.log(), "abc");
    assert!(s.paused.contains(&m), "now it waits for the peer");
    s.read(m);
    assert!(s.paused.contains(&m));
    assert_eq!(s.read(p), "msg 0 abc\n");
    assert!(s.paused.is_empty());
    // The same with a master that sends no more: it is closed when all of it was done.
    s.bytes(m, b"alive\nalive\nbroadcast d\nalive\nbroadcast e\n");
    s.lost(m, Loss::Finished);
    while s.open.contains(&m) {
        assert!(!s.read(m).is_empty() || !s.read(p).is_empty());
    }
    assert_eq!(
        (s.log().as_str(), s.why(m)),
        ("abc,d,e", Some(Why::Finished))
    );
    assert_eq!(s.read(p), "msg 0 d\nmsg 0 e\n");
}

#[test]
fn a_master_that_waits_for_a_slow_peer_keeps_nobody_out_and_may_leave() {
    let reply = "alive 0,1\n".len();
    let mut s = limited(2, |l| {
        l.replies = OVERHEAD + reply;
        l.high_water = 5;
    });
    let (p, m) = (s.peer(1), s.master());
    s.bytes(m, b"broadcast abc\nalive\nalive\nbroadcast d\n");
    assert_eq!(s.read(m), "alive 0,1\n".repeat(2));
    assert_eq!((s.log().as_str(), s.paused.contains(&m)), ("abc", true));
    let other = s.master();
    assert_eq!(s.ask(other, "alive"), "alive 0,1\n");
    // It is owed nothing, and has something to be done yet.
    s.lost(m, Loss::Finished);
    assert_eq!(s.why(m), None);
    assert_eq!(s.read(p), "msg 0 abc\nmsg 0 d\n");
    assert_eq!((s.log().as_str(), s.why(m)), ("abc,d", Some(Why::Finished)));
}

#[test]
fn a_long_line_in_two_pieces_leaves_no_buffer_behind_that_the_next_line_could_see() {
    let mut s = limited(2, |_| ());
    let p = s.peer(1);
    let long = "y".repeat(10_000);
    s.bytes(p, format!("msg 1 {long}").as_bytes());
    s.bytes(p, b"z\nmsg 1 ");
    s.bytes(p, b"next\n");
    assert_eq!(s.log(), format!("{long}z,next"));
}
