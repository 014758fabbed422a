//! The log of one life: every text it received, in order, kept as the very bytes that a `get`
//! answers with, so that an answer is a range of it and costs nothing to make.

use alloc::vec::Vec;

/// Bytes of one block. Large enough that a block costs nothing beside its texts, small enough
/// that an almost empty log is small.
const BLOCK: usize = 64 << 10;

/// Texts joined by commas, in blocks that never move once full.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Log {
    blocks: Vec<Vec<u8>>,
    len: u64,
    count: u64,
}

impl Log {
    /// How many bytes it holds, commas included: the end of a range that covers all.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// How many texts it holds.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes it would hold with `text`.
    pub(crate) const fn len_with(&self, text: &[u8]) -> u64 {
        self.len + text.len() as u64 + (self.count > 0) as u64
    }

    /// Appends one text.
    pub(crate) fn append(&mut self, text: &[u8]) {
        if self.count > 0 {
            self.push(b",");
        }
        self.push(text);
        self.count += 1;
    }

    fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = match self.blocks.last() {
                Some(block) => BLOCK - block.len(),
                None => 0,
            };
            if room == 0 {
                // The first block grows as needed: most servers at rest hold little.
                let start = if self.blocks.is_empty() { 0 } else { BLOCK };
                self.blocks.push(Vec::with_capacity(start));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(block) = self.blocks.last_mut() {
                block.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// The first contiguous piece of the bytes from `from` up to `to`.
    pub(crate) fn piece(&self, from: u64, to: u64) -> &[u8] {
        let (block, at) = (
            (from / BLOCK as u64) as usize,
            (from % BLOCK as u64) as usize,
        );
        match self.blocks.get(block) {
            Some(block) => {
                let end = block.len().min(at + (to - from) as usize);
                &block[at..end]
            }
            None => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn read(log: &Log, mut from: u64, to: u64) -> Vec<u8> {
        let mut out = vec![];
        while from < to {
            let piece = log.piece(from, to);
            assert!(!piece.is_empty());
            out.extend_from_slice(piece);
            from += piece.len() as u64;
        }
        out
    }

    #[test]
    fn texts_are_joined_by_commas_and_ranges_read_back() {
        let mut log = Log::default();
        assert_eq!(log.piece(0, 0), b"");
        assert_eq!(log.len_with(b"ab"), 2);
        log.append(b"ab");
        assert_eq!(log.len_with(b"c,d"), 6);
        log.append(b"c,d");
        assert_eq!((log.len(), log.count()), (6, 2));
        assert_eq!(read(&log, 0, 6), b"ab,c,d");
        assert_eq!(read(&log, 2, 4), b",c");
    }

    #[test]
    fn a_text_that_spans_blocks_reads_back_whole_and_costs_at_most_a_block_more() {
        let mut log = Log::default();
        let text = vec![b'x'; BLOCK / 2 + 1];
        let mut whole = vec![];
        for i in 0..9 {
            if i > 0 {
                whole.push(b',');
            }
            whole.extend_from_slice(&text);
            log.append(&text);
        }
        assert_eq!(read(&log, 0, log.len()), whole);
        assert_eq!(read(&log, 7, log.len()), whole[7..]);
        let held: usize = log.blocks.iter().map(Vec::capacity).sum();
        assert!(held <= whole.len() + BLOCK);
    }
}
