//! Reads both clocks, sleeps for an hour, and draws random numbers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use runhook_sdk::prelude::*;

#[allow(unsafe_code, reason = "std has no stable way to ask for randomness")]
mod libc {
    unsafe extern "C" {
        fn getentropy(buffer: *mut u8, length: usize) -> i32;
    }

    pub(super) fn random() -> [u8; 16] {
        let mut drawn = [0; 16];
        // SAFETY: the buffer is as long as it is said to be.
        assert_eq!(unsafe { getentropy(drawn.as_mut_ptr(), drawn.len()) }, 0);
        drawn
    }
}

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    let (begun, time) = (Instant::now(), SystemTime::now());
    std::thread::sleep(Duration::from_secs(3600));
    payload.set("/stood_still", begun.elapsed().is_zero() && SystemTime::now() == time)?;
    payload.set("/seconds", time.duration_since(UNIX_EPOCH)?.as_secs())?;
    payload.set("/first", libc::random())?;
    payload.set("/second", libc::random())
}
