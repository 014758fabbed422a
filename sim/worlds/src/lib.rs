//! The protocols on the simulator: for each its world, the generator of its plans and the judge of
//! its runs. The [simulator](chatroom_sim) itself knows none of them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod chat;
pub mod commit;
pub mod explore;
pub mod paxos;
