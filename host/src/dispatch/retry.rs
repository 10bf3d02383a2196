//! The retry profiles: which outcomes are retried, how often, after what delay. Pure.
//!
//! `langsmith` (docs.langchain.com/langsmith/webhooks): what could not connect and what answered 5xx share one budget of
//! two retries; everything else is final. The delays are ours, since LangSmith does not document its own.
//!
//! `durable` (Standard Webhooks 1.0.0): everything but 2xx is retried over three days, a receiver that names a time is
//! waited for, and 410 ends all sending to it.

use std::time::Duration;

use http::StatusCode;

use crate::clock::after;
use crate::model::Timestamp;
use crate::model::attempt::Outcome;
use crate::model::delivery::Next;
use crate::model::retry::{Profile, Retry};

/// Each delay is drawn from this share around its value, so that receivers are not hit in step.
const JITTER: f64 = 0.2;

/// The longest that a receiver is waited for because it says so: the longest delay of the durable schedule.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// How long the rest of an answer is read, so that its connection can be used again.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a webhook's profile and its own numbers come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms<'a> {
    /// DNS, TCP and TLS together; and again from being connected to the complete response head.
    pub timeout: Duration,
    /// Attempts in all.
    pub attempts: u32,
    retry: &'a Retry,
    profile: Profile,
}

impl<'a> Terms<'a> {
    /// The terms of a webhook.
    pub fn of(retry: &'a Retry) -> Self {
        let timeout = Duration::from_secs(retry.timeout_seconds().into());
        Self { timeout, attempts: retry.attempts(), retry, profile: retry.profile }
    }

    /// How long one attempt can take at most.
    pub fn attempt_max(&self) -> Duration {
        self.timeout * 2 + BODY_TIMEOUT
    }

    /// How long a delivery can be tried at most, but for a receiver that asks for more time.
    pub fn tried_max(&self) -> Duration {
        let delays = Duration::from_secs(self.retry.waited_seconds()).mul_f64(1.0 + JITTER);
        delays + self.attempt_max() * self.attempts
    }

    fn delay(&self, counted: u32) -> Duration {
        Duration::from_secs(self.retry.delay_seconds(counted).into())
    }

    fn retries(&self, outcome: Outcome) -> bool {
        match (self.profile, outcome) {
            (_, Outcome::ConnectFailed | Outcome::ServerError) => true,
            // What is forbidden stays so.
            (_, Outcome::Delivered | Outcome::AddressForbidden | Outcome::Interrupted) => false,
            // Sending again what may have arrived is what the one profile promises, and the other excludes.
            (profile, _) => profile == Profile::Durable,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What it is called.
    pub outcome: Outcome,
    /// The answer's status, where there is one.
    pub status: Option<StatusCode>,
    /// For how long the receiver does not want to be asked, where it says so.
    pub retry_after: Option<Duration>,
}

impl Ended {
    /// For how long the endpoint is to be left alone because it asked for it (Standard Webhooks 1.0.0: 429 and 502 to
    /// 504 throttle).
    pub fn throttled(&self, terms: &Terms<'_>) -> Option<Duration> {
        let is_throttle = matches!(self.status?.as_u16(), 429 | 502..=504);
        let asked = self.retry_after.filter(|_| is_throttle && terms.profile == Profile::Durable)?;
        Some(asked.min(RETRY_AFTER_MAX))
    }
}

/// What follows from how an attempt ended.
///
/// `counted` is the number of attempts made so far that count against the budget, this one included; `random` is uniform
/// in `0.0..1.0`.
pub fn next(terms: &Terms<'_>, ended: &Ended, counted: u32, now: Timestamp, random: f64) -> Next {
    if ended.outcome == Outcome::Delivered {
        return Next::Delivered;
    }
    if terms.profile == Profile::Durable && ended.status == Some(StatusCode::GONE) {
        return Next::Gone;
    }
    if !terms.retries(ended.outcome) || counted >= terms.attempts {
        return Next::Failed;
    }
    let asked = ended.retry_after.filter(|_| terms.profile == Profile::Durable).unwrap_or_default();
    let delay = jittered(terms.delay(counted), random).max(asked.min(RETRY_AFTER_MAX));
    Next::RetryAt(after(now, delay))
}

fn jittered(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn of(profile: Profile) -> Retry {
        Retry { profile, ..Retry::default() }
    }

    fn ended(outcome: Outcome) -> Ended {
        Ended { outcome, status: None, retry_after: None }
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Ended {
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = crate::dispatch::classify::classify(&Ok(status));
        Ended { outcome, status: Some(status), retry_after: retry_after.map(Duration::from_secs) }
    }

    fn after_attempt(retry: &Retry, ended: &Ended, counted: u32) -> Next {
        next(&Terms::of(retry), ended, counted, NOW, 0.5)
    }

    fn retry_in(seconds: u64) -> Next {
        Next::RetryAt(after(NOW, Duration::from_secs(seconds)))
    }

    #[test]
    fn langsmith_retries_twice_after_one_and_two_seconds() {
        let retry = of(Profile::Langsmith);
        for outcome in [Outcome::ConnectFailed, Outcome::ServerError] {
            assert_eq!(after_attempt(&retry, &ended(outcome), 1), retry_in(1));
            assert_eq!(after_attempt(&retry, &ended(outcome), 2), retry_in(2));
            assert_eq!(after_attempt(&retry, &ended(outcome), 3), Next::Failed);
        }
    }

    #[test]
    fn with_langsmith_everything_else_is_final_at_once() {
        for outcome in Outcome::ALL {
            let expected = match outcome {
                Outcome::Delivered => Next::Delivered,
                Outcome::ConnectFailed | Outcome::ServerError => continue,
                _ => Next::Failed,
            };
            assert_eq!(after_attempt(&of(Profile::Langsmith), &ended(outcome), 1), expected, "{outcome}");
        }
        let retry = of(Profile::Langsmith);
        assert_eq!(after_attempt(&retry, &answered(410, None), 1), Next::Failed);
        assert_eq!(after_attempt(&retry, &answered(503, Some(60)), 1), retry_in(1));
        assert_eq!(answered(503, Some(60)).throttled(&Terms::of(&retry)), None);
    }

    #[test]
    fn durable_follows_the_schedule_of_standard_webhooks() {
        let retry = of(Profile::Durable);
        let delays = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (counted, seconds) in (1..).zip(delays) {
            assert_eq!(after_attempt(&retry, &ended(Outcome::TimedOut), counted), retry_in(seconds));
        }
        assert_eq!(after_attempt(&retry, &ended(Outcome::TimedOut), 10), Next::Failed);
        assert!(Terms::of(&retry).tried_max() > Duration::from_hours(3 * 24));
    }

    #[test]
    fn durable_retries_whatever_did_not_arrive() {
        for outcome in Outcome::ALL {
            let next = after_attempt(&of(Profile::Durable), &ended(outcome), 1);
            match outcome {
                Outcome::Delivered => assert_eq!(next, Next::Delivered),
                Outcome::AddressForbidden | Outcome::Interrupted => assert_eq!(next, Next::Failed, "{outcome}"),
                _ => assert_eq!(next, retry_in(5), "{outcome}"),
            }
        }
    }

    #[test]
    fn durable_waits_for_as_long_as_it_is_asked_to_within_a_day() {
        let retry = of(Profile::Durable);
        for (status, asked, seconds) in
            [(429, 60, 60), (503, 60, 60), (500, 60, 60), (429, 1, 5), (429, 1 << 40, 86_400)]
        {
            assert_eq!(after_attempt(&retry, &answered(status, Some(asked)), 1), retry_in(seconds), "{status} {asked}");
        }
        let throttled = |status, asked| answered(status, asked).throttled(&Terms::of(&retry));
        assert_eq!(throttled(429, Some(60)), Some(Duration::from_secs(60)));
        assert_eq!(throttled(503, Some(1 << 40)), Some(RETRY_AFTER_MAX));
        assert_eq!(throttled(500, Some(60)), None);
        assert_eq!(throttled(429, None), None);
    }

    #[test]
    fn gone_ends_a_durable_endpoint() {
        assert_eq!(after_attempt(&of(Profile::Durable), &answered(410, Some(60)), 1), Next::Gone);
    }

    #[test]
    fn own_numbers_replace_the_profiles() {
        let retry = Retry {
            profile: Profile::Langsmith,
            timeout_seconds: Some(60),
            attempts: Some(4),
            backoff_seconds: Some(vec![10, 20]),
        };
        let terms = Terms::of(&retry);
        assert_eq!((terms.timeout, terms.attempt_max()), (Duration::from_secs(60), Duration::from_secs(125)));
        let delays: Vec<_> =
            (1..5).map(|counted| after_attempt(&retry, &ended(Outcome::ServerError), counted)).collect();
        assert_eq!(delays, [retry_in(10), retry_in(20), retry_in(20), Next::Failed]);
        assert_eq!(after_attempt(&retry, &ended(Outcome::TimedOut), 1), Next::Failed);
        let once = Retry { attempts: Some(1), ..retry };
        assert_eq!(after_attempt(&once, &ended(Outcome::ServerError), 1), Next::Failed);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_a_fifth_of_its_value(random in 0.0f64..1.0, counted in 1u32..3) {
            let retry = of(Profile::Langsmith);
            let next = next(&Terms::of(&retry), &ended(Outcome::ServerError), counted, NOW, random);
            let Next::RetryAt(at) = next else { panic!("a retry is due") };
            let delay = at.duration_since(NOW).as_secs_f64();
            let base = f64::from(counted);
            prop_assert!((base * 0.8..=base * 1.2).contains(&delay), "{}", delay);
        }
    }
}
