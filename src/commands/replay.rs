//! `chatroom replay`.

use crate::recorded::{self, MAX_BYTES, MAX_RECORDINGS, Merged, Recording};
use crate::settings;
use chatroom_chat::ChatServer;
use chatroom_cli::failure::Failure;
use chatroom_cli::look::Look;
use chatroom_cli::output::{print, remark, say};
use chatroom_cli::sim::unwritten;
use chatroom_record::Failure as Broken;
use chatroom_sim::view::{Page, notices};
use chatroom_worlds::chat::delivery;
use clap::Args;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Feed recordings to fresh servers, and compare all that they do; or draw them.
///
/// `chatroom serve --record FILE` makes a recording. A replay makes the same calls again, at the
/// recorded moments but without waiting, and must get the same outputs byte for byte; the first
/// difference is shown with the call that led to it.
///
/// With --format, nothing is replayed: what the recordings hold is drawn, a lane a server. Give
/// recordings of several servers of one grid to see both ends of their links on one clock. A
/// server without a recording has what the others saw of it in its lane.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    chatroom serve 0 1 10000 --record zero.chatrec
    chatroom replay zero.chatrec

    A grid of three that was recorded into a folder, as a page for a browser:

        chatroom replay folder/*.chatrec --format html --out grid.html

EXIT STATUS
    0  every server did again what was recorded; with --format, all was drawn
    1  one did not, or a file is no sound recording or could not be written
    2  the command line is wrong")]
pub(crate) struct Replay {
    /// Recordings; to be drawn, one of each server.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write what happened, and replay nothing.
    #[arg(long, value_enum)]
    format: Option<Look>,
    /// Where it is written; on standard output, if not said.
    #[arg(long, value_name = "FILE", requires = "format")]
    out: Option<PathBuf>,
}

impl Replay {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        if let Some(format) = self.format {
            return self.draw(format);
        }
        let mut status = ExitCode::SUCCESS;
        for path in &self.files {
            let shown = path.display();
            match replay(path) {
                Ok(report) => say(format_args!("{shown}: {report}"))?,
                Err(Refusal::Differs(what)) => {
                    status = ExitCode::FAILURE;
                    say(format_args!("{shown}: {what}"))?;
                }
                Err(Refusal::Unread(why)) => {
                    let hint = "`chatroom serve --record FILE` makes a recording";
                    status = Failure::denied(format!("{shown}: {why}"), hint).report();
                }
            }
        }
        Ok(status)
    }
}

impl Replay {
    fn draw(&self, format: Look) -> Result<ExitCode, Failure> {
        if let Some(out) = &self.out {
            let there = fs::canonicalize(out).ok();
            let overwritten = self.files.iter().find(|path| {
                let path = fs::canonicalize(path).ok();
                path.is_some() && path == there
            });
            if let Some(path) = overwritten {
                return Err(Failure::denied(
                    format!("--out {} is one of the recordings", path.display()),
                    "a recording is never overwritten: give another file",
                ));
            }
        }
        let recordings = self.read()?;
        let merged = recorded::merge(&recordings);
        for line in apart(&recordings, &merged) {
            remark(format!("warning: {line}\n").as_bytes());
        }
        let notes = notes(&recordings, &merged);
        // Servers that nobody observes say nothing of what they deliver.
        let records = &merged.recorder.records;
        let log: &dyn Fn(&_) -> _ = match records.iter().any(|each| delivery(each).is_some()) {
            true => &delivery,
            false => &notices,
        };
        let page = Page {
            title: &title(&recordings),
            plan: None,
            recorder: &merged.recorder,
            violation: None,
            log,
            notes: &notes,
        };
        let drawn = format.write(&page);
        match &self.out {
            Some(out) => fs::write(out, drawn).map_err(|error| unwritten(out, &error))?,
            None => print(drawn.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The recordings, in the order of their servers.
    fn read(&self) -> Result<Vec<Recording>, Failure> {
        let count = self.files.len();
        if count > MAX_RECORDINGS {
            return Err(Failure::denied(
                format!("{count} recordings: expected at most {MAX_RECORDINGS} in one picture"),
                "draw those of the servers that matter",
            ));
        }
        let mut recordings: Vec<(&Path, Recording)> = Vec::new();
        let mut room = MAX_BYTES;
        for path in &self.files {
            let shown = path.display();
            let recording = load(path, &mut room)?;
            if recording.torn > 0 {
                let torn = recording.torn;
                let line = format!(
                    "warning: {shown}: the last record is torn, and its {torn} bytes were ignored\n"
                );
                remark(line.as_bytes());
            }
            for (other, before) in &recordings {
                let other = other.display();
                if before.servers != recording.servers {
                    return Err(Failure::denied(
                        format!(
                            "{other} is of a grid of {} servers and {shown} of a grid of {}",
                            before.servers, recording.servers
                        ),
                        "a picture has one grid: draw each by itself",
                    ));
                }
                if before.id == recording.id {
                    return Err(Failure::denied(
                        format!("{other} and {shown} are both of server {}", recording.id),
                        "a picture has one recording of each server: where one was started again, draw its lives one by one",
                    ));
                }
            }
            recordings.push((path, recording));
        }
        recordings.sort_by_key(|(_, recording)| recording.id);
        Ok(recordings.into_iter().map(|(_, each)| each).collect())
    }
}

/// Reads a recording of at most `room` bytes, and takes its length off them.
fn load(path: &Path, room: &mut u64) -> Result<Recording, Failure> {
    let shown = path.display();
    let hint = "`chatroom serve --record FILE` makes a recording";
    let unread = |why: &dyn std::fmt::Display| Failure::denied(format!("{shown}: {why}"), hint);
    let file = File::open(path).map_err(|error| unread(&error))?;
    let long = file.metadata().map_err(|error| unread(&error))?.len();
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    // What is no regular file says nothing of its length beforehand.
    let mut input = file.take(*room + 1);
    let read = (long <= *room).then(|| recorded::read(name, &mut input));
    match read {
        Some(recording) if input.limit() > 0 => {
            *room = input.limit() - 1;
            recording.map_err(|error| unread(&error))
        }
        Some(_) | None => Err(Failure::denied(
            format!(
                "{shown}: with this one the recordings have more than {MAX_BYTES} bytes, \
                 the most in one picture"
            ),
            "draw fewer at once, or record for a shorter time",
        )),
    }
}

fn title(recordings: &[Recording]) -> String {
    let ids: Vec<String> = recordings.iter().map(|each| each.id.to_string()).collect();
    let all = recordings.first().map_or(0, |each| each.servers);
    match &ids[..] {
        [id] => format!("A recording of server {id} of {all}"),
        ids => format!("Recordings of servers {} of {all}", ids.join(", ")),
    }
}

/// Which recordings no link joins, a sentence for each group after the first.
fn apart(recordings: &[Recording], merged: &Merged) -> Vec<String> {
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (recording, aligned) in recordings.iter().zip(&merged.aligned) {
        let name = format!("server {} ({})", recording.id, recording.name);
        groups.entry(aligned.group).or_default().push(name);
    }
    let mut groups = groups.into_values().map(|names| names.join(", "));
    let Some(first) = groups.next() else {
        return Vec::new();
    };
    let lines = groups.map(|names| {
        format!("no link joins {names} with {first}: their clocks are unknown to each other, and both begin at zero")
    });
    lines.collect()
}

/// What a page says of its recordings beside its title.
fn notes(recordings: &[Recording], merged: &Merged) -> Vec<(&'static str, String)> {
    let mut clocks = String::new();
    for (recording, aligned) in recordings.iter().zip(&merged.aligned) {
        if !clocks.is_empty() {
            clocks.push_str("; ");
        }
        let sign = if aligned.zero < 0 { "-" } else { "" };
        let zero = seconds(aligned.zero.unsigned_abs());
        // Writing to a string doesn't fail.
        let _ = write!(
            clocks,
            "server{} ({}) was at zero at {sign}{zero}",
            recording.id, recording.name
        );
        match aligned.error {
            Some(0) => {}
            Some(error) => drop(write!(clocks, " ± {}", seconds(error.unsigned_abs()))),
            None => clocks.push_str(" (bounded on one side only)"),
        }
    }
    let mut notes = Vec::new();
    let mut links = format!("{} found at both ends", merged.links);
    if merged.single > 0 {
        let _ = write!(links, ", {} at one end only", merged.single);
    }
    if recordings.len() > 1 {
        notes.push(("clocks", clocks));
        notes.push(("links", links));
    }
    if merged.moved > 0 {
        let most = seconds(merged.moved.into());
        notes.push((
            "moved on to stand after their causes",
            format!("by at most {most}"),
        ));
    }
    let apart = apart(recordings, merged);
    if !apart.is_empty() {
        notes.push(("clocks unknown", apart.join("; ")));
    }
    let torn = recordings.iter().filter(|each| each.torn > 0);
    let torn: Vec<&str> = torn.map(|each| each.name.as_str()).collect();
    if !torn.is_empty() {
        notes.push(("torn at the end", torn.join(", ")));
    }
    notes
}

fn seconds(micros: u128) -> String {
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

/// Why a replay did not succeed, for people.
enum Refusal {
    Differs(String),
    Unread(String),
}

fn replay(path: &Path) -> Result<String, Refusal> {
    let file = File::open(path).map_err(|error| Refusal::Unread(error.to_string()))?;
    let mut recorded_by = String::new();
    let replayed = chatroom_record::replay(file, |header| {
        let (config, version) = settings::parse(header)?;
        recorded_by = version;
        ChatServer::new(config).map_err(|error| error.to_string())
    });
    match replayed {
        Ok(report) => Ok(report.to_string()),
        Err(Broken::Differs(difference)) => {
            let mut what = difference.to_string();
            if recorded_by != settings::VERSION {
                what.push_str(&format!(
                    "\n(recorded by version {recorded_by}, replayed by version {})",
                    settings::VERSION
                ));
            }
            Err(Refusal::Differs(what))
        }
        Err(failure) => Err(Refusal::Unread(failure.to_string())),
    }
}
