//! The names of the properties, as violations carry them: the number is SPEC's.

/// Every entry of a log is an earlier broadcast, byte for byte.
pub const NO_CREATION: &str = "1-no-creation";
/// A broadcast is at most once in a log.
pub const NO_DUPLICATION: &str = "2-no-duplication";
/// Entries of one life in the order of their broadcasts, gaps only where a session broke.
pub const FIFO: &str = "3-fifo";
/// All entries of a life before those of the next.
pub const LIVES: &str = "4-lives-in-order";
/// An own message is in the log before the next command of its master is answered.
pub const OWN: &str = "5-own-messages";
/// What was broadcast while a session stood, and stands, arrived.
pub const VALIDITY: &str = "6-validity";
/// What arrived of a dead sender is a prefix.
pub const PREFIX: &str = "7-prefix";
/// A life begins with an empty log, and is sent nothing from before its sessions.
pub const EMPTY_START: &str = "8-empty-start";
/// A reply is the log, exactly; what masters are told agrees with what happened.
pub const REPLIES: &str = "9-replies";
/// Who died or fell silent is down within [`NOTICE`](super::NOTICE).
pub const COMPLETENESS: &str = "10-completeness";
/// Who is up and reachable stays up, and who comes back is up within [`REUNION`](super::REUNION).
pub const ACCURACY: &str = "11-accuracy";
/// Nothing grows past its limit, and nobody is left without service.
pub const BOUNDS: &str = "12-bounds";
