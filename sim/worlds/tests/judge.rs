//! The judge hears of runs of the server that ships, in which nothing is wrong, with one fact
//! altered, left out or put in: it objects to that, in the words that are meant for it, and to
//! nothing when it hears the truth.

use chatroom_chat::{ChatEvent, ChatServer, LINKS, MASTERS, News, Why};
use chatroom_machine::{Conn, Loss, Place, Span, Time};
use chatroom_sim::engine::run;
use chatroom_sim::names::{Client, Host, Peer, Who};
use chatroom_sim::observer::{Cause, Ending, Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Fate, Plan, Way};
use chatroom_sim::trace::Recorder;
use chatroom_worlds::chat::judge::{
    ACCURACY, BOUNDS, COMPLETENESS, EMPTY_START, FIFO, LIVES, NO_CREATION, NO_DUPLICATION, OWN,
    REPLIES, VALIDITY,
};
use chatroom_worlds::chat::{Grid, Judge, Setup, cases, judge, server};
use std::collections::BTreeMap;

/// Two masters of server 0 and one of server 1.
const A: Client = master(0, 0);
const B: Client = master(0, 1);
const C: Client = master(1, 0);

const BOTH: Way = Way {
    from: Host(0),
    to: Host(1),
    both: true,
};

type Judgement = Result<(), Violation>;
/// Tells the judge a fact.
type Tell<'a> = &'a mut dyn FnMut(&Fact<'_, News>) -> Judgement;
/// Tells the judge what it is to hear in place of a fact.
type Tale = Box<dyn Fn(&Known, &Fact<'_, News>, Tell<'_>) -> Judgement>;

const fn master(host: u16, number: u8) -> Client {
    let host = Host(host);
    Client { host, number }
}

fn millis(count: u64) -> Time {
    Time::from_micros(count * 1000)
}

/// Handles and links, as the run had them so far.
#[derive(Default)]
struct Known {
    masters: BTreeMap<Client, Conn>,
    opened: BTreeMap<Client, u64>,
    /// By server and peer, the latest last.
    sessions: BTreeMap<(u16, u32), Vec<Conn>>,
    dialled: BTreeMap<(u16, Conn), u64>,
}

impl Known {
    fn learn(&mut self, fact: &Fact<'_, News>) {
        if let Fact::Opened {
            conn, peer, link, ..
        } = fact
            && let Peer::Client(client) = peer
        {
            self.masters.insert(*client, *conn);
            self.opened.insert(*client, *link);
        }
        if let Fact::Notice { who, notice, .. } = fact
            && let News::Up { peer, conn } = notice
        {
            let sessions = self.sessions.entry((who.host.0, *peer));
            sessions.or_default().push(*conn);
        }
        if let Fact::Dialling {
            who, conn, link, ..
        } = fact
        {
            self.dialled.insert((who.host.0, *conn), *link);
        }
    }

    fn session(&self, host: u16, peer: u32) -> Conn {
        *self.sessions[&(host, peer)].last().expect("it was up")
    }
}

/// Stands between a run and the judge.
struct Teller<'a> {
    judge: Judge,
    tale: &'a Tale,
    known: Known,
    recorder: Recorder,
}

impl Observer<ChatServer> for Teller<'_> {
    fn see(&mut self, scene: &Scene<'_, ChatServer>, fact: &Fact<'_, News>) -> Judgement {
        self.recorder.see(scene, fact)?;
        self.known.learn(fact);
        (self.tale)(&self.known, fact, &mut |told| self.judge.see(scene, told))
    }
}

/// What a judge objects to: the property, the words and the events.
type Objection = (&'static str, String, Vec<String>);

/// What the judge of a plan says of its run.
fn judged(plan: &Plan, tale: &Tale) -> Option<Objection> {
    judged_by(plan, plan, tale)
}

/// What the judge of one plan says of the run of another.
fn judged_by(judges: &Plan, plan: &Plan, tale: &Tale) -> Option<Objection> {
    let setup = |plan| Setup::of(plan).expect("a plan for a grid");
    let teller = Teller {
        judge: Judge::new(judges, setup(judges)),
        tale,
        known: Known::default(),
        recorder: Recorder::default(),
    };
    let outcome = run(&Grid::new(setup(plan), server), plan, teller);
    let violation = outcome.violation?;
    let records = outcome.observer.recorder.records;
    let event = |step: &u64| {
        let record = &records[usize::try_from(*step).expect("few steps")];
        format!("{} {}: {}", record.lane, record.kind, record.text)
    };
    let events = violation.events.iter().map(event).collect();
    Some((violation.property, violation.text, events))
}

/// A quiet grid of two; its masters say these lines at these milliseconds.
fn grid(lines: &[(u64, Client, &str)]) -> Plan {
    let mut plan = Plan::new(1, 2, millis(5000));
    plan.net.client_jitter = Span::ZERO;
    plan.phases.warm_up = millis(3000);
    plan.phases.trouble = millis(3000);
    plan.phases.heal = millis(3000);
    plan.push(Time::ZERO, Change::Start(Host(0)));
    plan.push(Time::ZERO, Change::Start(Host(1)));
    for client in [A, B, C] {
        plan.push(millis(100), Change::Open(client, MASTERS));
    }
    for (at, client, line) in lines {
        plan.push(millis(*at), Change::Say(*client, line.as_bytes().into()));
    }
    plan
}

fn with(mut plan: Plan, changes: &[(u64, Change)]) -> Plan {
    for (at, change) in changes {
        plan.push(millis(*at), change.clone());
    }
    plan
}

fn truth() -> Tale {
    Box::new(|_, fact, tell| tell(fact))
}

/// A master is sent other bytes.
fn sent(those: &'static str, instead: &'static [u8]) -> Tale {
    Box::new(move |_, fact, tell| {
        if let Fact::Sent {
            who,
            conn,
            link,
            offset,
            bytes,
        } = fact
            && let Some(before) = bytes.strip_suffix(those.as_bytes())
        {
            let (who, conn, link, offset) = (*who, *conn, *link, *offset);
            return tell(&Fact::Sent {
                who,
                conn,
                link,
                offset,
                bytes: &[before, instead].concat(),
            });
        }
        tell(fact)
    })
}

/// A server's news is other news, or none.
fn noticed(host: u16, change: impl Fn(News) -> Option<News> + 'static) -> Tale {
    Box::new(move |_, fact, tell| {
        if let Fact::Notice { who, notice, .. } = fact
            && who.host.0 == host
        {
            let changed = change((*notice).clone());
            return changed.map_or(Ok(()), |news| note(tell, *who, news));
        }
        tell(fact)
    })
}

/// At the plan's heal, in the middle of a run, the judge hears more.
fn meanwhile(more: impl Fn(&Known, Tell<'_>) -> Judgement + 'static) -> Tale {
    Box::new(move |known, fact, tell| {
        if let Fact::Change {
            change: Change::Heal,
        } = fact
        {
            more(known, tell)?;
        }
        tell(fact)
    })
}

/// In the middle of a run server 0 has news.
fn news(news: impl Fn(&Known) -> News + 'static) -> Tale {
    meanwhile(move |known, tell| note(tell, first(0), news(known)))
}

fn note(tell: Tell<'_>, who: Who, notice: News) -> Judgement {
    tell(&Fact::Notice {
        who,
        local: Time::ZERO,
        notice: &notice,
    })
}

/// The first life of a server.
const fn first(host: u16) -> Who {
    let host = Host(host);
    Who { host, life: 0 }
}

fn down(peer: u32, conn: Conn, why: Why) -> News {
    News::Down {
        peer,
        conn,
        why,
        silence: Span::ZERO,
    }
}

fn delivered(sender: u32, conn: Conn, text: &str) -> News {
    News::Protocol(ChatEvent::Delivered {
        sender,
        conn: Some(conn),
        text: text.into(),
    })
}

fn is_text(news: &News, text: &str) -> bool {
    matches!(news, News::Protocol(ChatEvent::Delivered { text: held, .. }) if **held == *text)
}

/// Server 1 gives up its second session with server 0, and there is a reason.
fn give_up_the_session(known: &Known, tell: Tell<'_>) -> Judgement {
    let [_, conn] = known.sessions[&(1, 0)][..] else {
        panic!("there were two sessions");
    };
    tell(&Fact::Change {
        change: &Change::Reset(BOTH),
    })?;
    note(tell, first(1), down(0, conn, Why::Broken))
}

/// Server 1 has its first session with server 0 again.
fn up_on_the_old_link(known: &Known, tell: Tell<'_>) -> Judgement {
    let (who, conn) = (first(1), known.sessions[&(1, 0)][0]);
    tell(&Fact::Dialling {
        who,
        conn,
        to: Place(0),
        host: Some(Host(0)),
        link: known.dialled[&(1, conn)],
    })?;
    note(tell, who, News::Up { peer: 0, conn })
}

/// In the middle of a run server 1 leaves its session with server 0 for the one before, and takes
/// `text` there: again, or only now if it is held back.
fn back_on_the_old_link(text: &'static str, held_back: bool) -> Tale {
    let late = meanwhile(move |known, tell| {
        give_up_the_session(known, tell)?;
        up_on_the_old_link(known, tell)?;
        let old = known.sessions[&(1, 0)][0];
        note(tell, first(1), delivered(0, old, text))
    });
    Box::new(move |known, fact, tell| {
        if let Fact::Notice { who, notice, .. } = fact
            && held_back
            && *who == first(1)
            && is_text(notice, text)
        {
            return Ok(());
        }
        late(known, fact, tell)
    })
}

/// What is done in a run, how it is told, and the property, the words and the events of the
/// judge's objection.
struct Case {
    plan: Plan,
    tale: Tale,
    property: &'static str,
    text: &'static str,
    events: &'static [&'static str],
}

fn case(
    plan: Plan,
    tale: Tale,
    property: &'static str,
    text: &'static str,
    events: &'static [&'static str],
) -> Case {
    Case {
        plan,
        tale,
        property,
        text,
        events,
    }
}

fn check(cases: Vec<Case>) {
    for case in cases {
        assert_eq!(judged(&case.plan, &truth()), None, "truth: {}", case.text);
        let said = judged(&case.plan, &case.tale);
        let events = case.events.iter().map(|event| (*event).to_owned());
        let expected = (case.property, case.text.to_owned(), events.collect());
        assert_eq!(said, Some(expected));
    }
}

#[test]
fn a_reply_that_is_not_what_was_asked_for_is_found() {
    let get = || grid(&[(1000, A, "get\n")]);
    check(vec![
        case(
            get(),
            sent("messages \n", b"messages \xff\n"),
            REPLIES,
            "server 0.0 sent a master bytes that are no text",
            &["server0 sent: messages \\n"],
        ),
        case(
            get(),
            sent("messages \n", b"hello\n"),
            REPLIES,
            "server 0.0 sent a master \"hello\"",
            &["server0 sent: messages \\n"],
        ),
        case(
            get(),
            sent("messages \n", b"alive 0,1\n"),
            REPLIES,
            "server 0.0 answered \"alive 0,1\" to Get",
            &["server0 received: get\\n", "server0 sent: messages \\n"],
        ),
        case(
            get(),
            sent("messages \n", b"error no\n"),
            REPLIES,
            "server 0.0 answered \"error no\" to Get",
            &["server0 received: get\\n", "server0 sent: messages \\n"],
        ),
        case(
            get(),
            sent("messages \n", b"messages \nmessages \n"),
            REPLIES,
            "server 0.0 said \"messages \" unasked",
            &["server0 sent: messages \\n"],
        ),
        case(
            get(),
            sent("messages \n", b"messages \nerror no\n"),
            REPLIES,
            "server 0.0 said \"error no\" unasked",
            &["server0 sent: messages \\n"],
        ),
        case(
            grid(&[(1000, A, "alive\n")]),
            sent("alive 0,1\n", b"alive 0\n"),
            REPLIES,
            "server 0.0 answered alive 0, which is not what it has told of ups and downs",
            &["server0 received: alive\\n", "server0 sent: alive 0,1\\n"],
        ),
        case(
            full_log(&[(2000, A, "get\n")]),
            sent("messages hello\n", b"error no\n"),
            REPLIES,
            "server 0.0 answered \"error no\" to Get",
            &[
                "server0 received: get\\n",
                "server0 sent: messages hello\\n",
            ],
        ),
        case(
            get(),
            sent("messages \n", b""),
            BOUNDS,
            "server 0.0 was asked Get at 1.000050s and has not answered",
            &["server0 received: get\\n", "plan over: the end of the plan"],
        ),
    ]);
}

/// A log that one word fills, and one word more.
fn full_log(lines: &[(u64, Client, &str)]) -> Plan {
    let before = [(500, A, "broadcast hello\n"), (600, A, "broadcast !\n")];
    let mut plan = grid(&[&before, lines].concat());
    plan.notes.insert("log".into(), "5".into());
    plan
}

#[test]
fn an_answer_to_alive_is_ids_of_the_grid_ascending() {
    for ids in [
        "0,2", "1,0", "0,0", "0,1,1", "00,1", "0,", "", ",0", "0 1", "x", "-1",
    ] {
        let reply: &'static [u8] = format!("alive {ids}\n").leak().as_bytes();
        let said = judged(&grid(&[(1000, A, "alive\n")]), &sent("alive 0,1\n", reply));
        let text = format!("server 0.0 answered alive {ids:?}: not ids, ascending");
        let events = ["server0 received: alive\\n", "server0 sent: alive 0,1\\n"];
        let events = events.map(str::to_owned).to_vec();
        assert_eq!(said, Some((REPLIES, text, events)));
    }
}

#[test]
fn a_broadcast_is_refused_only_where_it_does_not_fit_the_log() {
    let log = |bytes: u64| {
        let mut plan = grid(&[(1000, A, "broadcast hello\n")]);
        plan.notes.insert("log".into(), bytes.to_string());
        plan
    };
    assert_eq!(judged(&log(4), &truth()), None);
    let (property, text, _) = judged_by(&log(5), &log(4), &truth()).expect("it would fit");
    assert_eq!(property, OWN);
    assert!(
        text.starts_with("server 0.0 refused a broadcast: \"error "),
        "{text}"
    );
}

#[test]
fn a_peer_that_takes_its_bytes_is_owed_none_of_them() {
    let line: &'static str = format!("broadcast {}\n", "x".repeat(1017)).leak();
    let lines: Vec<_> = (10..40).map(|n| (100 * n, A, line)).collect();
    let mut plan = grid(&lines);
    plan.notes.insert("text".into(), "1017".into());
    plan.notes.insert("high-water".into(), "2000".into());
    plan.notes.insert("lag".into(), "4103".into());
    assert_eq!(judged(&plan, &truth()), None);
    // What the transport took is kept from the judge.
    let untaken: Tale = Box::new(|_, fact, tell| {
        if let Fact::Sent { .. } = fact {
            return Ok(());
        }
        tell(fact)
    });
    let (property, text, _) = judged(&plan, &untaken).expect("nothing was taken");
    assert_eq!(property, BOUNDS);
    assert_eq!(text, "server 0.0 owes a peer 7168 bytes, more than 6144");
}

#[test]
fn a_get_that_shows_another_log_is_found() {
    check(vec![
        case(
            grid(&[(1000, A, "get\n")]),
            sent("messages \n", b"messages ghost\n"),
            EMPTY_START,
            "server 0.0 answered a get with 5 bytes that are not its log of 0: they differ from byte 0",
            &["server0 received: get\\n", "server0 sent: messages \\n"],
        ),
        case(
            grid(&[(1000, A, "broadcast hello\n"), (2000, A, "get\n")]),
            sent("messages hello\n", b"messages hullo\n"),
            REPLIES,
            "server 0.0 answered a get with 5 bytes that are not its log of 5: they differ from byte 1",
            &[
                "server0 received: get\\n",
                "server0 sent: messages hello\\n",
            ],
        ),
        case(
            grid(&[(1000, A, "broadcast hello\n"), (2000, B, "get\n")]),
            sent("messages hello\n", b"messages \n"),
            REPLIES,
            "server 0.0 answered a get with 0 messages when its log had 1",
            &[
                "server0 received: get\\n",
                "server0 sent: messages hello\\n",
            ],
        ),
    ]);
}

#[test]
fn a_get_that_shows_what_was_asked_for_behind_it_is_found() {
    check(vec![case(
        grid(&[(1000, A, "get\nbroadcast hello\n")]),
        sent("messages \n", b"messages hello\n"),
        REPLIES,
        "server 0.0 answered a get with 1 messages, and this master asked for that at place 1 behind it",
        &[
            "server0 received: get\\nbroadcast hello\\n",
            "server0 sent: messages \\n",
        ],
    )]);
}

#[test]
fn a_host_that_is_paused_at_the_end_owes_no_answer() {
    for at in [3500, 3600] {
        let pause = [(at, Change::Pause(Host(0)))];
        let plan = grid(&[(3500, A, "get\n")]);
        assert_eq!(judged(&with(plan, &pause), &truth()), None);
    }
}

#[test]
fn a_watcher_that_is_told_what_did_not_happen_is_found() {
    let watch = || grid(&[(1000, A, "watch\n"), (2000, C, "broadcast hello\n")]);
    check(vec![
        case(
            watch(),
            sent("delivered 1 hello\n", b"delivered 0 hello\n"),
            REPLIES,
            "server 0.0 told a watcher Delivered(0, \"hello\") when Some(Delivered(1, \"hello\")) was due",
            &["server0 sent: delivered 1 hello\\n"],
        ),
        case(
            watch(),
            sent("delivered 1 hello\n", b"delivered 1 hello\nup 1\n"),
            REPLIES,
            "server 0.0 told a watcher Up(1), which did not happen",
            &[
                "server0 sent: delivered 1 hello\\n",
                "plan over: the end of the plan",
            ],
        ),
        case(
            watch(),
            sent("delivered 1 hello\n", b""),
            REPLIES,
            "server 0.0 has not told a watcher Delivered(1, \"hello\"), which happened at 2.002239s",
            &["plan over: the end of the plan"],
        ),
        case(
            grid(&[(1000, A, "get\n")]),
            sent("messages \n", b"messages \nup 1\n"),
            REPLIES,
            "server 0.0 told a master that did not watch",
            &["server0 sent: messages \\n"],
        ),
    ]);
}

/// When it began to watch is not clear, and so neither is what it must be told.
#[test]
fn a_watch_behind_another_question_leaves_open_what_is_told() {
    let plan = grid(&[(1000, A, "alive\nwatch\n"), (2000, C, "broadcast hello\n")]);
    assert_eq!(judged(&plan, &truth()), None);
    let lie = || sent("delivered 1 hello\n", b"delivered 0 hello\n");
    assert_eq!(judged(&plan, &lie()), None);
    let plan = grid(&[(1000, A, "watch\nalive\n"), (2000, C, "broadcast hello\n")]);
    assert_eq!(judged(&plan, &truth()), None);
    let (property, ..) = judged(&plan, &lie()).expect("it is clear here");
    assert_eq!(property, REPLIES);
}

#[test]
fn a_master_is_closed_only_for_what_a_master_can_do() {
    let closed = |why| {
        news(move |known| News::Closed {
            conn: known.masters[&A],
            why,
        })
    };
    let idle = grid(&[]);
    let watching = grid(&[(1000, A, "watch\n")]);
    let later = grid(&[(1000, A, "alive\nwatch\n")]);
    assert_eq!(judged(&idle, &truth()), None);
    for (why, loss) in [
        (Why::Finished, Some(Loss::Finished)),
        (Why::Broken, Some(Loss::Broken)),
        (Why::Ending, None),
    ] {
        let reason = meanwhile(move |known, tell| {
            let (who, conn) = (first(0), known.masters[&A]);
            match loss {
                Some(loss) => tell(&Fact::Lost {
                    who,
                    conn,
                    link: known.opened[&A],
                    loss,
                    cause: Cause::Closed,
                })?,
                None => note(tell, who, News::Ending)?,
            }
            note(tell, who, News::Closed { conn, why })
        });
        assert_eq!(judged(&idle, &reason), None, "{why}");
    }
    for plan in [&watching, &later] {
        assert_eq!(judged(plan, &closed(Why::FellBehind)), None);
    }
    for why in [
        Why::Finished,
        Why::Broken,
        Why::Ending,
        Why::Crowded,
        Why::FellBehind,
        Why::Silent,
        Why::Replaced,
        Why::NoGreeting,
        Why::Refused,
        Why::DialTimeout,
        Why::TooLong,
        Why::NotUtf8,
        Why::Malformed,
        Why::OutsideGrid,
        Why::OwnId,
        Why::OtherId,
        Why::ShouldNotDial,
        Why::NoIdentity,
        Why::Contested,
        Why::Http,
        Why::Full,
        Why::Idle,
    ] {
        let text = format!("server 0.0 closed the connection of a master: {why}");
        let said = judged(&idle, &closed(why));
        assert_eq!(said, Some((BOUNDS, text, vec!["plan change: heal".into()])));
    }
}

#[test]
fn a_life_has_no_connection_of_the_life_before() {
    let returned = [
        (1500, Change::Kill(Host(0), Fate::Fin)),
        (1600, Change::Start(Host(0))),
    ];
    let stale: Tale = meanwhile(|known, tell| {
        let who = Who {
            host: Host(0),
            life: 1,
        };
        let conn = known.masters[&A];
        let why = Why::Finished;
        note(tell, who, News::Closed { conn, why })
    });
    check(vec![case(
        with(grid(&[]), &returned),
        stale,
        BOUNDS,
        "server 0.1 has news of 1.0, which it never had",
        &["plan change: heal"],
    )]);
}

#[test]
fn a_server_comes_back_only_if_it_was_there_before() {
    let comes = |changes: &[(u64, Change)]| {
        let mut plan = with(grid(&[(1000, A, "broadcast hello\n")]), changes);
        plan.events
            .retain(|event| event.at > Time::ZERO || event.change != Change::Start(Host(1)));
        let judged = judge(server, &plan).expect("a plan for a grid");
        assert_eq!(judged.verdict.violation, None);
        judged.verdict.sometimes.get(cases::RETURN)
    };
    let (start, kill) = (Change::Start(Host(1)), Change::Kill(Host(1), Fate::Fin));
    assert_eq!(comes(&[(1500, start.clone())]), 0);
    assert_eq!(
        comes(&[(1500, start.clone()), (1600, kill), (1700, start)]),
        1
    );
}

#[test]
fn a_message_that_comes_from_elsewhere_is_found() {
    check(vec![
        case(
            grid(&[]),
            news(|known| delivered(1, known.masters[&A], "hello")),
            NO_CREATION,
            "server 0.0 took a message from a master's connection 1.0",
            &["plan change: heal"],
        ),
        case(
            grid(&[(1000, C, "broadcast hello\n")]),
            noticed(0, |mut news| {
                if let News::Protocol(ChatEvent::Delivered { sender, .. }) = &mut news {
                    *sender = 0;
                }
                Some(news)
            }),
            NO_CREATION,
            "server 0.0 took \"hello\" from 1.0 as if it were server 0's",
            &["server0 notice: delivered 1 on 0.0: hello"],
        ),
    ]);
}

#[test]
fn a_message_at_another_place_of_its_session_is_found() {
    let reset = [(500, Change::Reset(BOTH))];
    let returned = [
        (1500, Change::Kill(Host(0), Fate::Fin)),
        (1600, Change::Start(Host(0))),
        (2000, Change::Open(A, MASTERS)),
        (2500, Change::Say(A, b"broadcast new\n".into())),
    ];
    check(vec![
        case(
            without_hello(grid(&[(200, C, "broadcast hello\n")])),
            noticed(1, |news| (!matches!(news, News::Up { .. })).then_some(news)),
            EMPTY_START,
            "server 0.0 took \"hello\" from 1.0 before its session began",
            &["server0 notice: delivered 1 on 0.0: hello"],
        ),
        case(
            without_hello(with(grid(&[(2000, A, "broadcast one\n")]), &reset)),
            back_on_the_old_link("one", false),
            NO_DUPLICATION,
            "server 1.0 took \"one\" from 0.0, its broadcast 0, after its broadcast 0",
            &["plan change: heal"],
        ),
        case(
            without_hello(with(
                grid(&[(2000, A, "broadcast one\nbroadcast two\n")]),
                &reset,
            )),
            back_on_the_old_link("one", false),
            FIFO,
            "server 1.0 took \"one\" from 0.0, its broadcast 0, after its broadcast 1",
            &["plan change: heal"],
        ),
        case(
            without_hello(with(grid(&[(1400, A, "broadcast old\n")]), &returned)),
            back_on_the_old_link("old", true),
            LIVES,
            "server 1.0 took \"old\" from 0.0 after messages of its next life 1",
            &["plan change: heal"],
        ),
    ]);
}

/// The same plan for servers of the seed's protocol.
fn without_hello(mut plan: Plan) -> Plan {
    plan.notes
        .insert("no-hello".to_owned(), u64::MAX.to_string());
    plan
}

#[test]
fn what_is_said_of_where_broadcasts_follow_is_judged() {
    let reset = [(2100, Change::Reset(BOTH))];
    let broken = || with(grid(&[(2000, A, "broadcast one\nbroadcast two\n")]), &reset);
    let lie = |change: fn(&mut u64, &mut u64)| {
        noticed(1, move |mut news| {
            if let News::Following {
                count,
                lost,
                resumed: true,
                ..
            } = &mut news
            {
                change(count, lost);
            }
            Some(news)
        })
    };
    let events: &[&str] = &[
        "server0 notice: peer 1 up on 0.1",
        "server1 notice: peer 0 goes on behind its broadcast 2 on 0.1",
    ];
    check(vec![
        case(
            broken(),
            lie(|count, _| *count = 1),
            FIFO,
            "server 1.0 goes on behind broadcast 1 of 0.0, 0 of them lost: 2 was to be",
            events,
        ),
        case(
            broken(),
            lie(|count, lost| (*count, *lost) = (3, 1)),
            FIFO,
            "1 broadcasts of 0.0 are lost to 1.0, which are among its last 20 bytes",
            events,
        ),
        case(
            grid(&[(1000, A, "get\n")]),
            noticed(1, |news| (!matches!(news, News::Up { .. })).then_some(news)),
            EMPTY_START,
            "server 0.0 was told of broadcasts before the session",
            &["server0 notice: peer 1 begins behind its broadcast 0 on 0.0"],
        ),
    ]);
}

#[test]
fn a_gap_is_found_where_only_crashes_are_planned() {
    let planned = without_hello(grid(&[
        (1000, A, "broadcast one\n"),
        (2000, A, "broadcast two\n"),
        (2500, A, "broadcast three\n"),
    ]));
    // Server 0 sends the second one on a link that is no more.
    let broken = with(planned.clone(), &[(1999, Change::HalfOpen(BOTH))]);
    assert_eq!(judged(&planned, &truth()), None);
    assert_eq!(judged(&broken, &truth()), None);
    let text = "server 1.0 took \"three\" from 0.0, its broadcast 2, after its broadcast 0: a gap without a broken link";
    let events = vec!["server1 notice: delivered 0 on 0.1: three".to_owned()];
    assert_eq!(
        judged_by(&planned, &broken, &truth()),
        Some((FIFO, text.to_owned(), events))
    );
}

#[test]
fn a_message_that_never_comes_is_found() {
    let held_back = |news| (!is_text(&news, "hello")).then_some(news);
    // So much takes a second through so little: to the end something arrives.
    let long = format!("broadcast {}\n", "x".repeat(60_000));
    let mut busy = grid(&[(3900, A, "broadcast hello\n"), (4100, A, &long)]);
    busy.net.buffer = 256;
    // What was broadcast before the session is not what it waits for.
    let mut again = grid(&[
        (200, A, &long),
        (3900, A, "broadcast hello\n"),
        (4100, A, &long),
    ]);
    again.net.buffer = 256;
    let again = with(again, &[(500, Change::Reset(BOTH))]);
    check(vec![
        case(
            again,
            noticed(1, held_back),
            VALIDITY,
            "server 0.0 broadcast \"hello\" at 3.900050s, the session with 1.0 stood to the end, and it did not arrive",
            &[
                "server0 notice: peer 1 up on 0.1",
                "server0 notice: delivered 0: hello",
                "plan over: the end of the plan",
            ],
        ),
        case(
            busy,
            noticed(1, held_back),
            VALIDITY,
            "server 0.0 broadcast \"hello\" at 3.900050s, the session with 1.0 stood to the end, and it did not arrive",
            &[
                "server0 notice: peer 1 up on 0.0",
                "server0 notice: delivered 0: hello",
                "plan over: the end of the plan",
            ],
        ),
        // Too young to be missed, but the server counted it.
        case(
            grid(&[(4900, C, "broadcast hello\n")]),
            noticed(0, held_back),
            BOUNDS,
            "server 0.0 counted [0, 1, 0] broadcasts, deliveries and messages not kept, and told of [0, 0, 0]",
            &["plan over: the end of the plan"],
        ),
    ]);
}

#[test]
fn a_server_that_is_killed_before_the_end_owes_nothing() {
    let deaf_to_peers = || {
        noticed(0, |news| {
            let from_a_peer = matches!(
                news,
                News::Protocol(ChatEvent::Delivered { conn: Some(_), .. })
            );
            (!from_a_peer).then_some(news)
        })
    };
    let lines: Vec<_> = (30..50)
        .map(|n| (100 * n, C, "broadcast hello\n"))
        .collect();
    let plan = grid(&lines);
    let killed = (4990, Change::Kill(Host(0), Fate::Silence));
    assert_eq!(
        judged(&with(plan.clone(), &[killed]), &deaf_to_peers()),
        None
    );
    check(vec![case(
        plan,
        deaf_to_peers(),
        VALIDITY,
        "server 1.0 broadcast \"hello\" at 3.000050s, the session with 0.0 stood to the end, and it did not arrive",
        &[
            "server1 notice: peer 0 up on 0.0",
            "server1 notice: delivered 1: hello",
            "plan over: the end of the plan",
        ],
    )]);
}

/// Server 1 gives up its session for a reset, and then comes up on the link of the one before.
#[test]
fn servers_that_are_up_for_each_other_on_two_links_are_found() {
    let back = meanwhile(up_on_the_old_link);
    let tale: Tale = Box::new(move |known, fact, tell| {
        if let Fact::Change {
            change: Change::Say(..),
        } = fact
        {
            give_up_the_session(known, tell)?;
        }
        back(known, fact, tell)
    });
    let reset = [(500, Change::Reset(BOTH))];
    check(vec![case(
        with(grid(&[(1100, A, "get\n")]), &reset),
        tale,
        ACCURACY,
        "servers 1.0 and 0.0 could reach each other since 2.100000s: at 3.150000s 0.0 is up on link 0 for 1.0, and 1.0 is up on link 4 for 0.0",
        &["server0 sent: ping 0\\n"],
    )]);
}

#[test]
fn a_text_comes_again_only_where_it_came_before() {
    let again = |up| {
        let broadcast = "broadcast same\n";
        let mut plan = grid(&[(1000, A, broadcast), (2000, A, broadcast)]);
        plan.events
            .retain(|event| event.change != Change::Start(Host(1)));
        plan.push(millis(up), Change::Start(Host(1)));
        let judged = judge(server, &plan).expect("a plan for a grid");
        assert_eq!(judged.verdict.violation, None);
        judged.verdict.sometimes.get(cases::SAME_TEXT)
    };
    assert_eq!([500, 1500].map(again), [1, 0]);
}

#[test]
fn a_peer_that_is_up_or_down_where_it_cannot_be_is_found() {
    check(vec![
        case(
            grid(&[]),
            news(|known| News::Up {
                peer: 5,
                conn: known.session(0, 1),
            }),
            ACCURACY,
            "server 0.0 says that server 5 is up on a link to 1.0",
            &["plan change: heal"],
        ),
        case(
            grid(&[]),
            news(|known| News::Up {
                peer: 1,
                conn: known.masters[&A],
            }),
            ACCURACY,
            "server 0.0 says that server 1 is up on a link to a master",
            &["plan change: heal"],
        ),
        case(
            grid(&[]),
            news(|known| News::Up {
                peer: 1,
                conn: known.session(0, 1),
            }),
            ACCURACY,
            "server 0.0 says twice that server 1 is up",
            &["plan change: heal"],
        ),
        case(
            grid(&[]),
            news(|known| down(1, known.masters[&A], Why::Finished)),
            ACCURACY,
            "server 0.0 says that server 1 is down, which was not up on 1.0",
            &["plan change: heal"],
        ),
    ]);
}

#[test]
fn a_peer_falls_behind_only_a_limit_of_less_than_a_mebibyte() {
    let fell_behind = |lag: u64| {
        let mut plan = grid(&[]);
        plan.notes.insert("high-water".into(), "2000".into());
        plan.notes.insert("lag".into(), lag.to_string());
        let and_again = meanwhile(|known, tell| {
            let conn = known.session(0, 1);
            note(tell, first(0), down(1, conn, Why::FellBehind))?;
            note(tell, first(0), News::Up { peer: 1, conn })
        });
        judged(&plan, &and_again).map(|(property, ..)| property)
    };
    assert_eq!(fell_behind((1 << 20) - 1), None);
    assert_eq!(fell_behind(1 << 20), Some(ACCURACY));
}

/// Server 1 is silent from 1.5 s on, and nothing comes in at server 0 before it says so.
#[test]
fn an_answer_is_judged_by_what_was_known_then() {
    let silent = (1500, Change::Kill(Host(1), Fate::Silence));
    check(vec![case(
        with(grid(&[(1700, A, "alive\n")]), &[silent]),
        sent("alive 0,1\n", b"alive 0\n"),
        REPLIES,
        "server 0.0 answered alive 0, which is not what it has told of ups and downs",
        &["server0 received: alive\\n", "server0 sent: alive 0,1\\n"],
    )]);
}

#[test]
fn a_log_that_is_called_full_when_it_is_not_is_found() {
    check(vec![case(
        grid(&[(1000, A, "broadcast hello\n")]),
        news(|_| News::Protocol(ChatEvent::LogFull { bytes: 5 })),
        BOUNDS,
        "server 0.0 says that its log of 5 bytes is full",
        &["plan change: heal"],
    )]);
}

#[test]
fn a_log_is_full_when_the_longest_text_does_not_fit() {
    let full = || news(|_| News::Protocol(ChatEvent::LogFull { bytes: 5 }));
    let log = |bytes: u64| {
        let mut plan = grid(&[(1000, A, "broadcast hello\n")]);
        plan.notes.insert("text".into(), "100".into());
        plan.notes.insert("log".into(), bytes.to_string());
        plan
    };
    assert_eq!(judged(&log(105), &full()), None);
    let (property, ..) = judged(&log(106), &full()).expect("a hundred bytes fit");
    assert_eq!(property, BOUNDS);
}

#[test]
fn a_link_that_gets_no_greeting_is_given_up_only_for_a_reason() {
    let closed = |why| {
        news(move |known| News::Closed {
            conn: known.session(0, 1),
            why,
        })
    };
    for why in [Why::NoGreeting, Why::DialTimeout] {
        let (property, text, _) = judged(&grid(&[]), &closed(why)).expect("nothing is wrong");
        assert_eq!(property, ACCURACY);
        let said = format!("server 0.0 gave up a link to 1.0, which is up and reachable: {why}");
        assert_eq!(text, said);
    }
    assert_eq!(judged(&grid(&[]), &closed(Why::Replaced)), None);
}

#[test]
fn where_bytes_are_damaged_anybody_may_be_taken_for_a_peer_for_a_while() {
    let mistaken: fn() -> Tale = || {
        meanwhile(|known, tell| {
            let (session, master) = (known.session(0, 1), known.masters[&A]);
            let up = |conn| News::Up { peer: 1, conn };
            for news in [
                down(1, session, Why::Broken),
                up(master),
                down(1, master, Why::Finished),
                up(session),
            ] {
                note(tell, first(0), news)?;
            }
            Ok(())
        })
    };
    let damage = |share| with(grid(&[]), &[(2500, Change::Damage(BOTH, share))]);
    for share in [0, 1] {
        assert_eq!(judged(&damage(share), &truth()), None);
    }
    assert_eq!(judged(&damage(1), &mistaken()), None);
    let (property, text, _) = judged(&damage(0), &mistaken()).expect("nothing is damaged");
    assert_eq!(property, ACCURACY);
    assert_eq!(
        text,
        "server 0.0 says that server 1 is up on a link to a master"
    );
}

/// Both masters are held off before the same broadcast. One goes on, and its broadcast may be taken
/// for the other's: then it is not said which of them has it.
#[test]
fn equal_broadcasts_of_two_masters_that_are_held_off_may_be_mixed_up() {
    let asks = format!("{}broadcast same\nget\n", "get\n".repeat(40));
    let held_off = |lines: &[(u64, Client, &str)], first| {
        let mut plan = grid(lines);
        plan.net.buffer = 256;
        plan.notes.insert("replies".into(), "64".into());
        let deaf = |master, deaf| Change::Deaf(master, deaf);
        let deaf = [
            (900, deaf(A, true)),
            (900, deaf(B, true)),
            (2000, deaf(first, false)),
        ];
        with(plan, &deaf)
    };
    let alone = held_off(&[(1000, A, &asks)], A);
    let mixed_up = held_off(&[(1000, A, &asks), (1100, B, &asks)], A);
    let other_way = held_off(&[(1000, A, &asks), (1100, B, &asks)], B);
    assert_eq!(judged(&other_way, &truth()), None);
    let withheld = sent("messages same\n", b"messages \n");
    assert_eq!(judged(&alone, &truth()), None);
    assert_eq!(judged(&mixed_up, &truth()), None);
    let (property, text, _) = judged(&alone, &withheld).expect("it is sure here");
    assert_eq!(property, OWN);
    assert_eq!(
        text,
        "server 0.0 answered a get with 0 messages, and one place 1 was this master's own or shown to it"
    );
    assert_eq!(judged(&mixed_up, &withheld), None);
}

/// As above; then the other goes on too, and its own broadcast is still to come, or is refused.
#[test]
fn of_two_equal_broadcasts_that_were_mixed_up_the_second_is_nobodys_invention() {
    let asks = format!("{}broadcast same\nget\n", "get\n".repeat(40));
    for (log, first, second) in [8, 9, 1000]
        .into_iter()
        .flat_map(|log| [(log, A, B), (log, B, A)])
    {
        let mut plan = grid(&[(1000, A, &asks), (1100, B, &asks)]);
        plan.net.buffer = 256;
        plan.notes.insert("replies".into(), "64".into());
        plan.notes.insert("log".into(), log.to_string());
        let deaf = [
            (900, Change::Deaf(A, true)),
            (900, Change::Deaf(B, true)),
            (2000, Change::Deaf(first, false)),
            (2500, Change::Deaf(second, false)),
        ];
        assert_eq!(
            judged(&with(plan, &deaf), &truth()),
            None,
            "{log} {first:?}"
        );
    }
}

#[test]
fn a_newcomer_that_is_closed_with_bytes_unread_is_found() {
    // Server 0 closes a master that gave no command, after more of it was said than it was handed.
    let closes = |said: &'static [u8]| -> Tale {
        Box::new(move |known, fact, tell| {
            tell(fact)?;
            let (client, who) = (A, first(0));
            let Fact::Change { change } = fact else {
                return Ok(());
            };
            if let Change::Say(..) = change
                && !said.is_empty()
            {
                return tell(&Fact::ClientSaid {
                    client,
                    link: known.opened[&A],
                    offset: 0,
                    bytes: said,
                });
            }
            if **change == Change::Heal {
                let (conn, why) = (known.masters[&A], Why::Crowded);
                return note(tell, who, News::Closed { conn, why });
            }
            Ok(())
        })
    };
    let plan = |at| {
        let mut plan = grid(&[(at, B, "get\n")]);
        plan.notes.insert("nameless".into(), "4".into());
        plan
    };
    assert_eq!(judged(&plan(2000), &closes(b"")), None);
    // It may be under way.
    assert_eq!(judged(&plan(2999), &closes(b"get\n")), None);
    let text = "server 0.0 closed the connection of a master (the oldest of too many) and left unread 4 bytes that it had said by 2.000000s";
    let events = vec!["plan change: heal".to_owned()];
    assert_eq!(
        judged(&plan(2000), &closes(b"get\n")),
        Some((BOUNDS, text.to_owned(), events))
    );
}

#[test]
fn a_master_that_is_turned_away_at_the_door_is_found() {
    let turned_away = |door| {
        meanwhile(move |_, tell| {
            let (who, link) = (first(0), 99);
            tell(&Fact::TurnedAway { who, door, link })
        })
    };
    assert_eq!(judged(&grid(&[]), &turned_away(LINKS)), None);
    check(vec![case(
        grid(&[]),
        turned_away(MASTERS),
        BOUNDS,
        "server 0.0 turned a master away without reading from it",
        &["plan change: heal"],
    )]);
}

/// Hosts that stand still from 2.1 s to 2.9 s.
fn frozen(hosts: &[u16]) -> Plan {
    let pauses = hosts.iter().flat_map(|host| {
        [
            (2100, Change::Pause(Host(*host))),
            (2900, Change::Resume(Host(*host))),
        ]
    });
    with(grid(&[]), &pauses.collect::<Vec<_>>())
}

#[test]
fn servers_that_suspect_each_other_after_they_stood_still_together_are_found() {
    let suspects = || {
        meanwhile(|known, tell| {
            let conn = known.session(0, 1);
            note(tell, first(0), down(1, conn, Why::Silent))?;
            note(tell, first(0), News::Up { peer: 1, conn })
        })
    };
    // Where one was away from the other it may be suspected.
    assert_eq!(judged(&frozen(&[1]), &suspects()), None);
    let (property, text, events) = {
        assert_eq!(judged(&frozen(&[0, 1]), &truth()), None);
        judged(&frozen(&[0, 1]), &suspects()).expect("nobody was away from anybody")
    };
    assert_eq!(property, ACCURACY);
    assert_eq!(
        text,
        "server 0.0 gave up 1.0, which is up and reachable: silent for too long"
    );
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    assert_eq!(
        events,
        ["server0 notice: peer 1 up on 0.0", "plan change: heal"]
    );
}

#[test]
fn a_silent_peer_that_is_excused_for_ever_is_found() {
    let dies = [(2200, Change::Kill(Host(1), Fate::Silence))];
    let plan = with(frozen(&[0, 1]), &dies);
    assert_eq!(judged(&plan, &truth()), None);
    let excuses = noticed(0, |news| {
        (!matches!(news, News::Down { .. })).then_some(news)
    });
    let (property, text, _) = judged(&plan, &excuses).expect("it is never suspected");
    assert_eq!(property, COMPLETENESS);
    assert!(
        text.starts_with("server 0.0 heard nothing from 1.0 since "),
        "{text}"
    );
}

/// Server 0's log is full when server 1 comes, which broadcasts two texts.
fn missed() -> Plan {
    let mut plan = grid(&[
        (500, A, "broadcast hello\n"),
        (1500, C, "broadcast !\nbroadcast ?\n"),
    ]);
    plan.events
        .retain(|event| event.change != Change::Start(Host(1)));
    plan.push(millis(700), Change::Start(Host(1)));
    plan.push(millis(1000), Change::Open(C, MASTERS));
    plan.notes.insert("log".into(), "5".into());
    plan
}

#[test]
fn messages_that_are_not_kept_are_announced_and_counted() {
    let announced = |change: fn(u64) -> u64| -> Tale {
        Box::new(move |_, fact, tell| {
            if let Fact::Notice { who, notice, .. } = fact
                && let News::Protocol(ChatEvent::Gap { peer, count }) = notice
            {
                let (peer, count) = (*peer, change(*count));
                return note(tell, *who, News::Protocol(ChatEvent::Gap { peer, count }));
            }
            tell(fact)
        })
    };
    check(vec![
        case(
            missed(),
            noticed(0, |news| {
                (!matches!(news, News::Protocol(ChatEvent::Gap { .. }))).then_some(news)
            }),
            VALIDITY,
            "server 1.0 broadcast \"!\" at 1.500050s, the session with 0.0 stood to the end, and it did not arrive",
            &[
                "server1 notice: peer 0 up on 0.0",
                "server1 notice: delivered 1: !",
                "plan over: the end of the plan",
            ],
        ),
        case(
            missed(),
            announced(|count| count - 1),
            VALIDITY,
            "server 1.0 broadcast \"?\" at 1.500050s, the session with 0.0 stood to the end, and it did not arrive",
            &[
                "server1 notice: peer 0 up on 0.0",
                "server1 notice: delivered 1: ?",
                "plan over: the end of the plan",
            ],
        ),
        case(
            missed(),
            announced(|count| count + 1),
            BOUNDS,
            "server 0.0 counted [1, 0, 2] broadcasts, deliveries and messages not kept, and told of [1, 0, 3]",
            &["plan over: the end of the plan"],
        ),
        case(
            grid(&[]),
            news(|_| News::Protocol(ChatEvent::Gap { peer: 1, count: 1 })),
            BOUNDS,
            "server 0.0 says that it did not keep 1 messages of 1, and its log is not full",
            &["plan change: heal"],
        ),
        case(
            missed(),
            news(|known| delivered(1, known.session(0, 1), "?")),
            FIFO,
            "server 0.0 took \"?\" from 1.0, and did not keep an earlier message of it",
            &["server1 notice: peer 0 up on 0.0", "plan change: heal"],
        ),
    ]);
}

#[test]
fn a_link_that_takes_over_from_one_that_is_heard_is_found() {
    check(vec![case(
        grid(&[]),
        news(|known| down(1, known.session(0, 1), Why::Replaced)),
        ACCURACY,
        "server 0.0 gave up 1.0, which is up and reachable: it came back on a newer link",
        &["server0 notice: peer 1 up on 0.0", "plan change: heal"],
    )]);
}

#[test]
fn a_link_that_never_takes_over_is_found() {
    let closed = |is_up: bool| {
        meanwhile(move |known, tell| {
            let (conn, why) = (known.session(0, 1), Why::Contested);
            if !is_up {
                tell(&Fact::Change {
                    change: &Change::Reset(BOTH),
                })?;
                note(tell, first(0), down(1, conn, Why::Broken))?;
            }
            note(tell, first(0), News::Closed { conn, why })
        })
    };
    // It is closed while its peer is up on another link, and only then.
    assert_eq!(judged(&grid(&[]), &closed(true)), None);
    check(vec![case(
        grid(&[]),
        closed(false),
        ACCURACY,
        "server 0.0 gave up a link to 1.0, which is up and reachable: its peer is up on another link",
        &["plan change: heal"],
    )]);
}

#[test]
fn what_is_obeyed_behind_an_http_request_is_found() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\n\r\nbroadcast posted\ncrash\n";
    let instead = |done: fn(Tell<'_>) -> Judgement| -> Tale {
        Box::new(move |_, fact, tell| {
            if let Fact::Notice { notice, .. } = fact
                && let News::Closed { why: Why::Http, .. } = notice
            {
                return done(tell);
            }
            tell(fact)
        })
    };
    assert_eq!(judged(&grid(&[(1000, A, "crash\n")]), &truth()), None);
    for (done, property, text) in [
        (
            (|tell| {
                let (sender, conn, text) = (0, None, "posted".into());
                note(
                    tell,
                    first(0),
                    News::Protocol(ChatEvent::Delivered { sender, conn, text }),
                )
            }) as fn(Tell<'_>) -> Judgement,
            OWN,
            "server 0.0 says that it broadcast \"posted\", which no master asked for",
        ),
        (
            |tell| {
                let (who, how) = (first(0), Ending::Crashed);
                tell(&Fact::Ended { who, how })
            },
            REPLIES,
            "server 0.0 crashed, and no master had told it to",
        ),
    ] {
        let plan = grid(&[(1000, A, POST)]);
        assert_eq!(judged(&plan, &truth()), None);
        let (broke, said, _) = judged(&plan, &instead(done)).expect("it was told by a web page");
        assert_eq!((broke, &*said), (property, text));
    }
}
