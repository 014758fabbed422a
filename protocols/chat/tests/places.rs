//! Places for masters: who gets one, who waits, who has to go, and what each is told.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{at_ms, ms, us};

const IDLE_LINE: &str = "error idle for 10000.000ms or more: the place went to another client\n";

fn limited(change: impl FnOnce(&mut Limits)) -> Solo {
    let mut config = Config::new(0, 2);
    change(&mut config.limits);
    Solo::with(config)
}

/// A server with `places` of them, each taken now.
fn full(places: usize) -> (Solo, Vec<Conn>) {
    let mut s = limited(|l| l.masters = places);
    let masters: Vec<Conn> = (0..places).map(|_| s.master()).collect();
    for &m in &masters {
        assert_eq!(s.ask(m, "alive"), "alive 0\n");
    }
    (s, masters)
}

#[test]
fn only_a_valid_command_takes_a_place() {
    let mut s = limited(|l| l.masters = 2);
    for _ in 0..5 {
        let silent = s.master();
        assert!(s.ask(silent, "nonsense").starts_with("error unknown"));
    }
    let (a, b, c) = (s.master(), s.master(), s.master());
    assert_eq!(s.ask(a, "alive") + &s.ask(b, "alive"), "alive 0\nalive 0\n");
    assert_eq!(s.ask(c, "alive"), "");
    assert!(s.paused.contains(&c) && !s.paused.contains(&a));
    assert_eq!(s.ask(a, "alive"), "alive 0\n");
}

#[test]
fn who_waits_goes_on_when_a_place_is_free_and_what_it_said_is_obeyed_in_order() {
    let (mut s, masters) = full(2);
    let (first, second) = (s.master(), s.master());
    s.bytes(first, b"broadcast a\nget\nbroadc");
    s.bytes(first, b"ast b\n");
    s.bytes(second, b"get\n");
    // It has said all that it wants to say.
    s.lost(first, Loss::Finished);
    assert_eq!((s.log().as_str(), s.read(first).as_str()), ("", ""));
    s.lost(masters[0], Loss::Broken);
    assert_eq!(s.read(first), "messages a\n");
    assert_eq!(
        (s.log().as_str(), s.why(first)),
        ("a,b", Some(Why::Finished))
    );
    assert_eq!(s.read(second), "messages a,b\n");
    assert!(s.paused.is_empty());
    s.advance(PLACE.times(2));
    assert_eq!(s.why(second), None);
}

#[test]
fn who_waits_is_refused_once_its_time_is_over_and_not_before() {
    let (mut s, masters) = full(2);
    s.advance(ms(7));
    let from = s.now;
    let (m, later) = (s.master(), s.master());
    s.bytes(m, b"broadcast lost\n");
    s.advance(ms(1));
    s.bytes(later, b"alive\n");
    s.advance_to(from + PLACE - us(1));
    assert_eq!(s.read(m), "");
    s.advance(us(1));
    let refused = "error all 2 places for masters are taken: try again later\n";
    assert_eq!((s.read(m).as_str(), s.why(m)), (refused, Some(Why::Full)));
    assert_eq!((s.log().as_str(), s.why(later)), ("", None));
    s.lost(masters[0], Loss::Finished);
    assert_eq!(s.read(later), "alive 0\n");
}

#[test]
fn so_many_wait_as_there_are_places_and_one_more_is_refused_at_once() {
    let (mut s, masters) = full(2);
    let waiting = [s.master(), s.master()];
    for m in waiting {
        assert_eq!(s.ask(m, "alive"), "");
    }
    let more = s.master();
    let refused = s.ask(more, "alive\nbroadcast x");
    assert_eq!(
        refused,
        "error all 2 places for masters are taken: try again later\n"
    );
    assert_eq!((s.why(more), s.log().as_str()), (Some(Why::Full), ""));
    s.lost(waiting[0], Loss::Broken);
    let next = s.master();
    assert_eq!(s.ask(next, "alive"), "", "there is room to wait again");
    s.lost(masters[0], Loss::Broken);
    s.lost(masters[1], Loss::Broken);
    assert_eq!(s.read(waiting[1]) + &s.read(next), "alive 0\nalive 0\n");
}

#[test]
fn a_master_is_idle_after_its_time_and_not_a_microsecond_before() {
    for (early, dismissed) in [(us(0), true), (us(1), false)] {
        let (mut s, masters) = full(1);
        s.advance_to(Time::ZERO + IDLE - early);
        let m = s.master();
        s.bytes(m, b"broadcast x\nalive\n");
        let due = s.server.poll_timeout().expect("due");
        assert_eq!(
            (due.at == s.now, due.why == "place"),
            (dismissed, dismissed)
        );
        s.judge();
        let told = if dismissed { IDLE_LINE } else { "" };
        assert_eq!(s.read(masters[0]), told);
        assert_eq!(s.why(masters[0]), dismissed.then_some(Why::Idle));
        assert_eq!(s.read(m), if dismissed { "alive 0\n" } else { "" });
        // One that became idle meanwhile gives way before anybody is refused.
        s.advance(PLACE);
        assert_eq!(s.read(masters[0]), if dismissed { "" } else { IDLE_LINE });
        assert_eq!((s.log().as_str(), s.why(m)), ("x", None));
    }
}

/// Whatever it says, be it part of a line; also when it was still in a socket.
#[test]
fn a_master_that_seems_idle_is_read_before_its_place_is_given_away() {
    let (mut s, masters) = full(1);
    s.advance_to(Time::ZERO + IDLE);
    let m = s.master();
    s.bytes(m, b"alive\n");
    let due = s.server.poll_timeout().expect("due");
    assert_eq!((due.at, due.judges_at), (s.now, Some(s.now)));
    s.bytes(masters[0], b"broad");
    s.judge();
    s.bytes(masters[0], b"cast kept\n");
    assert_eq!((s.log().as_str(), s.why(masters[0])), ("kept", None));
    s.advance(PLACE);
    assert!(s.read(m).starts_with("error all 1 places"));
}

#[test]
fn who_watches_or_is_owed_something_is_never_idle() {
    let mut s = limited(|l| l.masters = 3);
    let [watches, owed, idle] = [(); 3].map(|()| s.master());
    s.ask(watches, "watch");
    s.bytes(owed, b"alive\n");
    s.ask(idle, "alive");
    s.advance(IDLE);
    for (m, gone) in [(s.master(), true), (s.master(), false)] {
        s.bytes(m, b"get\n");
        s.judge();
        assert_eq!(s.read(idle), if gone { IDLE_LINE } else { "" });
        assert_eq!(s.read(m), if gone { "messages \n" } else { "" });
    }
    assert_eq!((s.why(watches), s.why(owed)), (None, None));
    assert_eq!(s.read(owed), "alive 0\n");
}

#[test]
fn the_idlest_of_the_source_with_the_most_places_goes_first() {
    let mut s = limited(|l| l.masters = 4);
    let lone = s.accept_from(MASTERS, 1);
    s.ask(lone, "alive");
    s.advance(ms(1));
    let crowd = [(); 3].map(|()| s.accept_from(MASTERS, 2));
    for at in [1, 0, 2] {
        s.ask(crowd[at], "alive");
        s.advance(ms(1));
    }
    s.advance(IDLE);
    let mut went = vec![];
    for source in 3..7 {
        let m = s.accept_from(MASTERS, source);
        s.bytes(m, b"alive\n");
        s.judge();
        for old in [lone, crowd[0], crowd[1], crowd[2]] {
            if !s.read(old).is_empty() {
                went.push(old);
            }
        }
        assert_eq!(s.read(m), "alive 0\n");
    }
    assert_eq!(went, [crowd[1], crowd[0], lone, crowd[2]]);
}

#[test]
fn who_does_not_take_the_reason_is_closed_without_it() {
    let (mut s, masters) = full(1);
    s.advance(IDLE);
    let m = s.master();
    s.bytes(m, b"alive\n");
    s.judge();
    assert!(s.paused.contains(&masters[0]));
    // Nothing that it says now counts.
    s.bytes(masters[0], b"broadcast late\n");
    s.advance(PLACE);
    assert_eq!((s.why(masters[0]), s.log().as_str()), (Some(Why::Idle), ""));
    assert_eq!(s.read(m), "alive 0\n");
}

#[test]
fn a_newcomer_is_owed_little_before_it_gives_a_valid_command() {
    let mut s = limited(|_| ());
    let m = s.master();
    let error = s.ask(m, "x").len();
    let fit = (4096 - 64) / error;
    s.bytes(m, &b"x\n".repeat(fit));
    assert!(s.paused.is_empty());
    s.bytes(m, &b"x\n".repeat(100));
    assert!(s.paused.contains(&m));
    assert_eq!(s.server.gauges().owed_bytes as usize, (fit + 1) * error);
    s.bytes(m, b"alive\n");
    let mut told = String::new();
    while !s.server.pending(m, 0).is_empty() {
        told += &s.read(m);
    }
    assert_eq!(told.matches("error").count(), fit + 100);
    assert!(told.ends_with("alive 0\n") && s.paused.is_empty());
}

#[test]
fn an_http_request_closes_its_connection_and_nothing_after_it_is_obeyed() {
    for first in [
        "POST / HTTP/1.1",
        "GET /",
        "OPTIONS * HTTP/1.1",
        "CONNECT localhost:10000 HTTP/1.1",
        "GET http://localhost/ HTTP/1.0",
        "PRI * HTTP/2.0",
        "Host: localhost",
        "hOsT:localhost",
        "  HEAD /x\r",
    ] {
        let mut s = limited(|_| ());
        let other = s.master();
        let m = s.master();
        s.bytes(m, format!("{first}\nbroadcast x\ncrash\n").as_bytes());
        assert_eq!((s.why(m), s.halt), (Some(Why::Http), None), "{first:?}");
        assert_eq!(s.ask(other, "get"), "messages \n");
        assert!(Why::Http.is_fault());
    }
    for line in [
        "GET", "GET x", "POST it", "Hosts: x", "host", "get /", "PUTS /",
    ] {
        let mut s = limited(|_| ());
        let m = s.master();
        assert!(s.ask(m, line).starts_with("error "), "{line:?}");
        assert_eq!(s.why(m), None, "{line:?}");
    }
    // Nor is it obeyed when it waited for a place.
    let (mut s, masters) = full(1);
    let m = s.master();
    s.bytes(m, b"alive\nGET / HTTP/1.1\nbroadcast x\n");
    s.lost(masters[0], Loss::Finished);
    assert_eq!((s.why(m), s.log().as_str()), (Some(Why::Http), ""));
}

#[test]
fn a_shutdown_gives_no_more_places() {
    let (mut s, masters) = full(1);
    let p = s.peer(1);
    s.bytes(masters[0], b"broadcast a\n");
    s.advance_to(at_ms(100));
    let m = s.master();
    s.bytes(m, b"broadcast b\n");
    s.server.handle_shutdown(s.now);
    s.drain();
    s.lost(masters[0], Loss::Broken);
    s.advance(PLACE);
    s.bytes(p, b"ping 1\n");
    assert_eq!((s.halt, s.log().as_str()), (None, "a"));
    assert_eq!(s.read(p), "msg 0 a\n");
    assert_eq!((s.halt, s.why(m)), (Some(Halt::Done), Some(Why::Ending)));
}
