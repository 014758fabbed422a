//! Records as text, as JSON lines and for ShiViz.

use super::{Record, Recorder};
use std::fmt::{self, Write};

/// A format of [`Recorder::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line a fact, for people.
    Text,
    /// A JSON object a line.
    JsonLines,
    /// ShiViz: `(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`.
    ShiViz,
}

impl Recorder {
    /// Writes all records.
    #[must_use]
    pub fn write(&self, format: Format) -> String {
        let mut out = String::new();
        for record in &self.records {
            // Writing to a string doesn't fail.
            let _ = match format {
                Format::Text => self.write_text(&mut out, record),
                Format::JsonLines => self.write_json(&mut out, record),
                Format::ShiViz => self.write_shiviz(&mut out, record),
            };
        }
        out
    }

    fn write_text(&self, out: &mut String, record: &Record) -> fmt::Result {
        write!(out, "{:>6} {} ", record.step, record.at)?;
        match record.life {
            Some(life) => write!(out, "{}.{life}", record.lane)?,
            None => write!(out, "{}", record.lane)?,
        }
        write!(out, " {}", record.kind)?;
        if let Some(link) = record.link {
            write!(out, " link {link}")?;
        }
        if let Some(peer) = record.peer {
            write!(out, " ({peer})")?;
        }
        if let Some((start, end)) = record.range {
            write!(out, " [{start}, {end})")?;
        }
        writeln!(out, ": {}", record.text)
    }

    fn write_clock(&self, out: &mut String, record: &Record) -> fmt::Result {
        out.push('{');
        for (index, (lane, count)) in record.clock.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if let Some(lane) = self.lanes.get(*lane as usize) {
                write!(out, "\"{lane}\":{count}")?;
            }
        }
        out.push('}');
        Ok(())
    }

    fn write_json(&self, out: &mut String, record: &Record) -> fmt::Result {
        write!(
            out,
            "{{\"step\":{},\"at\":{},\"lane\":\"{}\",\"kind\":\"{}\"",
            record.step,
            record.at.as_micros(),
            record.lane,
            record.kind
        )?;
        if let Some(life) = record.life {
            write!(out, ",\"life\":{life}")?;
        }
        if let Some(link) = record.link {
            write!(out, ",\"link\":{link}")?;
        }
        if let Some(peer) = record.peer {
            write!(out, ",\"peer\":\"{peer}\"")?;
        }
        if let Some((start, end)) = record.range {
            write!(out, ",\"range\":[{start},{end}]")?;
        }
        out.push_str(",\"text\":");
        write_json_string(out, &record.text)?;
        if !record.from.is_empty() {
            write!(out, ",\"from\":{:?}", record.from)?;
        }
        out.push_str(",\"clock\":");
        self.write_clock(out, record)?;
        out.push_str("}\n");
        Ok(())
    }

    fn write_shiviz(&self, out: &mut String, record: &Record) -> fmt::Result {
        write!(out, "{} {}", record.at, record.kind)?;
        if let Some(peer) = record.peer {
            write!(out, " ({peer})")?;
        }
        write!(out, ": {}\n{} ", record.text, record.lane)?;
        self.write_clock(out, record)?;
        out.push('\n');
        Ok(())
    }
}

/// Writes a string as JSON has it, in quotes.
///
/// # Errors
/// Those of `out`.
pub fn write_json_string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for each in text.chars() {
        match each {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            each if u32::from(each) < 0x20 => write!(out, "\\u{:04x}", u32::from(each))?,
            // Ends of lines in JavaScript, into which traces may be pasted; and never a tag.
            '\u{2028}' | '\u{2029}' | '<' => write!(out, "\\u{:04x}", u32::from(each))?,
            each => out.write_char(each)?,
        }
    }
    out.write_char('"')
}
