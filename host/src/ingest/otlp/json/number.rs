//! Numbers as proto3's JSON mapping has them: integers as numbers or text, doubles also as `NaN` and `Infinity`.
//! Enums are numbers; their names, which the encoding forbids, are taken for the one that is read (`Status.code`).
//!
//! Numbers are read from their text: serde_json's doubles can be off in the last digit.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Any 64-bit integer, signed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Int(pub(super) i128);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let text = text_of(raw).map_err(D::Error::custom)?;
        int(&text).ok_or_else(|| D::Error::custom(format!("{:.40} is no 64-bit integer", raw.get())))
    }
}

fn int(text: &str) -> Option<Int> {
    let is_in_range = |number: &i128| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(number);
    let of_double = || text.parse::<f64>().ok().filter(|it| it.fract() == 0.0).map(|it| it as i128);
    match text {
        "STATUS_CODE_UNSET" => Some(Int(0)),
        "STATUS_CODE_OK" => Some(Int(1)),
        "STATUS_CODE_ERROR" => Some(Int(2)),
        _ => text.parse().ok().or_else(of_double).filter(is_in_range).map(Int),
    }
}

/// A double, or none for null.
pub(super) fn double<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let Some(raw) = Option::<&RawValue>::deserialize(deserializer)? else { return Ok(None) };
    let text = text_of(raw).map_err(D::Error::custom)?;
    // Rust reads `NaN`, `Infinity` and `-Infinity` too.
    let double = text.parse().map_err(|_| D::Error::custom(format!("{:.40} is no double", raw.get())))?;
    Ok(Some(double))
}

/// A number's text, within quotes or not.
fn text_of(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let text = raw.get();
    if text.starts_with('"') { serde_json::from_str(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_as_numbers_and_as_text() {
        let read = |text: &str| serde_json::from_str::<Int>(text).ok().map(|int| int.0);
        assert_eq!(read("\"18446744073709551615\""), Some(u64::MAX.into()));
        assert_eq!(read("18446744073709551615"), Some(u64::MAX.into()));
        assert_eq!(read("-7"), Some(-7));
        assert_eq!(read("1.5e3"), Some(1500));
        assert_eq!(read("\"STATUS_CODE_ERROR\""), Some(2));
        for wrong in ["1.5", "\"\"", "\"0x1\"", "\"18446744073709551616\"", "true", "[]", "1e300"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn doubles_have_names_for_what_json_lacks() {
        #[derive(Deserialize)]
        struct Held(#[serde(deserialize_with = "double")] Option<f64>);
        let read = |text: &str| serde_json::from_str::<Held>(text).unwrap().0;
        assert_eq!(read("-1.585071677332065e+86"), Some(-1.585071677332065e+86));
        assert_eq!(read("3"), Some(3.0));
        assert_eq!(read("\"-Infinity\""), Some(f64::NEG_INFINITY));
        assert!(read("\"NaN\"").unwrap().is_nan());
        assert_eq!(read("null"), None);
        assert!(serde_json::from_str::<Held>("true").is_err());
    }
}
