//! OTel's nanoseconds as LangSmith writes times. Fractions of a microsecond are cut off.

use jiff::Timestamp;

/// ISO 8601 in UTC with microseconds: `2026-01-02T03:04:05.000006Z`. None for 0, which OTLP has for "not said".
pub(super) fn iso(nanos: u64) -> Option<String> {
    at(nanos).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// As a segment of a dotted order begins: `20260102T030405000006Z`.
pub(super) fn compact(nanos: u64) -> Option<String> {
    at(nanos).map(|at| at.strftime("%Y%m%dT%H%M%S%6fZ").to_string())
}

fn at(nanos: u64) -> Option<Timestamp> {
    // All of u64 lies before the year 2555.
    Timestamp::from_nanosecond(i128::from(nanos)).ok().filter(|_| nanos > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_behind_the_second() {
        assert_eq!(iso(1_767_323_045_000_006_999).unwrap(), "2026-01-02T03:04:05.000006Z");
        assert_eq!(iso(1_767_323_045_000_000_000).unwrap(), "2026-01-02T03:04:05.000000Z");
        assert_eq!(compact(1_767_323_045_120_000_000).unwrap(), "20260102T030405120000Z");
        assert_eq!(iso(u64::MAX).unwrap(), "2554-07-21T23:34:33.709551Z");
        assert_eq!(iso(0), None);
    }
}
