//! What was measured: figures with all their values, and curves.

use serde::Serialize;

/// What a figure was measured in. Zero stands for "does not matter".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub(crate) n: usize,
    /// Bytes of a text.
    pub(crate) bytes: usize,
    /// Whether all servers speak, rather than one.
    pub(crate) all: bool,
}

/// One quantity of one subject, once for each run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) section: &'static str,
    pub(crate) subject: String,
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    pub(crate) fn median(&self) -> f64 {
        let values = self.sorted();
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }
}

/// How latencies are spread: for each share of the broadcasts, within how many µs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) subject: String,
    pub(crate) n: usize,
    pub(crate) load: &'static str,
    /// Shares from 0 to 1, and µs.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The machine and the moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    pub(crate) command: String,
    /// Processes that ran or waited to, as the kernel's average over a minute.
    pub(crate) load_before: f32,
    pub(crate) load_after: f32,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|l| l.strip_prefix("model name"));
        let load = load();
        Self {
            processor: model.map_or_else(
                || "unknown".into(),
                |m| m.trim_start_matches([' ', '\t', ':']).to_owned(),
            ),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            load_before: load,
            load_after: load,
        }
    }
}

pub(crate) fn load() -> f32 {
    use procfs::Current;
    procfs::LoadAverage::current().map_or(0.0, |load| load.one)
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Book {
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
    /// Runs that did not come to their end, with the reason.
    pub(crate) failures: Vec<String>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            machine: Machine::here(),
            figures: Vec::new(),
            curves: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds one value of one run.
    pub(crate) fn add(&mut self, at: Entry<'_>, what: &str, unit: &'static str, value: f64) {
        let known = self.figures.iter_mut().find(|f| {
            f.section == at.section
                && f.subject == at.subject
                && f.case == at.case
                && f.what == what
        });
        if let Some(figure) = known {
            figure.values.push(value);
        } else {
            self.figures.push(Figure {
                section: at.section,
                subject: at.subject.to_owned(),
                case: at.case,
                what: what.to_owned(),
                unit,
                values: vec![value],
            });
        }
    }

    pub(crate) fn find(
        &self,
        section: &str,
        subject: &str,
        case: Case,
        what: &str,
    ) -> Option<&Figure> {
        self.figures.iter().find(|f| {
            f.section == section && f.subject == subject && f.case == case && f.what == what
        })
    }

    /// The subjects of a section, in the order of their first figure.
    pub(crate) fn subjects(&self, section: &str) -> Vec<&str> {
        let mut subjects: Vec<&str> = Vec::new();
        for figure in self.figures.iter().filter(|f| f.section == section) {
            if !subjects.contains(&figure.subject.as_str()) {
                subjects.push(&figure.subject);
            }
        }
        subjects
    }
}

/// Where values belong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) section: &'static str,
    pub(crate) subject: &'a str,
    pub(crate) case: Case,
}
