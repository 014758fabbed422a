//! Bytes to lines: a stream in any pieces, out come whole lines without their newline. Knows
//! nothing of what a line means, and holds at most one unfinished line of a bounded length.

use alloc::vec::Vec;
use memchr::memchr;

/// Holds the unfinished line between two pieces of a stream.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Framer {
    rest: Vec<u8>,
    max: usize,
}

/// A line longer than the framer's maximum.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Framer {
    /// A framer for lines of at most `max` bytes, newline excluded.
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            rest: Vec::new(),
            max,
        }
    }

    /// Whether no line is unfinished.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next line off `input`, or keeps all of it for later and gives `None`.
    ///
    /// A line lies in `input` itself unless it began in an earlier piece. After `TooLong` the
    /// stream is past repair for [`next`](Self::next) until [`skip`](Self::skip) found its end.
    pub(crate) fn next<'s, 'a: 's>(
        &'s mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<&'s [u8]>, TooLong> {
        match memchr(b'\n', input) {
            Some(end) => {
                let line = &input[..end];
                if self.rest.len() + line.len() > self.max {
                    return Err(TooLong);
                }
                *input = &input[end + 1..];
                if self.rest.is_empty() {
                    return Ok(Some(line));
                }
                self.rest.extend_from_slice(line);
                Ok(Some(&self.rest))
            }
            None => {
                if self.rest.len() + input.len() > self.max {
                    return Err(TooLong);
                }
                self.rest.extend_from_slice(input);
                *input = &[];
                Ok(None)
            }
        }
    }

    /// To be called when a line that [`next`](Self::next) gave was dealt with.
    pub(crate) fn done(&mut self) {
        self.rest.clear();
        // Keeping a large buffer for every link would cost more than making one when needed.
        self.rest.shrink_to(4096);
    }

    /// Skips to the end of the present line; true when it was found.
    pub(crate) fn skip(&mut self, input: &mut &[u8]) -> bool {
        self.done();
        match memchr(b'\n', input) {
            Some(end) => {
                *input = &input[end + 1..];
                true
            }
            None => {
                *input = &[];
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn lines(max: usize, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut framer = Framer::new(max);
        let mut out = vec![];
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = framer.next(&mut input)? {
                out.push(line.to_vec());
                framer.done();
            }
        }
        Ok(out)
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_byte_more_does_not() {
        assert_eq!(lines(3, &[b"abc\n"]), Ok(vec![b"abc".to_vec()]));
        assert_eq!(lines(3, &[b"abcd\n"]), Err(TooLong));
        assert_eq!(lines(3, &[b"ab", b"c\n"]), Ok(vec![b"abc".to_vec()]));
        assert_eq!(lines(3, &[b"abc"]), Ok(vec![]));
        assert_eq!(lines(3, &[b"ab", b"cd"]), Err(TooLong));
        assert_eq!(lines(3, &[b"ab", b"cd\n"]), Err(TooLong));
    }

    #[test]
    fn skipping_ends_behind_the_newline() {
        let mut framer = Framer::new(2);
        let mut input: &[u8] = b"abc";
        assert_eq!(framer.next(&mut input), Err(TooLong));
        assert!(!framer.skip(&mut input));
        let mut input: &[u8] = b"de\nx\n";
        assert!(framer.skip(&mut input));
        assert_eq!(framer.next(&mut input), Ok(Some(&b"x"[..])));
    }

    proptest! {
        #[test]
        fn cutting_a_stream_changes_no_line(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut pieces = vec![];
            let mut from = 0;
            for cut in cuts {
                pieces.push(&stream[from..cut]);
                from = cut;
            }
            pieces.push(&stream[from..]);
            prop_assert_eq!(lines(200, &pieces), lines(200, &[&stream]));
        }
    }
}
