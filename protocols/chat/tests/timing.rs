//! Every constant of time at its bound and a microsecond to each side.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{at_ms, us};

#[test]
fn a_heartbeat_goes_out_every_heartbeat_and_not_before() {
    let mut s = Solo::start(0, 2);
    let peer = s.peer(1);
    for beat in 1..4 {
        let at = Time::ZERO + HEARTBEAT.times(beat);
        s.advance_to(at - us(1));
        s.bytes(peer, b"ping 1\n");
        assert_eq!(s.read(peer), "");
        s.advance_to(at);
        assert_eq!(s.read(peer), "ping 0\n");
    }
}

#[test]
fn a_peer_is_suspected_at_the_suspicion_time_and_any_byte_puts_it_off() {
    let mut s = Solo::start(0, 2);
    let peer = s.peer(1);
    s.advance_to(at_ms(300));
    s.bytes(peer, b"p");
    s.advance_to(at_ms(300) + SUSPICION - us(1));
    assert_eq!(s.server.alive(), [0, 1]);
    s.advance(us(1));
    assert_eq!(
        (s.server.alive(), s.why(peer)),
        (vec![0], Some(Why::Silent))
    );
    let (at, why) = (peer, Why::Silent);
    let told = News::Down {
        peer: 1,
        conn: at,
        why,
        silence: SUSPICION,
    };
    assert!(s.news.contains(&told));
}

/// Sending proves nothing about the other side.
#[test]
fn bytes_that_go_out_do_not_put_a_suspicion_off() {
    let mut s = Solo::start(0, 2);
    let (peer, master) = (s.peer(1), s.master());
    for _ in 0..8 {
        s.advance(harness::ms(100));
        s.bytes(master, b"broadcast a\n");
        s.read(peer);
    }
    s.advance_to(Time::ZERO + SUSPICION);
    assert_eq!(s.why(peer), Some(Why::Silent));
}

#[test]
fn a_link_without_a_valid_line_ends_at_the_greeting_time() {
    let mut s = Solo::start(1, 3);
    s.advance_to(at_ms(10));
    let (inbound, outbound) = (s.accept(LINKS), s.connected(0));
    s.advance_to(at_ms(10) + GREETING - us(1));
    // Bytes that are no line yet do not put it off.
    s.bytes(inbound, b"ping ");
    assert_eq!((s.why(inbound), s.why(outbound)), (None, None));
    s.advance(us(1));
    assert_eq!(s.why(inbound), Some(Why::NoGreeting));
    assert_eq!(s.why(outbound), Some(Why::NoGreeting));
    let mut s = Solo::start(1, 3);
    let inbound = s.accept(LINKS);
    s.advance_to(Time::ZERO + GREETING - us(1));
    s.bytes(inbound, b"ping 2\n");
    s.advance(us(2));
    assert_eq!(s.server.alive(), [1, 2]);
}

#[test]
fn each_new_link_and_each_dial_has_its_time_from_its_own_beginning() {
    let mut s = Solo::start(2, 4);
    s.dial_fails(1);
    let first = s.accept(LINKS);
    s.advance_to(at_ms(100));
    let (second, older, younger) = (s.accept(LINKS), s.dials[&0], s.dials[&1]);
    s.advance_to(Time::ZERO + DIAL);
    assert_eq!(
        (s.why(older), s.why(younger)),
        (Some(Why::DialTimeout), None)
    );
    s.advance(BACKOFF_MIN);
    assert_eq!(s.why(younger), Some(Why::DialTimeout));
    s.advance_to(Time::ZERO + GREETING);
    assert_eq!((s.why(first), s.why(second)), (Some(Why::NoGreeting), None));
    s.advance_to(at_ms(100) + GREETING - us(1));
    assert_eq!(s.why(second), None);
    s.advance(us(1));
    assert_eq!(s.why(second), Some(Why::NoGreeting));
}

#[test]
fn a_dial_ends_at_the_dial_time_and_is_made_again() {
    let mut s = Solo::start(1, 2);
    let dial = s.dials[&0];
    s.advance_to(Time::ZERO + DIAL - us(1));
    assert_eq!(s.why(dial), None);
    s.advance(us(1));
    assert_eq!(s.why(dial), Some(Why::DialTimeout));
    assert!(s.dials.is_empty());
    s.advance(BACKOFF_MIN);
    assert!(s.dials.contains_key(&0));
    let mut s = Solo::start(1, 2);
    s.advance_to(Time::ZERO + DIAL - us(1));
    let conn = s.connected(0);
    s.advance(us(2));
    assert_eq!(s.why(conn), None);
}

/// Fails a dial and gives the pause until the next.
fn pause(s: &mut Solo) -> Span {
    s.dial_fails(0);
    let from = s.now;
    while s.dials.is_empty() {
        let next = s.server.poll_timeout().expect("it will dial again").at;
        s.advance_to(next);
        assert!(s.now.since(from) < harness::ms(1000), "no dial");
    }
    s.now.since(from)
}

#[test]
fn pauses_between_dials_double_within_their_range_and_reach_most_of_it() {
    let (mut least, mut most) = (u64::MAX, 0);
    for seed in 0..300 {
        let mut config = Config::new(1, 2);
        config.seed = seed;
        let mut s = Solo::with(config);
        for bound in [10_000, 20_000, 40_000, 80_000, 80_000, 80_000] {
            let pause = pause(&mut s).as_micros();
            assert!((bound / 2..=bound).contains(&pause), "{pause} of {bound}");
            if bound == BACKOFF_MIN.as_micros() {
                (least, most) = (least.min(pause), most.max(pause));
            }
        }
    }
    assert!(least < 5_200 && most > 9_800, "{least} to {most}");
}

#[test]
fn pauses_begin_anew_once_a_session_lasted() {
    for (lasted, anew) in [
        (SETTLED, true),
        (Span::from_micros(SETTLED.as_micros() - 1), false),
    ] {
        let mut s = Solo::start(1, 2);
        for _ in 0..5 {
            pause(&mut s);
        }
        let conn = s.connected(0);
        s.bytes(conn, b"ping 0\n");
        s.advance(lasted);
        s.lost(conn, Loss::Broken);
        s.advance(BACKOFF_MIN);
        assert_eq!(s.dials.contains_key(&0), anew);
    }
}

#[test]
fn a_peer_that_takes_nothing_holds_masters_up_for_the_stall_time() {
    let mut config = Config::new(0, 2);
    config.limits.high_water = 20;
    let mut s = Solo::with(config);
    let (peer, m, other) = (s.peer(1), s.master(), s.master());
    s.bytes(m, b"broadcast 0123456789\n");
    assert!(s.paused.is_empty());
    s.advance(harness::ms(1));
    s.take(peer, 1);
    s.bytes(m, b"broadcast 0123456789\n");
    assert!(s.paused.contains(&m));
    assert_eq!(s.ask(other, "alive"), "alive 0,1\n");
    assert!(!s.paused.contains(&other), "it broadcast nothing");
    let until = s.now + STALL;
    s.advance_to(until - us(1));
    assert!(s.paused.contains(&m));
    s.advance_to(until);
    assert!(s.paused.is_empty());
    // It took nothing: it holds up nobody until it does.
    s.bytes(m, b"broadcast x\n");
    assert!(s.paused.is_empty());
    s.take(peer, 1);
    s.bytes(m, b"broadcast x\n");
    assert!(s.paused.contains(&m));
    // It reads on: the wait lasts until it has caught up, and ends there.
    let late = s.now + STALL - us(1);
    s.advance_to(late);
    s.take(peer, 1);
    s.advance_to(late + us(2));
    assert!(s.paused.contains(&m));
    while s.server.gauges().lag_bytes > 0 {
        s.take(peer, 1 << 20);
    }
    assert!(s.paused.is_empty());
}

#[test]
fn a_shutdown_waits_for_its_time_and_no_longer() {
    let mut s = Solo::start(0, 2);
    let (peer, m) = (s.peer(1), s.master());
    s.bytes(m, b"broadcast a\n");
    s.server.handle_shutdown(s.now);
    s.drain();
    s.advance(harness::ms(500));
    s.bytes(peer, b"ping 1\n");
    s.advance_to(Time::ZERO + SHUTDOWN - us(1));
    assert_eq!(s.halt, None);
    s.advance(us(1));
    let ended = (s.halt, s.why(peer));
    assert_eq!(ended, (Some(Halt::Unfinished), Some(Why::Ending)));
}

#[test]
fn a_door_stays_shut_for_the_starved_time_from_the_last_failure() {
    let mut s = Solo::start(0, 2);
    s.server.handle_starved(s.now, MASTERS);
    s.drain();
    assert!(s.shut.contains(&MASTERS) && !s.shut.contains(&LINKS));
    s.advance_to(at_ms(40));
    s.server.handle_starved(s.now, MASTERS);
    s.drain();
    s.advance_to(at_ms(40) + STARVED - us(1));
    assert!(s.shut.contains(&MASTERS));
    s.advance(us(1));
    assert!(s.shut.is_empty());
    let told = |s: &Solo| {
        s.news
            .iter()
            .filter(|n| matches!(n, News::Starved { .. }))
            .count()
    };
    assert_eq!(told(&s), 1, "once an episode");
    s.advance_to(at_ms(40) + EPISODE - us(1));
    s.server.handle_starved(s.now, MASTERS);
    s.drain();
    assert_eq!(told(&s), 1);
    s.advance(EPISODE);
    s.server.handle_starved(s.now, MASTERS);
    s.drain();
    assert_eq!((told(&s), s.server.counters().starved), (2, 4));
}

#[test]
fn output_that_was_not_drained_is_due_at_once() {
    let mut s = Solo::start(0, 2);
    s.advance_to(at_ms(7));
    let m = s.master();
    s.server.handle_bytes(s.now, m, b"alive\n").expect("open");
    let timeout = s.server.poll_timeout().expect("there is output");
    assert_eq!((timeout.at, timeout.why), (s.now, "undrained"));
    assert_eq!(timeout.after(s.now), Span::ZERO);
    s.drain();
    let timeout = s.server.poll_timeout().expect("a heartbeat");
    assert_eq!(timeout.at, Time::ZERO + HEARTBEAT);
    assert_eq!(timeout.after(s.now) + harness::ms(7), HEARTBEAT);
}

#[test]
fn a_judgement_is_announced_for_the_first_that_could_be_judged() {
    let mut s = Solo::start(0, 3);
    assert_eq!(
        s.server.poll_timeout().expect("a heartbeat").judges_at,
        None
    );
    s.advance_to(at_ms(100));
    s.accept(LINKS);
    let judges = |s: &Solo| s.server.poll_timeout().expect("a heartbeat").judges_at;
    assert_eq!(judges(&s), Some(at_ms(100) + GREETING));
    s.peer(1);
    assert_eq!(judges(&s), Some(at_ms(100) + GREETING));
    let mut s = Solo::start(1, 2);
    s.advance_to(at_ms(100));
    s.connected(0);
    assert_eq!(judges(&s), Some(at_ms(100) + GREETING));
}

/// A second peer that reads well does not lengthen the wait for the first.
#[test]
fn a_stall_is_counted_from_the_last_byte_that_this_peer_took() {
    let mut config = Config::new(0, 3);
    config.limits.high_water = 15;
    let mut s = Solo::with(config);
    let (_slow, fast, m) = (s.peer(1), s.peer(2), s.master());
    s.bytes(m, b"broadcast abc\n");
    s.read(fast);
    s.advance(harness::ms(30));
    s.bytes(m, b"broadcast abc\n");
    assert!(s.paused.contains(&m));
    s.read(fast);
    s.advance_to(Time::ZERO + STALL - us(1));
    assert!(s.paused.contains(&m));
    s.advance(us(1));
    assert!(s.paused.is_empty());
}

#[test]
fn early_and_repeated_timeouts_do_nothing() {
    let mut s = Solo::start(1, 3);
    s.peer(2);
    let due = s.server.poll_timeout().expect("due");
    s.server.handle_timeout(due.at - us(1));
    assert_eq!(s.server.poll(), None);
    assert_eq!(s.server.poll_timeout(), Some(due));
    s.advance_to(due.at);
    let next = s.server.poll_timeout();
    s.server.handle_timeout(due.at);
    assert_eq!((s.server.poll(), s.server.poll_timeout()), (None, next));
}

#[test]
fn a_clock_that_steps_back_changes_nothing() {
    let mut s = Solo::start(0, 2);
    let peer = s.peer(1);
    s.advance_to(at_ms(800));
    s.bytes(peer, b"ping 1\n");
    s.now = Time::ZERO;
    s.bytes(peer, b"ping 1\n");
    s.server.handle_timeout(Time::ZERO);
    s.drain();
    s.advance_to(at_ms(800) + SUSPICION - us(1));
    assert_eq!(s.server.alive(), [0, 1]);
}
