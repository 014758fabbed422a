//! Records to bytes and back. The layout is on the crate's front page.

use alloc::string::String;
use alloc::vec::Vec;
use chatroom_machine::{RECORD_MAX, Volume, VolumeKind};
use core::fmt;
use crc::{CRC_32_ISCSI, Crc, Digest, Table};

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// The bytes of a file's header.
pub const HEADER: usize = 55;
/// The most bytes of a volume's name.
pub const NAME_MAX: usize = 32;
/// The bytes of a record in a file besides its own.
pub const OVERHEAD: usize = HEAD + TAIL;

const MAGIC: &[u8; 8] = b"chatvol\n";
/// The last byte of a header and of each record. Not zero, nor is it with any one bit flipped.
const MARK: u8 = 0xa5;
/// A record's length and its sum.
const HEAD: usize = 8;
/// The sum of a record's bytes, and the mark.
const TAIL: usize = 5;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

fn digest(number: u64) -> Digest<'static, u32, Table<16>> {
    let mut digest = CRC.digest();
    digest.update(&number.to_le_bytes());
    digest
}

fn sum(number: u64, bytes: &[u8]) -> [u8; 4] {
    let mut digest = digest(number);
    digest.update(bytes);
    digest.finalize().to_le_bytes()
}

/// Appends the header of a file of `volume` whose first record has the number `first`.
///
/// # Panics
/// If the volume's name is longer than [`NAME_MAX`].
pub fn encode_header(volume: &Volume, first: u64, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.push(match volume.kind {
        VolumeKind::Log => 0,
        VolumeKind::Snapshot => 1,
    });
    let mut name = [0; NAME_MAX];
    name[..volume.name.len()].copy_from_slice(volume.name.as_bytes());
    out.extend_from_slice(&name);
    out.extend_from_slice(&first.to_le_bytes());
    let sum = CRC.checksum(&out[begin..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.push(MARK);
}

/// Appends a record.
///
/// # Panics
/// If it is longer than [`RECORD_MAX`].
pub fn encode_record(number: u64, record: &[u8], out: &mut Vec<u8>) {
    assert!(record.len() <= RECORD_MAX, "a record is too long");
    let length = u32::try_from(record.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    out.reserve(record.len() + OVERHEAD);
    out.extend_from_slice(&length);
    out.extend_from_slice(&sum(number, &length));
    out.extend_from_slice(record);
    out.extend_from_slice(&sum(number, record));
    out.push(MARK);
}

/// What a file's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The volume's name.
    pub name: String,
    /// The volume's kind.
    pub kind: VolumeKind,
    /// The number of the first record.
    pub first: u64,
}

/// A record in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number in the volume.
    pub number: u64,
    /// Where it begins in the file.
    pub offset: usize,
    /// The record.
    pub bytes: &'a [u8],
}

/// Why a file can't be read, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It ends within its header, or the rest of it was never written.
    TornHeader,
    /// It does not begin as a volume's file does.
    NotAVolume,
    /// It is of another version of the format.
    Version(u8),
    /// It is not as it was written.
    Corrupt {
        /// Where the header or the record that is wrong begins.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornHeader => f.write_str("it ends within its header"),
            Self::NotAVolume => write!(
                f,
                "it does not begin with {:?}, as files of records do",
                "chatvol\n"
            ),
            Self::Version(found) => write!(
                f,
                "it is of version {found} of the format, and only version {VERSION} can be read"
            ),
            Self::Corrupt { offset, what } => write!(f, "corrupt at byte {offset}: {what}"),
        }
    }
}

impl core::error::Error for Damage {}

/// Reads a file from its beginning, record by record.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    file: &'a [u8],
    header: Header,
    /// Up to here, all is sound.
    at: usize,
    /// From here on there are zeros only.
    written: usize,
    number: u64,
}

impl<'a> Scan<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(file: &'a [u8]) -> Result<Self, Damage> {
        let written = file
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        let begins = written.min(MAGIC.len());
        if file[..begins] != MAGIC[..begins] {
            return Err(Damage::NotAVolume);
        }
        if written < HEADER {
            return Err(Damage::TornHeader);
        }
        if file[8] != VERSION {
            return Err(Damage::Version(file[8]));
        }
        let corrupt = |what| Damage::Corrupt { offset: 0, what };
        let (body, rest) = file.split_at(HEADER - TAIL);
        if rest[..4] != CRC.checksum(body).to_le_bytes() || rest[4] != MARK {
            return Err(corrupt("the header's sum is wrong"));
        }
        let kind = match file[9] {
            0 => VolumeKind::Log,
            1 => VolumeKind::Snapshot,
            _ => return Err(corrupt("the kind of volume is unknown")),
        };
        let name = &file[10..10 + NAME_MAX];
        let length = name.iter().position(|b| *b == 0).unwrap_or(NAME_MAX);
        let Ok(name) = core::str::from_utf8(&name[..length]) else {
            return Err(corrupt("the volume's name is not UTF-8"));
        };
        let first = file[10 + NAME_MAX..].first_chunk();
        let first = u64::from_le_bytes(*first.unwrap_or(&[0; 8]));
        // Nobody ever stores so many: there is always a number for the next.
        if first > u64::MAX / 2 {
            return Err(corrupt("the number of the first record is too large"));
        }
        Ok(Self {
            file,
            header: Header {
                name: name.into(),
                kind,
                first,
            },
            at: HEADER,
            written,
            number: first,
        })
    }

    /// What the header says.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the next record.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes from the beginning on are sound, as far as was read.
    #[must_use]
    pub const fn sound(&self) -> usize {
        self.at
    }

    /// How many bytes follow those that are [`sound`](Scan::sound). After the last record that
    /// is the torn end, which is to be cut off.
    #[must_use]
    pub const fn rest(&self) -> usize {
        self.file.len() - self.at
    }

    /// The next record; `None` at the end, be it torn or not.
    ///
    /// # Errors
    /// [`Damage::Corrupt`]: there is a record, and it is not as it was written.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Record<'a>>, Damage> {
        let offset = self.at;
        let corrupt = |what| Err(Damage::Corrupt { offset, what });
        if offset + HEAD > self.written {
            return Ok(None);
        }
        let (head, rest) = self.file[offset..].split_at(HEAD);
        let (length, head_sum) = head.split_at(4);
        if *head_sum != sum(self.number, length) {
            return corrupt("the sum of a record's length is wrong");
        }
        let length = u32::from_le_bytes(*length.first_chunk().unwrap_or(&[0; 4]));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > RECORD_MAX {
            return corrupt("a record's length is too large");
        }
        let end = offset + length + OVERHEAD;
        if end > self.written {
            return Ok(None);
        }
        let (bytes, tail) = rest.split_at(length);
        if tail[..4] != sum(self.number, bytes) {
            return corrupt("a record's sum is wrong");
        }
        if tail[4] != MARK {
            return corrupt("a record's end mark is wrong");
        }
        let number = self.number;
        self.at = end;
        self.number += 1;
        Ok(Some(Record {
            number,
            offset,
            bytes,
        }))
    }
}
