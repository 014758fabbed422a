//! What a machine stores: taken for a commit, and reported after it.

use super::connections::used;
use super::{Change, Observer, Shell};
use crate::error::Error;
use crate::storage::Files;
use chatroom_machine::Machine;
use chatroom_storage::{Batch, Found};

impl<M: Machine, O: Observer<M>> Shell<M, O> {
    /// Tells the machine what is found in its volumes.
    pub(super) fn recover(&mut self) -> Result<(), Error> {
        let Some(directory) = self.directory.take() else {
            return Ok(());
        };
        let now = self.clock.now();
        let (machine, intake) = (&mut self.machine, &mut self.intake);
        let volumes = machine.volumes();
        let files = Files::open(directory, volumes, &mut |found| match found {
            Found::Record {
                volume,
                number,
                bytes,
            } => machine.handle_recovered(now, volume, number, bytes),
            Found::End { volume, next } => {
                intake.set_next(volume, next);
                machine.handle_recovery_done(now, volume, next);
            }
        })?;
        self.files = Some(files);
        Ok(())
    }

    /// The machine's files, once, after [`start`](Shell::start); `None` if it has no volumes.
    pub fn take_files(&mut self) -> Option<Files> {
        self.files.take()
    }

    /// What is to be made durable with [`Files::commit`], then given back to
    /// [`stored`](Shell::stored); `None` if there is nothing, or a batch is under way. After
    /// [`Change::Store`] there is one.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.store_told = false;
        if self.outcome.is_some() {
            return None;
        }
        self.intake.take(&self.machine)
    }

    /// Tells the machine that a batch is durable. There may be another right after it.
    pub fn stored(&mut self, batch: Batch) {
        let now = self.clock.now();
        let stored = self.intake.finish(batch);
        if self.outcome.is_some() {
            return;
        }
        for (volume, count) in stored {
            used(self.machine.handle_stored(now, volume, count));
            self.intake.recheck(&self.machine, volume);
        }
        self.drain(now);
    }

    /// Has the runtime take a batch, if there is one that it was not told of.
    pub(super) fn tell_store(&mut self) {
        if !self.store_told && self.intake.is_ready() {
            self.store_told = true;
            self.changes.push(Change::Store);
        }
    }
}
