//! The retry profiles: which outcomes are retried, how often, after what delay. Pure.
//!
//! `langsmith` (docs.langchain.com/langsmith/webhooks): what could not connect and what answered 5xx share one budget of
//! two retries; everything else is final. The delays are ours, since LangSmith does not document its own.

use std::time::Duration;

use crate::clock::after;
use crate::model::Timestamp;
use crate::model::attempt::Outcome;
use crate::model::delivery::Next;
use crate::model::endpoint::Profile;

/// Each delay is drawn from this share around its value, so that receivers are not hit in step.
const JITTER: f64 = 0.2;

/// A retry profile's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From being connected to the complete response head.
    pub head_timeout: Duration,
    /// The delay before each retry; as many retries as delays.
    pub delays: &'static [Duration],
}

const LANGSMITH: Terms = Terms {
    connect_timeout: Duration::from_secs(5),
    head_timeout: Duration::from_secs(5),
    delays: &[Duration::from_secs(1), Duration::from_secs(2)],
};

/// The numbers of a profile.
pub fn terms(profile: Profile) -> Terms {
    match profile {
        Profile::Langsmith => LANGSMITH,
    }
}

/// What follows from the outcome of an attempt.
///
/// `counted` is the number of attempts made so far that count against the budget, this one included; `random` is uniform
/// in `0.0..1.0`.
pub fn next(profile: Profile, outcome: Outcome, counted: u32, now: Timestamp, random: f64) -> Next {
    let is_retried = match outcome {
        Outcome::Delivered => return Next::Delivered,
        Outcome::ConnectFailed | Outcome::ServerError => true,
        // Sending again what may have arrived is not promised, and what is forbidden stays so.
        Outcome::AddressForbidden
        | Outcome::TimedOut
        | Outcome::ConnectionLost
        | Outcome::ClientError
        | Outcome::Redirected
        | Outcome::UnexpectedResponse
        | Outcome::Interrupted => false,
    };
    let delay = terms(profile).delays.get(counted.saturating_sub(1) as usize);
    match delay {
        Some(delay) if is_retried => Next::RetryAt(after(now, jittered(*delay, random))),
        _ => Next::Failed,
    }
}

fn jittered(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after_attempt(outcome: Outcome, counted: u32) -> Next {
        next(Profile::Langsmith, outcome, counted, NOW, 0.5)
    }

    #[test]
    fn two_retries_after_one_and_two_seconds_then_failed() {
        for outcome in [Outcome::ConnectFailed, Outcome::ServerError] {
            assert_eq!(after_attempt(outcome, 1), Next::RetryAt(after(NOW, Duration::from_secs(1))));
            assert_eq!(after_attempt(outcome, 2), Next::RetryAt(after(NOW, Duration::from_secs(2))));
            assert_eq!(after_attempt(outcome, 3), Next::Failed);
        }
    }

    #[test]
    fn everything_else_is_final_at_once() {
        for outcome in Outcome::ALL {
            let expected = match outcome {
                Outcome::Delivered => Next::Delivered,
                Outcome::ConnectFailed | Outcome::ServerError => continue,
                _ => Next::Failed,
            };
            assert_eq!(after_attempt(outcome, 1), expected, "{outcome}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_a_fifth_of_its_value(random in 0.0f64..1.0, counted in 1u32..3) {
            let Next::RetryAt(at) = next(Profile::Langsmith, Outcome::ServerError, counted, NOW, random) else {
                panic!("a retry is due");
            };
            let delay = at.duration_since(NOW).as_secs_f64();
            let base = f64::from(counted);
            prop_assert!((base * 0.8..=base * 1.2).contains(&delay), "{}", delay);
        }
    }
}
