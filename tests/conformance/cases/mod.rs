//! The cases, by what they are about.

pub(crate) mod bursts;
pub(crate) mod ends;
pub(crate) mod input;
pub(crate) mod masters;
pub(crate) mod mixed;
pub(crate) mod peers;
