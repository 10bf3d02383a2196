//! Parameters of a header's value: `form-data; name="x"` (RFC 9110, section 5.6.6; RFC 7578, section 4.2).

use std::borrow::Cow;

/// What stands before the parameters.
pub(super) fn main_value(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}

/// The value of the first parameter of that name, unquoted. Names are compared without case.
pub(super) fn parameter<'a>(header: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (key, behind) = rest.split_once('=')?;
        // A parameter without a value is passed over.
        let key = key.rsplit(';').next().unwrap_or_default().trim();
        let (value, behind) = value(behind.trim_start());
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = behind.split_once(';')?.1;
    }
}

/// A value that is quoted or ends at a semicolon, and what follows it.
fn value(text: &str) -> (Cow<'_, str>, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (Cow::Borrowed(value.trim_end()), behind);
    };
    match quoted.split_once(['"', '\\']) {
        Some((value, behind)) if quoted.as_bytes().get(value.len()) == Some(&b'"') => (Cow::Borrowed(value), behind),
        _ => unescaped(quoted),
    }
}

fn unescaped(quoted: &str) -> (Cow<'_, str>, &str) {
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => value.extend(chars.next()),
            _ => value.push(char),
        }
    }
    (Cow::Owned(value), chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_name() {
        let header = r#"form-data; Filename="a;name=\"x\".png" ; flag; NAME=post.1 ; name=second"#;
        assert_eq!(main_value(header), "form-data");
        assert_eq!(parameter(header, "filename").unwrap(), r#"a;name="x".png"#);
        assert_eq!(parameter(header, "name").unwrap(), "post.1");
        assert_eq!(parameter(header, "flag"), None);
        assert_eq!(parameter("multipart/form-data;boundary=\"a b\"", "boundary").unwrap(), "a b");
    }

    #[test]
    fn broken_parameters_end_quietly() {
        for header in ["", ";", "a; =", "a; name", "a; x=\"", "a; x=\"\\", "a;;;=;=\"\"\"", "a; x=\"1\"name=2"] {
            assert_eq!(parameter(header, "name"), None, "{header}");
        }
    }
}
