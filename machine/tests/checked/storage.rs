//! The rules of storage, on a machine that stores what it is given.

use chatroom_machine::*;

static VOLUMES: [Volume; 1] = [Volume {
    name: "log",
    kind: VolumeKind::Log,
}];
const LOG: VolumeId = VolumeId(0);

/// Stores one record at its start, in `volume`; `lax` takes any report.
struct Keeper {
    volume: VolumeId,
    lax: bool,
    unsaved: Vec<Vec<u8>>,
    actions: Vec<Action<Never>>,
}

#[derive(Debug)]
enum Never {}

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl Notice for Never {
    fn level(&self) -> Level {
        match *self {}
    }
}

impl Machine for Keeper {
    type Notice = Never;

    fn volumes(&self) -> &'static [Volume] {
        &VOLUMES
    }

    fn handle_start(&mut self, _: Time) {
        self.unsaved.push(b"record".to_vec());
        self.actions.push(Action::Store(self.volume));
    }

    fn handle_accepted(&mut self, _: Time, _: Door, _: Remote) -> Result<Conn, Refused> {
        Err(Refused)
    }

    fn handle_starved(&mut self, _: Time, _: Door) {}

    fn handle_dialled(&mut self, _: Time, _: Conn, _: Dialled) -> Result<(), Misuse> {
        Err(Misuse::Stale)
    }

    fn handle_bytes(&mut self, _: Time, _: Conn, _: &[u8]) -> Result<(), Misuse> {
        Err(Misuse::Stale)
    }

    fn handle_sent(&mut self, _: Time, _: Conn, _: usize) -> Result<(), Misuse> {
        Err(Misuse::Stale)
    }

    fn handle_lost(&mut self, _: Time, _: Conn, _: Loss) -> Result<(), Misuse> {
        Err(Misuse::Stale)
    }

    fn handle_stored(&mut self, _: Time, _: VolumeId, count: usize) -> Result<(), Misuse> {
        if count > self.unsaved.len() && !self.lax {
            return Err(Misuse::TooMuch);
        }
        self.unsaved.drain(..count.min(self.unsaved.len()));
        Ok(())
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn handle_shutdown(&mut self, _: Time) {}

    fn poll(&mut self) -> Option<Action<Never>> {
        self.actions.pop()
    }

    fn pending(&self, _: Conn, _: usize) -> &[u8] {
        &[]
    }

    fn unsaved(&self, _: VolumeId, skip: usize) -> Option<&[u8]> {
        self.unsaved.get(skip).map(Vec::as_slice)
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        (!self.actions.is_empty()).then_some(Timeout {
            at: Time::ZERO,
            why: "undrained",
            judges_at: None,
        })
    }
}

fn rules(volume: u8, lax: bool, drive: impl FnOnce(&mut Checked<Keeper>)) -> Vec<&'static str> {
    let keeper = Keeper {
        volume: VolumeId(volume),
        lax,
        unsaved: Vec::new(),
        actions: Vec::new(),
    };
    let mut machine = Checked::new(keeper, Checks::thorough());
    drive(&mut machine);
    let breaches = machine.breaches().iter();
    breaches.map(|breach| breach.rule.name()).collect()
}

fn start(machine: &mut Checked<Keeper>) {
    machine.handle_recovery_done(Time::ZERO, LOG, 0);
    machine.handle_start(Time::ZERO);
    while machine.poll().is_some() {}
}

#[test]
fn what_is_right_breaks_no_rule() {
    let broken = rules(0, false, |machine| {
        machine.handle_recovered(Time::ZERO, LOG, 0, b"earlier");
        start(machine);
        assert_eq!(machine.unsaved(LOG, 0), Some(&b"record"[..]));
        assert_eq!(machine.handle_stored(Time::ZERO, LOG, 1), Ok(()));
        assert_eq!(machine.unsaved(LOG, 0), None);
    });
    assert_eq!(broken, [""; 0]);
}

#[test]
fn a_volume_that_is_not_there_a_report_of_too_much_and_a_late_recovery_are_caught() {
    assert_eq!(rules(1, false, start), ["dead-handle"]);
    let too_much = |machine: &mut Checked<Keeper>| {
        start(machine);
        let _ = machine.handle_stored(Time::ZERO, LOG, 2);
    };
    assert_eq!(rules(0, false, too_much), ["sent-too-much"]);
    let taken = ["sent-too-much", "wrong-call-taken"];
    assert_eq!(rules(0, true, too_much), taken);
    let late = |machine: &mut Checked<Keeper>| {
        start(machine);
        machine.handle_recovered(Time::ZERO, LOG, 0, b"late");
    };
    assert_eq!(rules(0, false, late), ["call-in-wrong-state"]);
}
