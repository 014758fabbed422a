//! Figures as Markdown tables, on the terminal and between the markers of a document.

use crate::Res;
use crate::book::{Book, Case, Figure};
use std::fmt::Write;
use std::path::Path;

/// The table of a section: a row for each case and quantity, a column for each subject, then how
/// each of `ours` stands to each of the others. Cells hold the median, and the least and the most
/// of several runs.
pub(crate) fn table(book: &Book, section: &str, ours: &[String]) -> String {
    let subjects = book.subjects(section);
    let is_ours = |name: &str| ours.iter().any(|own| own == name);
    let (own, others): (Vec<&str>, Vec<&str>) = subjects.iter().partition(|s| is_ours(s));
    let mut rows: Vec<(&Case, &str, &str)> = Vec::new();
    for f in book.figures.iter().filter(|f| f.section == section) {
        if !rows
            .iter()
            .any(|&(case, what, _)| *case == f.case && what == f.what)
        {
            rows.push((&f.case, &f.what, f.unit));
        }
    }
    rows.sort_by_key(|(case, _, _)| (case.n, case.bytes, case.all));
    let mut head = vec!["n".to_owned(), "texts".to_owned(), "what".to_owned()];
    head.extend(subjects.iter().map(|s| (*s).to_owned()));
    for own in &own {
        head.extend(others.iter().map(|other| format!("{own} ÷ {other}")));
    }
    let mut lines = vec![head];
    for (case, what, unit) in rows {
        let figure = |subject: &str| book.find(section, subject, *case, what);
        let mut line = vec![number_or_dash(case.n), texts(case), named(what, unit)];
        line.extend(subjects.iter().map(|s| figure(s).map_or_else(dash, cell)));
        for own in &own {
            for other in &others {
                let ratio = figure(own).zip(figure(other));
                line.push(
                    ratio.map_or_else(dash, |(a, b)| format!("{:.2}", a.median() / b.median())),
                );
            }
        }
        lines.push(line);
    }
    aligned(&lines)
}

fn dash() -> String {
    "–".to_owned()
}

fn number_or_dash(number: usize) -> String {
    if number == 0 {
        dash()
    } else {
        number.to_string()
    }
}

fn texts(case: &Case) -> String {
    match (case.bytes, case.all) {
        (0, _) => dash(),
        (bytes, false) => format!("{bytes} B, one"),
        (bytes, true) => format!("{bytes} B, all"),
    }
}

fn named(what: &str, unit: &str) -> String {
    if unit.is_empty() {
        what.to_owned()
    } else {
        format!("{what}, {unit}")
    }
}

fn cell(figure: &Figure) -> String {
    let median = short(figure.median());
    if figure.values.len() < 2 {
        return median;
    }
    format!(
        "{median} ({}–{})",
        short(figure.least()),
        short(figure.most())
    )
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        v if v >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |c: usize| {
        lines
            .iter()
            .map(|l| l[c].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        for (column, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {column:width$} ");
        }
        text.push_str("|\n");
        if i == 0 {
            for width in &widths {
                let _ = write!(text, "| {} ", "-".repeat(*width));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Where and when, in one line.
pub(crate) fn machine(book: &Book) -> String {
    let m = &book.machine;
    format!(
        "{} × {}, Linux {}; load {:.1} before, {:.1} after; `chatroom-bench {}`\n",
        m.processors, m.processor, m.kernel, m.load_before, m.load_after, m.command
    )
}

/// Replaces what stands between `<!-- figures: NAME -->` and the next `<!-- end -->` in `file`,
/// for each name that was measured; other parts stay as they are.
pub(crate) fn write_into(file: &Path, parts: &[(String, String)]) -> Res<()> {
    let mut text = std::fs::read_to_string(file)?;
    for (name, part) in parts {
        let marker = format!("<!-- figures: {name} -->\n");
        let Some(at) = text.find(&marker) else {
            continue;
        };
        let begin = at + marker.len();
        let length = text[begin..]
            .find("<!-- end -->")
            .ok_or_else(|| format!("no end of the figures {name}"))?;
        text.replace_range(begin..begin + length, part);
    }
    Ok(std::fs::write(file, text)?)
}
