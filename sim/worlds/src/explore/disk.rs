//! What servers store: a record becomes durable at any later step, or is lost with a crash.

use super::judge::{Cause, broken};
use super::state::{State, Stored};
use super::{Explorable, Watch};
use crate::chat::judge::BOUNDS;
use chatroom_machine::{Checked, Machine, Time, VolumeId, VolumeKind};
use chatroom_sim::observer::{DiskEvent, Fact, Observer, Violation};
use std::rc::Rc;

impl<M: Explorable> State<M> {
    /// Tells a machine that is about to start what is durable.
    pub(super) fn recover<O: Observer<M>>(
        &mut self,
        host: u8,
        machine: &mut Checked<M>,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let who = self.who(host);
        let disk = &mut self.nodes[usize::from(host)].disk;
        disk.resize_with(machine.volumes().len(), Stored::default);
        for (volume, stored) in (0..).map(VolumeId).zip(&*disk) {
            for (number, record) in (stored.gone..).zip(&stored.records) {
                let event = DiskEvent::Recovered {
                    volume,
                    number,
                    bytes: record,
                };
                watch.see(&Fact::Disk { who, event })?;
                machine.handle_recovered(Time::ZERO, volume, number, record);
            }
            let next = stored.next();
            let event = DiskEvent::RecoveryDone { volume, next };
            watch.see(&Fact::Disk { who, event })?;
            machine.handle_recovery_done(Time::ZERO, volume, next);
        }
        Ok(())
    }

    /// The first unsaved record of a volume becomes durable, and its server is told.
    pub(super) fn store<O: Observer<M>>(
        &mut self,
        host: u8,
        volume: u8,
        watch: &mut Watch<O>,
    ) -> Result<(), Violation> {
        let who = self.who(host);
        let volume = VolumeId(volume);
        let live = self.live_mut(host);
        let kind = live.machine.volumes()[volume.index()].kind;
        let Some(record) = live.machine.unsaved(volume, 0) else {
            unreachable!("nothing is unsaved in volume {volume} of server {host}");
        };
        let record: Rc<[u8]> = record.into();
        let stored = &mut self.nodes[usize::from(host)].disk[volume.index()];
        let first = stored.next();
        stored.records.push_back(record);
        if kind == VolumeKind::Snapshot && first > 0 {
            stored.discard(first - 1);
        }
        let event = DiskEvent::Stored {
            volume,
            first,
            count: 1,
        };
        watch.see(&Fact::Disk { who, event })?;
        let live = self.live_mut(host);
        // A wrong answer is a breach, which is found as the machine settles.
        let _ = live.machine.handle_stored(live.now, volume, 1);
        self.settle(host, Cause::Other, watch)
    }

    /// A server no longer needs records.
    pub(super) fn discard(
        &mut self,
        host: u8,
        volume: VolumeId,
        through: u64,
    ) -> Result<(), Violation> {
        let stored = self.nodes[usize::from(host)].disk.get_mut(volume.index());
        match stored {
            Some(stored) if through < stored.next() => {
                stored.discard(through);
                Ok(())
            }
            Some(_) | None => {
                let text = format!(
                    "server {host} discards record {through} of volume {volume}, which is not stored"
                );
                broken(BOUNDS, text)
            }
        }
    }
}
