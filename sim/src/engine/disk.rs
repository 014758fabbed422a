//! Hosts' disks: what machines store, when it is durable, and what is found after a death.

use super::host::HostState;
use super::queue::Kind;
use super::{Engine, Flow, World};
use crate::disk::{DiskError, SimDisk};
use crate::names::Host;
use crate::observer::{DiskEvent, Ending, Fact, Observer};
use crate::plan::{DiskFault, Fate};
use crate::random::Choice;
use chatroom_machine::{Machine, VolumeId};
use chatroom_storage::{Batch, Disk, Found, Intake, Store};

/// How long a commit takes on a disk that is well, in microseconds: at least, and on top.
const LATENCY: u64 = 50;
const JITTER: u64 = 450;

/// A host's disk, through all its lives.
pub(super) struct DiskState {
    disk: SimDisk,
    /// Microseconds that a commit takes on top.
    slow: u64,
    /// What the present life does with it.
    life: Option<Use>,
    commits: u32,
}

/// A life that uses a disk.
struct Use {
    store: Store<Box<dyn Disk<Error = DiskError>>>,
    intake: Intake,
    batch: Option<Batch>,
    /// A commit that ended while the host stood still.
    ended: bool,
}

impl DiskState {
    fn new(seed: u64, host: usize) -> Box<Self> {
        let choice = Choice::seed(seed).on("disk").at(host as u64);
        Box::new(Self {
            disk: SimDisk::new(choice),
            slow: 0,
            life: None,
            commits: 0,
        })
    }
}

impl HostState {
    fn using(&mut self) -> Option<&mut Use> {
        self.disk.as_mut()?.life.as_mut()
    }
}

impl<W: World, O: Observer<W::Machine>> Engine<'_, W, O> {
    fn disk_fact(&mut self, host: usize, event: DiskEvent<'_>) -> Flow {
        let who = self.who(host);
        let fact = Fact::Disk { who, event };
        self.watch.see(self.now, &self.machines, &fact)
    }

    fn disk(&mut self, host: usize) -> &mut DiskState {
        let seed = self.plan.seed;
        self.hosts[host]
            .disk
            .get_or_insert_with(|| DiskState::new(seed, host))
    }

    /// Tells a new life what is found in its volumes. If that can't be used the life ends.
    pub(super) fn recover(&mut self, host: usize) -> Flow {
        let Some(machine) = self.machines[host].as_ref() else {
            return Ok(());
        };
        let volumes = machine.volumes();
        if volumes.is_empty() {
            return Ok(());
        }
        let disk = self.disk(host).disk.clone();
        let name = self.who(host).host;
        let disk = self.world.disk(name, disk);
        let mut found = Vec::new();
        let opened = Store::open(disk, volumes, &mut |each| {
            found.push(match each {
                Found::Record {
                    volume,
                    number,
                    bytes,
                } => (volume, number, Some(bytes.to_vec())),
                Found::End { volume, next } => (volume, next, None),
            });
        });
        let store = match opened {
            Ok(store) => store,
            Err(error) => return self.disk_failed(host, &error.to_string()),
        };
        // Each batch in a file of its own, or some in one.
        let choice = Choice::seed(self.plan.seed).on("segment");
        let segment = match choice.on("each").chance(400) {
            true => 1,
            false => choice.between(200, 4_000),
        };
        let mut intake = Intake::new(volumes);
        for (volume, number, bytes) in found {
            let event = match &bytes {
                Some(bytes) => DiskEvent::Recovered {
                    volume,
                    number,
                    bytes,
                },
                None => DiskEvent::RecoveryDone {
                    volume,
                    next: number,
                },
            };
            self.disk_fact(host, event)?;
            let Some((machine, now)) = self.call(host, "handle_recovered") else {
                return Ok(());
            };
            match bytes {
                Some(bytes) => machine.handle_recovered(now, volume, number, &bytes),
                None => {
                    intake.set_next(volume, number);
                    machine.handle_recovery_done(now, volume, number);
                }
            }
        }
        self.disk(host).life = Some(Use {
            store: store.with_segment(segment),
            intake,
            batch: None,
            ended: false,
        });
        Ok(())
    }

    /// A machine has unsaved records.
    pub(super) fn store(&mut self, host: usize, volume: VolumeId) -> Flow {
        let using = self.hosts[host].using();
        if using.is_some_and(|using| using.intake.store(volume)) {
            return Ok(());
        }
        let text = format!("host {host} wants to store in volume {volume}, which it does not have");
        self.broken("bad-handle", text)
    }

    /// A machine no longer needs records.
    pub(super) fn discard(&mut self, host: usize, volume: VolumeId, through: u64) -> Flow {
        let using = self.hosts[host].using();
        if using.is_some_and(|using| using.intake.discard(volume, through)) {
            return Ok(());
        }
        let text = format!(
            "host {host} discards record {through} of volume {volume}, which is no log or has no \
             such record stored"
        );
        self.broken("bad-handle", text)
    }

    /// Begins a commit if there is something to store and none is under way.
    pub(super) fn commit(&mut self, host: usize) -> Flow {
        let Some(machine) = self.machines[host].as_ref() else {
            return Ok(());
        };
        let state = &mut self.hosts[host];
        let Some(disk) = state.disk.as_mut() else {
            return Ok(());
        };
        let Some(using) = disk.life.as_mut() else {
            return Ok(());
        };
        let Some(batch) = using.intake.take(machine) else {
            return Ok(());
        };
        let latency = LATENCY + disk.disk.draw().below(JITTER + 1) + disk.slow;
        disk.commits += 1;
        let stamp = disk.commits;
        let records: Vec<_> = batch.records().collect();
        using.batch = Some(batch);
        let at = self.now + latency;
        let index = u16::try_from(host).unwrap_or(u16::MAX);
        self.queue.push(at, Kind::Commit { host: index, stamp });
        for (volume, first, count) in records {
            let event = DiskEvent::Storing {
                volume,
                first,
                count,
            };
            self.disk_fact(host, event)?;
        }
        Ok(())
    }

    /// A commit ends. All that it does is done at this moment; what comes before is as if it had
    /// not begun, or is settled when the life ends in the middle of it.
    pub(super) fn commit_ends(&mut self, host: u16, stamp: u32) -> Flow {
        let host = usize::from(host);
        let paused = self.hosts[host].paused;
        let Some(disk) = self.hosts[host].disk.as_mut() else {
            return Ok(());
        };
        if disk.commits != stamp {
            return Ok(());
        }
        let Some(using) = disk.life.as_mut() else {
            return Ok(());
        };
        if paused {
            using.ended = true;
            return Ok(());
        }
        let Some(batch) = using.batch.take() else {
            return Ok(());
        };
        if let Err(error) = using.store.commit(&batch) {
            return self.disk_failed(host, &error.to_string());
        }
        let numbers: Vec<_> = batch.records().map(|(_, first, _)| first).collect();
        let stored = using.intake.finish(batch);
        for ((volume, count), first) in stored.into_iter().zip(numbers) {
            let event = DiskEvent::Stored {
                volume,
                first,
                count,
            };
            self.disk_fact(host, event)?;
            if let Some((machine, now)) = self.call(host, "handle_stored")
                && let Err(misuse) = machine.handle_stored(now, volume, count)
            {
                let text = format!("host {host}: handle_stored({volume}, {count}): {misuse}");
                return self.broken("misuse", text);
            }
            if let Some(machine) = self.machines[host].as_ref()
                && let Some(using) = self.hosts[host].using()
            {
                using.intake.recheck(machine, volume);
            }
        }
        self.drain(host)
    }

    /// What ended while the host stood still.
    pub(super) fn commit_resumes(&mut self, host: usize) -> Flow {
        let Some(disk) = self.hosts[host].disk.as_mut() else {
            return Ok(());
        };
        let stamp = disk.commits;
        if disk
            .life
            .as_mut()
            .is_some_and(|using| std::mem::take(&mut using.ended))
        {
            let host = u16::try_from(host).unwrap_or(u16::MAX);
            return self.commit_ends(host, stamp);
        }
        Ok(())
    }

    /// The driver ends a life whose disk failed.
    fn disk_failed(&mut self, host: usize, error: &str) -> Flow {
        self.disk_fact(host, DiskEvent::Failed { error })?;
        self.end(host, Ending::Failed)
    }

    /// A life ends, perhaps in the middle of a commit: then any part of that is done.
    pub(super) fn leave_disk(&mut self, host: usize, how: Ending) {
        let Some(disk) = self.hosts[host].disk.as_mut() else {
            return;
        };
        if let Some(mut using) = disk.life.take()
            && let Some(batch) = using.batch
        {
            // A life that ends in good order waits for it.
            if how != Ending::Done {
                let all = batch.bytes() as u64 + 8;
                disk.disk.set_fuse(Some(disk.disk.draw().below(all)));
            }
            // Nobody is left to be told how it ended.
            let _ = using.store.commit(&batch);
            disk.disk.set_fuse(None);
        }
    }

    /// Something happens to a disk.
    pub(super) fn disk_fault(&mut self, host: Host, fault: DiskFault) -> Flow {
        let host = host.index();
        match fault {
            DiskFault::PowerCut => {
                self.end(host, Ending::Killed(Fate::Silence))?;
                self.disk(host).disk.lose_power();
            }
            DiskFault::Slow(by) => self.disk(host).slow = by.as_micros(),
            DiskFault::Full(full) => self.disk(host).disk.set_full(full),
            DiskFault::FailSync => self.disk(host).disk.fail_sync(true),
            DiskFault::Flip(bit) => self.disk(host).disk.flip(bit),
        }
        Ok(())
    }

    /// Disks are quick and have room again, and no sync is about to fail.
    pub(super) fn heal_disk(&mut self, host: usize) {
        if let Some(disk) = &mut self.hosts[host].disk {
            disk.slow = 0;
            disk.disk.set_full(false);
            disk.disk.fail_sync(false);
        }
    }
}
