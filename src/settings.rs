//! The limits and times of a server: as options, and as the header of a recording.

use chatroom_chat::{Config, Limits, Options, Times};
use chatroom_core::Config as AnyConfig;
use chatroom_machine::Span;
use clap::Args;
use std::fmt::Write;
use std::str::{FromStr, Lines};

/// The version of the program, as in the header of a recording.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The most that a time may be, in milliseconds, as the core has it.
const HOUR: u64 = 3_600_000;

macro_rules! settings {
    (
        limits { $($limit:ident: $kind:ty, $long:literal, $env:literal, $help:literal;)* }
        chat { $($option:ident: $option_kind:ty, $option_long:literal, $option_env:literal, $option_help:literal;)* }
        times { $($time:ident, $time_long:literal, $time_env:literal, $time_help:literal;)* }
    ) => {
        /// Every limit and time of a server that can be set.
        #[derive(Debug, Args)]
        pub(crate) struct Settings {
            $(
                #[doc = $help]
                #[arg(
                    id = $long, long = $long, env = $env, value_name = "MAX", help_heading = "Limits",
                    default_value_t = Limits::default().$limit
                )]
                $limit: $kind,
            )*
            $(
                #[doc = $option_help]
                #[arg(
                    id = $option_long, long = $option_long, env = $option_env, value_name = "MAX",
                    help_heading = "Limits", default_value_t = Options::default().$option
                )]
                $option: $option_kind,
            )*
            $(
                #[doc = $time_help]
                #[arg(
                    id = $time_long, long = $time_long, env = $time_env, value_name = "MS", help_heading = "Times",
                    value_parser = clap::value_parser!(u64).range(..=HOUR),
                    default_value_t = Times::default().$time.as_micros() / 1000
                )]
                $time: u64,
            )*
        }

        impl Settings {
            /// Puts those of every server into `config`.
            pub(crate) fn apply<O>(&self, config: &mut AnyConfig<O>) {
                config.limits = Limits { $($limit: self.$limit,)* };
                config.times = Times { $($time: Span::from_millis(self.$time),)* };
            }

            /// The chat's own.
            pub(crate) fn chat(&self) -> Options {
                Options { $($option: self.$option,)* }
            }
        }

        /// The options of every server whose value in `config` is not the default, as on the
        /// command line.
        pub(crate) fn differing<O>(config: &AnyConfig<O>) -> Vec<String> {
            let (limits, times) = (Limits::default(), Times::default());
            let mut options = Vec::new();
            $(if config.limits.$limit != limits.$limit {
                options.push(format!("--{} {}", $long, config.limits.$limit));
            })*
            $(if config.times.$time != times.$time {
                options.push(format!("--{} {}", $time_long, config.times.$time.as_micros() / 1000));
            })*
            options
        }

        /// The same for the chat's own.
        pub(crate) fn differing_chat(chat: &Options) -> Vec<String> {
            let (default, mut options) = (Options::default(), Vec::new());
            $(if chat.$option != default.$option {
                options.push(format!("--{} {}", $option_long, chat.$option));
            })*
            options
        }

        /// What a recording has to know to build the server again: who wrote it, then a
        /// `NAME VALUE` a line, times in microseconds.
        pub(crate) fn header(config: &Config) -> String {
            let Config { id, servers, seed, incarnation, observe, limits, times, protocol } = config;
            let mut text = format!("chatroom {VERSION}\n");
            let _ = write!(text, "id {id}\nservers {servers}\nseed {seed}\n");
            let _ = write!(text, "incarnation {incarnation}\nobserve {observe}\n");
            $(let _ = writeln!(text, "{} {}", $long, limits.$limit);)*
            $(let _ = writeln!(text, "{} {}", $option_long, protocol.$option);)*
            $(let _ = writeln!(text, "{} {}", $time_long, times.$time.as_micros());)*
            text
        }

        /// The configuration in the header of a recording, and the version that wrote it.
        pub(crate) fn parse(header: &[u8]) -> Result<(Config, String), String> {
            let text = std::str::from_utf8(header).map_err(|error| error.to_string())?;
            let mut lines = text.lines();
            let version = value(&mut lines, "chatroom")?;
            let config = Config {
                id: value(&mut lines, "id")?,
                servers: value(&mut lines, "servers")?,
                seed: value(&mut lines, "seed")?,
                incarnation: value(&mut lines, "incarnation")?,
                observe: value(&mut lines, "observe")?,
                limits: Limits { $($limit: value(&mut lines, $long)?,)* },
                protocol: Options { $($option: value(&mut lines, $option_long)?,)* },
                times: Times { $($time: Span::from_micros(value(&mut lines, $time_long)?),)* },
            };
            match lines.next() {
                None => Ok((config, version)),
                Some(line) => Err(format!("{line:?} is not known")),
            }
        }
    };
}

/// The value in the next line, which must be that of `name`.
fn value<T: FromStr>(lines: &mut Lines<'_>, name: &str) -> Result<T, String> {
    let line = lines.next().ok_or_else(|| format!("{name} is missing"))?;
    let value = line
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(' '));
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("{line:?} does not give {name}"))
}

settings! {
    limits {
        text: usize, "max-text", "CHATROOM_MAX_TEXT",
            "Bytes of one text. A longer one from a master is answered with an error, from a peer it closes the link.";
        nameless: usize, "max-nameless", "CHATROOM_MAX_NAMELESS",
            "Connections at each port that have not said who they are or given a valid command. At the limit the next waits until one of them can be closed.";
        masters: usize, "max-masters", "CHATROOM_MAX_MASTERS",
            "Masters with a place: those that gave a valid command. One more gets the place of one that was idle for 10 s, or is refused.";
        accepts: u32, "max-accepts", "CHATROOM_MAX_ACCEPTS",
            "Connections accepted in a second at each port, without those that identify themselves or leave. Further ones wait.";
        high_water: usize, "max-high-water", "CHATROOM_MAX_HIGH_WATER",
            "Bytes that a peer may lag behind before masters that broadcast have to wait for it.";
        lag: usize, "max-lag", "CHATROOM_MAX_LAG",
            "Bytes that a peer may lag behind. One that falls further behind is dropped, and may come back.";
        replies: usize, "max-replies", "CHATROOM_MAX_REPLIES",
            "Bytes of replies owed to a master from which on it is not read from until it reads.";
        watch: usize, "max-watch", "CHATROOM_MAX_WATCH",
            "Bytes owed to a master that watches. One that falls further behind is dropped.";
    }
    chat {
        log: u64, "max-log", "CHATROOM_MAX_LOG",
            "Bytes of the log. At the limit a broadcast is answered with an error; a peer's message that does not fit is not kept, and the gap is announced.";
    }
    times {
        heartbeat, "heartbeat", "CHATROOM_HEARTBEAT",
            "Milliseconds between two heartbeats on a link.";
        suspicion, "suspicion", "CHATROOM_SUSPICION",
            "Milliseconds that a link may be silent before its peer counts as down.";
        greeting, "greeting", "CHATROOM_GREETING",
            "Milliseconds that a new link may go without a valid line.";
        dial, "dial", "CHATROOM_DIAL",
            "Milliseconds that a dial may take.";
        backoff_min, "backoff-min", "CHATROOM_BACKOFF_MIN",
            "Milliseconds before a peer is dialled again; they double with every failure.";
        backoff_max, "backoff-max", "CHATROOM_BACKOFF_MAX",
            "Milliseconds before a peer is dialled again, at most.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_the_whole_configuration() {
        // Another value in every line, so that none can stand in for another.
        let mut text = String::new();
        for (i, line) in header(&Config::new(0, 1)).lines().enumerate() {
            let (name, _) = line.split_once(' ').unwrap();
            let value = match name {
                "chatroom" => VERSION.to_owned(),
                "observe" => "true".to_owned(),
                _ => (100 + i).to_string(),
            };
            text.push_str(&format!("{name} {value}\n"));
        }
        let (config, version) = parse(text.as_bytes()).unwrap();
        assert_eq!(version, VERSION);
        assert_eq!(header(&config), text);
        assert_eq!(
            (config.id, config.servers, config.observe),
            (101, 102, true)
        );
    }

    #[test]
    fn a_header_that_is_not_ours_is_refused() {
        let good = header(&Config::new(3, 7));
        assert!(parse(good.as_bytes()).is_ok());
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
