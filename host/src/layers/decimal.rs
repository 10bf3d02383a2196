//! Amounts of money as decimal text, exact: a float would add digits that nobody sent.

use crate::document;

/// Most digits of an amount, and its highest power of ten either way; what is beyond is no price.
const DIGITS_MAX: usize = 64;

/// A JSON number, or a string with one in it, as plain decimal text: `1.5e-6` is `0.0000015`. The text is a JSON number
/// too.
pub(super) fn decimal(json: &str) -> Option<String> {
    let text = document::text(json);
    let text = text.as_deref().unwrap_or(json).trim();
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let is_number =
        !digits.is_empty() && digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.parse::<i64>().ok().filter(|exponent| exponent.unsigned_abs() <= DIGITS_MAX as u64)?;
    is_number.then(|| format!("{sign}{}", place_point(&digits, whole.len() as i64 + exponent)))
}

/// Digits with the point behind the first `point` of them.
fn place_point(digits: &str, point: i64) -> String {
    let before = usize::try_from(-point).unwrap_or(0);
    let after = usize::try_from(point - digits.len() as i64).unwrap_or(0);
    let padded = format!("{:0<before$}{digits}{:0<after$}", "", "");
    let (whole, fraction) = padded.split_at(usize::try_from(point).unwrap_or(0));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_become_plain_text() {
        for (json, expected) in [
            ("0.000035", "0.000035"),
            ("3.5e-05", "0.000035"),
            ("1.25E2", "125"),
            ("12e1", "120"),
            ("0", "0"),
            ("-1.50", "-1.50"),
            ("\"0012.5\"", "12.5"),
            ("\".5\"", "0.5"),
            ("\"7.\"", "7"),
        ] {
            assert_eq!(decimal(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_price_is_none() {
        for json in ["true", "\"\"", "\"$1\"", "1e400", "\"NaN\"", "\"1e\"", "\"--1\"", "{}", "\"1.2.3\""] {
            assert_eq!(decimal(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn the_text_is_the_same_number(value in -1e12..1e12_f64) {
            for json in [format!("{value}"), format!("{value:e}")] {
                let text = decimal(&json).unwrap();
                prop_assert!(!text.contains('e'));
                prop_assert_eq!(text.parse::<f64>().unwrap(), value);
                prop_assert!(serde_json::from_str::<f64>(&text).is_ok());
            }
        }
    }
}
