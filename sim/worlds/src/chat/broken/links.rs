//! What a broken server makes of the bytes that it reads from its peers.

use super::Defect;
use chatroom_machine::Conn;
use std::collections::BTreeMap;

/// The connections between servers, and of each whether the next byte is not the first of a line.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Links(BTreeMap<Conn, bool>);

impl Links {
    pub(super) fn insert(&mut self, conn: Conn) {
        self.0.insert(conn, false);
    }

    pub(super) fn remove(&mut self, conn: Conn) {
        self.0.remove(&conn);
    }

    pub(super) fn has(&self, conn: Conn) -> bool {
        self.0.contains_key(&conn)
    }

    /// What the server is given instead of `bytes`; `None` if it is given those.
    pub(super) fn read(&mut self, defect: Defect, conn: Conn, bytes: &[u8]) -> Option<Vec<u8>> {
        let within = self.0.get_mut(&conn)?;
        match defect {
            Defect::CutShort => {
                let mut bent = bytes.to_vec();
                if !bent.ends_with(b"\n") {
                    bent.push(b'\n');
                }
                Some(bent)
            }
            Defect::Twice => {
                let whole = !*within;
                *within = !bytes.ends_with(b"\n");
                let before = bytes.strip_suffix(b"\n")?;
                let start = before.iter().rposition(|byte| *byte == b'\n');
                let start = start.map(|at| at + 1).or(whole.then_some(0))?;
                let last = &bytes[start..];
                last.starts_with(b"msg ").then(|| [bytes, last].concat())
            }
            Defect::Gap => {
                let mut rest = bytes;
                if *within {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let Some(end) = end else {
                        return Some(Vec::new());
                    };
                    rest = &rest[end + 1..];
                }
                let end = rest.iter().rposition(|byte| *byte == b'\n');
                let end = end.map_or(0, |end| end + 1);
                *within = end < rest.len();
                Some(rest[..end].to_vec())
            }
            Defect::LostWakeup | Defect::NeverSuspects => None,
        }
    }
}
