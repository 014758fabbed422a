//! `chatroom-soak`: the command line of a soak.

use chatroom_soak::{Runtimes, Settings, run};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Keep a real grid under kills, stops, bursts and strangers, and judge every log.
///
/// Ends with a report in Markdown on standard output.
#[derive(Debug, Parser)]
#[command(
    version,
    after_long_help = "\
EXAMPLE
    chatroom-soak --time 60m --runtime mixed --report soak.md

EXIT STATUS
    0  no violation
    1  a violation, or a process could not be started
    2  the command line is wrong"
)]
struct Arguments {
    /// The server's program.
    #[arg(long, default_value = "target/release/chatroom")]
    binary: PathBuf,
    /// How many servers the grid has.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=64))]
    servers: u16,
    /// How long: 90s, 60m or 8h.
    #[arg(long, default_value = "60m", value_parser = duration)]
    time: Duration,
    /// Between two checkpoints, at which the grid must become whole and all logs are compared.
    #[arg(long, default_value = "30s", value_parser = duration)]
    checkpoint: Duration,
    /// What the servers run on.
    #[arg(long, value_enum, default_value = "mixed")]
    runtime: Runtime,
    /// Decides what is done.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also count as a violation: a death noticed after more than 1 s, and a suspicion without a
    /// cause. For a calm machine; CHATROOM_STRICT=1 says the same.
    #[arg(long, env = "CHATROOM_STRICT", value_parser = clap::builder::FalseyValueParser::new())]
    strict: bool,
    /// Write the report to a file too.
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Runtime {
    Std,
    Smol,
    Mixed,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time like 90s, 60m or 8h");
    let number = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[number.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let most = 7 * 24 * 3600;
    match number.checked_mul(unit).filter(|s| (1..=most).contains(s)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(format!("{text}: expected 1 s to a week")),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        binary: arguments.binary,
        servers: usize::from(arguments.servers),
        time: arguments.time,
        checkpoint: arguments.checkpoint,
        runtimes: match arguments.runtime {
            Runtime::Std => Runtimes::Std,
            Runtime::Smol => Runtimes::Smol,
            Runtime::Mixed => Runtimes::Mixed,
        },
        seed: arguments.seed,
        strict: arguments.strict,
    };
    let report = match run(&settings) {
        Ok(report) => report,
        Err(error) => {
            let binary = settings.binary.display();
            eprintln!("error: {error}\nhint: is {binary} built (./build)?");
            return ExitCode::FAILURE;
        }
    };
    print!("{report}");
    if let Some(path) = arguments.report
        && let Err(error) = std::fs::write(&path, report.to_string())
    {
        let path = path.display();
        eprintln!("error: cannot write {path}: {error}\nhint: give another --report");
        return ExitCode::FAILURE;
    }
    match report.chronicle.violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
