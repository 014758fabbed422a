//! The metrics that every Prometheus client has of its process, read when a scraper asks.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The process that this is.
#[derive(Debug)]
pub(crate) struct Process {
    /// When it began, since the epoch.
    began: Duration,
}

impl Process {
    /// To be made when the process begins: the system tells its start only in ticks since the
    /// boot, whose moment a hardened service can't read.
    pub(crate) fn beginning() -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            began: began.unwrap_or_default(),
        }
    }

    /// A number that no other server of the grid with the same id had or will have: the time in
    /// nanoseconds.
    pub(crate) fn incarnation() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        u64::try_from(now).unwrap_or(u64::MAX).max(1)
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = ConstCounter::new(spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9);
        let family = encoder.encode_descriptor(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
            None,
            cpu.metric_type(),
        )?;
        cpu.encode(family)?;
        let memory = memory();
        for (name, help, value) in [
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                Some(self.began.as_secs_f64()),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                memory.map(|(size, _)| size),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                memory.map(|(_, resident)| resident),
            ),
            (
                "process_open_fds",
                "Number of open file descriptors.",
                open_descriptors(),
            ),
            (
                "process_max_fds",
                "Maximum number of open file descriptors.",
                Some(
                    getrlimit(Resource::Nofile)
                        .current
                        .map_or(f64::INFINITY, |most| most as f64),
                ),
            ),
        ] {
            // What the system doesn't tell is left out: a zero would be a lie.
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(family)?;
        }
        Ok(())
    }
}

/// Bytes of virtual and of resident memory. Only Linux tells without unsafe code.
fn memory() -> Option<(f64, f64)> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split(' ').map(|field| field.parse::<u64>().ok());
    let page = rustix::param::page_size() as f64;
    Some((pages.next()?? as f64 * page, pages.next()?? as f64 * page))
}

/// Open descriptors, the one to count them with aside.
fn open_descriptors() -> Option<f64> {
    // Linux has the second only if `/dev` is as usual, other systems have nothing else.
    let all = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd"));
    Some(all.ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn every_usual_value_is_there_and_plausible() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::beginning()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|rest| rest.strip_prefix(' ')).expect(name);
            value.parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        let resident = value("process_resident_memory_bytes");
        assert!(resident > 65_536.0 && resident < value("process_virtual_memory_bytes"));
        let opened: Vec<_> = (0..10)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= 10.0);
        assert!(open_descriptors().unwrap() >= 13.0);
        drop(opened);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((0.0..60.0).contains(&age), "{age}");
    }
}
