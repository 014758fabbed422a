//! What people read: news, reasons, errors, times.

use chatroom_chat::*;
use chatroom_machine::*;
use std::collections::BTreeSet;

#[test]
fn each_piece_of_news_reads_as_one_sentence_at_its_level() {
    let conn = Conn::new(3, 1);
    let down = |why| News::Down {
        peer: 2,
        conn,
        why,
        silence: Span::from_micros(900_001),
    };
    let closed = |why| News::Closed { conn, why };
    let following = |resumed, lost| News::Following {
        peer: 2,
        conn,
        count: 7,
        resumed,
        lost,
    };
    let delivered = |conn| {
        News::Protocol(ChatEvent::Delivered {
            sender: 2,
            conn,
            text: "hi".into(),
        })
    };
    for (news, level, words) in [
        (News::Up { peer: 2, conn }, Level::Info, "peer 2 up on 3.1"),
        (
            down(Why::Silent),
            Level::Info,
            "peer 2 down on 3.1: silent for too long, last heard 900.001ms ago",
        ),
        (
            down(Why::FellBehind),
            Level::Warn,
            "peer 2 down on 3.1: fell too far behind, last heard 900.001ms ago",
        ),
        (
            down(Why::OwnId),
            Level::Warn,
            "peer 2 down on 3.1: our own id, last heard 900.001ms ago",
        ),
        (
            closed(Why::Refused),
            Level::Debug,
            "connection 3.1 closed: the dial failed",
        ),
        (
            closed(Why::Finished),
            Level::Info,
            "connection 3.1 closed: the other side finished",
        ),
        (
            closed(Why::Crowded),
            Level::Warn,
            "connection 3.1 closed: the oldest of too many",
        ),
        (
            closed(Why::FellBehind),
            Level::Warn,
            "connection 3.1 closed: fell too far behind",
        ),
        (
            closed(Why::TooLong),
            Level::Warn,
            "connection 3.1 closed: a line too long",
        ),
        (
            delivered(Some(conn)),
            Level::Debug,
            "delivered 2 on 3.1: hi",
        ),
        (delivered(None), Level::Debug, "delivered 2: hi"),
        (
            News::Skipped { peer: 2, count: 4 },
            Level::Info,
            "peer 2 sent 4 lines of an unknown kind: skipped",
        ),
        (
            News::Misfit {
                peer: 2,
                word: "paxos".into(),
                servers: 5,
            },
            Level::Warn,
            "peer 2 does not fit: it runs \"paxos\" in a grid of 5 servers",
        ),
        (
            following(false, 0),
            Level::Debug,
            "peer 2 begins behind its broadcast 7 on 3.1",
        ),
        (
            following(true, 0),
            Level::Info,
            "peer 2 goes on behind its broadcast 7 on 3.1",
        ),
        (
            following(true, 3),
            Level::Warn,
            "peer 2 goes on behind its broadcast 7 on 3.1: 3 are lost, which it no longer kept",
        ),
        (
            closed(Why::OtherSize),
            Level::Debug,
            "connection 3.1 closed: a server of a grid of another size",
        ),
        (
            News::Starved { door: MASTERS },
            Level::Warn,
            "no resources to accept a connection at door 1: trying again in a while",
        ),
        (
            News::Protocol(ChatEvent::LogFull { bytes: 9 }),
            Level::Warn,
            "the log is full (9 bytes): what is new is refused",
        ),
        (
            News::Protocol(ChatEvent::Gap { peer: 2, count: 4 }),
            Level::Warn,
            "4 messages of peer 2 were not kept: the log is full",
        ),
        (
            closed(Why::Full),
            Level::Warn,
            "connection 3.1 closed: a master was refused: the limit of masters is reached",
        ),
        (News::Ending, Level::Info, "ending in good order"),
    ] {
        assert_eq!((news.to_string().as_str(), news.level()), (words, level));
    }
}

#[test]
fn each_reason_and_each_misuse_has_words_of_its_own() {
    let reasons: BTreeSet<String> = Why::ALL.iter().map(Why::to_string).collect();
    assert_eq!(reasons.len(), Why::ALL.len());
    assert_eq!(Why::ALL.iter().filter(|why| why.is_fault()).count(), 12);
    let misuses = [Misuse::Stale, Misuse::WrongState, Misuse::TooMuch];
    let words: BTreeSet<String> = misuses.iter().map(Misuse::to_string).collect();
    assert!(words.len() == 3 && words.iter().all(|w| !w.is_empty()));
    assert!(Refused.to_string().contains("no more connections"));
    assert_eq!(Time::from_micros(1_250_001).to_string(), "1.250001s");
    assert_eq!(Span::from_micros(450_001).to_string(), "450.001ms");
}
