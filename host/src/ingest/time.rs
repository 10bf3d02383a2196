//! Points in time as the SDKs write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::json;

/// Reads a JSON value as a point in time: ISO 8601 text with an offset (Python, JavaScript's `start_time`), without one
/// (UTC: Python, where the user's own times are naive), or a number of milliseconds since 1970 (JavaScript's `end_time`).
/// None for all else.
pub fn timestamp(json: &str) -> Option<Timestamp> {
    match json::text(json) {
        Some(text) => from_text(&text),
        None => from_milliseconds(json),
    }
}

fn from_text(text: &str) -> Option<Timestamp> {
    if let Ok(zoned) = text.parse() {
        return Some(zoned);
    }
    let naive: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(naive).ok()
}

fn from_milliseconds(number: &str) -> Option<Timestamp> {
    if let Ok(milliseconds) = number.parse() {
        return Timestamp::from_millisecond(milliseconds).ok();
    }
    let microseconds = number.parse::<f64>().ok()? * 1000.0;
    let is_within = microseconds.abs() < i64::MAX as f64;
    is_within.then(|| Timestamp::from_microsecond(microseconds.round() as i64).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_an_sdk_means_the_same_time() {
        let expected: Timestamp = "2026-11-23T20:38:16.555Z".parse().unwrap();
        for json in [
            r#""2026-11-23T20:38:16.555000+00:00""#,
            r#""2026-11-23T20:38:16.555Z""#,
            r#""2026-11-23T22:38:16.555+02:00""#,
            r#""2026-11-23T20:38:16.555""#,
            r#""2026-11-23 20:38:16.555""#,
            "1795466296555",
            "1795466296555.0",
        ] {
            assert_eq!(timestamp(json), Some(expected), "{json}");
        }
        assert_eq!(timestamp("0"), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(timestamp("0.25"), Timestamp::from_microsecond(250).ok());
    }

    #[test]
    fn what_is_no_time_is_none() {
        for json in
            ["\"\"", "\"soon\"", "true", "{}", "null", "1e300", "-1e300", "9999999999999999999", "\"2026-13-01\""]
        {
            assert_eq!(timestamp(json), None, "{json}");
        }
    }
}
