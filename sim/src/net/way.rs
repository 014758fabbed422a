//! What holds for one direction between two hosts.

use crate::plan::Connects;

/// The state of a direction between two hosts.
#[derive(Clone, Debug)]
pub(crate) struct WayState {
    pub(crate) cut: bool,
    pub(crate) clogged: bool,
    pub(crate) connects: Connects,
    /// Microseconds on top.
    pub(crate) lag: u64,
    /// Of 1000 chunks, how many are damaged.
    pub(crate) damage: u32,
    /// Bytes that fit; 0 for the default.
    pub(crate) buffer: u32,
    /// How many dials went this way: part of the next one's key.
    pub(crate) dials: u64,
}

impl WayState {
    pub(crate) const fn new() -> Self {
        Self {
            cut: false,
            clogged: false,
            connects: Connects::Work,
            lag: 0,
            damage: 0,
            buffer: 0,
            dials: 0,
        }
    }

    /// Whether nothing gets through for now.
    #[inline]
    pub(crate) const fn blocked(&self) -> bool {
        self.cut || self.clogged
    }
}
