//! Links of the mesh: who is up, what a broken line does, what replaces what.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;

#[test]
fn each_broken_line_closes_its_link_for_its_reason_and_touches_nothing_else() {
    let long = "x".repeat(64 << 10);
    let over = format!("msg 3 {long}x\n");
    let endless = format!("msg 3 {long}xxxxxxxxx");
    // On the session of peer 3 with server 2 of 5.
    let on_session: [(&[u8], Why); 12] = [
        (over.as_bytes(), Why::TooLong),
        (endless.as_bytes(), Why::TooLong),
        (b"msg 3 \xff\n", Why::NotUtf8),
        (b"\xff\n", Why::NotUtf8),
        (b"ping\n", Why::Malformed),
        (b"msg 3\n", Why::Malformed),
        (b"msg 3 \n", Why::Malformed),
        (b"ping 3\r\n", Why::Malformed),
        (b"ping 5\n", Why::OutsideGrid),
        (b"ping 2\n", Why::OwnId),
        (b"msg 2 x\n", Why::OwnId),
        (b"msg 4 x\n", Why::OtherId),
    ];
    let on_stranger: [(&[u8], Why); 9] = [
        (b"hello\n", Why::NoIdentity),
        (b"\n", Why::NoIdentity),
        (b"ping 1\n", Why::ShouldNotDial),
        (b"msg 0 x\n", Why::ShouldNotDial),
        (b"ping 2\n", Why::OwnId),
        (b"ping 5\n", Why::OutsideGrid),
        (b"ping 03\n", Why::Malformed),
        (b"msg 3 \xff\n", Why::NotUtf8),
        (endless.as_bytes(), Why::TooLong),
    ];
    let cases = on_session.iter().map(|c| (true, c));
    for (session, (line, why)) in cases.chain(on_stranger.iter().map(|c| (false, c))) {
        let mut s = Solo::start(2, 5);
        let (other, master) = (s.peer(4), s.master());
        let bad = match session {
            true => s.peer(3),
            false => s.accept(LINKS),
        };
        // What follows in the same piece does not count either.
        s.bytes(bad, &[line, &b"msg 3 after\nmsg 4 after\n"[..]].concat());
        let shown = String::from_utf8_lossy(&line[..line.len().min(20)]).into_owned();
        assert_eq!(s.why(bad), Some(*why), "{session} {shown:?}");
        assert_eq!(s.closed, [bad]);
        assert!(why.is_fault());
        s.bytes(other, b"msg 4 fine\n");
        assert_eq!(s.ask(master, "get"), "messages fine\n");
        assert_eq!(s.ask(master, "alive"), "alive 2,4\n");
        assert_eq!(s.server.counters().closes[*why as usize], 1);
    }
}

#[test]
fn a_line_that_is_not_utf8_is_so_however_it_is_cut() {
    for line in [
        &b"msg 1 \xffa\n"[..],
        b"msg 1 a\xc3\n",
        b"msg 1 \xe2\x82a\xac\n",
        b"ping\xff 1\n",
    ] {
        for at in 0..=line.len() {
            let mut s = Solo::start(0, 2);
            let conn = s.peer(1);
            s.bytes(conn, &line[..at]);
            if s.why(conn).is_none() {
                s.bytes(conn, &line[at..]);
            }
            assert_eq!(s.why(conn), Some(Why::NotUtf8), "{line:?} cut at {at}");
            assert_eq!(s.log(), "");
        }
    }
}

#[test]
fn the_answer_to_a_dial_must_come_from_whom_was_dialled() {
    for (line, why) in [
        (&b"ping 0\n"[..], Why::OtherId),
        (b"ping 2\n", Why::OwnId),
        (b"msg 3 x\n", Why::OtherId),
        (b"what\n", Why::NoIdentity),
    ] {
        let mut s = Solo::start(2, 5);
        let conn = s.connected(1);
        assert_eq!(s.read(conn), "ping 2\n");
        s.bytes(conn, line);
        assert_eq!(s.why(conn), Some(why));
        assert_eq!(s.server.alive(), [2]);
    }
}

#[test]
fn a_first_line_may_be_a_message_and_is_delivered() {
    let mut s = Solo::start(1, 3);
    let above = s.accept(LINKS);
    s.bytes(above, b"msg 2 a\n");
    assert_eq!(s.read(above), "ping 1\n");
    let below = s.connected(0);
    s.bytes(below, b"msg 0 b\n");
    assert_eq!(s.server.alive(), [0, 1, 2]);
    assert_eq!(s.log(), "a,b");
}

#[test]
fn a_connect_alone_is_no_peer_and_an_accepted_link_is_greeted_only_after_its_first_line() {
    let mut s = Solo::start(1, 3);
    let below = s.connected(0);
    let above = s.accept(LINKS);
    assert_eq!(s.read(above), "");
    s.bytes(above, b"ping 2");
    s.bytes(below, b"ping 0");
    assert_eq!(s.server.alive(), [1]);
    s.bytes(above, b"\n");
    s.bytes(below, b"\n");
    assert_eq!(s.server.alive(), [0, 1, 2]);
}

#[test]
fn lines_of_an_unknown_kind_from_a_peer_are_counted_and_skipped() {
    let mut s = Solo::start(0, 2);
    let conn = s.peer(1);
    s.bytes(conn, b"pong 1\n\nvote yes\nmsgs 1 x\nGET /\nmsg 1 x\n");
    assert_eq!(s.log(), "x");
    assert_eq!(s.server.counters().skipped, 5);
    let told = s
        .news
        .iter()
        .filter(|n| matches!(n, News::Skipped { peer: 1, .. }));
    assert_eq!(told.count(), 3, "the first, second and fourth");
}

/// Both connected before either was read from: the one that came first is of the earlier life,
/// however late its bytes are looked at.
#[test]
fn a_link_accepted_before_the_present_one_of_its_peer_does_not_replace_it() {
    let mut s = Solo::start(0, 3);
    let old = s.accept(LINKS);
    let new = s.accept(LINKS);
    s.bytes(new, b"ping 2\nmsg 2 new\n");
    s.bytes(old, b"ping 2\nmsg 2 old\n");
    assert_eq!(s.why(new), None);
    assert_eq!(s.why(old), Some(Why::Replaced));
    s.bytes(new, b"msg 2 newer\n");
    assert_eq!(s.log(), "new,newer");
    assert_eq!(
        (s.server.alive(), s.server.gauges().nameless),
        (vec![0, 2], 0)
    );
}

#[test]
fn nor_does_it_follow_one_that_has_ended() {
    let mut s = Solo::start(0, 3);
    let [old, present, next] = [(); 3].map(|()| s.accept(LINKS));
    s.bytes(present, b"ping 2\nmsg 2 new\n");
    s.lost(present, Loss::Finished);
    s.bytes(old, b"msg 2 old\n");
    assert_eq!(s.why(old), Some(Why::Replaced));
    s.bytes(next, b"msg 2 newer\n");
    assert_eq!(s.why(next), None);
    assert_eq!(s.log(), "new,newer");
    assert_eq!(s.server.alive(), [0, 2]);
}

#[test]
fn an_unfinished_line_at_the_end_of_a_link_never_happened() {
    for loss in [Loss::Finished, Loss::Broken] {
        let mut s = Solo::start(0, 2);
        let conn = s.peer(1);
        s.bytes(conn, b"msg 1 a\nmsg 1 cut");
        s.lost(conn, loss);
        assert_eq!(s.log(), "a");
        assert_eq!(s.server.alive(), [0]);
        let again = s.peer(1);
        s.bytes(again, b" short\nmsg 1 b\n");
        assert_eq!(s.log(), "a,b");
    }
}

#[test]
fn a_broadcast_goes_to_who_is_up_then_and_nothing_is_sent_again() {
    let mut s = Solo::start(1, 4);
    let master = s.master();
    let (two, zero) = (s.peer(2), s.connected(0));
    s.read(zero);
    s.bytes(master, b"broadcast a\n");
    s.bytes(zero, b"ping 0\n");
    s.bytes(master, b"broadcast b\n");
    let three = s.accept(LINKS);
    s.bytes(three, b"ping 3\n");
    s.bytes(master, b"broadcast c\n");
    assert_eq!(s.server.gauges().peers, 3);
    assert_eq!(s.read(two), "msg 1 a\nmsg 1 b\nmsg 1 c\n");
    assert_eq!(s.read(zero), "msg 1 b\nmsg 1 c\n");
    assert_eq!(s.read(three), "ping 1\nmsg 1 c\n");
    s.lost(two, Loss::Broken);
    let back = s.accept(LINKS);
    s.bytes(back, b"ping 2\n");
    assert_eq!(s.read(back), "ping 1\n");
    assert_eq!(s.server.gauges().lag_bytes, 0);
}

#[test]
fn a_heartbeat_never_cuts_a_line_that_is_half_sent() {
    let mut s = Solo::start(0, 2);
    let (master, peer) = (s.master(), s.peer(1));
    s.bytes(master, b"broadcast abc\n");
    assert_eq!(s.take(peer, 7), b"msg 0 a");
    s.advance(HEARTBEAT);
    s.bytes(peer, b"ping 1\n");
    assert_eq!(s.read(peer), "bc\n");
    s.advance(HEARTBEAT);
    assert_eq!(s.take(peer, 3), b"pin");
    s.bytes(master, b"broadcast d\n");
    assert_eq!(s.read(peer), "g 0\nmsg 0 d\n");
}

#[test]
fn one_send_may_take_a_heartbeat_and_what_was_broadcast_since() {
    for at_once in 1..18 {
        let mut s = Solo::start(0, 2);
        let (master, peer) = (s.master(), s.peer(1));
        s.advance(HEARTBEAT);
        s.bytes(master, b"broadcast d\n");
        assert_eq!(s.server.pending(peer, 0), b"ping 0\n");
        assert_eq!(s.server.pending(peer, 5), b"0\n");
        assert_eq!(s.server.pending(peer, 7), b"msg 0 d\n");
        assert_eq!(s.server.pending(peer, 9), b"g 0 d\n");
        for skip in [15, 16, 100_000] {
            assert_eq!(s.server.pending(peer, skip), b"");
        }
        assert_eq!(s.server.handle_sent(s.now, peer, 16), Err(Misuse::TooMuch));
        let mut out = vec![];
        while out.len() < 15 {
            out.extend(s.take(peer, at_once));
            let more = s.server.handle_sent(s.now, peer, 16 - out.len());
            assert_eq!(more, Err(Misuse::TooMuch));
        }
        assert_eq!(out, b"ping 0\nmsg 0 d\n");
        assert_eq!(s.server.gauges().lag_bytes, 0);
    }
}

#[test]
fn a_driver_that_is_sending_is_not_told_again() {
    let mut s = Solo::start(0, 2);
    let (master, peer) = (s.master(), s.peer(1));
    s.advance(HEARTBEAT);
    assert_eq!(s.take(peer, 3), b"pin");
    let line = b"broadcast d\n";
    s.server.handle_bytes(s.now, master, line).expect("open");
    while let Some(action) = s.server.poll() {
        assert_ne!(action, Action::Send(peer));
    }
    assert_eq!(s.read(peer), "g 0\nmsg 0 d\n");
}

#[test]
fn a_send_that_ends_in_a_later_block_frees_those_that_all_have_passed() {
    let mut s = Solo::start(0, 3);
    let (a, b, m) = (s.peer(1), s.peer(2), s.master());
    let line = format!("broadcast {}\n", "x".repeat(993));
    for _ in 0..200 {
        s.bytes(m, line.as_bytes());
    }
    let block = 64 << 10;
    assert_eq!(s.take(a, 200_000).len(), 200_000);
    assert_eq!(s.server.gauges().lag_bytes, 200_000);
    assert_eq!(s.take(b, block - 1).len(), block - 1);
    assert_eq!(s.server.gauges().lag_bytes, 200_000);
    assert_eq!(s.take(b, block + 1).len(), block + 1);
    assert_eq!(s.server.gauges().lag_bytes, 200_000 - 2 * block as u64);
    assert_eq!(s.take(b, 200_000).len(), 200_000 - 2 * block);
    assert_eq!(s.server.gauges().lag_bytes, 0);
}

#[test]
fn only_ids_below_are_dialled() {
    for id in 0..4 {
        let s = Solo::start(id, 4);
        assert_eq!(s.server.id(), id);
        assert!(s.dials.keys().copied().eq(0..id));
    }
}

#[test]
fn a_peer_that_dies_behind_leaves_nothing_kept_and_the_others_go_on() {
    let mut s = Solo::start(0, 4);
    let (a, b, c, m) = (s.peer(1), s.peer(2), s.peer(3), s.master());
    s.bytes(m, b"broadcast one\n");
    assert_eq!(s.read(a), "msg 0 one\n");
    s.lost(b, Loss::Broken);
    assert_eq!(s.server.gauges().lag_bytes, 10, "the third has not read it");
    s.bytes(m, b"broadcast two\n");
    assert_eq!(s.read(a), "msg 0 two\n");
    assert_eq!(s.read(c), "msg 0 one\nmsg 0 two\n");
    assert_eq!(s.server.gauges().lag_bytes, 0);
    s.bytes(m, b"broadcast three\n");
    s.lost(a, Loss::Broken);
    s.lost(c, Loss::Broken);
    assert_eq!(s.server.gauges().lag_bytes, 0);
    let d = s.peer(1);
    s.bytes(m, b"broadcast four\n");
    assert_eq!(s.read(d), "msg 0 four\n");
}
