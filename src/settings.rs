//! The limits and times of a server: as options, and as the header of a recording.

use chatroom_core::{Config, Limits, Span, Times};
use clap::Args;
use std::fmt::Write;

macro_rules! settings {
    (
        limits { $($limit:ident: $kind:ty, $long:literal, $env:literal, $help:literal;)* }
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
                #[doc = $time_help]
                #[arg(
                    id = $time_long, long = $time_long, env = $time_env, value_name = "MS", help_heading = "Times",
                    default_value_t = Times::default().$time.as_micros() / 1000
                )]
                $time: u64,
            )*
        }

        impl Settings {
            /// Puts them into `config`.
            pub(crate) fn apply(&self, config: &mut Config) {
                config.limits = Limits { $($limit: self.$limit,)* };
                config.times = Times { $($time: Span::from_millis(self.$time),)* };
            }
        }

        /// What a recording has to know to build the server again: a `NAME VALUE` a line, times in
        /// microseconds.
        pub(crate) fn header(config: &Config) -> String {
            let Config { id, servers, seed, .. } = config;
            let mut text = format!("id {id}\nservers {servers}\nseed {seed}\n");
            $(let _ = writeln!(text, "{} {}", $long, config.limits.$limit);)*
            $(let _ = writeln!(text, "{} {}", $time_long, config.times.$time.as_micros());)*
            text
        }
    };
}

settings! {
    limits {
        text: usize, "max-text", "CHATROOM_MAX_TEXT",
            "Bytes of one text. A longer one from a master is answered with an error, from a peer it closes the link.";
        nameless: usize, "max-nameless", "CHATROOM_MAX_NAMELESS",
            "Links that have not said who they are. One more closes the oldest of them.";
        masters: usize, "max-masters", "CHATROOM_MAX_MASTERS",
            "Masters connected at once. One more closes the oldest that never gave a valid command, or is refused.";
        accepts: u32, "max-accepts", "CHATROOM_MAX_ACCEPTS",
            "Connections accepted in a second at each port. Further ones wait.";
        high_water: usize, "max-high-water", "CHATROOM_MAX_HIGH_WATER",
            "Bytes that a peer may lag behind before masters that broadcast have to wait for it.";
        lag: usize, "max-lag", "CHATROOM_MAX_LAG",
            "Bytes that a peer may lag behind. One that falls further behind is dropped, and may come back.";
        replies: usize, "max-replies", "CHATROOM_MAX_REPLIES",
            "Bytes of replies owed to a master from which on it is not read from until it reads.";
        watch: usize, "max-watch", "CHATROOM_MAX_WATCH",
            "Bytes owed to a master that watches. One that falls further behind is dropped.";
        log: u64, "max-log", "CHATROOM_MAX_LOG",
            "Bytes of the log. At the limit a broadcast is answered with an error; if a peer's message does not fit, the server leaves the grid and serves what it has.";
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
