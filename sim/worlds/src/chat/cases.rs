//! The interesting cases, by name: what must have come up in a sweep for it to have shown anything.

use chatroom_sim::generate::Profile;

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident = $text:literal in $($profile:ident)*;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        /// The cases that must come up in a sweep of [`ENOUGH`](chatroom_sim::sweep::ENOUGH) seeds of a profile.
        #[must_use]
        pub fn expected(profile: Profile) -> Vec<&'static str> {
            let mut names = Vec::new();
            $(if [$(Profile::$profile),*].contains(&profile) {
                names.push($name);
            })*
            names
        }
    };
}

cases! {
    /// For 1: a chunk ended inside a character.
    CUT_CHARACTER = "1 a chunk ended inside a character" in Calm Crash Chaos Bytes Swarm;
    /// For 1: a chunk ended inside a line.
    CUT_LINE = "1 a chunk ended inside a line" in Calm Crash Chaos Bytes Swarm;
    /// For 1: a text that looks like a line between servers.
    WIRE_TEXT = "1 a text that looks like a wire line arrived" in Calm Crash Chaos Swarm;
    /// For 1: a text as long as the limit allows, or nearly.
    LONGEST = "1 a text at the limit arrived" in Chaos Swarm;
    /// For 2: one life broadcast one text twice, and both arrived.
    SAME_TEXT = "2 one life's two equal texts both arrived" in Calm Crash Chaos Swarm;
    /// For 2: a session began between two lives that had one before, after messages.
    AGAIN = "2 a session after an earlier one of the same lives carried messages" in Chaos Swarm;
    /// For 3: messages were lost with a session.
    GAP = "3 a gap where a session broke" in Chaos Swarm;
    /// For 3: a session went on where an earlier one of the same lives had ended.
    RESUMED = "3 a session went on where an earlier one had ended" in Chaos Swarm;
    /// For 3: a link was replaced before its death was noticed.
    REPLACED = "3 a link was replaced before its death was noticed" in Crash Chaos Swarm;
    /// For 4: a log with messages of two lives of one server.
    TWO_LIVES = "4 a log with messages of two lives of one server" in Crash Chaos Swarm;
    /// For 5: a master asked right after a broadcast, in one piece with it.
    ASKED_AT_ONCE = "5 a master broadcast and asked in one piece" in Calm Crash Chaos Bytes Swarm;
    /// For 6: a session that lived to the end, with messages.
    WHOLE_SESSION = "6 a session with messages stood to the end" in Calm Crash Chaos Swarm;
    /// For 7: a sender died with its last messages at some peers and not at others.
    SOME_GOT_IT = "7 a dead sender's message reached some peers and not others" in Crash Chaos Swarm;
    /// For 8: a server came back to a grid that had messages.
    RETURN = "8 a server came back to a grid with messages" in Crash Chaos Swarm;
    /// For 9: a get whose log had a text with a comma.
    LONG_GET = "9 a reply of more than one piece" in Calm Crash Chaos Bytes Swarm;
    /// For 9: an error to a line that is no command.
    REFUSED = "9 an error for a line that is no command" in Calm Crash Chaos Bytes Swarm;
    /// For 9: a line of a watcher agreed.
    WATCHED = "9 a watcher was told of a delivery" in Calm Crash Chaos Bytes Swarm;
    /// For 10: a silent peer was noticed by its silence.
    SILENT = "10 a silent peer was noticed" in Crash Chaos Swarm;
    /// For 10: a peer's death was noticed by the end of its link.
    NOTICED = "10 a death was noticed by the end of the link" in Crash Chaos Swarm;
    /// For 11: a pair came together again.
    REUNION = "11 two servers that both lived on met again" in Chaos Swarm;
    /// For 11: a server went on after a pause, still up for a peer.
    PAUSE_SURVIVED = "11 a server was paused and stayed up" in Chaos Swarm;
    /// For 12: a peer fell behind to the limit.
    FELL_BEHIND = "12 a peer fell behind to the limit" in Chaos Swarm;
    /// For 12: masters had to wait for a peer.
    CONGESTED = "12 masters were congested" in Chaos Swarm;
    /// For 12: a master did not read what it was owed.
    STUFFED = "12 a master owed reading" in Chaos Swarm;
    /// For 12: a watcher was dropped.
    WATCHER_DROPPED = "12 a watcher fell behind and was dropped" in Chaos Swarm;
    /// For 12: the log was full and a broadcast was refused.
    LOG_FULL = "12 the log was full: a broadcast was refused" in Chaos Swarm;
    /// For 12: the log was full and messages of a peer were not kept.
    MISSED = "12 the log was full: messages of a peer were not kept" in Chaos Swarm;
    /// For 12: newcomers were closed to make room.
    CROWDED = "12 a newcomer that said nothing was closed to make room" in Chaos Swarm;
    /// For 12: all places for masters were taken.
    NO_PLACE = "12 a master found no place, or gave up its own" in Chaos Swarm;
    /// For 12: an HTTP request closed a master's connection.
    HTTP = "12 an HTTP request closed a connection" in Calm Crash Chaos Bytes Swarm;
    /// For 12: a link named a peer that was up on another.
    CONTESTED = "12 a link named a peer that was up on another" in;
    /// For 12: a broken line closed a link.
    BROKEN_LINE = "12 a broken line closed a link" in Bytes;
    /// For 12: a link said nothing in time.
    NO_GREETING = "12 a nameless link was given up" in Chaos Swarm;
    /// For 12: a dial took too long.
    DIAL_TIMEOUT = "12 a dial was given up" in Chaos Swarm;
    /// For 12: no descriptors.
    STARVED = "12 a server had no descriptors" in Chaos Swarm;
    /// For 12: a server ended in good order.
    ENDED = "12 a server ended in good order" in Chaos Swarm;
}
