//! JSON onto a text, piece by piece. Knows nothing of runs.

use std::fmt::Write;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::Value;
use uuid::Uuid;

use crate::model::Timestamp;

/// Items between brackets, with commas.
pub(super) fn list<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(close);
}

/// A key of ours, which needs no escapes, and its colon.
pub(super) fn key(out: &mut String, name: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

/// What there is, else null.
pub(super) fn or_null<T>(out: &mut String, value: Option<T>, write: impl FnOnce(&mut String, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.push_str("null"),
    }
}

/// JSON text as it stands, else null.
pub(super) fn raw(out: &mut String, json: Option<&str>) {
    out.push_str(json.unwrap_or("null"));
}

/// Any text as a string.
pub(super) fn string(out: &mut String, plain: &str) {
    if plain.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&Value::from(plain).to_string());
    } else {
        out.push('"');
        out.push_str(plain);
        out.push('"');
    }
}

/// In hyphens and small letters.
pub(super) fn uuid(out: &mut String, id: Uuid) {
    out.push('"');
    uuid_text(out, id);
    out.push('"');
}

/// As [`uuid()`], without quotes.
pub(super) fn uuid_text(out: &mut String, id: Uuid) {
    out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
}

pub(super) fn boolean(out: &mut String, value: bool) {
    out.push_str(if value { "true" } else { "false" });
}

pub(super) fn integer(out: &mut String, value: u64) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

/// Null where JSON has no such number.
pub(super) fn float(out: &mut String, value: f64) {
    out.push_str(&Value::from(value).to_string());
}

/// `2026-07-01T09:00:12.345678`: UTC, without saying so.
pub(super) fn naive(out: &mut String, instant: Timestamp) {
    out.push('"');
    naive_text(out, instant);
    out.push('"');
}

/// `2026-07-01T09:00:12.345678+00:00`
pub(super) fn zoned(out: &mut String, instant: Timestamp) {
    out.push('"');
    naive_text(out, instant);
    out.push_str("+00:00\"");
}

/// As [`naive`], without quotes. Always six digits of a second.
pub(super) fn naive_text(out: &mut String, instant: Timestamp) {
    let time = Offset::UTC.to_datetime(instant);
    date(out, time);
    for (separator, value) in [('T', time.hour()), (':', time.minute()), (':', time.second())] {
        out.push(separator);
        digits(out, i32::from(value), 10);
    }
    out.push('.');
    digits(out, time.subsec_nanosecond() / 1000, 100_000);
}

fn date(out: &mut String, time: DateTime) {
    digits(out, i32::from(time.year()).abs(), 1000);
    for value in [time.month(), time.day()] {
        out.push('-');
        digits(out, i32::from(value), 10);
    }
}

/// Decimal digits of a number that is not negative, from that of `unit` on.
fn digits(out: &mut String, value: i32, mut unit: i32) {
    while unit > 0 {
        out.push(char::from(b'0' + (value / unit % 10) as u8));
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn times_have_six_digits() {
        let instant = |text: &str| text.parse::<Timestamp>().unwrap();
        let whole = written(|out| naive(out, instant("2026-07-01T09:00:12Z")));
        assert_eq!(whole, "\"2026-07-01T09:00:12.000000\"");
        let cut = written(|out| zoned(out, instant("0999-12-31T23:59:59.0000019Z")));
        assert_eq!(cut, "\"0999-12-31T23:59:59.000001+00:00\"");
    }

    proptest! {
        #[test]
        fn a_time_reads_as_it_was(microseconds in -62_000_000_000_000_000..250_000_000_000_000_000_i64) {
            let instant = Timestamp::from_microsecond(microseconds).unwrap();
            let text = written(|out| zoned(out, instant));
            prop_assert_eq!(text.trim_matches('"').parse::<Timestamp>().unwrap(), instant);
        }

        #[test]
        fn a_string_reads_as_it_was(plain in any::<String>()) {
            let text = written(|out| string(out, &plain));
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), plain);
        }
    }
}
