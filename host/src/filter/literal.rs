//! From an argument to a value of a field's kind, or what is wrong with it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::filter::VALUE_CHARS_MAX;
use crate::filter::error::{Fault, shown};
use crate::filter::syntax::{Argument, Literal};
use crate::filter::test::{Scalar, number as finite};
use crate::model::Timestamp;
use crate::model::run::Status;
use crate::nearest::nearest;

const STATUSES: &[(&str, Status)] =
    &[("success", Status::Success), ("error", Status::Error), ("pending", Status::Pending)];

/// Units of durations, longest name first, in seconds: how many, or into how many a second is divided.
const UNITS: &[(&str, f64, f64)] = &[("ms", 1.0, 1000.0), ("s", 1.0, 1.0), ("m", 60.0, 1.0), ("h", 3600.0, 1.0)];

pub(super) fn text(argument: &Argument, field: &str) -> Result<String, Fault> {
    match &argument.value {
        Literal::Text(text) => Ok(text.clone()),
        Literal::Word(word) => {
            Err(needs(argument, field, "a text in quotes").hint(format!("write \"{}\"", shown(word))))
        }
        _ => Err(needs(argument, field, "a text in quotes")),
    }
}

/// A run type: kept in lower case.
pub(super) fn lower_text(argument: &Argument, field: &str) -> Result<String, Fault> {
    Ok(text(argument, field)?.to_lowercase())
}

/// What an entry's value is compared with. Values are known to their first characters, and so are texts here.
pub(super) fn scalar(argument: &Argument, field: &str) -> Result<Scalar, Fault> {
    match &argument.value {
        Literal::Number(number) => Ok(Scalar::Number(*number)),
        Literal::Bool(is_true) => Ok(Scalar::Text(is_true.to_string())),
        _ => text(argument, field).map(|text| Scalar::Text(cut(&text).to_owned())),
    }
}

/// The part of a value that is known.
pub(super) fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(VALUE_CHARS_MAX).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

pub(super) fn boolean(argument: &Argument, field: &str) -> Result<bool, Fault> {
    match argument.value {
        Literal::Bool(is_true) => Ok(is_true),
        _ => Err(needs(argument, field, "true or false without quotes")),
    }
}

pub(super) fn number(argument: &Argument, field: &str) -> Result<f64, Fault> {
    match argument.value {
        Literal::Number(number) => Ok(number),
        _ => Err(needs(argument, field, "a number without quotes")),
    }
}

/// Seconds: a number, or a text with a unit.
pub(super) fn seconds(argument: &Argument, field: &str) -> Result<f64, Fault> {
    let seconds = match &argument.value {
        Literal::Number(number) => Some(*number),
        Literal::Text(text) => duration(text),
        _ => None,
    };
    let what = "seconds, such as 1.5, or a duration in quotes with ms, s, m or h, such as \"500ms\"";
    seconds.ok_or_else(|| needs(argument, field, what))
}

fn duration(text: &str) -> Option<f64> {
    let text = text.trim();
    let (amount, times, parts) =
        UNITS.iter().find_map(|(unit, times, parts)| text.strip_suffix(unit).map(|amount| (amount, times, parts)))?;
    finite(amount.trim_end()).map(|amount| amount * times / parts).filter(|seconds| seconds.is_finite())
}

pub(super) fn time(argument: &Argument, field: &str) -> Result<Timestamp, Fault> {
    let time = match &argument.value {
        Literal::Text(text) => instant(text.trim()),
        _ => None,
    };
    time.ok_or_else(|| needs(argument, field, "a time in quotes, such as \"2026-07-01T09:00:00Z\""))
}

/// With a zone, or in UTC; a date is its first moment.
fn instant(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}

pub(super) fn uuid(argument: &Argument, field: &str) -> Result<Uuid, Fault> {
    let id = match &argument.value {
        Literal::Text(text) => text.parse().ok(),
        _ => None,
    };
    let what = "a UUID in quotes, such as \"0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10\"";
    id.ok_or_else(|| needs(argument, field, what))
}

pub(super) fn status(argument: &Argument, field: &str) -> Result<Status, Fault> {
    let word = text(argument, field)?;
    let known = STATUSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word)).map(|(_, status)| *status);
    known.ok_or_else(|| {
        let hint = match nearest(&word, STATUSES.iter().map(|(name, _)| *name)) {
            Some(best) => format!("did you mean \"{best}\"?"),
            None => "there are \"success\", \"error\" and \"pending\"".to_owned(),
        };
        Fault::new(argument.at, format!("no run has the {field} \"{}\"", shown(&word))).hint(hint)
    })
}

fn needs(argument: &Argument, field: &str, what: &str) -> Fault {
    let found = match &argument.value {
        Literal::Null => Some("not null"),
        Literal::List(_) => Some("not a list, which is for `in`"),
        _ => None,
    };
    let found = found.map(|found| format!(", {found}")).unwrap_or_default();
    Fault::new(argument.at, format!("`{field}` is compared with {what}{found}"))
}
