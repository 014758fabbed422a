//! A machine's calls and outputs on file, and their replay.
//!
//! [`Recorder`] is a [`Machine`](chatroom_machine::Machine) around another: it writes every
//! call and every output to a file. [`replay`] feeds the calls of such a file to a fresh machine
//! and names the first output that differs. [`Records`] reads such a file without a machine.
//! Nothing here knows what the machine is for.
//!
//! # The format, version 3
//!
//! Integers are *varints*: seven bits a byte, least significant first, the top bit set on all but
//! the last byte; at most ten bytes. Everything else is bytes.
//!
//! ```text
//! file    = magic version header record*
//! magic   = "chatrec\n"                      8 bytes
//! version = 0x03                           0x02 can be read too: the same without storage
//! header  = length bytes sum                 the caller's: enough to build the machine again
//! record  = length body sum                  length of body, at most 16 MiB
//! sum     = 2 bytes, little endian
//! ```
//!
//! `sum` is a 32-bit FNV-1a over the version (not so in version 2), all header bytes and bodies so far, its halves folded together
//! with exclusive or: a record that was changed, lost or moved shows at the next sum. A file that
//! ends within a record, or whose very last record has a wrong sum, was torn there by the end of
//! the recorder: the piece is ignored, and the [`Report`] says so.
//!
//! A body is a tag and its fields. `conn` is two varints, slot and generation; `time` is the
//! number of microseconds since the call before (the first: since the driver's origin), modulo
//! 2^64; `rest` goes to the end of the body.
//!
//! | tag | call | fields |
//! | --- | --- | --- |
//! | 1 | start | time |
//! | 2 | accepted | time, door, 0 there or 1 already gone, source: its upper and lower half as varints |
//! | 3 | starved | time, door |
//! | 4 | dialled | time, conn, 0 connected or 1 failed |
//! | 5 | bytes | time, conn, rest: the bytes |
//! | 6 | sent | time, conn, count, rest: the first `count` bytes pending (an output) |
//! | 7 | sent, the same bytes as the last 6 | time, conn, count |
//! | 8 | lost | time, conn, 0 finished or 1 broken |
//! | 9 | timeout | time |
//! | 10 | shutdown | time |
//! | 11 | recovered | time, volume, number, rest: the record |
//! | 12 | recovery done | time, volume, next number |
//! | 13 | stored | time, volume, count, rest: the first `count` unsaved records, each behind its length (an output) |
//!
//! | tag | output | fields |
//! | --- | --- | --- |
//! | 32 | accepted gave a connection | conn |
//! | 33 | accepted refused | |
//! | 34 | the call was misuse | 0 stale, 1 wrong state, 2 too much |
//! | 35 | poll: dial | conn, place |
//! | 36 to 39 | poll: send, pause, resume, close | conn |
//! | 40, 41 | poll: shut, open | door |
//! | 42 | poll: notice | level (0 debug, 1 info, 2 warn), rest: its text |
//! | 43 | poll: halt | 0 crash, 1 done, 2 unfinished |
//! | 44 | poll: nothing more, and no timeout | |
//! | 45 | poll: nothing more, with a timeout | microseconds from the last call, judges, rest: why |
//! | 46 | poll: nothing more, the same timeout as before | |
//! | 47 | poll: store | volume |
//! | 48 | poll: discard | volume, number |
//!
//! `judges` is 0 for never, else one more than the microseconds from the last call, both modulo
//! 2^64. After `accepted` comes 32 or 33; after another call comes 34 if it was misuse. `volume`
//! is one byte.
//!
//! Files of versions 2 and 3 stay readable; any change to the above is a new version, and a
//! version that can't be read is refused by name.

#![forbid(unsafe_code)]

mod difference;
mod file;
mod format;
mod reader;
mod recorder;
mod records;
mod replay;

pub use difference::Difference;
pub use file::{create, record};
pub use format::{Call, Due, HEADER_MAX, OLDEST, Output, RECORD_MAX, Record, VERSION};
pub use reader::FormatError;
pub use recorder::{Recorder, Rescue};
pub use records::Records;
pub use replay::{Failure, Report, replay};
