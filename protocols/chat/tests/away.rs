//! A server that was itself away judges nobody for it; pauses between dials; how long a slow
//! reader may hold up who broadcasts.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{at_ms, ms, us};

/// What a driver does that wakes late: it hands over nothing, then tells the time.
fn wake(s: &mut Solo, at: Time) {
    s.now = at;
    s.tick();
}

#[test]
fn a_gap_past_a_heartbeat_and_its_slack_excuses_the_silent_and_one_at_it_does_not() {
    let bound = HEARTBEAT + LATE;
    for (gap, excused) in [(bound, false), (bound + us(1), true)] {
        let mut s = Solo::start(0, 3);
        let peer = s.peer(1);
        s.advance_to(at_ms(700));
        s.tick();
        let at = s.now + gap;
        wake(&mut s, at);
        assert_eq!(s.why(peer), (!excused).then_some(Why::Silent));
        if excused {
            s.advance_to(s.now + HEARTBEAT - us(1));
            assert_eq!(s.why(peer), None);
            s.advance(us(1));
            assert_eq!(s.why(peer), Some(Why::Silent));
        }
    }
}

#[test]
fn a_silent_peer_is_suspected_however_often_the_server_is_away() {
    let mut s = Solo::start(0, 3);
    let (silent, heard) = (s.peer(1), s.peer(2));
    let away = HEARTBEAT + LATE + us(1);
    let mut from = s.now;
    for _ in 0..2 {
        let at = s.now + away;
        s.now = at;
        s.bytes(heard, b"ping 2\n");
        s.tick();
        from = s.now;
    }
    // Excused at the first wake, until a heartbeat later; over at the second.
    assert_eq!((s.why(silent), s.why(heard)), (Some(Why::Silent), None));
    // Each time that it is heard it may be excused again.
    for _ in 0..5 {
        let at = s.now + SUSPICION.times(2);
        wake(&mut s, at);
        assert_eq!(s.why(heard), None);
        s.bytes(heard, b"ping 2\n");
    }
    assert!(s.now > from);
}

#[test]
fn a_new_link_is_excused_as_well() {
    let mut s = Solo::start(1, 3);
    let (inbound, outbound) = (s.accept(LINKS), s.connected(0));
    let at = Time::ZERO + GREETING.times(2);
    wake(&mut s, at);
    assert_eq!((s.why(inbound), s.why(outbound)), (None, None));
    s.bytes(outbound, b"ping 0\n");
    // Bytes that name nobody end no excuse, and put nothing off.
    s.bytes(inbound, b"p");
    s.advance_to(s.now + HEARTBEAT - us(1));
    assert_eq!(s.why(inbound), None);
    s.advance(us(1));
    assert_eq!(
        (s.why(inbound), s.why(outbound)),
        (Some(Why::NoGreeting), None)
    );
}

/// Plays a peer 0 that is dialled until the next dial begins; gives how long that took.
fn pause(s: &mut Solo) -> Span {
    let from = s.now;
    while !s.dials.contains_key(&0) {
        let next = s.server.poll_timeout().expect("it will dial again").at;
        s.advance_to(next);
    }
    s.now.since(from)
}

#[test]
fn sessions_that_do_not_last_are_dialled_ever_more_slowly_and_in_time_all_the_same() {
    let mut longest = Span::ZERO;
    for seed in 0..40 {
        let mut config = Config::new(1, 2);
        config.seed = seed;
        let mut s = Solo::with(config);
        for bound in [10, 20, 40, 80, 160, 320, 400, 400] {
            let conn = s.connected(0);
            s.bytes(conn, b"ping 0\n");
            s.lost(conn, Loss::Broken);
            let pause = pause(&mut s);
            assert!(
                pause >= ms(bound / 2) && pause <= ms(bound),
                "{pause} of {bound}"
            );
            longest = longest.max(pause);
        }
        // A dial that fails is no session: the peer is away, and may come back at any moment.
        s.dial_fails(0);
        assert!(pause(&mut s) <= BACKOFF_MAX);
    }
    assert!(longest > ms(390) && longest <= BACKOFF_FLAPPING);
}

/// Server 0 with a peer that reads nothing yet, and a master; 100 bytes a broadcast.
fn slow() -> (Solo, Conn, Conn) {
    let mut config = Config::new(0, 2);
    config.limits.text = 32 << 10;
    config.limits.high_water = 1000;
    config.limits.lag = 64 << 10;
    let mut s = Solo::with(config);
    let (p, m) = (s.peer(1), s.master());
    (s, p, m)
}

fn broadcast(s: &mut Solo, m: Conn, bytes: usize) {
    let text = "x".repeat(bytes - "msg 0 \n".len());
    s.bytes(m, format!("broadcast {text}\n").as_bytes());
}

#[test]
fn a_reader_near_its_limit_is_given_more_time_and_one_below_is_not() {
    let near = 48 << 10;
    for (lag, until) in [(near, STALL), (near + 1, OVERDUE)] {
        let (mut s, _p, m) = slow();
        broadcast(&mut s, m, lag / 2);
        broadcast(&mut s, m, lag - lag / 2);
        assert_eq!(s.server.gauges().lag_bytes as usize, lag);
        s.advance_to(Time::ZERO + until - us(1));
        assert!(s.paused.contains(&m));
        s.advance(us(1));
        assert!(s.paused.is_empty());
    }
}

/// It is heard all the time.
fn until_given_up(s: &mut Solo, p: Conn) -> Span {
    let from = s.now;
    loop {
        s.bytes(p, b"ping 1\n");
        s.advance(ms(10));
        if s.paused.is_empty() {
            return s.now.since(from);
        }
        assert!(s.now.since(from) < ms(5000));
    }
}

#[test]
fn a_reader_that_was_not_seen_to_go_on_has_the_first_patience_from_its_last_step() {
    let (mut s, p, m) = slow();
    s.advance_to(at_ms(20));
    broadcast(&mut s, m, 30_000);
    broadcast(&mut s, m, 30_000);
    assert_eq!(until_given_up(&mut s, p), FIRST_PATIENCE);
    // Less than a step is no progress, and a step is.
    for (taken, until) in [((16 << 10) - 1, STALL), (1, FIRST_PATIENCE)] {
        s.take(p, taken);
        broadcast(&mut s, m, taken.max(20));
        assert!(s.paused.contains(&m));
        // It stood still for long before it went on, so it is given the longer time.
        let until = if until == STALL { until } else { PATIENCE };
        assert_eq!(until_given_up(&mut s, p), until);
    }
}

/// What it was owed before is no measure of how it takes what it is owed now.
#[test]
fn patience_begins_when_something_is_first_owed_also_behind_a_heartbeat() {
    let (mut s, p, m) = slow();
    for _ in 0..4 {
        s.bytes(p, b"ping 1\n");
        s.advance(HEARTBEAT);
        assert!(s.server.pending(p, 0).starts_with(b"ping 0\n"));
        if s.now < Time::ZERO + HEARTBEAT.times(4) {
            s.read(p);
        }
    }
    broadcast(&mut s, m, 30_000);
    broadcast(&mut s, m, 30_000);
    assert_eq!(until_given_up(&mut s, p), FIRST_PATIENCE);
}
