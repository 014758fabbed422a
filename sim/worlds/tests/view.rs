//! What the diagrams promise: everything in the recording is in them and nothing else, whatever
//! texts it holds they are well-formed, and the same run gives the same bytes.

#[path = "../../tests/toy/mod.rs"]
mod toy;

use chatroom_chat::{ChatEvent, ChatServer, News};
use chatroom_machine::Machine;
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::run;
use chatroom_sim::generate::Profile;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Connects, Fate, Plan, Way};
use chatroom_sim::trace::{Lane, Record, Recorder};
use chatroom_sim::view::{ArrowKind, Band, BandKind, Diagram, MAX_ROWS, Page, html, notices, svg};
use chatroom_worlds::chat::{Grid, Setup, delivery, generate, server};
use std::collections::BTreeSet;
use toy::{ECHO, Toys};

const HOSTILE: &str = "</script><!--<script>alert(1)//]]>&\"'\u{202e}\u{2028}\u{ffff}\u{7}\0\\";

fn at(millis: u64) -> Time {
    Time::from_micros(millis * 1000)
}

fn way(from: u16, to: u16, both: bool) -> Way {
    Way {
        from: Host(from),
        to: Host(to),
        both,
    }
}

/// Three hosts and a client, with one of every fault that is drawn.
fn plan() -> Plan {
    let mut plan = Plan::new(5, 3, at(3000));
    plan.phases.warm_up = at(300);
    plan.phases.trouble = at(2500);
    plan.phases.heal = at(2500);
    plan.net.split = 300;
    let client = Client {
        host: Host(1),
        number: 0,
    };
    for host in 0..3 {
        plan.push(at(0), Change::Start(Host(host)));
    }
    plan.push(at(50), Change::Open(client, ECHO));
    plan.push(at(100), Change::Say(client, HOSTILE.into()));
    plan.push(at(400), Change::Cut(way(0, 1, true)));
    plan.push(at(600), Change::Mend(way(0, 1, false)));
    plan.push(at(700), Change::Pause(Host(2)));
    plan.push(at(900), Change::Resume(Host(2)));
    plan.push(
        at(1000),
        Change::Lag(way(2, 0, false), Span::from_millis(3)),
    );
    plan.push(at(1100), Change::Mend(way(1, 0, false)));
    plan.push(at(1255), Change::Kill(Host(1), Fate::Rst));
    plan.push(at(1500), Change::Start(Host(1)));
    plan.push(at(1600), Change::Pause(Host(0)));
    plan.push(at(1700), Change::Kill(Host(0), Fate::Silence));
    plan
}

fn recorded(plan: &Plan) -> Recorder {
    let world = Toys::default();
    let outcome = run(&world, plan, Recorder::default());
    assert_eq!(outcome.violation, None);
    outcome.observer
}

fn page<'a>(plan: &'a Plan, recorder: &'a Recorder) -> Page<'a> {
    Page {
        title: HOSTILE,
        plan: Some(plan),
        recorder,
        violation: None,
        log: &notices,
        notes: &[],
    }
}

/// Asserts that every tag is closed in its order and every `&` begins a known entity.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(begin) = rest.find('<') {
        assert_text(&rest[..begin]);
        let end = begin + rest[begin..].find('>').expect("an open tag ends");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag:?}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
}

fn assert_text(text: &str) {
    assert!(!text.contains(|each: char| each.is_control() && each != '\n'));
    for after in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(
            known.iter().any(|name| after.starts_with(name)),
            "{after:?}"
        );
    }
}

/// The JSON in a page, and what it lists under a name.
fn data(page: &str) -> &str {
    let begin = page.find("id=\"recording\">").expect("data") + "id=\"recording\">".len();
    &page[begin..begin + page[begin..].find("</script>").expect("its end")]
}

fn numbers(data: &str, name: &str) -> Vec<i64> {
    let begin = data.find(&format!("\"{name}\":[")).expect("the list") + name.len() + 4;
    let list = &data[begin..begin + data[begin..].find(']').expect("its end")];
    list.split(',')
        .map(|each| each.parse().expect("a number"))
        .collect()
}

fn arrows(diagram: &Diagram, kind: ArrowKind) -> usize {
    let kinds = diagram.arrows.iter().map(|arrow| arrow.kind);
    kinds.filter(|each| *each == kind).count()
}

fn count(records: &[Record], kind: &str) -> usize {
    records.iter().filter(|record| record.kind == kind).count()
}

/// How far to the right a path goes, of the text behind its `M`.
fn way_of(path: &str) -> i64 {
    let number = |text: &str| {
        let digits = text.split(|c: char| !c.is_ascii_digit()).next();
        digits
            .and_then(|digits| digits.parse::<i64>().ok())
            .expect("a number")
    };
    let (_, to) = path.split_once('L').expect("a line");
    number(to) - number(path)
}

#[test]
fn every_byte_that_was_sent_is_on_exactly_one_arrow() {
    let plan = plan();
    let recorder = recorded(&plan);
    let diagram = Diagram::new(Some(&plan), &recorder);
    for (index, record) in recorder.records.iter().enumerate() {
        let Some((start, end)) = record.range else {
            continue;
        };
        let mut carried: Vec<(u64, u64)> = diagram
            .arrows
            .iter()
            .filter(|arrow| match record.kind {
                "sent" => arrow.from == index,
                _ => arrow.to == Some(index),
            })
            .map(|arrow| arrow.bytes)
            .collect();
        carried.sort_unstable();
        let mut reached = start;
        for (from, until) in carried {
            assert_eq!(from, reached, "record {index}: no gap, no overlap");
            assert!(until > from, "record {index}: no empty arrow");
            reached = until;
        }
        assert_eq!(reached, end, "record {index}: to its end");
    }
    for kind in [
        ArrowKind::Bytes,
        ArrowKind::Lost,
        ArrowKind::Dial,
        ArrowKind::End,
    ] {
        assert!(arrows(&diagram, kind) > 0, "{kind:?} does occur");
    }
}

#[test]
fn arrows_go_forward_in_time_between_two_lanes() {
    let plan = plan();
    let recorder = recorded(&plan);
    let diagram = Diagram::new(Some(&plan), &recorder);
    for arrow in &diagram.arrows {
        let from = &recorder.records[arrow.from];
        assert_ne!(diagram.place(from.lane), arrow.lane);
        if let Some(to) = arrow.to {
            let record = &recorder.records[to];
            assert!(arrow.from < to && from.at <= record.at);
            assert_eq!(diagram.lanes[arrow.lane], record.lane);
            assert!(from.link.is_none() || from.link == record.link);
        }
    }
    let sorted = diagram
        .arrows
        .is_sorted_by_key(|arrow| (arrow.from, arrow.to));
    assert!(sorted, "the page searches them");
}

#[test]
fn bytes_to_a_living_reader_at_the_end_are_under_way_and_not_lost() {
    let mut plan = Plan::new(1, 2, at(1000));
    plan.push(at(0), Change::Start(Host(0)));
    plan.push(at(0), Change::Start(Host(1)));
    plan.push(at(450), Change::Clog(way(0, 1, false)));
    let recorder = recorded(&plan);
    let diagram = Diagram::new(Some(&plan), &recorder);
    assert_eq!(arrows(&diagram, ArrowKind::Lost), 0);
    let under_way = diagram.arrows.iter();
    let under_way: Vec<_> = under_way
        .filter(|each| each.kind == ArrowKind::UnderWay)
        .collect();
    assert!(under_way.len() >= 5, "one each 100 ms: {}", under_way.len());
    assert!(under_way.iter().all(|each| each.to.is_none()));
}

#[test]
fn lives_pauses_and_faults_are_bands_from_their_beginning_to_their_end() {
    let plan = plan();
    let recorder = recorded(&plan);
    let diagram = Diagram::new(Some(&plan), &recorder);
    let moment = |index: usize| recorder.records[index].at.as_micros() / 1000;
    let told = |band: &Band| {
        let lanes = band
            .lanes
            .map(|lane| diagram.lanes[lane].to_string())
            .join(" ");
        let until = band
            .until
            .map_or("-".to_owned(), |until| moment(until).to_string());
        format!("{} {until} {lanes}: {}", moment(band.from), band.label)
    };
    let of = |kind: BandKind| -> Vec<String> {
        let bands = diagram.bands.iter();
        bands.filter(|band| band.kind == kind).map(told).collect()
    };
    assert_eq!(
        of(BandKind::Life),
        [
            "0 1700 server0 server0: life 0",
            "0 1255 server1 server1: life 0",
            "0 - server2 server2: life 0",
            "1500 - server1 server1: life 1",
        ]
    );
    assert_eq!(
        of(BandKind::Pause),
        [
            "700 900 server2 server2: paused",
            "1600 1700 server0 server0: paused"
        ]
    );
    assert_eq!(
        of(BandKind::Cut),
        [
            "400 600 server0 server1: cut 0=1",
            "600 1100 server1 server0: cut 1>0"
        ],
        "one direction is mended first"
    );
    assert_eq!(
        of(BandKind::Fault),
        ["1000 2500 server2 server0: lag 2>0 3000"],
        "the heal ends it"
    );
    let lanes: Vec<String> = diagram.lanes.iter().map(Lane::to_string).collect();
    assert_eq!(
        lanes,
        ["plan", "server0", "server1", "client1/0", "server2"]
    );
}

#[test]
fn a_fault_that_changes_is_a_band_of_its_own() {
    let mut plan = Plan::new(1, 2, at(1000));
    let way = way(1, 0, false);
    plan.push(at(100), Change::Connects(way, Connects::Hang));
    plan.push(at(200), Change::Connects(way, Connects::Refused));
    plan.push(at(300), Change::Connects(way, Connects::Work));
    plan.push(at(400), Change::Damage(way, 1));
    plan.push(at(500), Change::Damage(way, 0));
    plan.push(at(600), Change::Damage(way, 2));
    let recorder = recorded(&plan);
    let bands = Diagram::new(Some(&plan), &recorder).bands;
    let moment = |index: usize| recorder.records[index].at.as_micros() / 1000;
    let told = |band: &Band| {
        (
            moment(band.from),
            band.until.map(moment),
            band.label.clone(),
        )
    };
    assert_eq!(
        bands.iter().map(told).collect::<Vec<_>>(),
        [
            (100, Some(200), "connects 1>0 hang".to_owned()),
            (200, Some(300), "connects 1>0 refused".to_owned()),
            (400, Some(500), "damage 1>0 1".to_owned()),
            (600, Some(1000), "damage 1>0 2".to_owned()),
        ]
    );
    assert!(bands.iter().all(|band| band.kind == BandKind::Fault));
}

#[test]
fn of_a_recording_of_more_hosts_than_the_plan_has_only_those_are_drawn() {
    let mut whole = plan();
    for host in [0, 2] {
        whole.push(at(200), Change::Drift(Host(host), 10));
    }
    let recorder = recorded(&whole);
    let small = Plan { hosts: 1, ..plan() };
    let diagram = Diagram::new(Some(&small), &recorder);
    assert_eq!(diagram.lanes, [Lane::Plan, Lane::Host(Host(0))]);
    let labels: Vec<&str> = diagram.bands.iter().map(|band| &*band.label).collect();
    assert_eq!(labels, ["life 0", "drift 0 10", "paused"]);
    assert!(diagram.bands.iter().all(|band| band.lanes == [1, 1]));
    assert!(diagram.arrows.iter().all(|arrow| arrow.lane == 1));
    assert!(arrows(&diagram, ArrowKind::Bytes) > 0);
    assert_well_formed(&svg(&page(&small, &recorder)));
}

#[test]
fn a_recording_without_its_beginning_is_drawn_as_far_as_it_goes() {
    /// Records what comes after a second.
    #[derive(Default)]
    struct Late(Recorder);
    impl<M: Machine> Observer<M> for Late {
        fn see(
            &mut self,
            scene: &Scene<'_, M>,
            fact: &Fact<'_, M::Notice>,
        ) -> Result<(), Violation> {
            match scene.now > at(1000) {
                true => self.0.see(scene, fact),
                false => Ok(()),
            }
        }
    }
    let plan = plan();
    let late = run(&Toys::default(), &plan, Late::default()).observer.0;
    let mut cut = recorded(&plan);
    cut.records.retain(|record| record.at > at(1000));
    assert_eq!(late.records.len(), cut.records.len());
    for recorder in [late, cut] {
        let diagram = Diagram::new(Some(&plan), &recorder);
        for arrow in &diagram.arrows {
            let from = &recorder.records[arrow.from];
            let to = arrow.to.map(|to| &recorder.records[to]);
            assert!(to.is_none_or(|to| from.step < to.step && from.at <= to.at));
            if arrow.kind == ArrowKind::Bytes {
                let (link, to) = (from.link, to.expect("bytes that were read"));
                assert_eq!((from.kind, to.kind, link), ("sent", "received", to.link));
            }
        }
        assert!(arrows(&diagram, ArrowKind::Bytes) > 0);
        assert_well_formed(&svg(&page(&plan, &recorder)));
        let page = html(&page(&plan, &recorder));
        assert_eq!(
            numbers(data(&page), "arrows").len(),
            diagram.arrows.len() * 5
        );
    }
}

#[test]
fn the_page_holds_every_record_and_every_arrow() {
    let plan = plan();
    let recorder = recorded(&plan);
    let diagram = Diagram::new(Some(&plan), &recorder);
    let page = html(&page(&plan, &recorder));
    let data = data(&page);
    let records = recorder.records.len();
    for list in [
        "at", "lane", "kind", "text", "life", "link", "peer", "start", "length",
    ] {
        assert_eq!(numbers(data, list).len(), records, "{list}");
    }
    let moments = numbers(data, "at").iter().sum::<i64>();
    assert_eq!(moments as u64, recorder.records[records - 1].at.as_micros());
    assert_eq!(numbers(data, "arrows").len(), diagram.arrows.len() * 5);
    assert_eq!(numbers(data, "lane")[0], 0, "the plan's lane is the first");
}

#[test]
fn the_picture_holds_every_record_every_arrow_and_every_death() {
    let plan = plan();
    let recorder = recorded(&plan);
    let diagram = Diagram::new(Some(&plan), &recorder);
    let picture = svg(&page(&plan, &recorder));
    let records = &recorder.records;
    assert!(records.len() < MAX_ROWS);
    assert_eq!(
        picture.matches("<text class=\"words").count(),
        records.len()
    );
    for (class, kind) in [
        ("sent", ArrowKind::Bytes),
        ("lost", ArrowKind::Lost),
        ("dial", ArrowKind::Dial),
        ("end", ArrowKind::End),
    ] {
        let drawn = picture
            .matches(&format!("<path class=\"arrow {class}\""))
            .count();
        assert_eq!(drawn, arrows(&diagram, kind), "{class}");
    }
    let crosses = picture.matches("<path class=\"arrow lost x\"").count();
    assert_eq!(crosses, arrows(&diagram, ArrowKind::Lost));
    // What does not arrive gets two fifths of its way, and not to the next lane.
    let lost = picture.split("<path class=\"arrow lost\" d=\"M").skip(1);
    let ways: BTreeSet<i64> = lost.map(way_of).collect();
    assert_eq!(ways, [-44, -35].into());
    let deaths = picture.matches("<path class=\"dead\"").count();
    assert_eq!(deaths, count(records, "killed"));
    assert_eq!(deaths, 2);
}

#[test]
fn hostile_texts_break_neither_page_nor_picture() {
    let plan = plan();
    let recorder = recorded(&plan);
    let held = |record: &Record| record.text.contains("<script>alert(1)");
    assert!(recorder.records.iter().any(held), "the text is there");
    let violation = Violation {
        property: "hostile",
        text: HOSTILE.to_owned(),
        events: vec![1, 4],
    };
    let notes = [(HOSTILE, HOSTILE.to_owned())];
    let log = |_: &Record| Some(HOSTILE.to_owned());
    let page = Page {
        violation: Some(&violation),
        notes: &notes,
        log: &log,
        ..page(&plan, &recorder)
    };
    let picture = svg(&page);
    assert_well_formed(&picture);
    assert!(!picture.contains('\u{ffff}'), "XML can't hold it");
    let html = html(&page);
    assert_eq!(html.matches("<script").count(), 2, "the data and the code");
    assert_eq!(html.matches("</script").count(), 2);
    assert!(!html.contains("<!--"));
    let data = data(&html);
    assert!(!data.contains(['<', '\u{2028}', '\u{7}', '\0']));
    let title = &html[html.find("<title>").unwrap()..html.find("</title>").unwrap()];
    assert!(!title[7..].contains('<'), "{title}");
}

#[test]
fn a_violation_is_marked_at_its_events_and_nowhere_else() {
    let plan = plan();
    let recorder = recorded(&plan);
    let violation = Violation {
        property: "planted",
        text: "too good to be true".to_owned(),
        events: vec![3, 40, u64::MAX],
    };
    let page = Page {
        violation: Some(&violation),
        ..page(&plan, &recorder)
    };
    let picture = svg(&page);
    assert_eq!(picture.matches("<circle class=\"mark\"").count(), 2);
    assert_eq!(picture.matches("<text class=\"words marked\"").count(), 2);
    assert!(picture.contains("planted</tspan> broken: too good to be true"));
    let html = html(&page);
    assert_eq!(
        numbers(data(&html), "events"),
        [3, 40],
        "a step that is not there is left out"
    );
}

#[test]
fn a_picture_of_a_long_run_shows_what_led_to_the_violation_and_says_so() {
    let mut plan = plan();
    plan.phases.end = at(50_000);
    let recorder = recorded(&plan);
    let records = recorder.records.len();
    assert!(records > MAX_ROWS + 500, "{records} is too few");
    let first = svg(&page(&plan, &recorder));
    assert_eq!(first.matches("<text class=\"words").count(), MAX_ROWS);
    assert!(first.contains(&format!("shown here: 1 to {MAX_ROWS}")));
    let violation = Violation {
        property: "late",
        text: "at the end".to_owned(),
        events: vec![records as u64 - 1],
    };
    let page = Page {
        violation: Some(&violation),
        ..page(&plan, &recorder)
    };
    let last = svg(&page);
    assert_well_formed(&last);
    assert_eq!(last.matches("<text class=\"words").count(), MAX_ROWS);
    assert!(last.contains(&format!(
        "shown here: {} to {records}",
        records - MAX_ROWS + 1
    )));
    assert_eq!(last.matches("<circle class=\"mark\"").count(), 1);
    // Its rows stand where those of the first one do, below a head that says what broke.
    let rows = |picture: &str| {
        let words = picture.split("<text class=\"words").skip(1);
        let heights =
            words.map(|words| words.split("y=\"").nth(1)?.split('"').next()?.parse().ok());
        heights.collect::<Option<Vec<u32>>>().expect("each has one")
    };
    let lower: Vec<u32> = rows(&first).iter().map(|y| y + 38).collect();
    assert_eq!(rows(&last), lower);
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let plan = plan();
    let (one, other) = (recorded(&plan), recorded(&plan));
    assert_eq!(html(&page(&plan, &one)), html(&page(&plan, &other)));
    assert_eq!(svg(&page(&plan, &one)), svg(&page(&plan, &other)));
}

#[test]
fn neither_page_nor_picture_refers_to_anything_outside() {
    let plan = plan();
    let recorder = recorded(&plan);
    let (html, svg) = (html(&page(&plan, &recorder)), svg(&page(&plan, &recorder)));
    for word in ["http:", "https:", "@import", "src=", "fetch(", "import("] {
        assert!(!html.contains(word), "{word}");
    }
    let links = svg.matches("http").count();
    assert_eq!(links, 1, "the name of the format");
    assert!(!svg.contains("href"));
}

#[test]
fn a_run_without_a_record_can_be_drawn() {
    let plan = Plan::new(1, 1, at(1));
    let recorder = Recorder::default();
    assert_well_formed(&svg(&page(&plan, &recorder)));
    assert!(html(&page(&plan, &recorder)).contains("\"at\":[]"));
}

/// The log's entries, from the news themselves.
#[derive(Default)]
struct Expected(Vec<String>);

impl Observer<ChatServer> for Expected {
    fn see(&mut self, _: &Scene<'_, ChatServer>, fact: &Fact<'_, News>) -> Result<(), Violation> {
        if let Fact::Notice { notice, .. } = fact
            && let News::Protocol(ChatEvent::Delivered { sender, text, .. }) = notice
        {
            self.0.push(format!("{sender}: {text}"));
        }
        Ok(())
    }
}

#[test]
fn the_log_of_a_chat_has_each_delivery_with_its_sender_and_text() {
    let plan = generate(3, Profile::Crash);
    let setup = Setup::of(&plan).expect("a generated plan");
    let observer = (Recorder::default(), Expected::default());
    let (recorder, expected) = run(&Grid::new(setup, server), &plan, observer).observer;
    let entries: Vec<String> = recorder.records.iter().filter_map(delivery).collect();
    let plain = |entry: &&String| !entry.contains(|each: char| each.is_control());
    assert!(expected.0.len() > 10);
    assert_eq!(entries.len(), expected.0.len());
    for expected in expected.0.iter().filter(plain) {
        assert!(entries.contains(expected), "{expected:?}");
    }
}
