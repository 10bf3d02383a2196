//! A clock that was set back: what it had put off while it was ahead must not wait until it gets there again.

use tracing::{info, warn};

use crate::clock::after;
use crate::limits;
use crate::model::Timestamp;
use crate::store::Store;

/// Knows that the clock was set back, from one look to the next.
#[derive(Default)]
pub(super) struct ClockWatch {
    /// None before the first look, since the clock may have been set back before the host started.
    last: Option<Timestamp>,
    /// When what was under way as the clock was set back has been written, or has lost its lease.
    again_at: Option<Timestamp>,
}

impl ClockWatch {
    /// Has the store put right what a clock ahead of now has written, where there may be such; whether something became due
    /// by it. What fails is tried again at the next look.
    pub(super) async fn look(&mut self, store: &dyn Store, now: Timestamp) -> bool {
        // By less than a tick it delays nothing that anybody would notice.
        let was_set_back = self.last.is_some_and(|last| after(now, limits::TICK) < last);
        let is_again = self.again_at.is_some_and(|again_at| again_at <= now);
        if self.last.is_some() && !was_set_back && !is_again {
            self.last = Some(now);
            return false;
        }
        match store.clock_was_set_back(now, after(now, limits::LEASE)).await {
            Ok(hastened) => {
                if hastened > 0 {
                    info!(deliveries = hastened, "the clock was set back; what it had put off is due");
                }
                self.again_at = was_set_back.then(|| after(now, limits::LEASE));
                self.last = Some(now);
                hastened > 0
            }
            Err(error) => {
                warn!(%error, "cannot follow a clock that was set back; trying again");
                false
            }
        }
    }
}
