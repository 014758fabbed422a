//! What a server counts, as metrics: the observer puts them in, whoever scrapes reads them out.

use crate::process::Process;
use crate::protocols::Served;
use chatroom_core::{Counters, Gauges, Node, Why};
use chatroom_machine::Span;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Upper bounds of the buckets of the silences, in seconds: dense around the suspicion time of
/// 0.9 s and the second in which a silent peer must be gone.
const BOUNDS: [f64; 14] = [
    0.1, 0.25, 0.5, 0.75, 0.9, 0.91, 0.925, 0.95, 1.0, 1.1, 1.5, 2.5, 5.0, 60.0,
];

/// The latest numbers of one server. Putting them in takes a copy and no longer.
#[derive(Debug)]
pub(crate) struct Metrics {
    server: u32,
    numbers: Mutex<Numbers>,
}

#[derive(Clone, Debug)]
struct Numbers {
    counters: Counters,
    gauges: Gauges,
    log_texts: u64,
    log_bytes: u64,
    /// By id, whether a peer is up; the own entry stays false.
    up: Vec<bool>,
    /// How many silences fell into each bucket; the last is for those past every bound.
    silences: [u64; BOUNDS.len() + 1],
    silence: Span,
}

impl Metrics {
    /// The metrics of server `server` of `servers`, before it did anything.
    pub(crate) fn new(server: u32, servers: u32) -> Arc<Self> {
        let numbers = Mutex::new(Numbers {
            counters: Counters::default(),
            gauges: Gauges {
                peers: 0,
                nameless: 0,
                masters: 0,
                lag_bytes: 0,
                owed_bytes: 0,
            },
            up: vec![false; servers as usize],
            log_texts: 0,
            log_bytes: 0,
            silences: [0; BOUNDS.len() + 1],
            silence: Span::ZERO,
        });
        Arc::new(Self { server, numbers })
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over how a server stands.
    pub(crate) fn set<P: Served>(&self, server: &Node<P>) {
        let mut numbers = self.numbers();
        numbers.counters.clone_from(server.counters());
        numbers.gauges = server.gauges();
        (numbers.log_texts, numbers.log_bytes) = P::log_size(server);
        numbers.up.fill(false);
        for id in server.alive() {
            if let Some(up) = numbers.up.get_mut(id as usize) {
                *up = true;
            }
        }
    }

    /// Counts a peer that was dropped after it had been silent for so long.
    pub(crate) fn suspected(&self, silence: Span) {
        let seconds = silence.as_micros() as f64 / 1e6;
        let bucket = BOUNDS.iter().position(|&bound| seconds <= bound);
        let mut numbers = self.numbers();
        numbers.silences[bucket.unwrap_or(BOUNDS.len())] += 1;
        numbers.silence = numbers.silence + silence;
    }

    /// A registry that reads them, and what the system knows of `process`.
    pub(crate) fn registry(self: &Arc<Self>, runtime: &str, process: Process) -> Registry {
        let mut all = Registry::default();
        all.register_collector(Box::new(process));
        let registry = all.sub_registry_with_prefix("chatroom");
        registry.register_collector(Box::new(Arc::clone(self)));
        let labels = [
            ("server", self.server.to_string()),
            ("servers", self.numbers().up.len().to_string()),
            ("runtime", runtime.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        registry.register("server", "Which server this is", Info::new(labels.to_vec()));
        all
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Numbers {
            counters,
            gauges,
            log_texts,
            log_bytes,
            up,
            silences,
            silence,
        } = self.numbers().clone();
        for (name, help, value) in [
            (
                "broadcasts",
                "Broadcasts accepted from masters",
                counters.broadcasts,
            ),
            (
                "deliveries",
                "Messages delivered from peers",
                counters.deliveries,
            ),
            (
                "missed_messages",
                "Messages from peers that were not kept, as the log is full",
                counters.missed,
            ),
            ("in_bytes", "Bytes received", counters.bytes_in),
            ("out_bytes", "Bytes sent", counters.bytes_out),
            (
                "skipped_lines",
                "Lines of an unknown kind from known peers",
                counters.skipped,
            ),
            (
                "errors",
                "Requests of masters answered with an error",
                counters.errors,
            ),
            (
                "accepted_connections",
                "Connections accepted at both ports",
                counters.accepted,
            ),
            (
                "refused_connections",
                "Connections refused at both ports",
                counters.refused,
            ),
            (
                "starved_accepts",
                "Accepts that failed for want of a resource",
                counters.starved,
            ),
            ("dials", "Dials begun", counters.dials),
            ("sessions", "Sessions begun with peers", counters.ups),
        ] {
            let counter = ConstCounter::new(value);
            let family = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(family)?;
        }
        for (name, help, value) in [
            ("peers", "Peers that are up", gauges.peers as u64),
            (
                "nameless_links",
                "Links that have not said who they are",
                gauges.nameless as u64,
            ),
            ("masters", "Masters connected", gauges.masters as u64),
            ("log_texts", "Texts in the log", log_texts),
            ("log_bytes", "Bytes in the log", log_bytes),
            (
                "lag_bytes",
                "Bytes kept for the peer that is furthest behind",
                gauges.lag_bytes,
            ),
            ("owed_bytes", "Bytes owed to masters", gauges.owed_bytes),
        ] {
            let gauge = ConstGauge::new(value);
            let family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(family)?;
        }
        if up.len() > 1 {
            let mut peers = encoder.encode_descriptor(
                "peer_up",
                "Whether a peer is up: 1 if it is, 0 if not",
                None,
                MetricType::Gauge,
            )?;
            for (peer, up) in (0..).zip(up).filter(|&(peer, _)| peer != self.server) {
                let labels = [("peer", u32::to_string(&peer))];
                ConstGauge::new(u64::from(up)).encode(peers.encode_family(&labels)?)?;
            }
        }
        let mut closes = encoder.encode_descriptor(
            "closed_connections",
            "Connections that ended, by reason",
            None,
            MetricType::Counter,
        )?;
        for (why, count) in Why::ALL.iter().zip(counters.closes) {
            let labels = [("why", why.label())];
            ConstCounter::new(count).encode(closes.encode_family(&labels)?)?;
        }
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(silences).collect();
        let sum = silence.as_micros() as f64 / 1e6;
        encoder
            .encode_descriptor(
                "suspected_silence_seconds",
                "How long a peer had been silent when it was dropped for that",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(sum, silences.iter().sum(), &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn every_silence_falls_into_one_bucket() {
        let metrics = Metrics::new(1, 2);
        for millis in [0, 100, 900, 901, 1000, 59_999, 60_001, 3_600_000] {
            metrics.suspected(Span::from_millis(millis));
        }
        let mut text = String::new();
        encode(&mut text, &metrics.registry("std", Process::beginning())).unwrap();
        for line in [
            "chatroom_suspected_silence_seconds_bucket{le=\"0.1\"} 2\n",
            "chatroom_suspected_silence_seconds_bucket{le=\"0.9\"} 3\n",
            "chatroom_suspected_silence_seconds_bucket{le=\"1.0\"} 5\n",
            "chatroom_suspected_silence_seconds_bucket{le=\"60.0\"} 6\n",
            "chatroom_suspected_silence_seconds_bucket{le=\"+Inf\"} 8\n",
            "chatroom_suspected_silence_seconds_count 8\n",
            "chatroom_suspected_silence_seconds_sum 3722.901\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
