//! The cases, by what they are about.

pub(crate) mod bursts;
pub(crate) mod clients;
pub(crate) mod ends;
pub(crate) mod full;
pub(crate) mod input;
pub(crate) mod masters;
pub(crate) mod mixed;
pub(crate) mod peers;
pub(crate) mod readers;
pub(crate) mod strangers;
