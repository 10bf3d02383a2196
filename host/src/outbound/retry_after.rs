//! `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::model::Timestamp;

static DATES: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// When a receiver wants to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// So long after the answer.
    In(Duration),
    /// At that time.
    At(Timestamp),
}

impl RetryAfter {
    /// What the headers of an answer say; none where they say nothing that can be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let seconds = text.parse().ok().map(|seconds| Self::In(Duration::from_secs(seconds)));
        seconds.or_else(|| DATES.parse_timestamp(text).ok().map(Self::At))
    }

    /// How long that is from now.
    pub fn from(self, now: Timestamp) -> Duration {
        match self {
            Self::In(duration) => duration,
            Self::At(time) => Duration::try_from(time.duration_since(now)).unwrap_or(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> Option<RetryAfter> {
        RetryAfter::of(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]))
    }

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        assert_eq!(of("120"), Some(RetryAfter::In(Duration::from_secs(120))));
        let date = Some(RetryAfter::At("2015-10-21T07:28:00Z".parse().unwrap()));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), date);
        for wrong in ["", "soon", "-1", "1.5", "99999999999999999999999", "Wed, 31 Feb 2015 07:28:00 GMT"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_date_that_is_over_is_now() {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().unwrap();
        assert_eq!(RetryAfter::At(now).from(now + jiff::SignedDuration::from_secs(9)), Duration::ZERO);
        assert_eq!(RetryAfter::At(now + jiff::SignedDuration::from_secs(9)).from(now), Duration::from_secs(9));
    }
}
