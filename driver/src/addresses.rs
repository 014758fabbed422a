//! Where a machine listens, whom it can reach, and where its files are.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The addresses behind the machine's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where [`Door(i)`](chatroom_machine::Door) listens. Port 0 lets the system choose.
    pub doors: Vec<SocketAddr>,
    /// Where [`Place(i)`](chatroom_machine::Place) is found.
    pub places: Vec<SocketAddr>,
    /// The directory for the machine's [volumes](chatroom_machine::Machine::volumes); made if
    /// there is none, and locked during the run. A machine that has volumes does not start without.
    pub state: Option<PathBuf>,
}
