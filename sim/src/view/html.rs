//! The page: the run as compact data, and the script and style that draw it, in one file.

use super::Page;
use super::diagram::{ArrowKind, BandKind, Diagram, index_of};
use crate::trace::{Lane, write_json_string};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

const STYLE: &str = include_str!("page.css");
const BODY: &str = include_str!("page.html");
const SCRIPTS: [&str; 4] = [
    include_str!("model.js"),
    include_str!("draw.js"),
    include_str!("panels.js"),
    include_str!("page.js"),
];

/// Writes the page: HTML with everything in it, which asks nothing of any network.
///
/// The same run gives the same bytes.
#[must_use]
pub fn html(page: &Page<'_>) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
    out.push_str("<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
    // Whatever a recording says, nothing in it can make the page fetch or run anything else.
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    out.push_str("style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n");
    let _ = writeln!(out, "<title>{}</title>", escaped(page.title));
    let _ = writeln!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n{BODY}");
    out.push_str("<script type=\"application/json\" id=\"recording\">");
    out.push_str(&Data::new(page).text);
    out.push_str("</script>\n<script>\n\"use strict\";\n(() => {\n");
    for script in SCRIPTS {
        out.push_str(script);
    }
    out.push_str("})();\n</script>\n</body>\n</html>\n");
    out
}

/// Text as it may stand in HTML and XML, in content and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for each in text.chars() {
        match each {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML can't hold these, escaped or not.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            each if each.is_control() => out.push('\u{fffd}'),
            each => out.push(each),
        }
    }
    out
}

/// The run as JSON: a list for each property of a record, and indices instead of repeated words.
struct Data<'a> {
    text: String,
    words: Vec<&'a str>,
    known: BTreeMap<&'a str, usize>,
}

impl<'a> Data<'a> {
    fn new(page: &'a Page<'a>) -> Self {
        let mut data = Self {
            text: String::from("{"),
            words: Vec::new(),
            known: BTreeMap::new(),
        };
        let diagram = Diagram::new(page.plan, page.recorder);
        data.head(page, &diagram);
        data.records(page, &diagram);
        data.shapes(&diagram);
        data.violation(page);
        data.log(page);
        let words = std::mem::take(&mut data.words);
        data.list("words", words, Self::string);
        data.text.push('}');
        data
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        // Writing to a string doesn't fail, here and below.
        let _ = write!(self.text, "\"{name}\":");
    }

    fn string(&mut self, text: &str) {
        let _ = write_json_string(&mut self.text, text);
    }

    fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.name(name);
        self.text.push('[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }

    fn numbers<T: Display>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        self.list(name, items, |data, item| {
            let _ = write!(data.text, "{item}");
        });
    }

    /// A number, or -1 for nothing: shorter than `null`.
    fn options(&mut self, name: &str, items: impl Iterator<Item = Option<u64>>) {
        self.list(name, items, |data, item| match item {
            Some(item) => {
                let _ = write!(data.text, "{item}");
            }
            None => data.text.push_str("-1"),
        });
    }

    fn word(&mut self, word: &'a str) -> usize {
        let words = &mut self.words;
        *self.known.entry(word).or_insert_with(|| {
            words.push(word);
            words.len() - 1
        })
    }

    fn head(&mut self, page: &Page<'_>, diagram: &Diagram) {
        self.name("title");
        self.string(page.title);
        self.name("seed");
        match page.plan {
            Some(plan) => self.string(&plan.seed.to_string()),
            None => self.text.push_str("null"),
        }
        let phases = page.plan.map(|plan| {
            let phases = &plan.phases;
            [phases.warm_up, phases.trouble, phases.heal, phases.end]
        });
        let moments = phases.iter().flatten();
        self.numbers("phases", moments.map(|moment| moment.as_micros()));
        self.list("notes", page.notes, |data, (name, value)| {
            data.text.push('[');
            data.string(name);
            data.text.push(',');
            data.string(value);
            data.text.push(']');
        });
        self.list("lanes", &diagram.lanes, |data, lane| {
            data.string(&lane.to_string());
        });
        let sorts = diagram.lanes.iter().map(|lane| match lane {
            Lane::Plan => 0,
            Lane::Host(_) => 1,
            Lane::Client(_) => 2,
        });
        self.numbers("sorts", sorts);
    }

    fn records(&mut self, page: &'a Page<'a>, diagram: &Diagram) {
        let records = &page.recorder.records;
        let place: BTreeMap<Lane, u64> = diagram.lanes.iter().copied().zip(0..).collect();
        self.numbers("step", records.first().map(|record| record.step));
        let mut last = 0;
        self.list("at", records, |data, record| {
            let at = record.at.as_micros();
            let _ = write!(data.text, "{}", at - last);
            last = at;
        });
        self.options(
            "lane",
            records.iter().map(|each| place.get(&each.lane).copied()),
        );
        self.list("kind", records, |data, record| {
            let word = data.word(record.kind);
            let _ = write!(data.text, "{word}");
        });
        self.list("text", records, |data, record| {
            let word = data.word(&record.text);
            let _ = write!(data.text, "{word}");
        });
        self.options("life", records.iter().map(|each| each.life.map(u64::from)));
        self.options("link", records.iter().map(|each| each.link));
        let peers = records.iter().map(|each| each.peer);
        self.options("peer", peers.map(|peer| place.get(&peer?).copied()));
        self.options(
            "start",
            records.iter().map(|each| each.range.map(|range| range.0)),
        );
        let lengths = records.iter().map(|each| each.range);
        self.options(
            "length",
            lengths.map(|range| range.map(|range| range.1 - range.0)),
        );
    }

    fn shapes(&mut self, diagram: &Diagram) {
        self.list("arrows", &diagram.arrows, |data, arrow| {
            let kind = match arrow.kind {
                ArrowKind::Bytes => 0,
                ArrowKind::Lost => 1,
                ArrowKind::UnderWay => 2,
                ArrowKind::Dial => 3,
                ArrowKind::End => 4,
            };
            let (start, end) = arrow.bytes;
            let _ = write!(data.text, "{kind},{},", arrow.from);
            match arrow.to {
                Some(to) => drop(write!(data.text, "{to}")),
                None => data.text.push_str("-1"),
            }
            let _ = write!(data.text, ",{},{}", arrow.lane, end.saturating_sub(start));
        });
        self.list("bands", &diagram.bands, |data, band| {
            let kind = match band.kind {
                BandKind::Life => 0,
                BandKind::Pause => 1,
                BandKind::Cut => 2,
                BandKind::Fault => 3,
            };
            let [one, two] = band.lanes;
            let _ = write!(data.text, "[{kind},{one},{two},{},", band.from);
            match band.until {
                Some(until) => drop(write!(data.text, "{until},")),
                None => data.text.push_str("-1,"),
            }
            data.string(&band.label);
            data.text.push(']');
        });
    }

    fn violation(&mut self, page: &Page<'_>) {
        self.name("violation");
        let Some(violation) = page.violation else {
            self.text.push_str("null");
            return;
        };
        self.text.push('{');
        self.name("property");
        self.string(violation.property);
        self.name("text");
        self.string(&violation.text);
        let records = &page.recorder.records;
        let events = violation.events.iter();
        self.numbers("events", events.filter_map(|step| index_of(records, *step)));
        self.text.push('}');
    }

    fn log(&mut self, page: &Page<'_>) {
        let records = page.recorder.records.iter().enumerate();
        let entries = records.filter_map(|(index, record)| Some((index, (page.log)(record)?)));
        self.list("log", entries, |data, (index, entry)| {
            let _ = write!(data.text, "[{index},");
            data.string(&entry);
            data.text.push(']');
        });
    }
}
