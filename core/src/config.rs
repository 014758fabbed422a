//! What a server is told before it starts: who it is, its times and its limits. Every default and
//! every bound of them stands here and nowhere else.

use crate::time::Span;
use core::fmt;

/// How often a server sends a heartbeat on every link.
pub const HEARTBEAT: Span = Span::from_millis(450);
/// How long a link may be silent before its peer is suspected: two heartbeats, and a tenth of a
/// second below what the contract allows, for the driver to wake in.
pub const SUSPICION: Span = Span::from_millis(900);
/// How long a new link may go without its first valid line.
pub const GREETING: Span = Span::from_millis(650);
/// How long a dial may take.
pub const DIAL: Span = Span::from_millis(400);
/// The first pause between two dials of the same peer; it doubles with every failure.
pub const BACKOFF_MIN: Span = Span::from_millis(10);
/// The longest pause between two dials of the same peer.
pub const BACKOFF_MAX: Span = Span::from_millis(80);
/// How long a link must have been up for its next dial to start again from [`BACKOFF_MIN`].
pub const SETTLED: Span = Span::from_millis(250);
/// How long a peer that takes no bytes may hold up the masters that broadcast.
pub const STALL: Span = Span::from_millis(50);
/// How long a shutdown may take to flush what was accepted.
pub const SHUTDOWN: Span = Span::from_millis(1000);
/// How long a door stays shut when a connection could not be accepted for want of a resource.
pub const STARVED: Span = Span::from_millis(100);
/// How long after such a failure the next one counts as the same episode and is not told again.
pub const EPISODE: Span = Span::from_millis(10_000);

/// The largest grid.
pub const MAX_SERVERS: u32 = 1024;

/// Who a server is and how it behaves. Made by [`Config::new`] with the defaults, then changed
/// field by field; [`ChatServer::new`](crate::ChatServer::new) checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its own id, below `servers`.
    pub id: u32,
    /// How many servers the grid has: 1 to [`MAX_SERVERS`].
    pub servers: u32,
    /// Decides the jitter of its dials. Two servers may share it.
    pub seed: u64,
    /// Whether every delivery is told as a [`News::Delivered`](crate::News::Delivered): for
    /// checkers, too much for production.
    pub observe: bool,
    /// How long things take.
    pub times: Times,
    /// How large things get.
    pub limits: Limits,
}

/// How long things take; each field is the constant of the same name unless it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// [`HEARTBEAT`].
    pub heartbeat: Span,
    /// [`SUSPICION`].
    pub suspicion: Span,
    /// [`GREETING`].
    pub greeting: Span,
    /// [`DIAL`].
    pub dial: Span,
    /// [`BACKOFF_MIN`].
    pub backoff_min: Span,
    /// [`BACKOFF_MAX`].
    pub backoff_max: Span,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            heartbeat: HEARTBEAT,
            suspicion: SUSPICION,
            greeting: GREETING,
            dial: DIAL,
            backoff_min: BACKOFF_MIN,
            backoff_max: BACKOFF_MAX,
        }
    }
}

/// How large things get, and with each field what happens there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of one text. A longer one from a master is answered with an error; from a peer it
    /// closes the link.
    pub text: usize,
    /// Links that have not said who they are. One more closes the oldest of them.
    pub nameless: usize,
    /// Masters connected at once. One more closes the oldest that never gave a valid command; if
    /// all did, the newcomer is refused.
    pub masters: usize,
    /// Connections accepted in a second at each door. Past it the door shuts for the rest of
    /// that second; who comes waits in the system's queue.
    pub accepts: u32,
    /// Bytes that a progressing peer may lag behind before the masters that broadcast are not
    /// read from until it caught up.
    pub high_water: usize,
    /// Bytes that any peer may lag behind. One that falls further behind is dropped, and may
    /// come back.
    pub lag: usize,
    /// Bytes of replies owed to a master from which on it is not read from until it reads.
    pub replies: usize,
    /// Bytes owed to a master that watches. One that falls further behind is dropped.
    pub watch: usize,
    /// Bytes of the log. At the limit a broadcast is answered with an error; a peer's message
    /// that does not fit makes the server leave the grid (it closes every link and makes no
    /// more) and serve what it has.
    pub log: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 64 << 10,
            nameless: 64,
            masters: 32,
            accepts: 5000,
            high_water: 1 << 20,
            lag: 32 << 20,
            replies: 256 << 10,
            watch: 8 << 20,
            log: 1 << 30,
        }
    }
}

impl Config {
    /// The `id`-th of `servers` servers, with every default.
    #[must_use]
    pub fn new(id: u32, servers: u32) -> Self {
        Self {
            id,
            servers,
            seed: 0,
            observe: false,
            times: Times::default(),
            limits: Limits::default(),
        }
    }

    /// Says whether a server can be made of it.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that is out of its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.servers == 0 || self.servers > MAX_SERVERS {
            return Err(ConfigError::Servers(self.servers));
        }
        if self.id >= self.servers {
            return Err(ConfigError::Id {
                id: self.id,
                servers: self.servers,
            });
        }
        let l = &self.limits;
        for (name, value, min, max) in [
            ("text", l.text as u64, 1, 1 << 30),
            ("nameless", l.nameless as u64, 1, 1 << 16),
            ("masters", l.masters as u64, 1, 1 << 16),
            ("accepts", u64::from(l.accepts), 1, 1 << 20),
            ("high-water", l.high_water as u64, 1, 1 << 40),
            ("lag", l.lag as u64, l.high_water as u64, 1 << 40),
            ("replies", l.replies as u64, 1, 1 << 40),
            ("watch", l.watch as u64, 1, 1 << 40),
            ("log", l.log, 1, 1 << 50),
        ] {
            if value < min || value > max {
                return Err(ConfigError::Limit {
                    name,
                    value,
                    min,
                    max,
                });
            }
        }
        let t = &self.times;
        let beat = t.heartbeat.as_micros();
        for (name, value, min) in [
            ("heartbeat", beat, 1),
            ("suspicion", t.suspicion.as_micros(), beat + 1),
            ("greeting", t.greeting.as_micros(), 1),
            ("dial", t.dial.as_micros(), 1),
            ("backoff-min", t.backoff_min.as_micros(), 1),
            (
                "backoff-max",
                t.backoff_max.as_micros(),
                t.backoff_min.as_micros(),
            ),
        ] {
            if value < min || value > 3_600_000_000 {
                return Err(ConfigError::Time { name, value, min });
            }
        }
        Ok(())
    }
}

/// A value of a [`Config`] that is out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The number of servers.
    Servers(u32),
    /// The id, in a grid of `servers`.
    Id {
        /// What was given.
        id: u32,
        /// How many servers there are.
        servers: u32,
    },
    /// A limit.
    Limit {
        /// Which.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A time, in microseconds; an hour is the most that is allowed.
    Time {
        /// Which.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The least that is allowed.
        min: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Servers(n) => write!(f, "{n} servers: expected 1 to {MAX_SERVERS}"),
            Self::Id { id, servers } => write!(
                f,
                "id {id} in a grid of {servers}: expected 0 to {}",
                servers - 1
            ),
            Self::Limit {
                name,
                value,
                min,
                max,
            } => {
                write!(f, "limit {name} of {value}: expected {min} to {max}")
            }
            Self::Time { name, value, min } => {
                write!(
                    f,
                    "time {name} of {value} us: expected {min} to 3600000000 us"
                )
            }
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn defaults_leave_room_to_notice_within_a_second() {
        let t = Times::default();
        assert!(t.suspicion >= t.heartbeat.times(2));
        assert!(t.suspicion + Span::from_millis(100) <= Span::from_millis(1000));
        assert!(t.dial + t.backoff_max + Span::from_millis(100) < Span::from_millis(1000));
        assert!(t.greeting + t.backoff_max + Span::from_millis(100) < Span::from_millis(1000));
    }

    #[test]
    fn a_value_at_its_bound_passes_and_one_past_it_is_named() {
        assert_eq!(Config::new(0, 1).check(), Ok(()));
        assert_eq!(Config::new(MAX_SERVERS - 1, MAX_SERVERS).check(), Ok(()));
        assert_eq!(
            Config::new(3, 3).check().unwrap_err().to_string(),
            "id 3 in a grid of 3: expected 0 to 2"
        );
        assert_eq!(
            Config::new(0, 0).check().unwrap_err().to_string(),
            "0 servers: expected 1 to 1024"
        );
        assert!(Config::new(0, MAX_SERVERS + 1).check().is_err());
        let mut c = Config::new(0, 3);
        c.limits.text = 0;
        assert_eq!(
            c.check().unwrap_err().to_string(),
            "limit text of 0: expected 1 to 1073741824"
        );
        let mut c = Config::new(0, 3);
        c.times.suspicion = c.times.heartbeat;
        assert_eq!(
            c.check().unwrap_err().to_string(),
            "time suspicion of 450000 us: expected 450001 to 3600000000 us"
        );
    }

    #[test]
    fn every_limit_passes_at_both_its_bounds_and_is_named_one_past_them() {
        type Set = fn(&mut Limits, u64);
        let limits: [(&str, u64, u64, Set); 9] = [
            ("text", 1, 1 << 30, |l, v| l.text = v as usize),
            ("nameless", 1, 65_536, |l, v| l.nameless = v as usize),
            ("masters", 1, 65_536, |l, v| l.masters = v as usize),
            ("accepts", 1, 1_048_576, |l, v| l.accepts = v as u32),
            ("high-water", 1, 1 << 40, |l, v| {
                (l.high_water, l.lag) = (v as usize, 1 << 40);
            }),
            // At least the high water.
            ("lag", 1 << 20, 1 << 40, |l, v| l.lag = v as usize),
            ("replies", 1, 1 << 40, |l, v| l.replies = v as usize),
            ("watch", 1, 1 << 40, |l, v| l.watch = v as usize),
            ("log", 1, 1 << 50, |l, v| l.log = v),
        ];
        for (name, min, max, set) in limits {
            let told = |value| {
                let mut config = Config::new(0, 3);
                set(&mut config.limits, value);
                config.check().err().map(|error| error.to_string())
            };
            assert_eq!((told(min), told(max)), (None, None));
            for value in [min - 1, max + 1] {
                let expected = format!("limit {name} of {value}: expected {min} to {max}");
                assert_eq!(told(value), Some(expected));
            }
        }
    }

    #[test]
    fn every_time_passes_at_both_its_bounds_and_is_named_one_past_them() {
        type Time = fn(&mut Times) -> &mut Span;
        const HOUR: u64 = 3_600_000_000;
        let us = |span: &mut Span, v| *span = Span::from_micros(v);
        let times: [(&str, u64, Time); 6] = [
            ("heartbeat", 1, |t| &mut t.heartbeat),
            // Longer than a heartbeat.
            ("suspicion", 450_001, |t| &mut t.suspicion),
            ("greeting", 1, |t| &mut t.greeting),
            ("dial", 1, |t| &mut t.dial),
            ("backoff-min", 1, |t| &mut t.backoff_min),
            // At least the least.
            ("backoff-max", 10_000, |t| &mut t.backoff_max),
        ];
        for (name, min, time) in times {
            let told = |value| {
                let mut config = Config::new(0, 3);
                us(time(&mut config.times), value);
                if name == "backoff-min" {
                    us(&mut config.times.backoff_max, HOUR);
                }
                config.check().err().map(|error| error.to_string())
            };
            assert_eq!(told(min), None);
            // An hour of heartbeat leaves no room for its suspicion.
            assert_eq!(told(HOUR).is_some(), name == "heartbeat");
            for value in [min - 1, HOUR + 1] {
                let expected = format!("time {name} of {value} us: expected {min} to {HOUR} us");
                assert_eq!(told(value), Some(expected));
            }
        }
    }
}
