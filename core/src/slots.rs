//! Who holds which slot: the table behind every handle of a connection.

use alloc::vec::Vec;
use chatroom_machine::{Conn, Misuse};

/// Which layer a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Mesh,
    Clients,
}

/// Gives out handles: dense slots, each with the number of its users so far.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Slots {
    table: Vec<(u32, Option<Owner>)>,
    free: Vec<u32>,
}

impl Slots {
    pub(crate) fn take(&mut self, owner: Owner) -> Conn {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.table.push((0, None));
                self.table.len() as u32 - 1
            }
        };
        let entry = &mut self.table[slot as usize];
        entry.1 = Some(owner);
        Conn::new(slot, entry.0)
    }

    /// Who owns `conn`.
    pub(crate) fn owner(&self, conn: Conn) -> Result<Owner, Misuse> {
        match self.table.get(conn.slot()) {
            Some(&(generation, Some(owner))) if generation == conn.generation() => Ok(owner),
            Some(_) | None => Err(Misuse::Stale),
        }
    }

    /// Ends `conn`, whose handle is dead from now on. Its slot stays taken until it is
    /// [freed](Self::free).
    pub(crate) fn release(&mut self, conn: Conn) {
        debug_assert!(self.owner(conn).is_ok());
        let entry = &mut self.table[conn.slot()];
        entry.0 = entry.0.wrapping_add(1);
        entry.1 = None;
    }

    /// Gives the slot of `conn`, which was released, to whoever comes next: once the driver knows
    /// that the handle is dead, so that no two handles of one slot are ever open in a driver.
    pub(crate) fn free(&mut self, conn: Conn) {
        self.free.push(conn.slot() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_handle() {
        let mut slots = Slots::default();
        let old = slots.take(Owner::Mesh);
        slots.release(old);
        assert_eq!(slots.owner(old), Err(Misuse::Stale));
        assert_ne!(slots.take(Owner::Clients).slot(), old.slot());
        slots.free(old);
        let new = slots.take(Owner::Clients);
        assert_eq!(old.slot(), new.slot());
        assert_eq!(slots.owner(old), Err(Misuse::Stale));
        assert_eq!(slots.owner(new), Ok(Owner::Clients));
        assert_eq!(slots.owner(Conn::new(9, 0)), Err(Misuse::Stale));
    }
}
