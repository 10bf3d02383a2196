//! Times as payloads write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds from one time to another.
pub(super) fn milliseconds(from: &str, to: &str) -> Option<f64> {
    let duration = parse(to)?.duration_since(parse(from)?);
    Some(duration.as_micros() as f64 / 1000.0)
}

/// A time without a zone means UTC.
fn parse(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}
