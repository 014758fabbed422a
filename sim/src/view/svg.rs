//! The picture: a lane a column, a record a row with its words beside it, time downwards.

use super::Page;
use super::diagram::{Arrow, ArrowKind, Band, BandKind, Diagram, index_of};
use super::html::escaped;
use crate::trace::{Lane, Record};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;

/// How many records a picture shows at most: of a longer run those before the violation (and a few
/// after it), or else the first ones. The picture says so.
pub const MAX_ROWS: usize = 2000;

/// How many records after the last violating one are shown.
const AFTER: usize = 20;
/// How many characters of a record's text are shown.
const SHOWN: usize = 96;
const ROW: usize = 17;
const LANE: usize = 88;
/// Where the lanes begin: right of the moments.
const LEFT: usize = 104;
/// The widths of the columns of words; a character of the last is at most this wide.
const WHO: usize = 70;
const KIND: usize = 78;
const CHARACTER: usize = 8;
const STYLE: &str = include_str!("picture.css");

/// Writes the picture: an SVG that needs nothing beside it and follows the reader's choice of light
/// or dark.
///
/// The same run gives the same bytes.
#[must_use]
pub fn svg(page: &Page<'_>) -> String {
    Picture::new(page).draw()
}

struct Picture<'a> {
    page: &'a Page<'a>,
    diagram: Diagram,
    /// By lane: which column it is. A lane on which nothing happens has none.
    columns: Vec<Option<usize>>,
    records: &'a [Record],
    rows: Range<usize>,
    marked: BTreeSet<usize>,
    top: usize,
    width: usize,
    out: String,
}

impl<'a> Picture<'a> {
    fn new(page: &'a Page<'a>) -> Self {
        let records = &page.recorder.records[..];
        let events = page.violation.map_or(&[][..], |each| &each.events);
        let marked: BTreeSet<usize> = events
            .iter()
            .filter_map(|step| index_of(records, *step))
            .collect();
        let end = match marked.last() {
            Some(last) => records.len().min(last + 1 + AFTER),
            None => records.len().min(MAX_ROWS),
        };
        let rows = end.saturating_sub(MAX_ROWS)..end;
        let texts = records[rows.clone()].iter();
        let longest = texts.map(|record| record.text.chars().count().min(SHOWN));
        let words = longest.max().unwrap_or(0).max(30) * CHARACTER;
        let diagram = Diagram::new(page.plan, page.recorder);
        let busy: BTreeSet<Lane> = records.iter().map(|record| record.lane).collect();
        let mut next = 0..;
        let lanes = diagram.lanes.iter();
        let columns: Vec<Option<usize>> = lanes
            .map(|lane| busy.contains(lane).then(|| next.next()).flatten())
            .collect();
        let lanes = LEFT + columns.iter().flatten().count() * LANE;
        Self {
            page,
            diagram,
            columns,
            records,
            rows,
            width: lanes + 12 + WHO + KIND + words,
            marked,
            top: if page.violation.is_some() { 150 } else { 112 },
            out: String::new(),
        }
    }

    fn x(&self, lane: usize) -> usize {
        let column = self.columns.get(lane).copied().flatten();
        LEFT + column.unwrap_or(0) * LANE + LANE / 2
    }

    fn has_column(&self, lane: usize) -> bool {
        self.columns.get(lane).copied().flatten().is_some()
    }

    /// The middle of a record's row; the edge for a record that is out of the picture.
    fn y(&self, index: usize) -> usize {
        let row = index.clamp(self.rows.start, self.rows.end) - self.rows.start;
        self.top + row * ROW + ROW / 2
    }

    fn bottom(&self) -> usize {
        self.top + self.rows.len() * ROW
    }

    fn words_x(&self) -> usize {
        LEFT + self.columns.iter().flatten().count() * LANE + 12
    }

    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string doesn't fail.
        let _ = self.out.write_fmt(line);
        self.out.push('\n');
    }

    fn draw(mut self) -> String {
        let (width, height) = (self.width, self.bottom() + 24);
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\">"
        ));
        self.head();
        self.put(format_args!(
            "<style>\n{STYLE}</style>\n<defs>\n\
             <pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><path class=\"hatch\" d=\"M0 0v6\"/></pattern>"
        ));
        for (kind, name) in [(ArrowKind::Bytes, "tip"), (ArrowKind::Dial, "tip-dial")] {
            self.put(format_args!(
                "<marker id=\"{name}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
                 markerHeight=\"7\" orient=\"auto\"><path class=\"tip {}\" d=\"M0 1 8 4 0 7z\"/>\
                 </marker>",
                class(kind)
            ));
        }
        self.put(format_args!(
            "</defs>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>"
        ));
        self.title();
        self.lanes();
        let bands = std::mem::take(&mut self.diagram.bands);
        for band in &bands {
            let there = band.lanes.iter().all(|lane| self.has_column(*lane));
            if there && self.shows(band.from, band.until) {
                self.band(band);
            }
        }
        let arrows = std::mem::take(&mut self.diagram.arrows);
        for arrow in &arrows {
            if self.has_column(arrow.lane) && self.shows(arrow.from, arrow.to) {
                self.arrow(arrow);
            }
        }
        for index in self.rows.clone() {
            self.record(index);
        }
        self.out.push_str("</svg>\n");
        self.out
    }

    /// Whether something from one record to another touches the rows that are shown.
    fn shows(&self, from: usize, until: Option<usize>) -> bool {
        from < self.rows.end && until.is_none_or(|until| until >= self.rows.start)
    }

    fn head(&mut self) {
        let title = escaped(self.page.title);
        let broken = match self.page.violation {
            Some(violation) => format!(
                " It breaks {}: {}",
                escaped(violation.property),
                escaped(&violation.text)
            ),
            None => String::new(),
        };
        let records = self.records.len();
        let lanes = self.diagram.lanes.iter();
        let hosts = lanes.filter(|lane| matches!(lane, Lane::Host(_))).count();
        self.put(format_args!(
            "<title id=\"title\">{title}</title>\n<desc id=\"desc\">A space-time diagram of \
             {records} events on {hosts} servers, time downwards.{broken}</desc>"
        ));
    }

    fn title(&mut self) {
        let title = escaped(self.page.title);
        self.put(format_args!(
            "<text class=\"h1\" x=\"20\" y=\"34\">{title}</text>"
        ));
        let all = self.records.len();
        let ended = self
            .records
            .last()
            .map_or(0, |record| record.at.as_micros());
        let mut about = String::new();
        if let Some(plan) = self.page.plan {
            let _ = write!(about, "seed {} · ", plan.seed);
        }
        let _ = write!(
            about,
            "{all} events in {}.{:03} s",
            ended / 1_000_000,
            ended / 1000 % 1000
        );
        if self.rows.len() < all {
            let Range { start, end } = self.rows;
            let _ = write!(about, " · shown here: {} to {end}", start + 1);
        }
        for (name, value) in self.page.notes {
            let _ = write!(about, " · {}: {}", escaped(name), escaped(value));
        }
        self.put(format_args!(
            "<text class=\"about\" x=\"20\" y=\"56\">{about}</text>"
        ));
        if let Some(violation) = self.page.violation {
            let property = escaped(violation.property);
            let text = escaped(&cut(&violation.text, 150));
            let width = self.width - 40;
            self.put(format_args!(
                "<rect class=\"alarm\" x=\"20\" y=\"70\" width=\"{width}\" height=\"28\" rx=\"4\"/>\
                 \n<text class=\"alarm\" x=\"32\" y=\"89\"><tspan class=\"strong\">{property}</tspan>\
                 \u{20}broken: {text}</text>"
            ));
        }
    }

    fn lanes(&mut self) {
        let (top, bottom) = (self.top, self.bottom());
        for index in 0..self.diagram.lanes.len() {
            if !self.has_column(index) {
                continue;
            }
            let x = self.x(index);
            let lane = self.diagram.lanes[index];
            let class = match lane {
                Lane::Plan => "plan",
                Lane::Host(_) => "host",
                Lane::Client(_) => "client",
            };
            let y = top - 16;
            self.put(format_args!(
                "<text class=\"lane {class}\" x=\"{x}\" y=\"{y}\">{lane}</text>\n\
                 <path class=\"line {class}\" d=\"M{x} {top}V{bottom}\"/>"
            ));
        }
    }

    fn band(&mut self, band: &Band) {
        let (from, until) = (
            self.y(band.from),
            band.until.map_or(self.bottom(), |end| self.y(end)),
        );
        let [one, two] = band.lanes.map(|lane| self.x(lane));
        let height = until.saturating_sub(from).max(2);
        let label = escaped(&band.label);
        match band.kind {
            BandKind::Life | BandKind::Pause => {
                let class = if band.kind == BandKind::Life {
                    "life"
                } else {
                    "pause"
                };
                let (x, label_x) = (one - 6, one + 10);
                self.put(format_args!(
                    "<rect class=\"{class}\" x=\"{x}\" y=\"{from}\" width=\"12\" \
                     height=\"{height}\" rx=\"3\"><title>{label}</title></rect>"
                ));
                if band.from >= self.rows.start {
                    let y = from + 4;
                    self.put(format_args!(
                        "<text class=\"note\" x=\"{label_x}\" y=\"{y}\">{label}</text>"
                    ));
                }
            }
            BandKind::Cut | BandKind::Fault => {
                let class = if band.kind == BandKind::Cut {
                    "cut"
                } else {
                    "fault"
                };
                let (left, right) = (one.min(two), one.max(two));
                for lane in [one, two].iter().take(if one == two { 1 } else { 2 }) {
                    let x = lane - 10;
                    self.put(format_args!(
                        "<rect class=\"{class}\" x=\"{x}\" y=\"{from}\" width=\"20\" \
                         height=\"{height}\"><title>{label}</title></rect>"
                    ));
                }
                let (x, far, y) = (left + 10, right - 10, from + 11);
                if one != two {
                    self.put(format_args!(
                        "<path class=\"join {class}\" d=\"M{x} {from}H{far}M{x} {until}H{far}\"/>"
                    ));
                }
                let x = left + 13;
                self.put(format_args!(
                    "<text class=\"note {class}\" x=\"{x}\" y=\"{y}\">{label}</text>"
                ));
            }
        }
    }

    fn arrow(&mut self, arrow: &Arrow) {
        let sender = &self.records[arrow.from];
        let start = self.diagram.place(sender.lane);
        let (x1, y1) = (self.x(start), self.y(arrow.from));
        let toward = self.x(arrow.lane);
        let class = class(arrow.kind);
        match arrow.to {
            Some(to) => {
                let y2 = self.y(to);
                let gap = if toward > x1 { 5 } else { -5 };
                let x2 = toward as i64 - gap;
                let tip = match arrow.kind {
                    ArrowKind::Bytes => " marker-end=\"url(#tip)\"",
                    ArrowKind::Dial | ArrowKind::End => " marker-end=\"url(#tip-dial)\"",
                    ArrowKind::Lost | ArrowKind::UnderWay => "",
                };
                self.put(format_args!(
                    "<path class=\"arrow {class}\" d=\"M{x1} {y1}L{x2} {y2}\"{tip}/>"
                ));
            }
            None => {
                // It ends on its way: two fifths of it, and never past the next lane.
                let way = (toward as i64 - x1 as i64) * 2 / 5;
                let reach = way.clamp(-(LANE as i64) / 2, LANE as i64 / 2);
                let (x2, y2) = (x1 as i64 + reach, y1 + ROW / 2);
                self.put(format_args!(
                    "<path class=\"arrow {class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>"
                ));
                if arrow.kind == ArrowKind::Lost {
                    let (left, top) = (x2 - 4, y2 - 4);
                    self.put(format_args!(
                        "<path class=\"arrow lost x\" d=\"M{left} {top}l8 8m0-8l-8 8\"/>"
                    ));
                }
            }
        }
    }

    fn record(&mut self, index: usize) {
        let record = &self.records[index];
        let lane = self.diagram.place(record.lane);
        let (x, y) = (self.x(lane), self.y(index));
        let text = y + 4;
        let marked = self.marked.contains(&index);
        if marked {
            let (top, width) = (y - ROW / 2, self.width);
            self.put(format_args!(
                "<rect class=\"mark\" y=\"{top}\" width=\"{width}\" height=\"{ROW}\"/>\n\
                 <circle class=\"mark\" cx=\"{x}\" cy=\"{y}\" r=\"8\"/>"
            ));
        }
        let before = index.checked_sub(1).map(|before| self.records[before].at);
        if before != Some(record.at) || index == self.rows.start {
            let moment = LEFT - 14;
            self.put(format_args!(
                "<text class=\"time\" x=\"{moment}\" y=\"{text}\">{}</text>",
                record.at
            ));
        }
        let (class, shape) = match record.kind {
            "killed" | "crashed" => ("dead", true),
            "started" | "done" | "paused" | "resumed" | "record-end" => ("alive", false),
            "change" | "over" => ("plan", false),
            "notice" | "timeout" | "shutdown" | "misuse" | "starved" | "reading" | "accepting" => {
                ("notice", false)
            }
            "finished" | "broken" | "closed" | "left" | "dial-failed" | "turned-away" => {
                ("ending", false)
            }
            _ => ("bytes", false),
        };
        if shape {
            let (left, top) = (x - 6, y - 6);
            self.put(format_args!(
                "<path class=\"{class}\" d=\"M{left} {top}l12 12m0-12l-12 12\"/>"
            ));
        } else {
            self.put(format_args!(
                "<circle class=\"dot {class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>"
            ));
        }
        let words = self.words_x();
        let (kind, said) = (words + WHO, words + WHO + KIND);
        let what = escaped(&cut(&record.text, SHOWN));
        let class = if marked { " marked" } else { "" };
        let life = record.life.map(|life| format!(".{life}"));
        let life = life.unwrap_or_default();
        self.put(format_args!(
            "<text class=\"words{class}\" y=\"{text}\"><tspan class=\"who\" x=\"{words}\">{}{life}\
             </tspan><tspan class=\"kind\" x=\"{kind}\">{}</tspan>\
             <tspan x=\"{said}\">{what}</tspan></text>",
            record.lane, record.kind
        ));
    }
}

const fn class(kind: ArrowKind) -> &'static str {
    match kind {
        ArrowKind::Bytes => "sent",
        ArrowKind::Lost => "lost",
        ArrowKind::UnderWay => "under-way",
        ArrowKind::Dial => "dial",
        ArrowKind::End => "end",
    }
}

/// The beginning of a text, with a sign that it goes on.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
