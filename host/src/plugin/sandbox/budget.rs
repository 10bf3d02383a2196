//! Time: CPU used by the guest's thread and the wall clock, checked whenever the epoch moves on.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What is left of a guest's time.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugin) struct TimeBudget {
    begun: Instant,
    cpu_at_start: Duration,
    cpu_max: Duration,
    wall_max: Duration,
}

/// Which of the two ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum OutOfTime {
    #[error("it used up its CPU time of {} ms (limits `cpu_ms`, `cpu_ms_per_mib`)", .0.as_millis())]
    Cpu(Duration),
    #[error("it used up its {} ms by the clock (limit `wall_factor`)", .0.as_millis())]
    Wall(Duration),
}

impl TimeBudget {
    /// Begins now, on this thread.
    pub(in crate::plugin) fn begin(cpu_max: Duration, wall_max: Duration) -> Self {
        Self { begun: Instant::now(), cpu_at_start: thread_cpu(), cpu_max, wall_max }
    }

    /// CPU time used since the beginning; has to be asked on the same thread.
    pub(in crate::plugin) fn cpu_used(&self) -> Duration {
        thread_cpu().saturating_sub(self.cpu_at_start)
    }

    pub(in crate::plugin) fn cpu_max(&self) -> Duration {
        self.cpu_max
    }

    /// Time by the clock since the beginning.
    pub(in crate::plugin) fn wall_used(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(in crate::plugin) fn wall_max(&self) -> Duration {
        self.wall_max
    }

    pub(in crate::plugin) fn check(&self) -> Result<(), OutOfTime> {
        if self.cpu_used() > self.cpu_max {
            Err(OutOfTime::Cpu(self.cpu_max))
        } else if self.wall_used() > self.wall_max {
            Err(OutOfTime::Wall(self.wall_max))
        } else {
            Ok(())
        }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
