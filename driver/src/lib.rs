//! What every runtime of a [`Machine`](chatroom_machine::Machine) does alike: bind its
//! doors, keep its sockets, turn readiness into calls and actions into system calls.
//!
//! A runtime adds only the waiting. It makes a [`Shell`], calls [`Shell::start`], and then, again
//! and again:
//!
//! 1. waits for a socket, the [`Stop`], or [`Shell::deadline`];
//! 2. tells the shell what came true: [`accept`](Shell::accept), [`readable`](Shell::readable),
//!    [`writable`](Shell::writable), [`expire`](Shell::expire), [`stop`](Shell::stop),
//!    [`starve`](Shell::starve);
//! 3. goes through [`Shell::take_changes`], which say what to wait for from now on;
//! 4. if the machine has volumes, has [`Files::commit`] done for each [`Shell::take_batch`], where
//!    blocking harms nobody, and gives the batch to [`Shell::stored`];
//! 5. ends once there is a [`Shell::outcome`], with [`Shell::farewell`], whose outcome counts.
//!
//! What a runtime waits in is its own choice; a [`Poller`] is here for all that want one. What differs
//! between systems is in two files, `linux` and `unix`; the second is for macOS, and for Linux with the
//! feature `portable`, so that its tests run there too.
//!
//! Nothing here knows what travels over a connection.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod addresses;
mod clock;
mod error;
mod leaving;
mod observer;
mod poller;
mod shell;
mod socket;
mod stop;
mod storage;
// What differs between systems is in these two files, behind one interface.
#[cfg_attr(
    all(
        any(target_os = "linux", target_os = "android"),
        not(feature = "portable")
    ),
    path = "linux.rs"
)]
#[cfg_attr(
    not(all(
        any(target_os = "linux", target_os = "android"),
        not(feature = "portable")
    )),
    path = "unix.rs"
)]
mod system;
#[cfg(feature = "testing")]
pub mod testing;

pub use addresses::Addresses;
pub use clock::Clock;
pub use error::Error;
pub use observer::{Observer, Silent};
pub use poller::{Event, Interest, PollMode, Source};
pub use shell::{Change, Outcome, Progress, Reads, Shell};
pub use stop::{Stop, Stopper};
pub use storage::{DiskError, Files};
pub use system::{Events, Poller, Timer};
