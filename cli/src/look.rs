//! How a run is written.

use chatroom_sim::trace::Format;
use chatroom_sim::view::{self, Page};
use clap::ValueEnum;

/// The formats of a run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Look {
    /// A line an event.
    Text,
    /// A JSON object a line.
    Json,
    /// The log format of ShiViz.
    Shiviz,
    /// A space-time diagram: a page for a browser, with everything in it.
    Html,
    /// A space-time diagram as a picture.
    Svg,
}

impl Look {
    /// A run, written so.
    #[must_use]
    pub fn write(self, page: &Page<'_>) -> String {
        match self {
            Self::Text => page.recorder.write(Format::Text),
            Self::Json => page.recorder.write(Format::JsonLines),
            Self::Shiviz => page.recorder.write(Format::ShiViz),
            Self::Html => view::html(page),
            Self::Svg => view::svg(page),
        }
    }
}
