//! Where a machine listens and whom it can reach.

use std::net::SocketAddr;

/// The addresses behind the machine's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where [`Door(i)`](chatroom_machine::Door) listens. Port 0 lets the system choose.
    pub doors: Vec<SocketAddr>,
    /// Where [`Place(i)`](chatroom_machine::Place) is found.
    pub places: Vec<SocketAddr>,
}
