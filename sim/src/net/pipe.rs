//! One direction of a link: the bytes between a writer and the machine that reads them.

use crate::random::Choice;
use std::collections::VecDeque;

/// A piece of the stream that travels on its own.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    at: u64,
    len: usize,
}

/// A stream of bytes under way, in order, with the moments at which its pieces arrive.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// `bytes[head..]` is what was sent and not yet read. Emptied by moving `head`, so that it
    /// costs nothing and what is handed over is one slice.
    bytes: Vec<u8>,
    head: usize,
    chunks: VecDeque<Chunk>,
    /// When the end (a FIN) arrives, once it was sent; all chunks arrive before or with it.
    fin: Option<u64>,
    /// The reader was told of the end: there is no second one.
    ended: bool,
    /// The arrival of the last piece: nothing overtakes.
    last_at: u64,
    /// How many bytes may be between writer and reader.
    pub(crate) capacity: usize,
    /// Where the choices for this direction are drawn.
    pub(crate) choice: Choice,
    /// How many choices were drawn.
    pub(crate) drawn: u64,
    /// How many bytes were sent and read in all.
    pub(crate) sent: u64,
    /// See [`sent`](Pipe::sent).
    pub(crate) read: u64,
    /// Whether an event for the next arrival is in the queue.
    pub(crate) armed: bool,
    /// Whether the writer waits to be told that there is room (and an event for it may be under
    /// way).
    pub(crate) writer_waits: bool,
    /// What is sent vanishes (and fills the buffer, as nothing is acknowledged).
    pub(crate) severed: bool,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            head: 0,
            chunks: VecDeque::new(),
            fin: None,
            ended: false,
            last_at: 0,
            capacity: 0,
            choice: Choice::seed(0),
            drawn: 0,
            sent: 0,
            read: 0,
            armed: false,
            writer_waits: false,
            severed: false,
        }
    }

    /// Makes it as new, but keeps its memory.
    pub(crate) fn reset(&mut self, capacity: usize, choice: Choice) {
        self.bytes.clear();
        self.head = 0;
        self.chunks.clear();
        self.fin = None;
        self.ended = false;
        self.last_at = 0;
        self.capacity = capacity;
        self.choice = choice;
        self.drawn = 0;
        self.sent = 0;
        self.read = 0;
        self.armed = false;
        self.writer_waits = false;
        self.severed = false;
    }

    /// The next choice of this direction.
    #[inline]
    pub(crate) fn draw(&mut self) -> Choice {
        let index = self.drawn;
        self.drawn += 1;
        self.choice.at(index)
    }

    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len() - self.head)
    }

    /// Whether a writer that waits for room is told of it: coarsely, as by Linux.
    pub(crate) fn is_writable(&self) -> bool {
        self.room() >= self.capacity.div_ceil(3)
    }

    /// Puts bytes under way.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 && self.head >= 4096 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.sent += bytes.len() as u64;
    }

    /// Says when the next `len` of the appended bytes arrive: at `at`, or with what went before.
    #[inline]
    pub(crate) fn schedule(&mut self, at: u64, len: usize) {
        self.last_at = self.last_at.max(at);
        let at = self.last_at;
        self.chunks.push_back(Chunk { at, len });
    }

    /// Ends the stream after what was sent. A second end changes nothing.
    pub(crate) fn finish(&mut self, at: u64) {
        self.last_at = self.last_at.max(at);
        if !self.ended {
            self.fin.get_or_insert(self.last_at);
        }
    }

    /// Flips a bit of `len` bytes that begin `back` bytes before the end.
    pub(crate) fn damage(&mut self, back: usize, len: usize, choice: Choice) {
        let start = self.bytes.len() - back;
        let bit = choice.below(len as u64 * 8);
        let byte = usize::try_from(bit / 8).unwrap_or(0);
        if let Some(byte) = self.bytes.get_mut(start + byte) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// When the next piece or the end arrives.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<u64> {
        match self.chunks.front() {
            Some(chunk) => Some(chunk.at),
            None => self.fin,
        }
    }

    /// When the last of what was sent arrives.
    pub(crate) const fn last_at(&self) -> u64 {
        self.last_at
    }

    /// How many of at most `limit` bytes have arrived by `now` and were not read.
    #[inline]
    pub(crate) fn arrived(&self, now: u64, limit: usize) -> usize {
        let mut total = 0;
        for chunk in &self.chunks {
            if chunk.at > now || total >= limit {
                break;
            }
            total += chunk.len;
        }
        total.min(limit)
    }

    /// Whether all bytes were read and the end has arrived.
    pub(crate) fn at_end(&self, now: u64) -> bool {
        self.chunks.is_empty() && self.fin.is_some_and(|at| at <= now)
    }

    /// Whether the end has arrived, whatever waits unread before it.
    pub(crate) fn end_arrived(&self, now: u64) -> bool {
        self.fin.is_some_and(|at| at <= now)
    }

    /// The first `count` bytes under way.
    #[inline]
    pub(crate) fn front(&self, count: usize) -> &[u8] {
        &self.bytes[self.head..self.head + count]
    }

    /// Takes off the first `count` bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.head += count;
        self.read += count as u64;
        let mut left = count;
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = chunk.len.min(left);
            chunk.len -= taken;
            left -= taken;
            if chunk.len > 0 {
                return;
            }
            self.chunks.pop_front();
        }
    }

    /// Takes the end off.
    pub(crate) fn take_end(&mut self) {
        self.fin = None;
        self.ended = true;
    }

    /// Loses a drawn part of what has not arrived by `now`, from some byte on to the last.
    pub(crate) fn truncate(&mut self, now: u64, choice: Choice) {
        self.fin = None;
        let there = self.arrived(now, usize::MAX);
        let total: usize = self.chunks.iter().map(|chunk| chunk.len).sum();
        let kept = choice.between(there as u64, total as u64);
        let mut left = usize::try_from(kept).unwrap_or(there);
        self.bytes.truncate(self.head + left);
        self.chunks.retain_mut(|chunk| {
            chunk.len = chunk.len.min(left);
            left -= chunk.len;
            chunk.len > 0
        });
        self.last_at = self.chunks.back().map_or(now, |chunk| chunk.at.max(now));
    }

    /// Lets nothing arrive before `at`.
    pub(crate) fn hold(&mut self, at: u64) {
        self.last_at = self.last_at.max(at);
        match self.chunks.front_mut() {
            Some(chunk) => chunk.at = chunk.at.max(at),
            None => self.fin = self.fin.map(|fin| fin.max(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_let_go_when_it_is_much_and_the_greater_part() {
        for (sent, read, kept) in [
            (8192, 4096, true),
            (8191, 4096, false),
            (6000, 4095, true),
            (6000, 4096, false),
            (10, 10, false),
        ] {
            let mut pipe = Pipe::new();
            pipe.append(&vec![1; sent]);
            pipe.schedule(0, sent);
            pipe.consume(read);
            pipe.append(&[2]);
            let head = if kept { read } else { 0 };
            assert_eq!(pipe.head, head, "{sent} {read}");
            let left = pipe.front(sent - read + 1);
            assert_eq!(left[..sent - read], vec![1; sent - read]);
            assert_eq!(left.last(), Some(&2));
        }
    }
}
