//! A recording's bytes, cut into its header and the bodies of its records.

use crate::format::{HEADER_MAX, MAGIC, OLDEST, RECORD_MAX, Sum, VERSION, Varint};
use std::fmt;
use std::io::{self, BufReader, Read};

/// Why a file could not be read as a recording.
#[derive(Debug)]
#[non_exhaustive]
pub enum FormatError {
    /// It does not begin as a recording does.
    NotARecording,
    /// It is of another version of the format.
    Version(u8),
    /// The caller made no machine of the header.
    Header(String),
    /// It is damaged.
    Damaged {
        /// The offset of the record in the file.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It could not be read.
    Io(io::Error),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("this is no recording"),
            Self::Version(version) => write!(
                f,
                "this recording is of version {version} of the format, only {OLDEST} to {VERSION} can be read"
            ),
            Self::Header(why) => write!(f, "the recording's header makes no machine: {why}"),
            Self::Damaged { offset, what } => {
                write!(f, "the recording is damaged at byte {offset}: {what}")
            }
            Self::Io(error) => write!(f, "the recording can't be read: {error}"),
        }
    }
}

impl std::error::Error for FormatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotARecording | Self::Version(_) | Self::Header(_) | Self::Damaged { .. } => None,
        }
    }
}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A recording being read. Holds one record at a time.
pub(crate) struct Reader<R> {
    input: BufReader<R>,
    sum: Sum,
    /// How many bytes were read.
    offset: u64,
    /// Where the record that is being read begins.
    begin: u64,
}

/// What came next in a file.
enum Piece {
    /// A whole one is in the buffer.
    Whole,
    /// The file ended where one might have begun.
    End,
    /// The file ended before it was whole.
    Torn,
    /// Whole, but its sum is wrong.
    Wrong,
}

impl<R: Read> Reader<R> {
    /// Opens a recording, and leaves its header in `header`.
    pub(crate) fn open(input: R, header: &mut Vec<u8>) -> Result<Self, FormatError> {
        let mut reader = Self {
            input: BufReader::new(input),
            sum: Sum::new(VERSION),
            offset: 0,
            begin: 0,
        };
        let mut opening = [0; MAGIC.len() + 1];
        for byte in &mut opening {
            *byte = reader.byte()?.ok_or(FormatError::NotARecording)?;
        }
        if opening[..MAGIC.len()] != MAGIC[..] {
            return Err(FormatError::NotARecording);
        }
        if !(OLDEST..=VERSION).contains(&opening[MAGIC.len()]) {
            return Err(FormatError::Version(opening[MAGIC.len()]));
        }
        reader.sum = Sum::new(opening[MAGIC.len()]);
        reader.begin = reader.offset;
        match reader.piece(header, HEADER_MAX)? {
            Piece::Whole => Ok(reader),
            Piece::End | Piece::Torn => Err(reader.damaged("it ends within its header")),
            Piece::Wrong => Err(reader.damaged("the header's sum is wrong")),
        }
    }

    /// Leaves the next body in `body` and says so; `false` at the end, torn or not.
    pub(crate) fn next(&mut self, body: &mut Vec<u8>) -> Result<bool, FormatError> {
        self.begin = self.offset;
        match self.piece(body, RECORD_MAX)? {
            Piece::Whole => {
                self.begin = self.offset;
                Ok(true)
            }
            Piece::End | Piece::Torn => Ok(false),
            Piece::Wrong => {
                // A torn write may leave the length of the file right and its last bytes not.
                let end = self.offset;
                if self.byte()?.is_none() {
                    Ok(false)
                } else {
                    self.offset = end;
                    Err(self.damaged("the sum is wrong"))
                }
            }
        }
    }

    /// How many bytes at the end are no whole record; to be asked after the end.
    pub(crate) const fn torn(&self) -> u64 {
        self.offset - self.begin
    }

    /// That the record read last is not sound.
    pub(crate) const fn damaged(&self, what: &'static str) -> FormatError {
        FormatError::Damaged {
            offset: self.begin,
            what,
        }
    }

    fn piece(&mut self, body: &mut Vec<u8>, max: usize) -> Result<Piece, FormatError> {
        let mut varint = Varint::default();
        let length = loop {
            let Some(byte) = self.byte()? else {
                let begun = self.offset > self.begin;
                return Ok(if begun { Piece::Torn } else { Piece::End });
            };
            if let Some(value) = varint.take(byte).map_err(|what| self.damaged(what))? {
                break value;
            }
        };
        if length > max as u64 {
            return Err(self.damaged("a length is too large"));
        }
        body.clear();
        // Grows with what is there, not with what the length claims.
        let got = (&mut self.input).take(length).read_to_end(body)?;
        self.offset += got as u64;
        let (Some(low), Some(high)) = (self.byte()?, self.byte()?) else {
            return Ok(Piece::Torn);
        };
        Ok(if self.sum.after(body) == [low, high] {
            Piece::Whole
        } else {
            Piece::Wrong
        })
    }

    fn byte(&mut self) -> Result<Option<u8>, FormatError> {
        let mut byte = [0];
        loop {
            match self.input.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    self.offset += 1;
                    return Ok(Some(byte[0]));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
