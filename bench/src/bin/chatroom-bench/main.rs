//! Measures real grids through the command line, beside foreign servers and the machine's floors.
//! Linux only.

mod book;
mod flood;
mod floor;
mod grid;
mod latency;
mod life;
mod log;
mod master;
mod plots;
mod probe;
mod subject;
mod svg;
mod table;
mod text;

use book::{Book, Case};
use clap::{Parser, ValueEnum};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use subject::Subject;

/// Whatever went wrong: it is told, and the next is measured.
type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measure real grids beside the machine's floors
///
/// Grids run on 127.0.0.1 with link ports from 3000 and master ports from 10000 on; nothing else
/// may use these. Figures are medians over the runs, with the least and the most.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Our binary
    #[arg(long, value_name = "FILE", default_value = "target/release/chatroom")]
    binary: PathBuf,
    /// Runtimes to measure; none if empty
    #[arg(long, value_delimiter = ',', default_value = "std,smol")]
    runtimes: Vec<String>,
    /// A foreign server: DIR holds an executable `process ID N PORT`, which must become the server
    #[arg(long, value_name = "[NAME=]DIR")]
    server: Vec<String>,
    /// What to measure, if not all
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Sizes of the grids; above 16 only start and rest are measured
    #[arg(long, value_delimiter = ',', default_value = "3,8,16,64")]
    n: Vec<usize>,
    /// How often each thing is measured
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How often servers are killed and stopped
    #[arg(long, default_value_t = 100)]
    detections: usize,
    /// How many threads keep the processors busy while a grid is starved
    #[arg(long, value_delimiter = ',', default_value = "2,8,32")]
    busy: Vec<usize>,
    /// How long, in seconds, a grid is starved by so many
    #[arg(long, default_value_t = 600)]
    starve: u64,
    /// Short runs, two of each
    #[arg(long)]
    quick: bool,
    /// Print tables (also when no other output is asked for)
    #[arg(long)]
    table: bool,
    /// Write everything measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw plots
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Put the tables between the markers of a document
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Be the other side of a round trip
    #[arg(long, value_name = "PORT", hide = true)]
    echo: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Deliveries a second, and CPU a delivery
    Thr,
    /// CPU a delivery when there is nothing to coalesce
    Paced,
    /// Latency to the last log
    Lat,
    /// Start to whole
    Start,
    /// CPU, wake-ups and memory at rest
    Rest,
    /// A log of a million messages
    Log,
    /// SIGKILL and SIGSTOP
    Detect,
    /// The same beside threads that keep every processor busy, and who is suspected meanwhile:
    /// ten minutes for each runtime and number; only if named
    Starved,
}

/// The sections of a book, in the order of its tables.
const TABLES: [&str; 8] = [
    "throughput",
    "paced",
    "latency",
    "start",
    "rest",
    "log",
    "detection",
    "starved",
];

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.quick {
        options.runs = options.runs.min(2);
        options.detections = options.detections.min(5);
    }
    let done = match options.echo {
        Some(port) => floor::echo(port),
        None => grid::end_on_signals().and_then(|()| all(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("chatroom-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn all(options: &Options) -> Res<()> {
    let ours = options.runtimes.iter().filter(|name| !name.is_empty());
    let ours: Vec<Subject> = match options.binary.canonicalize() {
        Ok(binary) => ours.map(|r| Subject::ours(binary.clone(), r)).collect(),
        Err(_) => return Err("no binary: run ./build first, or name one with --binary".into()),
    };
    let foreign = options.server.iter().map(|text| Subject::foreign(text));
    let subjects: Vec<Subject> = foreign.chain(ours.iter().cloned()).collect();
    let mut session = Session {
        options,
        subjects,
        book: Book::new(),
    };
    session.measure();
    session.book.machine.load_after = book::load();
    let names: Vec<String> = ours.into_iter().map(|s| s.name).collect();
    publish(options, &session.book, &names)
}

fn publish(options: &Options, book: &Book, ours: &[String]) -> Res<()> {
    let mut parts: Vec<(String, String)> = TABLES
        .iter()
        .map(|section| ((*section).to_owned(), table::table(book, section, ours)))
        .filter(|(_, table)| table.lines().count() > 2)
        .collect();
    let silent = options.json.is_none() && options.svg.is_none() && options.document.is_none();
    if options.table || silent {
        println!("{}", table::machine(book));
        for (section, table) in &parts {
            println!("{section}\n{table}");
        }
    }
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(book)? + "\n")?;
    }
    if let Some(dir) = &options.svg {
        std::fs::create_dir_all(dir)?;
        for (name, plot) in plots::all(book) {
            if let Some(svg) = plot.svg() {
                std::fs::write(dir.join(name).with_extension("svg"), svg)?;
            }
        }
    }
    if let Some(file) = &options.document {
        parts.push(("machine".to_owned(), table::machine(book)));
        table::write_into(file, &parts)?;
    }
    match book.failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} runs failed").into()),
    }
}

struct Session<'a> {
    options: &'a Options,
    subjects: Vec<Subject>,
    book: Book,
}

impl Session<'_> {
    /// Runs take turns, so that what the machine does meanwhile strikes all subjects alike.
    fn measure(&mut self) {
        for run in 0..self.options.runs {
            eprintln!("run {} of {}", run + 1, self.options.runs);
            self.throughput();
            self.paced();
            self.latency();
            self.start();
            self.rest();
            self.log();
        }
        self.detection();
        self.starved();
    }

    fn wants(&self, section: Section) -> bool {
        self.options.only.is_empty() || self.options.only.contains(&section)
    }

    fn sizes(&self, most: usize) -> Vec<usize> {
        let sizes = self.options.n.iter().copied();
        sizes.filter(|&n| n >= 2 && n <= most).collect()
    }

    /// What fails is told, and does not keep the rest from being measured.
    fn attempt(&mut self, name: &str, f: impl FnOnce(&mut Book) -> Res<()>) {
        if let Err(e) = f(&mut self.book) {
            eprintln!("{name}: {e}");
            self.book.failures.push(format!("{name}: {e}"));
        }
    }

    fn each(&mut self, name: &str, mut f: impl FnMut(&mut Book, &Subject) -> Res<()>) {
        for subject in self.subjects.clone() {
            let name = format!("{}, {name}", subject.name);
            self.attempt(&name, |book| f(book, &subject));
        }
    }

    fn throughput(&mut self) {
        if !self.wants(Section::Thr) {
            return;
        }
        let quick = self.options.quick;
        let deliveries = if quick { 1_000_000 } else { 8_000_000 };
        for n in self.sizes(16) {
            for bytes in [16, 64, 1024] {
                for all in [false, true] {
                    let case = Case { n, bytes, all };
                    let name = format!("throughput, n {n}, {bytes} B, all {all}");
                    if !all {
                        self.attempt(&name, |book| flood::floor(book, case, deliveries));
                    }
                    self.each(&name, |book, subject| {
                        flood::measure(book, subject, case, deliveries)
                    });
                }
            }
        }
    }

    fn paced(&mut self) {
        if !self.wants(Section::Paced) {
            return;
        }
        let span = Duration::from_secs(if self.options.quick { 2 } else { 5 });
        for n in self.sizes(16) {
            let case = Case {
                n,
                bytes: 64,
                all: false,
            };
            self.each(&format!("paced, n {n}"), |book, subject| {
                flood::paced(book, subject, case, 1000, span)
            });
        }
    }

    fn latency(&mut self) {
        if !self.wants(Section::Lat) {
            return;
        }
        let count = if self.options.quick { 300 } else { 2000 };
        for n in self.sizes(16) {
            let name = format!("latency, n {n}");
            self.attempt(&name, |book| latency::floor(book, n, count));
            self.each(&name, |book, subject| {
                latency::polled(book, subject, n, count / 4)?;
                if subject.is_ours() {
                    latency::watched(book, subject, n, count)?;
                }
                Ok(())
            });
        }
    }

    fn start(&mut self) {
        if !self.wants(Section::Start) {
            return;
        }
        for n in self.sizes(usize::MAX) {
            self.each(&format!("start, n {n}"), |book, subject| {
                life::start(book, subject, n)
            });
        }
    }

    fn rest(&mut self) {
        if !self.wants(Section::Rest) {
            return;
        }
        let span = Duration::from_secs(if self.options.quick { 2 } else { 5 });
        for n in self.sizes(usize::MAX) {
            let name = format!("rest, n {n}");
            self.attempt(&name, |book| life::rest_floor(book, n, span));
            self.each(&name, |book, subject| life::rest(book, subject, n, span));
        }
    }

    fn log(&mut self) {
        if !self.wants(Section::Log) {
            return;
        }
        self.each("log", |book, subject| {
            log::measure(book, subject, 1_000_000)
        });
    }

    /// Ours alone: others notice at their own pace.
    fn detection(&mut self) {
        if !self.wants(Section::Detect) {
            return;
        }
        let count = self.options.detections;
        if let Some(n) = self.sizes(16).into_iter().max() {
            for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
                for loaded in [false, true] {
                    let name = format!("detection, n {n}, {signal}, loaded {loaded}");
                    self.each(&name, |book, subject| {
                        if !subject.is_ours() {
                            return Ok(());
                        }
                        life::detection(book, subject, n, signal, loaded, count)
                    });
                }
            }
        }
    }

    fn starved(&mut self) {
        if !self.options.only.contains(&Section::Starved) {
            return;
        }
        let span = Duration::from_secs(self.options.starve);
        if let Some(n) = self.sizes(16).into_iter().max() {
            for busy in self.options.busy.clone() {
                let name = format!("starved, n {n}, {busy} busy");
                self.each(&name, |book, subject| {
                    if !subject.is_ours() {
                        return Ok(());
                    }
                    life::starved(book, subject, n, busy, span)
                });
            }
        }
    }
}
