//! Records that survive crashes: the format of a volume's files, and the order of writes, syncs
//! and renames that keeps them whole. `no_std`, without I/O of its own: a driver's directory and a
//! simulator's disk are both a [`Disk`], under the same [`Store`].
//!
//! # Files
//!
//! A log `NAME` is a row of segments, `NAME-NUMBER.log`, where `NUMBER` is the number of the first
//! record in it, in 20 digits. Only the last one is written to, and only at its end; from
//! [`SEGMENT`] bytes on the next batch begins a new one. Segments whose records were all discarded
//! are removed. A snapshot `NAME` is one file, `NAME.snapshot`; a new one is written to
//! `NAME.snapshot.new`, synced and renamed over it. A segment with a torn end is replaced in the
//! same way.
//!
//! # The format, version 1
//!
//! Numbers are little endian. `crc` is CRC-32C (Castagnoli), 4 bytes.
//!
//! ```text
//! file   = header record*                     a snapshot has exactly one record
//! header = magic version kind name first crc mark                          55 bytes
//! magic  = "chatvol\n"                        8 bytes
//! version = 1                                 1 byte
//! kind   = 0 log, 1 snapshot                  1 byte
//! name   = the volume's name, zeros behind it 32 bytes
//! first  = the number of the first record     8 bytes
//!          the header's crc is over all that stands before it
//! record = length crc bytes crc mark          13 bytes more than the record itself
//! length = how many bytes                     4 bytes, at most 64 MiB
//!          the first crc is over the record's number (8 bytes) and the length,
//!          the second over the record's number and the bytes
//! mark   = 0xa5                               1 byte
//! ```
//!
//! The number is not stored: it is counted from `first`, and a record that was left out, doubled
//! or moved has wrong sums.
//!
//! # A torn end, and corruption
//!
//! What was written and not yet synced when the power failed may be there in part. It ends early:
//! the file does, or what follows was never written and reads as zeros. No whole record ends with
//! a zero (that is what the mark is for), so zeros at the end of a file are never part of one. A
//! record that reaches beyond the last byte that is not zero is *torn*: it was never reported as
//! stored, and the end is cut off. The length has a sum of its own, so that a damaged length is
//! not taken for a torn record.
//!
//! Anything else that is not as it was written is *corrupt*: an error that names the file and the
//! offset. It is never skipped or cut off, since records behind it were promised to be durable
//! (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
mod disk;
mod error;
mod format;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use batch::{Batch, Intake};
pub use disk::Disk;
pub use error::Error;
pub use format::{
    Damage, HEADER, Header, NAME_MAX, OVERHEAD, Record, Scan, VERSION, encode_header, encode_record,
};
pub use store::{Found, SEGMENT, Store, check_volumes};
