//! From JSON to a webhook's terms: its retries, its pace, and what its requests are signed with.

use serde_json::Value;

use crate::definition::Problems;
use crate::definition::object::Object;
use crate::definition::read::{bounded, problem};
use crate::limits;
use crate::model::pace::Pace;
use crate::model::retry::{Profile, Retry};
use crate::model::secret::Secret;
use crate::nearest::did_you_mean;

pub(super) const TERMS_KEYS: &[&str] = &[
    "profile",
    "timeout_seconds",
    "attempts",
    "backoff_seconds",
    "concurrency",
    "rate_per_second",
    "ordered",
    "signing_secrets",
];

/// Delays in one backoff.
const DELAYS_MAX: usize = 32;

pub(super) fn retry(webhook: &Object<'_>, problems: &mut Problems) -> Retry {
    let retry = Retry {
        profile: profile(webhook, problems),
        timeout_seconds: whole(webhook, "timeout_seconds", limits::TIMEOUT_SECONDS_MAX, problems),
        attempts: whole(webhook, "attempts", limits::ATTEMPTS_OF_DELIVERY_MAX, problems),
        backoff_seconds: backoff(webhook, problems),
    };
    let (waited, most) = (retry.waited_seconds(), limits::BACKOFF_MAX.as_secs());
    if waited > most {
        let key = if retry.backoff_seconds.is_some() { "backoff_seconds" } else { "attempts" };
        let attempts = retry.attempts();
        let problem_text = format!("comes to {waited} s over {attempts} attempts; at most {most} are waited in all");
        problems.push(problem(&webhook.place(key), &problem_text));
    }
    retry
}

fn profile(webhook: &Object<'_>, problems: &mut Problems) -> Profile {
    let Some(name) = webhook.string("profile", problems) else { return Profile::default() };
    Profile::ALL.into_iter().find(|profile| profile.as_str() == name).unwrap_or_else(|| {
        let hint = did_you_mean(name, Profile::ALL.map(Profile::as_str));
        problems.push(problem(&webhook.place("profile"), &format!("there is no profile `{name}`{hint}")));
        Profile::default()
    })
}

/// Seconds before each retry.
fn backoff(webhook: &Object<'_>, problems: &mut Problems) -> Option<Vec<u32>> {
    let place = webhook.place("backoff_seconds");
    webhook.get("backoff_seconds")?;
    let given = webhook.array("backoff_seconds", problems);
    if !(1..=DELAYS_MAX).contains(&given.len()) {
        problems.push(problem(&place, &format!("needs 1 to {DELAYS_MAX} numbers of seconds")));
    }
    let most = limits::BACKOFF_MAX.as_secs();
    let delay = |(at, value): &(String, &Value), problems: &mut Problems| {
        let delay =
            value.as_u64().filter(|delay| (1..=most).contains(delay)).and_then(|delay| u32::try_from(delay).ok());
        if delay.is_none() {
            problems.push(problem(at, &format!("needs a whole number of seconds from 1 to {most}")));
        }
        delay
    };
    Some(given.iter().filter_map(|given| delay(given, problems)).collect())
}

pub(super) fn pace(webhook: &Object<'_>, problems: &mut Problems) -> Pace {
    let pace = Pace {
        concurrency: whole(webhook, "concurrency", limits::CONCURRENCY_MAX, problems),
        rate_per_second: rate(webhook, problems),
        is_ordered: webhook.boolean("ordered", problems).unwrap_or(false),
    };
    if pace.is_ordered && pace.concurrency.is_some_and(|asked| asked > 1) {
        problems.push(problem(
            &webhook.place("concurrency"),
            "is above 1, and `ordered` sends one at a time; leave one out",
        ));
    }
    pace
}

fn rate(webhook: &Object<'_>, problems: &mut Problems) -> Option<f64> {
    let rate = webhook.number("rate_per_second", problems)?;
    let (least, most) = (limits::RATE_PER_SECOND_MIN, limits::RATE_PER_SECOND_MAX);
    if !(least..=most).contains(&rate) {
        problems
            .push(problem(&webhook.place("rate_per_second"), &format!("is {rate}; it goes from {least} to {most}")));
        return None;
    }
    Some(rate)
}

/// Not yet checked, since they may be masked.
pub(super) fn signing_secrets(webhook: &Object<'_>, problems: &mut Problems) -> Vec<Secret> {
    let given = webhook.array("signing_secrets", problems);
    if given.len() > limits::SIGNING_SECRETS_MAX {
        let many = format!("are {}; a webhook has at most {}", given.len(), limits::SIGNING_SECRETS_MAX);
        problems.push(problem(&webhook.place("signing_secrets"), &many));
    }
    let secret = |(at, value): (String, &Value)| {
        let text = value.as_str().or_else(|| {
            problems.push(problem(&at, "needs a string"));
            None
        })?;
        bounded(text, &at, problems)
    };
    given.into_iter().filter_map(secret).collect()
}

/// From 1.
fn whole(webhook: &Object<'_>, key: &str, most: u32, problems: &mut Problems) -> Option<u32> {
    let value = webhook.get(key)?;
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| (1..=most).contains(number));
    if number.is_none() {
        problems.push(problem(&webhook.place(key), &format!("needs a whole number from 1 to {most}")));
    }
    number
}
