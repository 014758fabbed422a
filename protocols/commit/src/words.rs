//! Reads the words of messages and records. What is written is read back as it was; anything else
//! is `None`.

use crate::servers::Servers;
use crate::transaction::{Decision, Op, Pending, Rank, Report, Txn};
use alloc::string::String;
use core::str::{FromStr, Split};

/// The words of a line, in order.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    rest: Split<'a, char>,
    /// How many servers the grid has: ids lie below.
    servers: u32,
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a str, servers: u32) -> Self {
        Self {
            rest: line.split(' '),
            servers,
        }
    }

    /// The next word: never empty.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        self.rest.next().filter(|word| !word.is_empty())
    }

    /// A word of its own.
    pub(crate) fn text(&mut self) -> Option<String> {
        self.word().map(String::from)
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Option<T> {
        digits(self.word()?)
    }

    /// Whether there are no more words.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.rest.next().is_none().then_some(())
    }

    fn pair(&mut self) -> Option<(u64, u64)> {
        let (a, b) = self.word()?.split_once('.')?;
        Some((digits(a)?, digits(b)?))
    }

    pub(crate) fn rank(&mut self) -> Option<Rank> {
        let (turn, number) = self.pair()?;
        Some(Rank { turn, number })
    }

    pub(crate) fn txn(&mut self) -> Option<Txn> {
        let (seq, turn) = self.pair()?;
        Some(Txn { seq, turn })
    }

    /// A `-`, or what `read` reads.
    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        let before = self.clone();
        if self.word()? == "-" {
            return Some(None);
        }
        *self = before;
        read(self).map(Some)
    }

    pub(crate) fn servers(&mut self) -> Option<Servers> {
        let list = self.maybe(Self::word)?;
        let ids = list.into_iter().flat_map(|list| list.split(','));
        ids.map(|id| digits(id).filter(|&id| id < self.servers))
            .collect()
    }

    pub(crate) fn op(&mut self) -> Option<Op> {
        match self.word()? {
            "add" => Some(Op::Add {
                song: self.text()?,
                url: self.text()?,
            }),
            "delete" => Some(Op::Delete { song: self.text()? }),
            _ => None,
        }
    }

    pub(crate) fn pending(&mut self) -> Option<Pending> {
        let committable = match self.word()? {
            "committable" => true,
            "uncertain" => false,
            _ => return None,
        };
        let (txn, participants) = (self.txn()?, self.servers()?);
        Some(Pending {
            txn,
            op: self.op()?,
            participants,
            committable,
        })
    }

    pub(crate) fn decision(&mut self) -> Option<Decision> {
        let commit = match self.word()? {
            "commit" => true,
            "abort" => false,
            _ => return None,
        };
        Some(Decision {
            txn: self.txn()?,
            op: self.op()?,
            commit,
        })
    }

    pub(crate) fn report(&mut self) -> Option<Report> {
        Some(Report {
            last: self.maybe(Self::decision)?,
            pending: self.maybe(Self::pending)?,
        })
    }
}

/// A number in plain digits.
pub(crate) fn digits<T: FromStr>(word: &str) -> Option<T> {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| word.parse().ok()).flatten()
}
