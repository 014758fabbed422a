//! What the command line of a protocol is made of: the [simulator's commands](sim) over a
//! [`Subject`](chatroom_sim::subject::Subject), errors of one sentence and a hint, a log on
//! standard error, and signals as a request to stop.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod failure;
pub mod logging;
pub mod look;
pub mod output;
pub mod signals;
pub mod sim;
