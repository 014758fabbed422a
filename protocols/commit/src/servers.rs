//! Sets of servers.

use alloc::collections::BTreeSet;
use core::fmt;

/// A set of servers, by id. Written as `0,2,5`, or `-` if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Servers(BTreeSet<u32>);

impl Servers {
    /// Whether `server` is in it.
    #[must_use]
    pub fn has(&self, server: u32) -> bool {
        self.0.contains(&server)
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Its servers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// Those of it that are in `other` too.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// It, without `server`.
    #[must_use]
    pub fn without(&self, server: u32) -> Self {
        let mut rest = self.clone();
        rest.remove(server);
        rest
    }

    pub(crate) fn insert(&mut self, server: u32) {
        self.0.insert(server);
    }

    pub(crate) fn remove(&mut self, server: u32) -> bool {
        self.0.remove(&server)
    }
}

impl FromIterator<u32> for Servers {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (i, id) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{id}")?;
        }
        Ok(())
    }
}
