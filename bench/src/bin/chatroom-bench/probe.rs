//! What processes have used.

use crate::Res;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::Process;
use std::time::Duration;

/// The CPU clocks of some processes, added up; exact to the nanosecond.
#[derive(Debug)]
pub(crate) struct Cpu(Vec<ClockId>);

impl Cpu {
    pub(crate) fn of(pids: &[Pid]) -> Res<Self> {
        let clocks = pids.iter().map(|&pid| clock_getcpuclockid(pid));
        Ok(Self(clocks.collect::<Result<_, _>>()?))
    }

    /// This very process.
    pub(crate) fn own() -> Self {
        Self(vec![ClockId::CLOCK_PROCESS_CPUTIME_ID])
    }

    /// What they have used so far. A process that has ended is an error.
    pub(crate) fn used(&self) -> Res<Duration> {
        let mut sum = Duration::ZERO;
        for &clock in &self.0 {
            sum += Duration::from(clock_gettime(clock).map_err(|_| "a server has ended")?);
        }
        Ok(sum)
    }
}

/// How often the threads of a process have gone to sleep by themselves.
pub(crate) fn wakes(pid: Pid) -> Res<u64> {
    let mut sum = 0;
    for task in Process::new(pid.as_raw())?.tasks()? {
        sum += task?.status()?.voluntary_ctxt_switches.unwrap_or(0);
    }
    Ok(sum)
}

/// Resident bytes of a process.
pub(crate) fn resident(pid: Pid) -> Res<u64> {
    let status = Process::new(pid.as_raw())?.status()?;
    Ok(status.vmrss.ok_or("no resident memory")? * 1024)
}
