//! How much an endpoint is sent at once, how fast, and in which order.

use serde::{Deserialize, Serialize};

/// A webhook's pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Attempts in flight at most, where it is another number than every endpoint's.
    pub concurrency: Option<u32>,
    /// Attempts begun per second at most.
    pub rate_per_second: Option<f64>,
    /// One at a time, in the order in which the payloads were accepted.
    pub is_ordered: bool,
}

impl Pace {
    /// Attempts in flight at most; `others` is every endpoint's number.
    pub fn in_flight_max(&self, others: usize) -> usize {
        if self.is_ordered { 1 } else { self.concurrency.map_or(others, |asked| asked as usize) }
    }

    /// Whether the webhook has a bound of its own, which is kept exactly.
    pub fn is_bounded(&self) -> bool {
        *self != Self::default()
    }
}
