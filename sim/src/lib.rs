//! Protocols on a network that one seed decides.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod engine;
pub mod names;
mod net;
pub mod observer;
pub mod plan;
pub mod random;
pub mod shrink;
pub mod sometimes;
pub mod sweep;
pub mod trace;
