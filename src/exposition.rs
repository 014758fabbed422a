//! The two text formats of metrics, and which one a scraper asks for.
//!
//! OpenMetrics 1.0 is what the library writes. The older format of Prometheus, version 0.0.4, is
//! made from it: a counter's family carries the suffix `_total`, there is no type for an info
//! metric, and no mark at the end.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::fmt::{self, Write};

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' text format 0.0.4.
    Plain,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The value of the response's `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What the values of a request's `Accept` headers ask for: OpenMetrics only if it is named
    /// there with a higher quality than the plain format has. Nothing, and anything that is not
    /// understood, asks for the plain format.
    pub(crate) fn asked<'a>(accepts: impl Iterator<Item = &'a str>) -> Self {
        // The quality, and how closely the range names the type: `*/*` and `text/*` give way to
        // `text/plain`.
        let (mut plain, mut open) = ((0, 0), (0, 0));
        for range in accepts.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (Some(1000), None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = thousandths(value),
                    "version" => version = Some(value.to_owned()),
                    _ => {}
                }
            }
            let Some(quality) = quality else { continue };
            let known = |wanted: &str| version.as_deref().is_none_or(|v| v == wanted);
            match kind.as_str() {
                "application/openmetrics-text" if known("1.0.0") => {
                    open = open.max((3, quality));
                }
                "text/plain" if known("0.0.4") => plain = plain.max((3, quality)),
                "text/*" => plain = plain.max((2, quality)),
                "*/*" => plain = plain.max((1, quality)),
                _ => {}
            }
        }
        match open.1 > plain.1 {
            true => Self::OpenMetrics,
            false => Self::Plain,
        }
    }

    /// What `registry` has, in this format.
    pub(crate) fn encode(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, registry)?;
        match self {
            Self::Plain => plain(&text),
            Self::OpenMetrics => Ok(text),
        }
    }
}

/// A quality of HTTP, `0` to `1` with up to three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let quality: f64 = text.parse().ok()?;
    (0.0..=1.0)
        .contains(&quality)
        .then_some((quality * 1000.0) as u32)
}

/// The plain format of what the library wrote as OpenMetrics: for each family `# HELP`, `# TYPE`
/// and, from us never, `# UNIT`, then its samples.
fn plain(open: &str) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The family's name depends on its type, which comes next.
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(fmt::Error)?;
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            writeln!(text, "# HELP {name}{suffix} {help}")?;
            writeln!(text, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(text, "{line}")?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_asked_for() {
        use Format::{OpenMetrics, Plain};
        for (accept, format) in [
            // Prometheus itself, then curl and a browser.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("*/*", Plain),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Plain),
            ("application/openmetrics-text", OpenMetrics),
            (
                "Application/OpenMetrics-Text; Version=\"1.0.0\"",
                OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.9",
                OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4,application/openmetrics-text;q=0.9",
                Plain,
            ),
            ("application/openmetrics-text;q=0", Plain),
            (
                "*/*;q=0.8,text/plain;q=0.1,application/openmetrics-text;q=0.5",
                OpenMetrics,
            ),
            // Versions that there are not, and nonsense.
            ("application/openmetrics-text;version=0.0.1", Plain),
            ("application/openmetrics-text;q=x", Plain),
            ("application/openmetrics-text;q=7", Plain),
            ("application/json", Plain),
            ("", Plain),
            (";;,,=,q=", Plain),
        ] {
            assert_eq!(Format::asked([accept].into_iter()), format, "{accept}");
        }
        assert_eq!(Format::asked([].into_iter()), Plain);
        let split = ["text/plain;q=0.1", "application/openmetrics-text;q=0.2"];
        assert_eq!(Format::asked(split.into_iter()), OpenMetrics);
    }
}
