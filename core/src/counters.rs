//! What a server counts in its life.

use crate::news::Why;

/// Sums since the server began; each only grows. [`Why::label`] names the closes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counters {
    /// Messages broadcast by the protocol.
    pub broadcasts: u64,
    /// Messages of peers that took effect.
    pub deliveries: u64,
    /// Messages of peers for which the protocol had no room.
    pub missed: u64,
    /// Bytes that came in, on links and from masters.
    pub bytes_in: u64,
    /// Bytes that the transport took, on links and to masters.
    pub bytes_out: u64,
    /// Lines of an unknown kind from known peers.
    pub skipped: u64,
    /// Requests of masters that were answered with an error.
    pub errors: u64,
    /// Connections accepted, at both doors.
    pub accepted: u64,
    /// Connections refused at the door.
    pub refused: u64,
    /// Accepts that failed for want of a resource.
    pub starved: u64,
    /// Dials begun.
    pub dials: u64,
    /// Sessions begun.
    pub ups: u64,
    /// Connections closed, by [`Why`] in the order of [`Why::ALL`].
    pub closes: [u64; Why::ALL.len()],
}

/// How things stand at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Peers that are up.
    pub peers: usize,
    /// Links that have not said who they are.
    pub nameless: usize,
    /// Masters connected, those without a valid command included.
    pub masters: usize,
    /// Bytes of broadcasts kept for the peer that is furthest behind.
    pub lag_bytes: u64,
    /// Bytes owed to all masters.
    pub owed_bytes: u64,
}
