//! Dials while many peers are missing: how often all of them, and how soon each.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{ms, us};

/// Fails the dial of peer 0, and gives the pause until the next. The other dials stay under way
/// until they time out.
fn pause(s: &mut Solo) -> Span {
    s.dial_fails(0);
    let from = s.now;
    while !s.dials.contains_key(&0) {
        let next = s.server.poll_timeout().expect("it will dial again").at;
        s.advance_to(next);
    }
    s.now.since(from)
}

/// Lets `span` pass, every dial refused at once; gives how many there were.
fn refused_for(s: &mut Solo, span: Span) -> u64 {
    let (until, before) = (s.now + span, s.server.counters().dials);
    loop {
        while let Some((&peer, _)) = s.dials.first_key_value() {
            s.dial_fails(peer);
        }
        match s.server.poll_timeout().filter(|next| next.at <= until) {
            Some(next) => {
                s.now = s.now.max(next.at);
                s.tick();
            }
            None => break,
        }
    }
    s.now = until;
    s.server.counters().dials - before
}

#[test]
fn pauses_grow_with_the_number_of_peers_that_are_missing_up_to_their_most() {
    // 2.5 ms for each; up to 32 of them the pause of a single one is longer.
    for (missing, most) in [
        (1, 80_000),
        (31, 80_000),
        (32, 80_000),
        (33, 82_500),
        (64, 160_000),
        (360, 900_000),
        (999, 2_497_500),
        (1000, 2_500_000),
        (1001, 2_500_000),
        (1023, 2_500_000),
    ] {
        let (mut least, mut longest) = (Span::from_millis(9999), Span::ZERO);
        for seed in 0..8 {
            let mut config = Config::new(missing, missing + 1);
            config.seed = seed;
            let mut s = Solo::with(config);
            for _ in 0..14 {
                let pause = pause(&mut s);
                if pause.times(2) >= us(most) {
                    (least, longest) = (least.min(pause), longest.max(pause));
                }
            }
        }
        assert!(
            longest <= us(most) && longest.times(10) > us(most).times(9),
            "{missing}: {longest}"
        );
        assert!(least >= us(most / 2), "{missing}: {least}");
    }
}

#[test]
fn the_first_pause_grows_with_the_number_of_peers_that_are_missing() {
    // A sixteenth of the longest, but never less than the first pause of a single peer.
    for (missing, most) in [(1, 10_000), (64, 10_000), (65, 10_156), (1000, 156_250)] {
        let mut longest = Span::ZERO;
        for seed in 0..40 {
            let mut config = Config::new(missing, missing + 1);
            config.seed = seed;
            longest = longest.max(pause(&mut Solo::with(config)));
        }
        assert!(
            longest <= us(most) && longest.times(100) > us(most).times(97),
            "{missing}: {longest}"
        );
    }
}

#[test]
fn a_server_that_starts_among_a_thousand_missing_peers_dials_each_six_times_in_five_seconds() {
    let mut s = Solo::start(1000, 1001);
    refused_for(&mut s, ms(5000));
    assert!(s.server.counters().dials <= 6000);
}

#[test]
fn there_are_fewer_than_450_dials_a_second_however_many_peers_are_missing() {
    for missing in [16, 23, 24, 25, 32, 33, 128, 1023] {
        let mut s = Solo::start(missing, missing + 1);
        refused_for(&mut s, ms(5000));
        let dials = refused_for(&mut s, ms(10_000));
        assert!(
            dials <= 10 * 450,
            "{dials} dials of {missing} peers in 10 s"
        );
        let least = 10_000_000 / Span::from_millis(2500).as_micros() * u64::from(missing);
        assert!(dials >= least, "{dials} dials of {missing} peers in 10 s");
    }
}

#[test]
fn a_peer_that_was_up_is_dialled_again_within_a_second_and_a_new_one_within_three() {
    const KNOWN: u32 = 500;
    let mut s = Solo::start(1023, 1024);
    let conn = s.connected(KNOWN);
    s.bytes(conn, format!("ping {KNOWN}\n").as_bytes());
    refused_for(&mut s, SUSPICION);
    assert_eq!(s.why(conn), Some(Why::Silent));
    // Longest pauses are reached by now.
    refused_for(&mut s, ms(10_000));
    let mut last = [None; 1023];
    let mut longest = [Span::ZERO; 1023];
    let until = s.now + ms(20_000);
    while s.now < until {
        let next = s.server.poll_timeout().expect("it dials").at;
        s.now = s.now.max(next);
        s.tick();
        while let Some((&peer, _)) = s.dials.first_key_value() {
            s.dial_fails(peer);
            let of = peer as usize;
            if let Some(before) = last[of].replace(s.now) {
                longest[of] = longest[of].max(s.now.since(before));
            }
        }
    }
    let known = longest[KNOWN as usize];
    assert!(known <= ms(900) && known > ms(800), "{known}");
    longest[KNOWN as usize] = ms(2500);
    let (least, most) = (longest.iter().min(), longest.iter().max());
    assert!(least > Some(&ms(2200)) && most <= Some(&ms(2500)));
}
