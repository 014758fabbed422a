//! `serve --record FILE` and `replay FILE`: what a recording needs to know of the chat, which is
//! its configuration and nothing else.

use chatroom_core::{ChatServer, Config, Limits, Span, Times};
use chatroom_record::{Failure, FormatError, Recorder, replay};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the server that `config` describes, and records it in `path`: a new file or, if it is a
/// directory, a new file in there. `complain` is called if the recording ends before the server.
pub(crate) fn record(
    config: Config,
    path: &Path,
    complain: impl FnOnce(String) + Send + 'static,
) -> Result<Recorder<ChatServer, File>, String> {
    let header = header(&config);
    let stem = format!("server-{}", config.id);
    let server = ChatServer::new(config).map_err(|error| error.to_string())?;
    let failed = |path: &Path, error: io::Error| {
        let hint = if error.kind() == io::ErrorKind::AlreadyExists {
            "a recording is never overwritten: name a new file, or a directory"
        } else {
            "name a file that can be made, or a directory"
        };
        format!("cannot record to {}: {error}; {hint}", path.display())
    };
    let (file, path) = chatroom_record::create(path, &stem).map_err(|e| failed(path, e))?;
    let shown = path.display().to_string();
    chatroom_record::record(server, file, header.as_bytes(), move |error| {
        complain(format!("the recording in {shown} ends here: {error}"));
    })
    .map_err(|error| failed(&path, error))
}

/// Replays every file in turn and says of each how it went. The status is 0 when every one gave
/// the same outputs again, 1 when one did not, 2 when one could not be read.
pub(crate) fn replay_all(files: &[PathBuf]) -> ExitCode {
    let mut status = 0;
    for path in files {
        let shown = path.display();
        match replay_one(path) {
            Ok(report) => println!("{shown}: {report}"),
            Err(Refusal::Differs(text)) => {
                println!("{shown}: {text}");
                status = status.max(1);
            }
            Err(Refusal::Unreadable(text)) => {
                eprintln!("{shown}: {text}");
                status = 2;
            }
        }
    }
    ExitCode::from(status)
}

enum Refusal {
    Differs(String),
    Unreadable(String),
}

fn replay_one(path: &Path) -> Result<String, Refusal> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let hint = "`chatroom serve --record FILE` makes one";
        Refusal::Unreadable(format!("{error}; {hint}"))
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut recorded_by = String::new();
    let replayed = replay(file, |header| {
        let (config, version) = parse(header)?;
        recorded_by = version;
        ChatServer::new(config).map_err(|error| error.to_string())
    });
    match replayed {
        Ok(report) => Ok(report.to_string()),
        Err(Failure::Differs(difference)) => {
            let mut text = difference.to_string();
            if recorded_by != VERSION {
                text.push_str(&format!(
                    "\n(recorded by version {recorded_by}, replayed by {VERSION})"
                ));
            }
            Err(Refusal::Differs(text))
        }
        Err(Failure::Format(error @ FormatError::NotARecording)) => Err(unreadable(&error)),
        Err(Failure::Format(error)) => Err(Refusal::Unreadable(error.to_string())),
    }
}

/// A value of the configuration, as text and back.
enum Value<'a> {
    U32(&'a mut u32),
    U64(&'a mut u64),
    Size(&'a mut usize),
    Flag(&'a mut bool),
    Micros(&'a mut Span),
}

impl Value<'_> {
    fn show(&self) -> u64 {
        match self {
            Self::U32(value) => u64::from(**value),
            Self::U64(value) => **value,
            Self::Size(value) => **value as u64,
            Self::Flag(value) => u64::from(**value),
            Self::Micros(value) => value.as_micros(),
        }
    }

    fn set(&mut self, to: u64) -> Option<()> {
        match self {
            Self::U32(value) => **value = u32::try_from(to).ok()?,
            Self::U64(value) => **value = to,
            Self::Size(value) => **value = usize::try_from(to).ok()?,
            Self::Flag(value) => **value = to != 0,
            Self::Micros(value) => **value = Span::from_micros(to),
        }
        Some(())
    }
}

/// Every value of a configuration, by name. A field that is new does not compile until it is here.
fn values(config: &mut Config) -> Vec<(&'static str, Value<'_>)> {
    let Config {
        id,
        servers,
        seed,
        observe,
        times,
        limits,
    } = config;
    let Times {
        heartbeat,
        suspicion,
        greeting,
        dial,
        backoff_min,
        backoff_max,
    } = times;
    let Limits {
        text,
        nameless,
        masters,
        accepts,
        high_water,
        lag,
        replies,
        watch,
        log,
    } = limits;
    vec![
        ("id", Value::U32(id)),
        ("servers", Value::U32(servers)),
        ("seed", Value::U64(seed)),
        ("observe", Value::Flag(observe)),
        ("heartbeat-us", Value::Micros(heartbeat)),
        ("suspicion-us", Value::Micros(suspicion)),
        ("greeting-us", Value::Micros(greeting)),
        ("dial-us", Value::Micros(dial)),
        ("backoff-min-us", Value::Micros(backoff_min)),
        ("backoff-max-us", Value::Micros(backoff_max)),
        ("text", Value::Size(text)),
        ("nameless", Value::Size(nameless)),
        ("masters", Value::Size(masters)),
        ("accepts", Value::U32(accepts)),
        ("high-water", Value::Size(high_water)),
        ("lag", Value::Size(lag)),
        ("replies", Value::Size(replies)),
        ("watch", Value::Size(watch)),
        ("log", Value::U64(log)),
    ]
}

/// The header of a recording: who wrote it, then a line for each value.
fn header(config: &Config) -> String {
    let mut text = format!("chatroom {VERSION}\n");
    for (name, value) in values(&mut config.clone()) {
        text.push_str(&format!("{name} {}\n", value.show()));
    }
    text
}

/// The configuration in a header, and the version that wrote it.
fn parse(header: &[u8]) -> Result<(Config, String), String> {
    let text = std::str::from_utf8(header).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut lines = text.lines();
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("chatroom "))
        .ok_or("it is not chatroom's")?;
    let mut config = Config::new(0, 1);
    for (name, mut value) in values(&mut config) {
        let line = lines.next().ok_or_else(|| format!("{name} is missing"))?;
        line.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
            .and_then(|number| number.parse().ok())
            .and_then(|number| value.set(number))
            .ok_or_else(|| format!("{line:?} is not the value of {name}"))?;
    }
    match lines.next() {
        None => Ok((config, version.to_owned())),
        Some(line) => Err(format!("{line:?} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_the_whole_configuration() {
        let mut config = Config::new(3, 7);
        for (i, (_, mut value)) in values(&mut config).into_iter().enumerate() {
            value.set(100 + i as u64).unwrap();
        }
        assert_ne!(config.times, Times::default());
        let (parsed, version) = parse(header(&config).as_bytes()).unwrap();
        assert_eq!(parsed, config);
        assert_eq!(version, VERSION);
    }

    #[test]
    fn a_header_that_is_not_ours_is_refused() {
        let good = header(&Config::new(3, 7));
        for bad in [
            "",
            "chatroom 1\n",
            "something else",
            &good.replace("id 3", "id three"),
            &good.replace("id 3", "id 99999999999"),
            &good.replace("servers", "clients"),
            &format!("{good}more 1\n"),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(b"chatroom \xff").is_err());
    }
}
