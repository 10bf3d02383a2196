//! A plugin as an operator sees it: its name, how a rule uses it, what it is able to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A plugin's name: its file's stem with `_` read as `-`; lower-case letters, digits and `-`, at most 64.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName(String);

/// Why a text is no plugin name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no plugin name: use 1 to 64 lower-case letters, digits and `-`")]
pub struct PluginNameError(String);

impl PluginName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = PluginNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.replace('_', "-");
        let is_valid = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_valid { Ok(Self(name)) } else { Err(PluginNameError(text.to_owned())) }
    }
}

impl TryFrom<String> for PluginName {
    type Error = PluginNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> Self {
        name.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One plugin of a webhook's chain, with its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginUse {
    /// Which plugin.
    pub name: PluginName,
    /// Handed to the plugin's `configure`; an object.
    #[serde(default = "empty_object")]
    pub config: serde_json::Value,
    /// What happens to a payload that the plugin fails on.
    #[serde(default)]
    pub on_error: OnError,
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// What happens to a payload that a plugin fails on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Nothing is sent; the delivery waits, with the cause, to be replayed.
    #[default]
    Hold,
    /// The chain goes on as if the plugin were not there; what it had edited is undone.
    Skip,
    /// Nothing is sent; the delivery is closed as dropped.
    Drop,
}

/// What a plugin exports, in the order in which its stages run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// Keeps or drops runs.
    pub filter: bool,
    /// Edits the payload.
    pub transform: bool,
    /// Writes the body; ends the chain.
    pub render: bool,
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("filter", self.filter), ("transform", self.transform), ("render", self.render)];
        let present: Vec<_> = names.iter().filter(|(_, is_present)| *is_present).map(|(name, _)| *name).collect();
        f.write_str(&present.join(", "))
    }
}

/// Why a plugin could not do its work on a payload, or with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("plugin `{plugin}` {}: {message}", self.what())]
pub struct PluginFailure {
    /// Which plugin.
    pub plugin: PluginName,
    /// The export that was running: `configure`, `keep`, `apply`, `render`, or `load`.
    pub export: String,
    /// What kind of failure, for decisions.
    pub kind: PluginFailureKind,
    /// The cause in words: the guest's own error, its panic message with file and line, or the limit that was hit.
    pub message: String,
}

impl PluginFailure {
    fn what(&self) -> String {
        match self.kind {
            PluginFailureKind::Quarantined => "was not run".to_owned(),
            _ => format!("failed in `{}`", self.export),
        }
    }
}

/// The kinds of [`PluginFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginFailureKind {
    /// The guest returned an error of its own.
    Refused,
    /// The guest trapped: panic, unreachable, out of bounds, stack overflow.
    Trap,
    /// CPU or wall-clock budget used up.
    Deadline,
    /// Memory, output, host calls or another size budget used up.
    Limit,
    /// No plugin of that name is active.
    Missing,
    /// The file could not be loaded.
    Load,
    /// It was not run: it has failed too often, and is in quarantine.
    Quarantined,
}

impl PluginFailureKind {
    /// Every kind.
    pub const ALL: [PluginFailureKind; 7] = [
        PluginFailureKind::Refused,
        PluginFailureKind::Trap,
        PluginFailureKind::Deadline,
        PluginFailureKind::Limit,
        PluginFailureKind::Missing,
        PluginFailureKind::Load,
        PluginFailureKind::Quarantined,
    ];

    /// The kind's wire name, which is stored too.
    pub fn as_str(self) -> &'static str {
        match self {
            PluginFailureKind::Refused => "refused",
            PluginFailureKind::Trap => "trap",
            PluginFailureKind::Deadline => "deadline",
            PluginFailureKind::Limit => "limit",
            PluginFailureKind::Missing => "missing",
            PluginFailureKind::Load => "load",
            PluginFailureKind::Quarantined => "quarantined",
        }
    }

    /// Whether the plugin broke down. An error in its own words is an answer, and what was not run did nothing.
    pub fn is_fault(self) -> bool {
        matches!(self, PluginFailureKind::Trap | PluginFailureKind::Deadline | PluginFailureKind::Limit)
    }
}

impl fmt::Display for PluginFailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of a plugin's failure")]
pub struct PluginFailureKindError(String);

impl FromStr for PluginFailureKind {
    type Err = PluginFailureKindError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| PluginFailureKindError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_failure_is_written_and_read_by_one_name() {
        for kind in PluginFailureKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
