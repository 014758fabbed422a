//! What a server is told before it starts: who it is, its times and its limits. Every default and
//! every bound of them stands here and nowhere else.

use chatroom_machine::Span;
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
/// The longest pause before a peer is dialled again whose last session did not last for
/// [`SETTLED`].
pub const BACKOFF_FLAPPING: Span = Span::from_millis(400);
/// What each missing peer adds to the longest pause between two dials of the same peer, up to
/// [`BACKOFF_CROWD_MAX`] or [`BACKOFF_RETURNING`]: the rate of dials does not grow with their number.
/// A dial that is refused at once costs some 40 us of processor time, nearly all of it the kernel's,
/// so that some 430 dials a second cost less than 2 % of a core.
pub const BACKOFF_CROWD: Span = Span::from_micros(2500);
/// The longest pause between two dials of a peer that was not up yet, however many are missing. It
/// leaves half a second of the three in which a server that starts must be known to all.
pub const BACKOFF_CROWD_MAX: Span = Span::from_millis(2500);
/// The same for a peer that was up before: it must be linked within a second of its return.
pub const BACKOFF_RETURNING: Span = Span::from_millis(900);
/// What a wake-up may be late before a server takes it that it was itself away, on top of a
/// heartbeat.
pub const LATE: Span = Span::from_millis(50);
/// How long a peer that takes no bytes may hold up the masters that broadcast, as long as it is
/// far from its limit.
pub const STALL: Span = Span::from_millis(50);
/// How long after it last took a [`STEP`] a peer that has used up three quarters of its lag limit
/// may hold up the masters that broadcast, if it was seen to go on after it stood still: a steady
/// reader whose kernel opens its window in jumps. So it must take at least 16 KiB in 2.5 s.
pub const PATIENCE: Span = Span::from_millis(2500);
/// The same for a peer that was not seen to go on yet: a jump of 64 KiB, as on a loopback
/// interface, at 0.1 MB/s.
pub const FIRST_PATIENCE: Span = Span::from_millis(1250);
/// Bytes that count as progress in [`PATIENCE`].
pub const STEP: u32 = 16 << 10;
/// A peer that was not heard for so long is late with its heartbeat, also one that sends it every
/// 500 ms. It holds up nobody near its limit, and gives way to a new link that names it.
pub const OVERDUE: Span = Span::from_millis(600);
/// How long a connection that has not said who it is must have been silent before it may be closed
/// to make room for newcomers: its first bytes follow its connection in a packet of their own.
pub const GRACE: Span = Span::from_millis(10);
/// How long a master must have asked for nothing, and been owed nothing, before its place may be
/// given to a newcomer.
pub const IDLE: Span = Span::from_millis(10_000);
/// How long a newcomer waits for a place among the masters before it is refused.
pub const PLACE: Span = Span::from_millis(500);
/// How long a link whose peer has said its first `ping` waits for the peer's `hello` before
/// broadcasts go out on it. A `hello` follows its `ping` at once; a server of the seed's protocol
/// says none, and its next line may be a heartbeat away.
pub const HELLO: Span = Span::from_millis(50);
/// Bytes of broadcasts received on a link after which they are acknowledged without waiting for
/// the heartbeat.
pub const ACK_EVERY: u64 = 256 << 10;
/// The pause before a peer is dialled again that is of another protocol or of a grid of another
/// size.
pub const BACKOFF_MISFIT: Span = Span::from_millis(900);
/// How long a shutdown may take to flush what was accepted.
pub const SHUTDOWN: Span = Span::from_millis(1000);
/// How long a door stays shut when a connection could not be accepted for want of a resource.
pub const STARVED: Span = Span::from_millis(100);
/// How long after such a failure the next one counts as the same episode and is not told again.
pub const EPISODE: Span = Span::from_millis(10_000);

/// The largest grid.
pub const MAX_SERVERS: u32 = 1024;

/// Who a server is and how it behaves. Made by [`Config::new`] with the defaults, then changed
/// field by field; [`Node::new`](crate::Node::new) checks it. `O` is what the protocol adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<O = ()> {
    /// Its own id, below `servers`.
    pub id: u32,
    /// How many servers the grid has: 1 to [`MAX_SERVERS`].
    pub servers: u32,
    /// Decides the jitter of its dials. Two servers may share it.
    pub seed: u64,
    /// Tells its incarnation from every other of the same id: the time at which the process began
    /// will do. With 0, the default, the server sends no `hello` and its sessions do not resume, as
    /// those of a server of the seed's protocol.
    pub incarnation: u64,
    /// Whether the protocol emits events of single messages: for checkers, too much for
    /// production.
    pub observe: bool,
    /// How long things take.
    pub times: Times,
    /// How large things get.
    pub limits: Limits,
    /// What the protocol adds.
    pub protocol: O,
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
    /// Connections at each door that have not said who they are or given a valid command. At the
    /// limit accepting pauses until one of them has identified itself, left, or been silent for
    /// [`GRACE`]; then that one is closed.
    pub nameless: usize,
    /// Masters that gave a valid command. At the limit the one that was idle longest, for [`IDLE`]
    /// at least, is closed for the next; if none was, the newcomer waits for [`PLACE`] and is then
    /// refused with an `error` line. So many may wait.
    pub masters: usize,
    /// Connections accepted in a second at each door, without those that identify themselves or
    /// leave. Past it the door shuts for the rest of that second; who comes waits in the system's
    /// queue.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 64 << 10,
            nameless: 512,
            masters: 32,
            accepts: 50_000,
            high_water: 1 << 20,
            lag: 32 << 20,
            replies: 256 << 10,
            watch: 8 << 20,
        }
    }
}

impl<O: Default> Config<O> {
    /// The `id`-th of `servers` servers, with every default.
    #[must_use]
    pub fn new(id: u32, servers: u32) -> Self {
        Self {
            id,
            servers,
            seed: 0,
            incarnation: 0,
            observe: false,
            times: Times::default(),
            limits: Limits::default(),
            protocol: O::default(),
        }
    }
}

impl<O> Config<O> {
    /// Whether a node can be made of it whose protocol has the word `word` and publishes lines of
    /// at most `published` bytes.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that is out of its bounds.
    pub(crate) fn check(&self, word: &str, published: usize) -> Result<(), ConfigError> {
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
        ] {
            ConfigError::limit(name, value, min, max)?;
        }
        let line = crate::wire::longest(word, l.text) as u64;
        for (name, value, other, least) in [
            ("watch", l.watch as u64, "text", published as u64),
            ("lag", l.lag as u64, "text", line),
        ] {
            if value < least {
                return Err(ConfigError::Conflict {
                    name,
                    value,
                    other,
                    of: l.text as u64,
                    least,
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
#[non_exhaustive]
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
    /// A limit that another limit leaves no room for.
    Conflict {
        /// Which.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The other one.
        other: &'static str,
        /// Its value.
        of: u64,
        /// The least that `name` may be with it.
        least: u64,
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

impl ConfigError {
    /// Sees that a limit lies within its bounds.
    ///
    /// # Errors
    /// [`ConfigError::Limit`] if it does not.
    pub const fn limit(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), Self> {
        if value < min || value > max {
            return Err(Self::Limit {
                name,
                value,
                min,
                max,
            });
        }
        Ok(())
    }
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
            Self::Conflict {
                name,
                value,
                other,
                of,
                least,
            } => write!(
                f,
                "limit {name} of {value}: with a limit {other} of {of} expected at least {least}"
            ),
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

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check("msg", b"delivered 1023 \n".len() + config.limits.text)
    }
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn defaults_leave_room_to_notice_within_a_second() {
        let t = Times::default();
        assert!(t.suspicion >= t.heartbeat.times(2));
        assert!(t.suspicion + Span::from_millis(100) <= Span::from_millis(1000));
        assert!(t.dial + t.backoff_max + Span::from_millis(100) < Span::from_millis(1000));
        assert!(t.greeting + t.backoff_max + Span::from_millis(100) < Span::from_millis(1000));
        assert!(BACKOFF_RETURNING + Span::from_millis(100) <= Span::from_millis(1000));
        assert!(BACKOFF_CROWD_MAX + t.dial + Span::from_millis(100) <= Span::from_millis(3000));
    }

    #[test]
    fn a_value_at_its_bound_passes_and_one_past_it_is_named() {
        assert_eq!(check(&Config::new(0, 1)), Ok(()));
        assert_eq!(check(&Config::new(MAX_SERVERS - 1, MAX_SERVERS)), Ok(()));
        assert_eq!(
            check(&Config::new(3, 3)).unwrap_err().to_string(),
            "id 3 in a grid of 3: expected 0 to 2"
        );
        assert_eq!(
            check(&Config::new(0, 0)).unwrap_err().to_string(),
            "0 servers: expected 1 to 1024"
        );
        assert!(check(&Config::new(0, MAX_SERVERS + 1)).is_err());
        let mut c = Config::new(0, 3);
        c.limits.text = 0;
        assert_eq!(
            check(&c).unwrap_err().to_string(),
            "limit text of 0: expected 1 to 1073741824"
        );
        let mut c = Config::new(0, 3);
        c.times.suspicion = c.times.heartbeat;
        assert_eq!(
            check(&c).unwrap_err().to_string(),
            "time suspicion of 450000 us: expected 450001 to 3600000000 us"
        );
    }

    #[test]
    fn every_limit_passes_at_both_its_bounds_and_is_named_one_past_them() {
        type Set = fn(&mut Limits, u64);
        let limits: [(&str, u64, u64, Set); 7] = [
            ("text", 1, 1 << 30, |l, v| {
                (l.text, l.watch, l.lag) = (v as usize, 1 << 40, 1 << 40);
            }),
            ("nameless", 1, 65_536, |l, v| l.nameless = v as usize),
            ("masters", 1, 65_536, |l, v| l.masters = v as usize),
            ("accepts", 1, 1_048_576, |l, v| l.accepts = v as u32),
            ("high-water", 1, 1 << 40, |l, v| {
                (l.high_water, l.lag) = (v as usize, 1 << 40);
            }),
            // At least the high water.
            ("lag", 1 << 20, 1 << 40, |l, v| l.lag = v as usize),
            ("replies", 1, 1 << 40, |l, v| l.replies = v as usize),
        ];
        for (name, min, max, set) in limits {
            let told = |value| {
                let mut config = Config::new(0, 3);
                set(&mut config.limits, value);
                check(&config).err().map(|error| error.to_string())
            };
            assert_eq!((told(min), told(max)), (None, None));
            for value in [min - 1, max + 1] {
                let expected = format!("limit {name} of {value}: expected {min} to {max}");
                assert_eq!(told(value), Some(expected));
            }
        }
    }

    #[test]
    fn a_limit_that_another_leaves_no_room_for_is_named_with_it() {
        type Set = fn(&mut Limits, usize);
        let limits: [(&str, usize, Set); 2] = [
            ("watch", "delivered 1023 \n".len(), |l, v| l.watch = v),
            ("lag", "msg 1023 ".len(), |l, v| {
                (l.lag, l.high_water) = (v, 1);
            }),
        ];
        for (name, beside, set) in limits {
            for text in [1, 99, 64 << 10] {
                let told = |value| {
                    let mut config = Config::new(0, 3);
                    config.limits.text = text;
                    set(&mut config.limits, value);
                    check(&config).err().map(|error| error.to_string())
                };
                let least = text + beside;
                assert_eq!(told(least), None);
                let value = least - 1;
                let expected = format!(
                    "limit {name} of {value}: with a limit text of {text} expected at least {least}"
                );
                assert_eq!(told(value), Some(expected));
            }
            let mut config = Config::new(0, 3);
            set(&mut config.limits, (1 << 40) + 1);
            let told = check(&config).expect_err("too large").to_string();
            assert!(told.starts_with(&format!("limit {name} of 1099511627777: expected")));
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
                check(&config).err().map(|error| error.to_string())
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
