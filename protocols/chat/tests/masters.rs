//! What masters say and are told.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;

#[test]
fn each_command_has_its_reply_and_replies_come_in_order() {
    let mut s = Solo::start(1, 3);
    let m = s.master();
    s.peer(2);
    s.bytes(
        m,
        b"get\nalive\nbroadcast a b\nget\n  get \r\nbroadcast x,y\nget\n",
    );
    assert_eq!(
        s.read(m),
        "messages \nalive 1,2\nmessages a b\nmessages a b\nmessages a b,x,y\n"
    );
    for line in [
        "",
        "nonsense",
        "get it",
        "alive?",
        "crash now",
        "broadcast",
        "broadcast ",
        "GET",
    ] {
        let reply = s.ask(m, line);
        assert!(
            reply.starts_with("error ") && reply.ends_with('\n'),
            "{line:?}: {reply:?}"
        );
        assert_eq!(reply.matches('\n').count(), 1);
    }
    assert_eq!(s.server.counters().errors, 8);
    assert_eq!(s.log(), "a b,x,y");
}

#[test]
fn a_get_answers_with_the_log_of_its_moment_however_late_it_is_read() {
    let mut s = Solo::start(0, 2);
    let (m, p) = (s.master(), s.peer(1));
    s.bytes(m, b"broadcast a\nget\n");
    assert_eq!(s.take(m, 3), b"mes");
    s.bytes(p, b"msg 1 b\n");
    s.bytes(m, b"get\n");
    assert_eq!(s.read(m), "sages a\nmessages a,b\n");
}

#[test]
fn a_watcher_is_told_what_happens_from_then_on() {
    let mut s = Solo::start(1, 3);
    let (m, w) = (s.master(), s.master());
    s.bytes(m, b"broadcast before\n");
    s.bytes(w, b"watch\nwatch\n");
    assert_eq!(s.read(w), "");
    let p = s.peer(2);
    s.bytes(m, b"broadcast own\n");
    s.bytes(p, b"msg 2 a,b  c\n");
    s.lost(p, Loss::Broken);
    assert_eq!(
        s.read(w),
        "up 2\ndelivered 1 own\ndelivered 2 a,b  c\ndown 2\n"
    );
    assert_eq!(s.read(m), "");
}

#[test]
fn replies_in_pieces_are_taken_in_sends_of_any_size() {
    let expected = "messages a,b\nalive 1\nmessages a,b\n";
    for at_once in 1..=expected.len() {
        let mut s = Solo::start(1, 3);
        let m = s.master();
        s.bytes(m, b"broadcast a\nbroadcast b\nget\nalive\nget\n");
        assert_eq!(s.server.pending(m, 9), b"a,b");
        assert_eq!(s.server.pending(m, 10), b",b");
        let whole = gather(&s.server, m, usize::MAX).into_owned();
        assert_eq!(whole, expected.as_bytes());
        assert_eq!(s.server.pending(m, expected.len()), b"");
        let more = expected.len() + 1;
        assert_eq!(s.server.handle_sent(s.now, m, more), Err(Misuse::TooMuch));
        let mut out = vec![];
        while out.len() < expected.len() {
            let taken = s.take(m, at_once);
            assert_eq!(taken.len(), at_once.min(expected.len() - out.len()));
            out.extend(taken);
            let owed = (expected.len() - out.len()) as u64;
            assert_eq!(s.server.gauges().owed_bytes, owed);
        }
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn a_crash_flushes_nothing_and_ends_all_at_once() {
    let mut s = Solo::start(1, 3);
    let (m, p) = (s.master(), s.peer(2));
    s.server
        .handle_bytes(
            s.now,
            m,
            b"get\nbroadcast lost\ncrash\nget\nbroadcast never\n",
        )
        .expect("open");
    assert_eq!(s.server.poll(), Some(Action::Halt(Halt::Crash)));
    assert_eq!(s.server.poll(), None);
    assert_eq!(s.server.poll_timeout(), None);
    for conn in [m, p] {
        assert!(s.server.pending(conn, 0).is_empty());
        assert_eq!(
            s.server.handle_bytes(s.now, conn, b"get\n"),
            Err(Misuse::Stale)
        );
    }
    assert_eq!(
        s.server.handle_accepted(s.now, MASTERS, Remote::default()),
        Err(Refused)
    );
    s.server.handle_timeout(s.now + SUSPICION);
    s.server.handle_shutdown(s.now);
    s.server.handle_starved(s.now, LINKS);
    s.server.handle_start(s.now);
    assert_eq!((s.server.poll(), s.server.poll_timeout()), (None, None));
}

#[test]
fn a_master_that_sends_no_more_gets_what_is_owed_and_is_closed_then() {
    let mut s = Solo::start(0, 1);
    let m = s.master();
    s.bytes(m, b"broadcast a\nget\nalive\ncut sho");
    s.lost(m, Loss::Finished);
    assert_eq!(s.closed, []);
    assert_eq!(
        s.server.handle_bytes(s.now, m, b"get\n"),
        Err(Misuse::WrongState)
    );
    assert_eq!(
        s.server.handle_lost(s.now, m, Loss::Finished),
        Err(Misuse::WrongState)
    );
    assert_eq!(s.take(m, 4), b"mess");
    assert_eq!(s.closed, []);
    assert_eq!(s.read(m), "ages a\nalive 0\n");
    assert_eq!((s.closed.clone(), s.why(m)), (vec![m], Some(Why::Finished)));
    let m = s.master();
    s.lost(m, Loss::Finished);
    assert_eq!(s.why(m), Some(Why::Finished));
}

#[test]
fn a_master_that_is_closed_is_obeyed_no_further() {
    let mut config = Config::new(0, 1);
    config.limits.text = 1;
    config.limits.watch = "delivered 1023 a\n".len();
    let mut s = Solo::with(config);
    let m = s.master();
    s.bytes(m, b"watch\nbroadcast a\nbroadcast b\nbroadcast c\n");
    assert_eq!(s.why(m), Some(Why::FellBehind));
    assert_eq!(s.log(), "a,b");
}

#[test]
fn a_shutdown_flushes_what_was_accepted_then_ends() {
    let mut s = Solo::start(1, 3);
    let (m, p) = (s.master(), s.peer(2));
    let nameless = s.accept(LINKS);
    s.bytes(m, b"broadcast a\nget\n");
    s.server.handle_shutdown(s.now);
    s.drain();
    assert_eq!(s.why(nameless), Some(Why::Ending));
    assert!(s.dials.is_empty() && s.paused.contains(&m));
    assert_eq!(s.shut.len(), 2);
    assert_eq!(
        s.server.handle_accepted(s.now, LINKS, Remote::default()),
        Err(Refused)
    );
    s.server.handle_shutdown(s.now);
    s.bytes(m, b"broadcast too late\n");
    assert_eq!(s.read(p), "msg 1 a\n");
    assert_eq!(s.halt, None);
    assert_eq!(s.read(m), "messages a\n");
    assert_eq!(s.halt, Some(Halt::Done));
    assert_eq!(s.log(), "a");
    assert!(s.open.is_empty());
}

#[test]
fn a_shutdown_opens_no_door_again() {
    let mut s = Solo::start(0, 2);
    s.server.handle_starved(s.now, LINKS);
    s.peer(1);
    let m = s.master();
    s.bytes(m, b"broadcast a\n");
    s.server.handle_shutdown(s.now);
    s.drain();
    s.advance(STARVED);
    assert_eq!((s.halt, s.shut.len()), (None, 2));
}

#[test]
fn the_counters_say_what_was_done() {
    let mut s = Solo::start(0, 2);
    let m = s.master();
    let p = s.accept(LINKS);
    s.bytes(m, b"broadcast a\nbroadcast b\n");
    s.bytes(p, b"ping 1\nmsg 1 c\nmsg 1 d\n");
    s.bytes(m, b"get\n");
    assert_eq!(s.read(p), "ping 0\n");
    assert_eq!(s.read(m), "messages a,b,c,d\n");
    let c = s.server.counters();
    assert_eq!((c.broadcasts, c.deliveries, c.accepted), (2, 2, 2));
    assert_eq!((c.bytes_in, c.bytes_out), (24 + 23 + 4, 7 + 17));
}

#[test]
fn a_shutdown_with_nothing_owed_ends_at_once_also_before_the_start() {
    let mut s = Solo::start(1, 3);
    s.server.handle_shutdown(s.now);
    s.drain();
    assert_eq!(s.halt, Some(Halt::Done));
    let mut s = Solo::new(Config::new(1, 3));
    s.server.handle_shutdown(s.now);
    s.server.handle_start(s.now);
    s.drain();
    assert_eq!(s.halt, Some(Halt::Done));
    assert!(s.dials.is_empty());
}

#[test]
fn a_second_start_does_nothing() {
    let mut s = Solo::start(2, 3);
    s.server.handle_start(s.now);
    s.drain();
    assert_eq!(s.server.counters().dials, 2);
}
