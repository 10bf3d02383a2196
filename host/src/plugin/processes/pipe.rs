//! The host's ends of a guest process's pipes: nothing waits beyond a point in time.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// One end, and until when it may be waited for.
pub(super) struct Pipe {
    end: OwnedFd,
    pub(super) until: Instant,
}

impl Pipe {
    /// Takes over an end that a child has the other one of.
    pub(super) fn of(end: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok(Self { end, until: Instant::now() })
    }

    fn retried(&self, flags: PollFlags, mut attempt: impl FnMut() -> Result<usize, Errno>) -> io::Result<usize> {
        loop {
            match attempt() {
                Err(Errno::AGAIN) => self.wait(flags)?,
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.end, flags)], Some(&left)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retried(PollFlags::IN, || rustix::io::read(&self.end, &mut *buffer))
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.retried(PollFlags::OUT, || rustix::io::write(&self.end, buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
