//! Makes the recordings that the browser's tests look at, and writes them as diagrams:
//! `diagram small FILE` is a short run with one of every fault, texts that mean harm and a planted
//! violation, `diagram large FILE` one of at least 100,000 facts. FILE ends in `.html` or `.svg`.

use chatroom_sim::engine::run;
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::Plan;
use chatroom_sim::trace::Recorder;
use chatroom_sim::view::{self, Page};
use chatroom_worlds::chat::{Grid, Setup, delivery, server};
use std::fmt::Write;
use std::process::ExitCode;

const SMALL: &str = r#"chatroom-plan 1
seed 7
hosts 4
warm-up 300000
trouble 2600000
heal 2600000
end 3600000
split 300
at 0 start 0
at 0 start 1
at 0 start 2
at 0 start 3
at 100000 open 1/0 1
at 150000 open 2/0 1
at 300000 say 1/0 "broadcast </script><script>document.title='hacked'</script>\n"
at 400000 say 2/0 "broadcast <!-- & \"quotes\" \xe2\x80\xae backwards\n"
at 500000 cut 0=1
at 700000 say 1/0 "broadcast behind the cut\n"
at 900000 pause 3
at 1000000 lag 2>0 40000
at 1200000 say 2/0 "broadcast while 3 stands still\n"
at 1400000 resume 3
at 1500000 kill 2 silence
at 1501000 mend 0=1
at 1700000 clog 0>3
at 1800000 start 2
at 1900000 open 2/1 1
at 2000000 say 2/1 "broadcast back again\n"
at 2150000 say 2/1 "broadcast a farewell\n"
at 2150600 kill 2 fin
at 2200000 say 1/0 "get\nalive\n"
at 2300000 reset 0=1
at 2400000 drift 3 2000
at 2500000 start 2
at 3000000 say 1/0 "broadcast all is well\n"
"#;

/// Nine servers that talk for four minutes, one of them dying and coming back now and then.
fn large() -> String {
    let mut text = String::from("chatroom-plan 1\nseed 11\nhosts 9\nend 280000000\nsplit 100\n");
    for host in 0..9 {
        let _ = writeln!(text, "at 0 start {host}\nat 100000 open {host}/0 1");
    }
    for second in 1..270_u64 {
        let (at, host) = (second * 1_000_000, second % 9);
        let _ = writeln!(text, "at {at} say {host}/0 \"broadcast text {second}\\n\"");
        if second % 7 == 0 {
            let (dead, back) = (at + 300_000, at + 900_000);
            let _ = writeln!(text, "at {dead} kill {host} rst\nat {back} start {host}");
            let _ = writeln!(text, "at {} open {host}/0 1", back + 50_000);
        }
        if second % 11 == 0 {
            let other = (host + 1) % 9;
            let _ = writeln!(text, "at {at} cut {host}={other}");
            let _ = writeln!(text, "at {} mend {host}={other}", at + 1_500_000);
        }
    }
    text
}

/// Nineteen of twenty servers, each started after those that dial it.
fn wide() -> String {
    let mut text = String::from("chatroom-plan 1\nseed 4\nhosts 20\nend 1500000\n");
    for host in (0..19).rev() {
        let at = (20 - host) * 20_000;
        let _ = writeln!(
            text,
            "at {at} start {host}\nat {} open {host}/0 1",
            at + 1000
        );
    }
    text.push_str("at 800000 say 3/0 \"broadcast 你好, 안녕 🦀\\n\"\n");
    text
}

/// Objects to the delivery of a farewell.
struct Planted {
    deliveries: Vec<u64>,
}

impl<M: chatroom_worlds::chat::Chat> Observer<M> for Planted {
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        if let Fact::Notice { notice, .. } = fact
            && notice.to_string().ends_with(": a farewell")
        {
            self.deliveries.push(scene.step);
        }
        if matches!(fact, Fact::Over) && !self.deliveries.is_empty() {
            return Err(Violation {
                property: "planted",
                text: "a farewell was delivered: <b>nobody</b> may leave".to_owned(),
                events: self.deliveries.clone(),
            });
        }
        Ok(())
    }
}

fn make(which: &str, file: &str) -> Result<(), String> {
    let text = match which {
        "small" => SMALL.to_owned(),
        "wide" => wide(),
        "large" => large(),
        _ => return Err(format!("{which:?} is neither small nor wide nor large")),
    };
    let plan = Plan::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let setup = Setup::of(&plan).map_err(|error| error.to_string())?;
    let planted = Planted {
        deliveries: Vec::new(),
    };
    let outcome = run(
        &Grid::new(setup, server),
        &plan,
        (Recorder::default(), planted),
    );
    let recorder = outcome.observer.0;
    let page = Page {
        title: &format!("A {which} run"),
        plan: Some(&plan),
        recorder: &recorder,
        violation: outcome.violation.as_ref(),
        log: &delivery,
        notes: &[("replay", "chatroom sim replay run.plan".to_owned())],
    };
    let drawn = if file.ends_with(".svg") {
        view::svg(&page)
    } else {
        view::html(&page)
    };
    println!("{} events, {} bytes", recorder.records.len(), drawn.len());
    std::fs::write(file, drawn).map_err(|error| format!("{file}: {error}"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [which, file] = &args[..] else {
        eprintln!("usage: diagram small|wide|large FILE");
        return ExitCode::FAILURE;
    };
    match make(which, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
