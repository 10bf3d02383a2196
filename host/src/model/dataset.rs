//! A dataset: a named group of examples, each an input with what should come out of it.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;

use crate::model::Timestamp;
use crate::model::ids::{DatasetId, ExampleId, RunId};

/// What the examples of a dataset are; clients read it, nothing here does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataType {
    /// Any objects.
    #[default]
    Kv,
    /// Prompts and completions.
    Llm,
    /// Messages.
    Chat,
}

impl DataType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Kv, Self::Llm, Self::Chat];

    /// As LangSmith's API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Llm => "llm",
            Self::Chat => "chat",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no data type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no data type: kv, llm or chat")]
pub struct UnknownDataType(String);

impl FromStr for DataType {
    type Err = UnknownDataType;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| UnknownDataType(text.to_owned()))
    }
}

/// A dataset without its examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The client's, or the host's.
    pub id: DatasetId,
    /// Unique.
    pub name: String,
    /// In words.
    pub description: Option<String>,
    /// Of its examples.
    pub data_type: DataType,
    /// A JSON object: the JSON schema that the client wants inputs to follow. Kept, not checked.
    pub inputs_schema: Option<ByteString>,
    /// The same for outputs.
    pub outputs_schema: Option<ByteString>,
    /// A JSON object.
    pub metadata: Option<ByteString>,
    /// The client's, or when it came.
    pub created_at: Timestamp,
    /// When it or one of its examples was written last.
    pub modified_at: Timestamp,
}

/// An example. Its JSON is text, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The client's, or the host's.
    pub id: ExampleId,
    /// Whose it is.
    pub dataset: DatasetId,
    /// A JSON object.
    pub inputs: ByteString,
    /// A JSON object: what should come out.
    pub outputs: Option<ByteString>,
    /// A JSON object, without its splits.
    pub metadata: Option<ByteString>,
    /// Parts of the dataset that it belongs to, such as `train`.
    pub splits: Vec<String>,
    /// The run that it was made of.
    pub source_run: Option<RunId>,
    /// The client's, or when it came.
    pub created_at: Timestamp,
    /// When it was written last.
    pub modified_at: Timestamp,
}

impl Example {
    /// Size of its JSON.
    pub fn bytes(&self) -> usize {
        let others = [&self.outputs, &self.metadata].into_iter().flatten();
        self.inputs.len() + others.map(|json| json.len()).sum::<usize>()
    }
}
