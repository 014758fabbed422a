//! How wrong the clocks of a grid may run for its promises to be kept: beyond that, a server that
//! does all it should is late, and the judge would blame it.

use super::judge::NOTICE;
use chatroom_chat::{HEARTBEAT, SUSPICION};
use std::ops::RangeInclusive;

const MILLION: u64 = 1_000_000;

/// The drifts that a plan for a grid may have, in parts per million, where a chunk arrives at most
/// `late` microseconds after it was sent and a timer fires at most `timer` microseconds late.
///
/// - A slow clock makes the suspicion of a silent peer late: what was under way when it fell silent
///   may arrive `late`, then [`SUSPICION`] passes on the slow clock, then the timer fires, and all
///   of that within [`NOTICE`].
/// - A fast clock makes suspicion early: it must not pass between two heartbeats of a peer whose
///   clock is as slow as it may be, with the timer and the way as late as they may be.
pub(super) fn bounds(late: u64, timer: u64) -> RangeInclusive<i64> {
    let (notice, heartbeat, suspicion) = (
        NOTICE.as_micros(),
        HEARTBEAT.as_micros(),
        SUSPICION.as_micros(),
    );
    let room = notice.saturating_sub(late + timer).max(1);
    // Both rounded towards the true rate.
    let slowest = (suspicion * MILLION).div_ceil(room).min(MILLION);
    let between = (heartbeat * MILLION).div_ceil(slowest) + late + timer;
    let fastest = (suspicion * MILLION / between).max(MILLION);
    let ppm = |rate: u64| rate.cast_signed() - MILLION.cast_signed();
    ppm(slowest)..=ppm(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_follow_from_the_times() {
        // 900 ms on the slowest clock are 1 s; on the fastest they are its heartbeat, 500 ms.
        assert_eq!(bounds(0, 0), -100_000..=800_000);
        // 45 ms are lost on the way: 900 ms must fit into 955 ms.
        assert_eq!(*bounds(25_000, 20_000).start(), -57_591);
        assert!(bounds(25_000, 20_000).end() < bounds(0, 0).end());
        // No time is left: only true clocks.
        assert_eq!(bounds(500_000, 500_000), 0..=0);
    }
}
