//! What a process uses, from `/proc`.

use std::fs;

/// What one process uses at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Processor time used so far, in milliseconds.
    pub cpu: u64,
}

impl Usage {
    /// Of process `pid`; `None` if it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let pages: u64 = read("statm")?.split(' ').nth(1)?.parse().ok()?;
        let stat = read("stat")?;
        // The name in parentheses may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks: u64 = (fields.split(' ').skip(11).take(2))
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Some(Self {
            resident: pages * rustix::param::page_size() as u64,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            cpu: ticks * 1000 / rustix::param::clock_ticks_per_second(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_what_it_takes() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null")).collect();
        let memory = std::hint::black_box(vec![1_u8; 32 << 20]);
        let after = Usage::of(pid).unwrap();
        assert!(after.descriptors >= before.descriptors + 10, "{after:?}");
        assert!(after.resident > before.resident + (24 << 20), "{after:?}");
        drop((files, memory));
        assert_eq!(Usage::of(u32::MAX), None);
    }
}
