//! What only a thorough check looks at: bytes that are pending, and the words of a notice.

use super::rule::Rule;
use super::table::Stage;
use super::{Checked, Phase};
use crate::{Conn, Machine, Notice, pieces};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// The first of the bytes pending that are remembered of each connection.
const WINDOW: usize = 64 * 1024;

impl<M: Machine> Checked<M> {
    /// A `Send` was polled.
    pub(super) fn look_at_send(&mut self, conn: Conn) {
        let empty = self.machine.pending(conn, 0).is_empty();
        if let Some(entry) = self.table.get(conn) {
            entry.announced = true;
            entry.idle |= empty && !entry.sent;
        }
    }

    /// A handle died.
    pub(super) fn look_at_dead(&mut self, conn: Conn) {
        if self.checks.thorough && !self.machine.pending(conn, 0).is_empty() {
            let detail = format!("bytes are pending on {conn}, which is not open");
            self.breach(Rule::PendingOnDead, detail);
        }
    }

    pub(super) fn look_at_notice(&mut self, notice: &M::Notice) {
        let _ = notice.level();
        let words = notice.to_string();
        if words.contains('\n') {
            self.breach(Rule::NoticeOfLines, format!("{words:?}"));
        }
    }

    /// Bytes were sent.
    pub(super) fn look_at_sent(&mut self, conn: Conn, count: usize) {
        let empty = self.machine.pending(conn, 0).is_empty();
        if let Some(entry) = self.table.get(conn) {
            entry.shown.drain(..count.min(entry.shown.len()));
            entry.sent = true;
            entry.announced &= !empty;
        }
    }

    /// Looks at every connection after a drain.
    pub(super) fn look_at_pending(&mut self) {
        if self.phase == Phase::Halted {
            return;
        }
        for slot in 0..self.table.len() {
            let Some(conn) = self.table.at(slot) else {
                continue;
            };
            let empty = self.look_at_connection(conn);
            let entry = self.table.entry(slot);
            let idle = core::mem::take(&mut entry.idle);
            entry.sent = false;
            if idle && empty {
                let detail = format!("it wants to send on {conn}, and nothing is pending");
                self.breach(Rule::SendWithoutBytes, detail);
            }
            let entry = self.table.entry(slot);
            let silent = !empty && !entry.announced && entry.stage != Stage::Dialling;
            // Told once.
            entry.announced = !empty && (entry.announced || silent);
            if silent {
                let detail = format!("bytes are pending on {conn}, and no Send said so");
                self.breach(Rule::SilentBytes, detail);
            }
        }
    }

    /// Compares what is pending with what was, and its pieces with one another. True if nothing
    /// is pending.
    pub(super) fn look_at_connection(&mut self, conn: Conn) -> bool {
        let Some(entry) = self.table.get(conn) else {
            return true;
        };
        let shown = core::mem::take(&mut entry.shown);
        let mut all = Vec::with_capacity(shown.len());
        let mut first = 0;
        for piece in pieces(&self.machine, conn, WINDOW) {
            if all.is_empty() {
                first = piece.len();
            }
            all.extend_from_slice(piece);
        }
        if !all.starts_with(&shown) {
            let at = shown.iter().zip(&all).take_while(|(was, is)| was == is);
            let at = at.count();
            let detail = format!("byte {at} of those pending on {conn} is not what it was");
            self.breach(Rule::PendingChanged, detail);
        }
        let length = all.len();
        let skips = [1, first / 2, first.saturating_sub(1), length / 2];
        let behind = [length.saturating_sub(1), length, length + 1];
        // Where the window is full there may be more behind it.
        let behind = behind.iter().filter(|_| length < WINDOW);
        let wrong = skips.iter().chain(behind).find(|&&skip| {
            let rest = all.get(skip..).unwrap_or_default();
            let piece = self.machine.pending(conn, skip);
            let same = piece.len().min(rest.len());
            let beyond = piece.len() > rest.len() && length < WINDOW;
            piece.is_empty() != rest.is_empty() || beyond || piece[..same] != rest[..same]
        });
        if let Some(skip) = wrong {
            let detail = format!("{conn} has other bytes pending behind {skip} than without");
            self.breach(Rule::PiecesDisagree, detail);
        }
        if let Some(entry) = self.table.get(conn) {
            entry.shown = all;
        }
        length == 0
    }
}
