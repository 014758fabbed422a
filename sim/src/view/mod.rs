//! Space-time diagrams of a recorded run: a page that needs nothing but a browser, and a picture
//! that stands still. Knows no protocol: what it shows comes from records.

mod diagram;
mod html;
mod svg;

pub use diagram::{Arrow, ArrowKind, Band, BandKind, Diagram};
pub use html::html;
pub use svg::{MAX_ROWS, svg};

use crate::observer::Violation;
use crate::plan::Plan;
use crate::trace::{Record, Recorder};

/// What is to be shown of a run, and what to say about it.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// What run this is, in a few words.
    pub title: &'a str,
    /// What the run followed; `None` for one that followed no plan, as a recording.
    pub plan: Option<&'a Plan>,
    /// What happened.
    pub recorder: &'a Recorder,
    /// What broke.
    pub violation: Option<&'a Violation>,
    /// The entry that a record adds to its host's log, if it adds one. The log stands beside the
    /// diagram and begins anew with each life. See [`notices`].
    pub log: &'a dyn Fn(&Record) -> Option<String>,
    /// More to be said: a name and a value each, such as the command that repeats the run.
    pub notes: &'a [(&'a str, String)],
}

/// A log of everything that a host had to say: what [`Page::log`] is where nothing is known of the
/// protocol.
#[must_use]
pub fn notices(record: &Record) -> Option<String> {
    (record.kind == "notice").then(|| record.text.clone())
}
