//! What all subjects do: five nodes in a full mesh, each of which sends a line to every other each
//! 100 ms, while a message takes 1 to 10 ms. And how the lines are read, the same for all.

use std::time::Duration;

pub(crate) const NODES: usize = 5;
pub(crate) const PERIOD: Duration = Duration::from_millis(100);
pub(crate) const MIN_LATENCY: Duration = Duration::from_millis(1);
pub(crate) const MAX_LATENCY: Duration = Duration::from_millis(10);

/// How many lines a node sends to each other one in so many seconds.
pub(crate) fn rounds(seconds: u64) -> u64 {
    u64::from(1000 / PERIOD.subsec_millis()) * seconds
}

/// How many lines come in, at all nodes together.
pub(crate) fn expected(seconds: u64) -> u64 {
    (NODES * (NODES - 1)) as u64 * rounds(seconds)
}

/// What `node` sends to everybody in a round.
pub(crate) fn line(node: usize, round: u64) -> String {
    format!("{node} {round}\n")
}

/// The reading end of a stream: takes any pieces, and allows nothing but all lines of one node, in
/// order.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    from: Option<usize>,
    pub(crate) count: u64,
}

impl Lines {
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if self.begun.is_empty() {
                self.whole(&bytes[..end]);
            } else {
                let mut line = std::mem::take(&mut self.begun);
                line.extend_from_slice(&bytes[..end]);
                self.whole(&line);
            }
            bytes = &bytes[end + 1..];
        }
        self.begun.extend_from_slice(bytes);
    }

    fn whole(&mut self, line: &[u8]) {
        let line = std::str::from_utf8(line).expect("text");
        let (from, round) = line.split_once(' ').expect("two words");
        let from = from.parse().expect("a node");
        assert_eq!(*self.from.get_or_insert(from), from, "one sender a stream");
        assert_eq!(round.parse(), Ok(self.count), "the next line of {from}");
        self.count += 1;
    }
}
