//! Times as the SDKs send them. Knows no field by name.

use jiff::civil;
use jiff::tz::Offset;

use crate::document;
use crate::model::Timestamp;

/// Reads ISO 8601 with a zone, without one (UTC), or a number of milliseconds since 1970 (JavaScript's `end_time`).
/// Cut to the microsecond, as everything is stored. None for anything else.
pub fn time(json: &str) -> Option<Timestamp> {
    match document::text(json) {
        Some(text) => iso(&text),
        None => milliseconds(json),
    }
}

fn iso(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned = text.parse::<Timestamp>();
    let instant = zoned.or_else(|_| text.parse::<civil::DateTime>().and_then(|naive| Offset::UTC.to_timestamp(naive)));
    to_microsecond(instant.ok()?)
}

fn milliseconds(json: &str) -> Option<Timestamp> {
    if let Ok(whole) = json.parse::<i64>() {
        return Timestamp::from_millisecond(whole).ok();
    }
    let microseconds = json.parse::<f64>().ok()? * 1e3;
    // The cast saturates; jiff's range ends long before.
    Timestamp::from_microsecond(microseconds.round() as i64).ok()
}

fn to_microsecond(instant: Timestamp) -> Option<Timestamp> {
    Timestamp::from_microsecond(instant.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_instant_is_read() {
        let expected: Timestamp = "2026-11-23T20:38:16.555Z".parse().unwrap();
        for json in [
            r#""2026-11-23T20:38:16.555Z""#,
            r#""2026-11-23T20:38:16.555000+00:00""#,
            r#""2026-11-23T22:38:16.5550009+02:00""#,
            r#""2026-11-23T20:38:16.555000""#,
            r#""2026-11-23 20:38:16.555""#,
            "1795466296555",
            "1795466296555.0",
            "1.795466296555e12",
        ] {
            assert_eq!(time(json), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for json in [r#""yesterday""#, r#""""#, "true", "{}", "1e300", "-1e300", "9223372036854775807"] {
            assert_eq!(time(json), None, "{json}");
        }
    }
}
