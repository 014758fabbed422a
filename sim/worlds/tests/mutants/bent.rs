//! The server that ships, with something bent between it and its driver.

use chatroom_chat::{ChatServer, Config, Counters, Gauges, News};
use chatroom_machine::{
    Action, Conn, Dialled, Door, Loss, Machine, Misuse, Refused, Remote, Time, Timeout,
};
use chatroom_worlds::chat::{Chat, server};

/// What is bent. The table of mutants says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bend {
    None,
    RoundedTimeout,
    NoGeneration,
    NeverClose,
    NeverResume,
    AcceptsOn,
    IgnoresReceived,
    Repeats,
    SilentLoss,
}

#[derive(Debug)]
pub(crate) struct Bent {
    server: ChatServer,
    bend: Bend,
}

impl Bent {
    pub(crate) fn new(config: Config, bend: Bend) -> Self {
        Self {
            server: server(config),
            bend,
        }
    }
}

/// Changes what a peer's `hello` says that it has, from the `=` behind `resume` to the line's end.
fn in_hellos(bytes: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    const RESUME: &[u8] = b" resume";
    let mut bytes = bytes.to_vec();
    let at: Vec<usize> = (bytes.windows(RESUME.len() + 1).enumerate())
        .filter(|(_, bytes)| bytes.starts_with(RESUME) && bytes.ends_with(b"="))
        .map(|(at, _)| at + RESUME.len())
        .collect();
    for at in at {
        let length = bytes[at..].iter().position(|byte| *byte == b'\n');
        change(&mut bytes[at..][..length.unwrap_or(1)]);
    }
    bytes
}

impl Chat for Bent {
    fn gauges(&self) -> Gauges {
        self.server.gauges()
    }

    fn counters(&self) -> &Counters {
        self.server.counters()
    }

    fn log_bytes(&self) -> u64 {
        self.server.protocol().bytes()
    }
}

impl Machine for Bent {
    type Notice = News;

    fn handle_start(&mut self, now: Time) {
        self.server.handle_start(now);
    }

    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused> {
        self.server.handle_accepted(now, door, remote)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        if self.bend != Bend::AcceptsOn {
            self.server.handle_starved(now, door);
        }
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        self.server.handle_dialled(now, conn, outcome)
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        match self.bend {
            Bend::IgnoresReceived => {
                let bytes = in_hellos(bytes, |has| has[0] = b' ');
                self.server.handle_bytes(now, conn, &bytes)
            }
            Bend::Repeats => {
                let bytes = in_hellos(bytes, |has| {
                    let position = has.iter_mut().skip_while(|byte| **byte != b'.');
                    position
                        .filter(|byte| byte.is_ascii_digit())
                        .for_each(|digit| *digit = b'0');
                });
                self.server.handle_bytes(now, conn, &bytes)
            }
            Bend::None
            | Bend::RoundedTimeout
            | Bend::NoGeneration
            | Bend::NeverClose
            | Bend::NeverResume
            | Bend::AcceptsOn
            | Bend::SilentLoss => self.server.handle_bytes(now, conn, bytes),
        }
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.server.handle_sent(now, conn, count)
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.server.handle_lost(now, conn, loss)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.server.handle_timeout(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.server.handle_shutdown(now);
    }

    fn poll(&mut self) -> Option<Action<News>> {
        loop {
            let mut action = self.server.poll()?;
            if self.bend == Bend::SilentLoss
                && let Action::Notice(News::Following { lost, .. }) = &mut action
            {
                *lost = 0;
            }
            let lost = match &action {
                Action::Close(_) => self.bend == Bend::NeverClose,
                Action::Resume(_) => self.bend == Bend::NeverResume,
                Action::Dial { .. }
                | Action::Send(_)
                | Action::Pause(_)
                | Action::Shut(_)
                | Action::Open(_)
                | Action::Store(_)
                | Action::Discard { .. }
                | Action::Notice(_)
                | Action::Halt(_) => false,
            };
            if lost {
                continue;
            }
            if self.bend == Bend::NoGeneration
                && let Action::Send(conn) = action
            {
                let slot = u32::try_from(conn.slot()).unwrap_or(0);
                return Some(Action::Send(Conn::new(slot, 0)));
            }
            return Some(action);
        }
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.server.pending(conn, skip)
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let mut timeout = self.server.poll_timeout()?;
        if self.bend == Bend::RoundedTimeout {
            timeout.at = Time::from_micros(timeout.at.as_micros() / 1000 * 1000);
        }
        Some(timeout)
    }
}
