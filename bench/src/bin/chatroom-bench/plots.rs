//! Which plots are drawn of a book.

use crate::book::{Book, Case};
use crate::svg::Plot;
use crate::table::short;

/// The plots with their names.
pub(crate) fn all(book: &Book) -> Vec<(String, Plot)> {
    let one = |n, bytes| Case {
        n,
        bytes,
        all: false,
    };
    let mut plots = vec![
        over(
            book,
            "throughput",
            "deliveries",
            "deliveries a second",
            N,
            |n| one(n, 64),
        ),
        over(
            book,
            "throughput",
            "CPU a delivery",
            "CPU µs a delivery",
            N,
            |n| one(n, 64),
        ),
        over(
            book,
            "throughput",
            "deliveries",
            "deliveries a second",
            BYTES,
            |b| one(16, b),
        ),
        over(book, "start", "start to whole", "ms", N, |n| one(n, 0)),
        over(
            book,
            "rest",
            "CPU of the grid",
            "CPU s/s of the grid",
            N,
            |n| one(n, 0),
        ),
    ];
    plots.push(latency(book, 16));
    plots
}

const N: (&str, &str, &[usize]) = ("n", "servers", &[3, 8, 16, 64]);
const BYTES: (&str, &str, &[usize]) = ("bytes", "bytes of a text, 16 servers", &[16, 64, 1024]);

/// A quantity over the sizes of the grid or of the texts.
fn over(
    book: &Book,
    section: &str,
    what: &str,
    y: &'static str,
    (short_name, x, steps): (&str, &'static str, &[usize]),
    case: impl Fn(usize) -> Case,
) -> (String, Plot) {
    let mut lines = Vec::new();
    for subject in book.subjects(section) {
        let line: Vec<(f64, f64)> = steps
            .iter()
            .filter_map(|&step| {
                let figure = book.find(section, subject, case(step), what)?;
                Some((step as f64, figure.median()))
            })
            .collect();
        if !line.is_empty() {
            lines.push((subject.to_owned(), line));
        }
    }
    let used = |step: f64| {
        lines
            .iter()
            .any(|(_, line)| line.iter().any(|p| p.0 == step))
    };
    let marks = steps.iter().map(|&step| (step as f64, step.to_string()));
    let marks = marks.filter(|(step, _)| used(*step)).collect();
    let name = format!("{section}-{}-by-{short_name}", what.replace(' ', "-"));
    let title = format!("{what}, {section}");
    (
        name.to_lowercase(),
        Plot {
            title,
            x,
            y,
            marks,
            lines,
        },
    )
}

/// How latencies are spread; the medians of the runs.
fn latency(book: &Book, n: usize) -> (String, Plot) {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for curve in book.curves.iter().filter(|c| c.n == n) {
        let name = format!("{}, {}", curve.subject, curve.load.replace("watched, ", ""));
        let points = curve
            .points
            .iter()
            .map(|&(share, us)| (1.0 / (1.0 - share), us));
        match lines.iter_mut().find(|(known, _)| *known == name) {
            // The last run stands for all: curves of several are not comparable point by point.
            Some((_, line)) => *line = points.collect(),
            None => lines.push((name, points.collect())),
        }
    }
    let marks = [(2.0, 0.5), (10.0, 0.9), (100.0, 0.99), (1000.0, 0.999)];
    let plot = Plot {
        title: format!("latency to the last log, {n} servers"),
        x: "share of the broadcasts",
        y: "µs",
        marks: marks.map(|(x, share)| (x, short(share))).to_vec(),
        lines,
    };
    ("latency".to_owned(), plot)
}
