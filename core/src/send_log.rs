//! What a server broadcasts, encoded once and shared by all its links: each link reads it from a
//! offset of its own. Blocks that every offset has passed are freed.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes of one block.
pub(crate) const BLOCK: usize = 64 << 10;

/// A byte log without a beginning: offsets count from the life's first byte.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct SendLog {
    /// All but the last are full.
    blocks: VecDeque<Vec<u8>>,
    /// The offset of the first block's first byte.
    base: u64,
    /// What lies before is no longer kept.
    start: u64,
    end: u64,
}

impl SendLog {
    /// The offset behind the last byte.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that is kept.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes are kept; less than [`BLOCK`] more are held.
    pub(crate) const fn held(&self) -> u64 {
        self.end - self.start
    }

    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.blocks.back().map_or(0, |block| BLOCK - block.len());
            if room == 0 {
                // The first block grows as needed: most servers at rest send little.
                let start = if self.blocks.is_empty() { 0 } else { BLOCK };
                self.blocks.push_back(Vec::with_capacity(start));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(block) = self.blocks.back_mut() {
                block.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Passes over `count` bytes that nobody will read, and everything before.
    pub(crate) fn skip(&mut self, count: usize) {
        self.end += count as u64;
        self.trim(self.end);
    }

    /// The first contiguous piece from `offset` on; empty at the end and behind it.
    pub(crate) fn piece(&self, offset: u64) -> &[u8] {
        let from = (offset - self.base) as usize;
        let block = self.blocks.get(from / BLOCK);
        block.and_then(|b| b.get(from % BLOCK..)).unwrap_or(&[])
    }

    /// Whether a block ends between two cursors, or where the later one stands.
    pub(crate) const fn block_ends(&self, from: u64, to: u64) -> bool {
        (from - self.base) / (BLOCK as u64) < (to - self.base) / (BLOCK as u64)
    }

    /// Frees what lies before `offset`, the least that anybody still reads from.
    pub(crate) fn trim(&mut self, offset: u64) {
        self.start = self.start.max(offset);
        if offset == self.end {
            // One block stays, empty: the next broadcast needs no allocation.
            self.blocks.truncate(1);
            if let Some(block) = self.blocks.front_mut() {
                block.clear();
            }
            self.base = self.end;
        }
        while self.base + BLOCK as u64 <= offset {
            self.blocks.pop_front();
            self.base += BLOCK as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn read(log: &SendLog, mut offset: u64) -> Vec<u8> {
        let mut out = vec![];
        while offset < log.end() {
            let piece = log.piece(offset);
            assert!(!piece.is_empty());
            out.extend_from_slice(piece);
            offset += piece.len() as u64;
        }
        out
    }

    #[test]
    fn cursors_read_the_same_bytes_and_trimming_frees_only_what_all_have_passed() {
        let mut log = SendLog::default();
        let mut whole = vec![];
        for i in 0..5000u32 {
            let bytes = vec![i as u8; 40 + (i % 7) as usize];
            whole.extend_from_slice(&bytes);
            log.append(&bytes);
        }
        assert_eq!(read(&log, 0), whole);
        let offset = BLOCK as u64 + 11;
        log.trim(offset);
        assert_eq!((log.start(), log.held()), (offset, log.end() - offset));
        assert_eq!(read(&log, offset), whole[offset as usize..]);
        log.trim(log.end());
        assert_eq!(log.held(), 0);
        assert_eq!(log.piece(log.end()), b"");
        let from = log.end();
        log.append(b"more");
        assert_eq!(read(&log, from), b"more");
    }

    #[test]
    fn a_cursor_at_a_block_boundary_reads_on_in_the_next_block() {
        let mut log = SendLog::default();
        log.append(&vec![1; BLOCK]);
        assert_eq!(log.piece(BLOCK as u64), b"");
        log.append(b"x");
        assert_eq!(log.piece(BLOCK as u64), b"x");
        log.trim(BLOCK as u64);
        assert_eq!((log.held(), log.blocks.len()), (1, 1));
        assert_eq!(log.piece(BLOCK as u64), b"x");
    }
}
