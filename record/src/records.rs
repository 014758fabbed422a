//! The records of a file one after the other, for whoever wants to read a recording without
//! replaying it.

use crate::format::{Codec, Record};
use crate::reader::{FormatError, Reader};
use std::io::Read;

/// A recording that is being read. Holds one record at a time.
pub struct Records<R> {
    reader: Reader<R>,
    codec: Codec,
    header: Vec<u8>,
    body: Vec<u8>,
}

impl<R: Read> Records<R> {
    /// Opens a recording and reads its header.
    ///
    /// # Errors
    /// `input` does not begin as a recording of this version, or ends within its header.
    pub fn open(input: R) -> Result<Self, FormatError> {
        let mut header = Vec::new();
        let reader = Reader::open(input, &mut header)?;
        Ok(Self {
            reader,
            codec: Codec::default(),
            header,
            body: Vec::new(),
        })
    }

    /// What the recorder was given to build the machine again.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The next record; `None` at the end of the file, whole or torn: see [`Records::torn`].
    ///
    /// # Errors
    /// The file is damaged, or can't be read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, FormatError> {
        if !self.reader.next(&mut self.body)? {
            return Ok(None);
        }
        match self.codec.decode(&self.body) {
            Ok(record) => Ok(Some(record)),
            Err(what) => Err(self.reader.damaged(what)),
        }
    }

    /// How many bytes at the end of the file are no whole record; to be asked after the end.
    #[must_use]
    pub const fn torn(&self) -> u64 {
        self.reader.torn()
    }
}
