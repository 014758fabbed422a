//! What a server broadcasts, encoded once and shared by all its links: each link reads it from a
//! cursor of its own. Blocks that every cursor has passed are freed.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes of one block.
pub(crate) const BLOCK: usize = 64 << 10;

/// A byte stream without a beginning: offsets count from the life's first byte.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Stream {
    /// All but the last are full.
    blocks: VecDeque<Vec<u8>>,
    /// The offset of the first block's first byte.
    base: u64,
    end: u64,
}

impl Stream {
    /// The offset behind the last byte.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes are held.
    pub(crate) const fn held(&self) -> u64 {
        self.end - self.base
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

    /// The first contiguous piece from `cursor` on; empty at the end and behind it.
    pub(crate) fn piece(&self, cursor: u64) -> &[u8] {
        let from = (cursor - self.base) as usize;
        let block = self.blocks.get(from / BLOCK);
        block.and_then(|b| b.get(from % BLOCK..)).unwrap_or(&[])
    }

    /// Whether a block ends between two cursors, or where the later one stands.
    pub(crate) const fn block_ends(&self, from: u64, to: u64) -> bool {
        (from - self.base) / (BLOCK as u64) < (to - self.base) / (BLOCK as u64)
    }

    /// Frees what lies before `cursor`, the least that anybody still reads from.
    pub(crate) fn trim(&mut self, cursor: u64) {
        if cursor == self.end {
            // One block stays, empty: the next broadcast needs no allocation.
            self.blocks.truncate(1);
            if let Some(block) = self.blocks.front_mut() {
                block.clear();
            }
            self.base = self.end;
        }
        while self.base + BLOCK as u64 <= cursor {
            self.blocks.pop_front();
            self.base += BLOCK as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn read(stream: &Stream, mut cursor: u64) -> Vec<u8> {
        let mut out = vec![];
        while cursor < stream.end() {
            let piece = stream.piece(cursor);
            assert!(!piece.is_empty());
            out.extend_from_slice(piece);
            cursor += piece.len() as u64;
        }
        out
    }

    #[test]
    fn cursors_read_the_same_bytes_and_trimming_frees_only_what_all_have_passed() {
        let mut stream = Stream::default();
        let mut whole = vec![];
        for i in 0..5000u32 {
            let bytes = vec![i as u8; 40 + (i % 7) as usize];
            whole.extend_from_slice(&bytes);
            stream.append(&bytes);
        }
        assert_eq!(read(&stream, 0), whole);
        let cursor = BLOCK as u64 + 11;
        stream.trim(cursor);
        assert_eq!(stream.held(), stream.end() - BLOCK as u64);
        assert_eq!(read(&stream, cursor), whole[cursor as usize..]);
        stream.trim(stream.end());
        assert_eq!(stream.held(), 0);
        assert_eq!(stream.piece(stream.end()), b"");
        let from = stream.end();
        stream.append(b"more");
        assert_eq!(read(&stream, from), b"more");
    }

    #[test]
    fn a_cursor_at_a_block_boundary_reads_on_in_the_next_block() {
        let mut stream = Stream::default();
        stream.append(&vec![1; BLOCK]);
        assert_eq!(stream.piece(BLOCK as u64), b"");
        stream.append(b"x");
        assert_eq!(stream.piece(BLOCK as u64), b"x");
        stream.trim(BLOCK as u64);
        assert_eq!(stream.held(), 1);
        assert_eq!(stream.piece(BLOCK as u64), b"x");
    }
}
