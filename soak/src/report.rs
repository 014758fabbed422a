//! What a soak ends with, in Markdown.

use crate::chronicle::{Chronicle, STALL, Times};
use crate::sample::Usage;
use crate::{Runtimes, Settings};
use std::fmt;
use std::time::Duration;

/// Samples kept of one server; with more, every second one is given up.
const KEPT: usize = 256;

/// How often each thing was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) talks: u64,
    pub(crate) bursts: u64,
    pub(crate) large: u64,
    pub(crate) kills: u64,
    pub(crate) crashes: u64,
    pub(crate) ends: u64,
    pub(crate) all_at_once: u64,
    pub(crate) short_stops: u64,
    pub(crate) long_stops: u64,
    pub(crate) checkpoints: u64,
    pub(crate) orders_dropped: u64,
}

/// What one long life used at its checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// At the first checkpoint.
    pub first: Option<Usage>,
    /// At the last one.
    pub last: Usage,
    first_besides: u64,
    /// Resident memory besides the log, of a selection of checkpoints.
    besides: Vec<u64>,
    /// Every so manieth checkpoint is kept.
    every: usize,
    seen: usize,
    log: u64,
}

impl Series {
    pub(crate) fn add(&mut self, usage: Usage, log: u64) {
        let besides = usage.resident.saturating_sub(log);
        if self.first.is_none() {
            self.first = Some(usage);
            self.first_besides = besides;
            self.every = 1;
        }
        (self.last, self.log) = (usage, log);
        if self.seen.is_multiple_of(self.every) {
            self.besides.push(besides);
        }
        if self.besides.len() == KEPT {
            let mut index = 0;
            self.besides.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
        self.seen += 1;
    }

    /// Bytes by which memory besides the log grew since the first checkpoint.
    #[must_use]
    pub fn growth(&self) -> u64 {
        let now = self.last.resident.saturating_sub(self.log);
        now.saturating_sub(self.first_besides)
    }

    fn median(&self) -> u64 {
        let mut sorted = self.besides.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

/// What was done in a soak and what came of it; displayed as Markdown.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) settings: Settings,
    pub(crate) took: Duration,
    /// What the watchers saw.
    pub chronicle: Chronicle,
    pub(crate) deeds: Deeds,
    pub(crate) strangers: [u64; 3],
    /// By server; only those that lived as long as the soak have samples.
    pub elders: Vec<Series>,
    pub(crate) peak: Usage,
    pub(crate) cpu: Duration,
    pub(crate) own: Usage,
}

fn mebi(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn times(f: &mut fmt::Formatter<'_>, what: &str, times: &Times) -> fmt::Result {
    writeln!(
        f,
        "| {what} | {} | {:?} | {:?} | {:.0?} | {} |",
        times.count,
        times.quantile(50),
        times.quantile(99),
        times.max,
        times.late
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, chronicle, deeds) = (&self.settings, &self.chronicle, &self.deeds);
        let runtime = match settings.runtimes {
            Runtimes::Std => "std",
            Runtimes::Smol => "smol",
            Runtimes::Mixed => "mixed",
        };
        let seconds = self.took.as_secs_f64();
        writeln!(
            f,
            "# Soak: {} servers on {runtime}, {seconds:.0} s, seed {}\n\n**{} violations**\n",
            settings.servers, settings.seed, chronicle.violations
        )?;
        for words in &chronicle.violation_words {
            writeln!(f, "- {words}")?;
        }
        writeln!(
            f,
            "\n## What was done\n\n| what | how often |\n| --- | ---: |"
        )?;
        let [to_links, to_masters, slow] = self.strangers;
        for (what, count) in [
            ("lives", chronicle.lives() as u64),
            ("broadcasts", chronicle.broadcasts()),
            ("in a few at a time", deeds.talks),
            ("in bursts of 500 to 2,000", deeds.bursts),
            ("in bursts of 20 of 60,000 bytes", deeds.large),
            ("killed", deeds.kills),
            ("crashed by a master", deeds.crashes),
            ("ended by SIGTERM", deeds.ends),
            ("all but the long-lived at once", deeds.all_at_once),
            ("stopped for less than 0.7 s", deeds.short_stops),
            ("stopped for 1.3 to 4 s", deeds.long_stops),
            ("strangers at link ports", to_links),
            ("strangers at master ports", to_masters),
            ("masters that do not read", slow),
            (
                "orders given up, the server being slow",
                deeds.orders_dropped,
            ),
            ("checkpoints", deeds.checkpoints),
        ] {
            writeln!(f, "| {what} | {count} |")?;
        }
        writeln!(
            f,
            "\n## What was checked\n\n{} log entries for properties 1 to 8, {} replies to `get` \
             to the byte; {} gaps before a watcher had come were not judged. At each checkpoint the \
             grid became whole and every text was everywhere.\n",
            chronicle.entries, chronicle.replies, chronicle.unwatched_gaps
        )?;
        writeln!(
            f,
            "## Time, as the watchers saw it\n\n| | count | median | 99 % | most | above 1 s |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |"
        )?;
        times(f, "a death noticed by a peer", &chronicle.deaths)?;
        times(
            f,
            "an end by SIGTERM, with what was still to be sent",
            &chronicle.ends,
        )?;
        times(f, "a stop noticed by a peer", &chronicle.stops)?;
        times(f, "a pair whole again, one side", &chronicle.reunions)?;
        let (suspicions, stalled) = chronicle.suspicions();
        let longest = chronicle.stalls.iter().map(|&(_, time)| time).max();
        writeln!(
            f,
            "\nStops of more than 1 s that a peer did not notice: {}. Sessions lost without a cause: \
             {suspicions}, and {stalled} more when the whole machine stood still for {STALL:?} or \
             more, which it did {} times, {:.1?} at most.\n",
            chronicle.unnoticed,
            chronicle.stalls.len(),
            longest.unwrap_or_default(),
        )?;
        for words in &chronicle.notes {
            writeln!(f, "- {words}")?;
        }
        writeln!(
            f,
            "\n## What it used\n\n| server that lived throughout | besides the log: start | median | \
             end | growth | log | descriptors: start | end |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )?;
        for (id, series) in self.elders.iter().enumerate() {
            if let Some(first) = series.first {
                writeln!(
                    f,
                    "| {id} | {} | {} | {} | {} | {} | {} | {} |",
                    mebi(series.first_besides),
                    mebi(series.median()),
                    mebi(series.last.resident.saturating_sub(series.log)),
                    mebi(series.growth()),
                    mebi(series.log),
                    first.descriptors,
                    series.last.descriptors
                )?;
            }
        }
        writeln!(
            f,
            "\nThe most of any server: {} resident with its log, {} descriptors. All servers used \
             {:.1} s of processor time ({:.1} % of one processor). The harness ended with {} \
             resident.",
            mebi(self.peak.resident),
            self.peak.descriptors,
            self.cpu.as_secs_f64(),
            100.0 * self.cpu.as_secs_f64() / seconds,
            mebi(self.own.resident)
        )
    }
}
