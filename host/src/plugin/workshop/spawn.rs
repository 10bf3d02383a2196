//! How children are started: what stops the host is for the host, which lets its children finish and ends them by itself.

use std::io;
use std::process::{Child, Command};

/// Starts a child that the signals of a terminal, or of whoever stops a whole control group, do not reach in the middle
/// of a payload.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub(in crate::plugin) fn spawn(command: &mut Command) -> io::Result<Child> {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};
    let stopping = SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM]);
    // A child begins with what its parent's thread blocks, so that there is no moment before.
    let before = stopping.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child
}

/// Other systems have no confined child, and none that works for long.
#[cfg(not(target_os = "linux"))]
pub(in crate::plugin) fn spawn(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}
