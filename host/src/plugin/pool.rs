//! Threads of the plugins' own, so that a busy guest delays guests and never the I/O.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that wait for work. They end when this is dropped.
pub(super) struct Threads {
    jobs: mpsc::Sender<Job>,
}

impl Threads {
    /// As many as there are cores, for guests, each on its own: the process that it has serve a plugin inherits that, and
    /// to wake a process on another core takes ten times as long.
    pub(super) fn for_guests() -> std::io::Result<Self> {
        Self::each("guest", thread::available_parallelism()?.get(), stay_on)
    }

    pub(super) fn start(name: &str, count: usize) -> std::io::Result<Self> {
        Self::each(name, count, |_| {})
    }

    fn each(name: &str, count: usize, begin: fn(usize)) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..count {
            let waiting = waiting.clone();
            let work = move || {
                begin(number);
                work(&waiting);
            };
            thread::Builder::new().name(format!("{name}-{number}")).spawn(work)?;
        }
        Ok(Self { jobs })
    }

    /// Has the work done on the next free thread, some time.
    pub(super) fn queue(&self, work: impl FnOnce() + Send + 'static) {
        // The threads live as long as this does.
        let _ = self.jobs.send(Box::new(work));
    }

    /// Runs the work on the next free thread. None when it panicked, which is a fault of the host's.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        // Who asked may be gone; the work is done nevertheless and its answer dropped.
        let job = Box::new(move || drop(answer.send(work())));
        self.jobs.send(job).ok()?;
        answered.await.ok()
    }
}

/// Runs the work on a thread of its own and waits for it: guests' output may block, which the I/O runtime's threads
/// must not.
pub(super) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Keeps this thread on one of the cores that it may use, where the system can do that; it is no more than quicker.
#[cfg(target_os = "linux")]
fn stay_on(number: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(usable) = sched_getaffinity(None) else { return };
    let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| usable.is_set(*core)).collect();
    let mut own = CpuSet::new();
    if let Some(core) = usable.get(number % usable.len().max(1)) {
        own.set(*core);
        let _ = sched_setaffinity(None, &own);
    }
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_: usize) {}

fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // The job's channel closes with it: who waits is told.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_costs_no_thread() {
        let threads = Threads::for_guests().unwrap();
        for _ in 0..20 {
            assert_eq!(threads.run(|| -> u32 { panic!("on purpose") }).await, None);
        }
        assert_eq!(threads.run(|| 7).await, Some(7));
    }
}
