//! The network's parts as data: links with their two streams, and what is wrong with each way. How
//! they move is the engine's.

pub(crate) mod link;
pub(crate) mod pipe;
pub(crate) mod way;
