//! What servers of ours say after their first `ping`, and sessions that go on where an earlier one
//! ended. The peer is the test: it says what a server would say, line by line.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{ms, us};

const HELLO_ZERO: &str = "ping 0\nhello msg 1 4 70 resume\n";

/// Server 0 of 4, incarnation 70.
fn server() -> Solo {
    server_with(|_| ())
}

fn server_with(change: impl FnOnce(&mut Config)) -> Solo {
    let mut config = Config::new(0, 4);
    config.incarnation = 70;
    change(&mut config);
    Solo::with(config)
}

/// Peer 2, incarnation 90, connects and says what it has of the server's broadcasts.
fn peer(s: &mut Solo, has: &str) -> Conn {
    let conn = s.accept(LINKS);
    s.bytes(
        conn,
        format!("ping 2\nhello msg 1 4 90 resume{has}\n").as_bytes(),
    );
    conn
}

fn followed(s: &Solo) -> Vec<(u64, bool, u64)> {
    let told = s.news.iter().filter_map(|news| match *news {
        News::Following {
            count,
            resumed,
            lost,
            ..
        } => Some((count, resumed, lost)),
        News::Up { .. }
        | News::Down { .. }
        | News::Closed { .. }
        | News::Skipped { .. }
        | News::Misfit { .. }
        | News::Starved { .. }
        | News::Ending
        | News::Protocol(_) => None,
    });
    told.collect()
}

#[test]
fn each_says_hello_behind_its_first_ping_and_from_where_its_broadcasts_follow() {
    let mut s = server();
    let m = s.master();
    s.bytes(m, b"broadcast nobody is up\n");
    let conn = peer(&mut s, "");
    assert_eq!(s.read(conn), format!("{HELLO_ZERO}from 1 19\n"));
    s.bytes(m, b"broadcast a\n");
    assert_eq!(s.read(conn), "msg 0 a\n");

    let mut config = Config::new(2, 4);
    config.incarnation = 90;
    let mut s = Solo::with(config);
    let dial = s.connected(0);
    assert_eq!(s.read(dial), "ping 2\nhello msg 1 4 90 resume\n");
    s.bytes(dial, format!("{HELLO_ZERO}from 5 40\nmsg 0 a\n").as_bytes());
    assert_eq!(
        (s.read(dial).as_str(), s.log().as_str()),
        ("from 0 0\n", "a")
    );
    assert_eq!(followed(&s), [(5, false, 0)]);
}

#[test]
fn what_the_peer_lacks_is_sent_again_and_so_is_what_was_broadcast_meanwhile() {
    let mut s = server();
    let m = s.master();
    let conn = peer(&mut s, "");
    s.bytes(m, b"broadcast a\nbroadcast b\nbroadcast c\n");
    s.read(conn);
    s.lost(conn, Loss::Broken);
    s.bytes(m, b"broadcast d\n");
    // It got the first only.
    let conn = peer(&mut s, "=70.1.8");
    assert_eq!(
        s.read(conn),
        format!("{HELLO_ZERO}from 1 8\nmsg 0 b\nmsg 0 c\nmsg 0 d\n")
    );
    s.bytes(m, b"broadcast e\n");
    assert_eq!(s.read(conn), "msg 0 e\n");
    assert_eq!(s.server.gauges().lag_bytes, 4 * 8);
}

#[test]
fn a_receiver_says_what_it_has_and_announces_what_it_lost() {
    let mut s = server();
    let watcher = s.master();
    s.bytes(watcher, b"watch\n");
    let conn = peer(&mut s, "");
    s.bytes(conn, b"from 0 0\nmsg 2 a\nmsg 2 bb\n");
    s.lost(conn, Loss::Finished);
    let conn = peer(&mut s, "");
    assert_eq!(
        s.read(conn),
        "ping 0\nhello msg 1 4 70 resume=90.2.17\nfrom 0 0\n"
    );
    s.bytes(conn, b"from 2 17\nmsg 2 c\n");
    s.lost(conn, Loss::Finished);
    let conn = peer(&mut s, "");
    s.bytes(conn, b"from 6 49\nmsg 2 d\n");
    assert_eq!(followed(&s), [(0, false, 0), (2, true, 0), (6, true, 3)]);
    assert_eq!(
        (s.log().as_str(), s.server.counters().missed),
        ("a,bb,c,d", 3)
    );
    let told = s.read(watcher);
    assert!(told.ends_with("up 2\ngap 2 3\ndelivered 2 d\n"), "{told}");
    // Another incarnation has nothing to do with this one.
    s.lost(conn, Loss::Finished);
    let conn = s.accept(LINKS);
    s.bytes(conn, b"ping 2\nhello msg 1 4 91 resume\n");
    assert!(
        s.read(conn)
            .starts_with("ping 0\nhello msg 1 4 70 resume=90.7.57\n")
    );
    s.bytes(conn, b"from 0 0\nmsg 2 new\n");
    assert_eq!(s.log(), "a,bb,c,d,new");
}

#[test]
fn broadcasts_that_go_back_close_the_link() {
    for from in ["from 1 17", "from 2 16", "from 0 0"] {
        let mut s = server();
        let conn = peer(&mut s, "");
        s.bytes(conn, b"from 0 0\nmsg 2 a\nmsg 2 bb\n");
        s.lost(conn, Loss::Finished);
        let conn = peer(&mut s, "");
        s.bytes(conn, format!("{from}\nmsg 2 a\n").as_bytes());
        assert_eq!(
            (s.why(conn), s.log().as_str()),
            (Some(Why::Malformed), "a,bb")
        );
    }
}

#[test]
fn what_is_not_acknowledged_is_kept_up_to_the_limit_of_the_lag_and_not_a_byte_more() {
    for (more, lost) in [(1, false), (2, true)] {
        let mut s = server_with(|config| {
            (config.limits.text, config.limits.high_water) = (4, 1);
            config.limits.lag = 10 * 8;
        });
        let m = s.master();
        let conn = peer(&mut s, "");
        for text in 0..9 {
            s.bytes(m, format!("broadcast {text}\n").as_bytes());
            s.read(conn);
        }
        s.lost(conn, Loss::Broken);
        for text in 0..more {
            s.bytes(m, format!("broadcast {text}\n").as_bytes());
        }
        let conn = peer(&mut s, "=70.0.0");
        let begin = if lost {
            "from 11 88\n"
        } else {
            "from 0 0\nmsg 0 0\nmsg 0 1\n"
        };
        let said = s.read(conn);
        assert!(said.starts_with(&format!("{HELLO_ZERO}{begin}")), "{said}");
    }
}

#[test]
fn acknowledgements_free_what_is_kept_and_one_of_what_was_not_sent_is_a_fault() {
    let mut s = server();
    let m = s.master();
    let conn = peer(&mut s, "");
    s.bytes(m, b"broadcast a\nbroadcast b\n");
    s.read(conn);
    assert_eq!(s.server.gauges().lag_bytes, 16);
    s.bytes(conn, b"ack 16\n");
    assert_eq!(s.server.gauges().lag_bytes, 0);
    s.bytes(conn, b"ack 8\n");
    s.bytes(conn, b"ack 17\n");
    assert_eq!(s.why(conn), Some(Why::Malformed));
}

#[test]
fn what_came_is_acknowledged_with_the_heartbeat_or_after_so_many_bytes() {
    let mut s = server();
    let conn = peer(&mut s, "");
    s.bytes(conn, b"from 3 30\n");
    s.read(conn);
    s.bytes(conn, b"msg 2 a\n");
    assert_eq!(s.read(conn), "");
    s.advance(HEARTBEAT);
    assert_eq!(s.read(conn), "ack 38\n");
    s.bytes(conn, b"ping 2\n");
    s.advance(HEARTBEAT);
    assert_eq!(s.read(conn), "ping 0\n", "nothing is new");
    let text = format!("msg 2 {}\n", "x".repeat(1000));
    let count = ACK_EVERY / text.len() as u64;
    for _ in 0..count {
        s.bytes(conn, text.as_bytes());
    }
    assert_eq!(s.read(conn), "");
    s.bytes(conn, text.as_bytes());
    assert_eq!(
        s.read(conn),
        format!("ack {}\n", 38 + (count + 1) * text.len() as u64)
    );
}

/// A server of the seed's protocol: broadcasts go out after its second line, or soon.
#[test]
fn a_peer_without_a_hello_is_sent_broadcasts_after_its_second_line_or_in_time() {
    for second in [Some("ping 2\n"), Some("msg 2 x\n"), None] {
        let mut s = server();
        let m = s.master();
        let conn = s.accept(LINKS);
        s.bytes(conn, b"ping 2\n");
        s.bytes(m, b"broadcast a\n");
        assert_eq!(s.read(conn), HELLO_ZERO);
        s.advance_to(s.now + HELLO - us(1));
        assert_eq!(s.read(conn), "");
        match second {
            Some(line) => s.bytes(conn, line.as_bytes()),
            None => s.advance(us(1)),
        }
        assert_eq!(s.read(conn), "from 0 0\nmsg 0 a\n");
        s.lost(conn, Loss::Broken);
        s.bytes(m, b"broadcast b\n");
        let conn = s.accept(LINKS);
        s.bytes(conn, b"ping 2\nping 2\n");
        // Nobody can tell whether it was ever the same.
        assert_eq!(s.read(conn), format!("{HELLO_ZERO}from 2 16\n"));
        assert_eq!(s.server.gauges().lag_bytes, 0);
    }
}

#[test]
fn a_message_first_is_no_servers_of_ours() {
    let mut s = server();
    let m = s.master();
    let conn = s.accept(LINKS);
    s.bytes(conn, b"msg 2 x\n");
    s.bytes(m, b"broadcast a\n");
    assert_eq!(s.read(conn), format!("{HELLO_ZERO}from 0 0\nmsg 0 a\n"));
}

/// A hello that was on its way for longer than is waited for.
#[test]
fn a_late_hello_loses_nothing() {
    let mut s = server();
    let m = s.master();
    // The first session: the hello never arrives.
    let conn = s.accept(LINKS);
    s.bytes(conn, b"ping 2\n");
    s.bytes(m, b"broadcast a\nbroadcast b\n");
    s.advance(HELLO);
    s.read(conn);
    s.lost(conn, Loss::Broken);
    // The second: it is late, and the peer has the first broadcast only.
    let conn = s.accept(LINKS);
    s.bytes(conn, b"ping 2\n");
    s.advance(HELLO);
    assert_eq!(s.read(conn), format!("{HELLO_ZERO}from 2 16\n"));
    s.bytes(conn, b"hello msg 1 4 90 resume=70.1.8\n");
    assert_eq!(s.why(conn), Some(Why::NoGreeting));
    // From now on it is waited for.
    let conn = s.accept(LINKS);
    s.bytes(conn, b"ping 2\n");
    s.advance(HELLO + ms(100));
    assert_eq!(s.read(conn), HELLO_ZERO);
    s.bytes(conn, b"hello msg 1 4 90 resume=70.1.8\n");
    assert_eq!(s.read(conn), "from 1 8\nmsg 0 b\n");
}

#[test]
fn a_hello_that_claims_what_never_was_begins_anew() {
    for has in ["=70.9.999", "=71.1.8", "=70.1", "=x.y.z"] {
        let mut s = server();
        let m = s.master();
        let conn = peer(&mut s, "");
        s.bytes(m, b"broadcast a\n");
        s.read(conn);
        s.lost(conn, Loss::Broken);
        let conn = peer(&mut s, has);
        s.bytes(conn, b"ping 2\n");
        assert_eq!(s.read(conn), format!("{HELLO_ZERO}from 1 8\n"), "{has}");
    }
}

#[test]
fn a_server_of_another_protocol_or_grid_is_told_so_once_and_does_not_flap() {
    for (hello, why) in [
        ("hello paxos 1 4 90", Why::OtherProtocol),
        ("hello msg 1 5 90 resume", Why::OtherSize),
    ] {
        let mut s = server();
        let conn = s.accept(LINKS);
        s.bytes(conn, format!("ping 2\n{hello}\n").as_bytes());
        // It is to know as well.
        assert_eq!(s.why(conn), None);
        assert_eq!(s.read(conn), HELLO_ZERO);
        assert_eq!(s.why(conn), Some(why));
        for _ in 0..3 {
            let conn = s.accept(LINKS);
            s.bytes(conn, format!("ping 2\n{hello}\n").as_bytes());
            assert_eq!(s.read(conn), HELLO_ZERO);
            assert_eq!(s.why(conn), Some(why));
        }
        let misfits = s.news.iter().filter(|n| matches!(n, News::Misfit { .. }));
        assert_eq!((misfits.count(), s.server.counters().ups), (1, 1));
        let conn = peer(&mut s, "");
        assert_eq!((s.why(conn), s.server.alive()), (None, vec![0, 2]));
    }
    // The one that dials waits.
    let mut config = Config::new(2, 4);
    config.incarnation = 90;
    let mut s = Solo::with(config);
    let dial = s.connected(0);
    s.read(dial);
    s.bytes(dial, b"ping 0\nhello msg 1 5 70 resume\n");
    assert_eq!(s.why(dial), Some(Why::OtherSize));
    s.advance_to(s.now + BACKOFF_MISFIT - us(1));
    assert!(!s.dials.contains_key(&0));
    s.advance(us(1));
    assert!(s.dials.contains_key(&0));
}

#[test]
fn without_an_incarnation_nothing_is_said_and_a_hello_is_of_an_unknown_kind() {
    let mut s = Solo::start(0, 4);
    let conn = s.accept(LINKS);
    s.bytes(conn, b"ping 2\nhello msg 1 5 90 resume\nfrom 1 8\nack 99\n");
    assert_eq!((s.read(conn).as_str(), s.why(conn)), ("ping 0\n", None));
    assert_eq!(s.server.counters().skipped, 3);
}

/// Also what is broadcast while a `hello` is waited for is bounded.
#[test]
fn a_link_that_waits_for_a_hello_falls_behind_as_any_other() {
    let mut s = server_with(|config| {
        (config.limits.text, config.limits.high_water) = (4, 1);
        config.limits.lag = 10 * 8;
    });
    let m = s.master();
    let conn = peer(&mut s, "");
    s.read(conn);
    s.lost(conn, Loss::Broken);
    let conn = s.accept(LINKS);
    s.bytes(conn, b"ping 2\n");
    s.read(conn);
    for _ in 0..10 {
        s.bytes(m, b"broadcast x\n");
        assert_eq!(s.why(conn), None);
    }
    s.bytes(m, b"broadcast x\n");
    assert_eq!(s.why(conn), Some(Why::FellBehind));
    assert_eq!(s.server.gauges().lag_bytes, 0);
}
