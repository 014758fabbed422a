//! Measures what it costs to store: a counter on each runtime, whose additions are acknowledged
//! once they are durable, beside a bare loop of writes and syncs in the same directory.

use chatroom_driver::{Addresses, Error, Outcome, Silent, Stop, Stopper};
use chatroom_storage::testing::{Counter, Plan, RECORD};
use clap::Parser;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measure storing beside a bare sync loop
///
/// Rounds of the loop and of the servers take turns, so that a disk that becomes slower does so
/// for all. Listens on 127.0.0.1, on the port given and the next.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where files are written: on the disk to be measured. They are removed in the end
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// How many rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Records in each round, one after the other
    #[arg(long, default_value_t = 1000)]
    records: usize,
    /// Records in each round, as fast as they go
    #[arg(long, default_value_t = 500_000)]
    many: u64,
    /// Connections that send them
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Acknowledgements that each connection is behind, at most
    #[arg(long, default_value_t = 8_000)]
    window: u64,
    /// The first of the two ports
    #[arg(long, default_value_t = 21_700)]
    port: u16,
}

fn main() -> Res<()> {
    let options = Options::parse();
    let name = format!("chatroom-bench-storage-{}", std::process::id());
    let directory = options.directory.join(name);
    std::fs::create_dir_all(&directory)?;
    let measured = measure(&options, &directory);
    std::fs::remove_dir_all(&directory)?;
    print(&measured?);
    Ok(())
}

/// Everything measured. Times are in microseconds.
#[derive(Default)]
struct Measured {
    bare: Vec<f64>,
    runtimes: Vec<Runtime>,
}

/// What was measured on a runtime.
#[derive(Default)]
struct Runtime {
    name: &'static str,
    /// A question that needs no disk.
    asked: Vec<f64>,
    /// An addition.
    added: Vec<f64>,
    /// Records a second.
    many: Vec<f64>,
}

fn measure(options: &Options, directory: &Path) -> Res<Measured> {
    let mut measured = Measured::default();
    let mut bare = Bare::new(directory)?;
    let mut servers = Vec::new();
    for (name, port) in [("std", options.port), ("smol", options.port + 1)] {
        servers.push(Serving::new(name, port, directory)?);
        measured.runtimes.push(Runtime {
            name,
            ..Runtime::default()
        });
    }
    for _ in 0..options.rounds {
        for _ in 0..options.records {
            measured.bare.push(bare.sync()?);
        }
        for (server, runtime) in servers.iter_mut().zip(&mut measured.runtimes) {
            for _ in 0..options.records {
                runtime.asked.push(server.client.get()?);
            }
            for _ in 0..options.records {
                runtime.added.push(server.client.add()?);
            }
            runtime.many.push(server.flood(options)?);
        }
    }
    for server in servers {
        server.stop()?;
    }
    Ok(measured)
}

/// A file to which records are appended, each synced.
struct Bare {
    file: File,
    record: Vec<u8>,
}

impl Bare {
    fn new(directory: &Path) -> Res<Self> {
        Ok(Self {
            file: File::create(directory.join("bare"))?,
            record: vec![1; RECORD + chatroom_storage::OVERHEAD],
        })
    }

    fn sync(&mut self) -> Res<f64> {
        let begin = Instant::now();
        self.file.write_all(&self.record)?;
        self.file.sync_data()?;
        Ok(micros(begin))
    }
}

fn micros(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6
}

/// A counter on a runtime, in a thread of its own, and one client.
struct Serving {
    address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<Result<Outcome, Error>>,
    client: Client,
}

impl Serving {
    fn new(runtime: &'static str, port: u16, directory: &Path) -> Res<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (stopper, stop) = Stop::new()?;
        let addresses = Addresses {
            doors: vec![address],
            places: Vec::new(),
            state: Some(directory.join(runtime)),
        };
        let counter = Counter::new(Plan {
            every: 100_000,
            keep: false,
            ..Plan::default()
        });
        let thread = thread::spawn(move || match runtime {
            "std" => chatroom_runtime_std::run(counter, addresses, Silent, &stop),
            _ => chatroom_runtime_smol::run(counter, addresses, Silent, &stop),
        });
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if thread.is_finished() || begin.elapsed() > Duration::from_secs(10) {
                return Err(format!("the server on {runtime} did not start on {address}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            address,
            stopper,
            thread,
            client: Client::new(address)?,
        })
    }

    /// Many connections add at once; records a second.
    fn flood(&self, options: &Options) -> Res<f64> {
        let each = options.many / options.connections.max(1);
        let begin = Instant::now();
        let clients: Vec<_> = (0..options.connections)
            .map(|_| {
                let (address, window) = (self.address, options.window.max(1));
                thread::spawn(move || Client::new(address)?.flood(each, window))
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok((each * options.connections) as f64 / begin.elapsed().as_secs_f64())
    }

    fn stop(self) -> Res<()> {
        drop(self.client);
        self.stopper.request();
        let end = self.thread.join().map_err(|_| "the server panicked")?;
        match end? {
            Outcome::Done => Ok(()),
            other @ (Outcome::Crash | Outcome::Unfinished) => {
                Err(format!("the server ended as {other:?}").into())
            }
        }
    }
}

struct Client {
    reader: BufReader<TcpStream>,
    line: String,
}

impl Client {
    fn new(address: SocketAddr) -> Res<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 16, socket),
            line: String::new(),
        })
    }

    /// Sends a line and waits for the answer, which begins as expected.
    fn ask(&mut self, line: &[u8], expected: &str) -> Res<f64> {
        let begin = Instant::now();
        self.reader.get_mut().write_all(line)?;
        self.line.clear();
        self.reader.read_line(&mut self.line)?;
        let took = micros(begin);
        if !self.line.starts_with(expected) {
            return Err(format!("got {:?}, expected {expected:?}", self.line).into());
        }
        Ok(took)
    }

    fn get(&mut self) -> Res<f64> {
        self.ask(b"get\n", "total ")
    }

    fn add(&mut self) -> Res<f64> {
        self.ask(b"add 1 1\n", "added 1\n")
    }

    /// Adds `count` times, at most `window` ahead of the acknowledgements.
    fn flood(&mut self, count: u64, window: u64) -> Res<()> {
        const ADD: &[u8] = b"add 1 1\n";
        const ADDED: usize = b"added 1\n".len();
        let (mut sent, mut read) = (0, 0_usize);
        let mut buffer = vec![0; 1 << 16];
        while read / ADDED < usize::try_from(count)? {
            let acknowledged = (read / ADDED) as u64;
            let more = (acknowledged + window - sent).min(count - sent);
            if more >= window / 2 || (more > 0 && sent + more == count) {
                let lines = ADD.repeat(usize::try_from(more)?);
                self.reader.get_mut().write_all(&lines)?;
                sent += more;
            }
            match self.reader.read(&mut buffer)? {
                0 => return Err("the server is gone".into()),
                got => read += got,
            }
        }
        Ok(())
    }
}

fn at(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    values.get(index).or(values.last()).copied().unwrap_or(0.0)
}

fn print(measured: &Measured) {
    let bare = at(&measured.bare, 0.5);
    let row = |what: &str, values: &[f64]| {
        println!(
            "| {what} | {:.0} | {:.0} | {:.2} |",
            at(values, 0.5),
            at(values, 0.99),
            at(values, 0.5) / bare
        );
    };
    println!("| one at a time | p50, µs | p99, µs | p50 / the loop's |");
    println!("| --- | ---: | ---: | ---: |");
    row("a write and an `fdatasync`, in a loop", &measured.bare);
    for Runtime {
        name, asked, added, ..
    } in &measured.runtimes
    {
        row(&format!("{name}: a question without storage"), asked);
        row(&format!("{name}: a record stored and acknowledged"), added);
    }
    println!("\n| as many as go | records/s, median | least | most |");
    println!("| --- | ---: | ---: | ---: |");
    println!(
        "| one `fdatasync` a record, in a loop | {:.0} | | |",
        1e6 / bare
    );
    for Runtime { name, many, .. } in &measured.runtimes {
        println!(
            "| {name}: group commit | {:.0} | {:.0} | {:.0} |",
            at(many, 0.5),
            at(many, 0.0),
            at(many, 1.0)
        );
    }
}
