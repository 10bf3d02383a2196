//! TOML, YAML and JSON to the one shape that is read. A fault is told by its place, never by the line's text, which may
//! hold a secret.

use std::path::Path;
use std::str::FromStr;

use serde_json::Value;

/// How a file of rules is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
}

/// Why a text is not what its format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl Format {
    /// By the file's extension.
    pub fn of(path: &Path) -> Option<Self> {
        path.extension()?.to_str()?.parse().ok()
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "toml" => Ok(Self::Toml),
            "yaml" | "yml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is no format of rules: use toml, yaml or json")),
        }
    }
}

/// Reads the text.
///
/// # Errors
/// Where it breaks the format's grammar.
pub fn parse(format: Format, text: &str) -> Result<Value, SyntaxError> {
    match format {
        Format::Toml => toml::from_str(text).map_err(|error| {
            let (line, column) = error.span().map_or((1, 1), |span| place(text, span.start));
            SyntaxError { line, column, message: error.message().to_owned() }
        }),
        Format::Yaml => serde_saphyr::from_str(text).map_err(|error| {
            let location = error.location();
            let (line, column) = location.map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
            SyntaxError { line, column, message: yaml_fault(&error) }
        }),
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what).to_owned();
            SyntaxError { line: error.line(), column: error.column(), message }
        }),
    }
}

/// What is wrong in a YAML text, without any of the text. The library's own words for a fault quote keys, tags and scalars;
/// only the grammar's are known to be fixed.
fn yaml_fault(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error.without_snippet() {
        Error::AliasError { error, .. } => yaml_fault(error),
        Error::ExternalMessage { msg, .. } => msg.clone(),
        Error::NonFiniteFloat { .. } => "reads as a number that has no end; put the value in quotes".to_owned(),
        Error::QuotingRequired { .. } => "the value needs quotes".to_owned(),
        Error::DuplicateMappingKey { .. } => "the key is there twice".to_owned(),
        Error::MultipleDocuments { .. } => "a second document begins; a file has one".to_owned(),
        Error::UnknownAnchor { .. } => "no anchor of that name comes before".to_owned(),
        Error::Eof { .. } => "the text ends too early".to_owned(),
        Error::Budget { .. } => "the text is larger or deeper than rules are".to_owned(),
        _ => "no YAML that rules can be read from; put values in quotes".to_owned(),
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
