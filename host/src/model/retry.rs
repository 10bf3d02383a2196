//! How attempts are made and repeated: a profile, and what a webhook says otherwise.

use serde::{Deserialize, Serialize};

/// Name of a retry profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// What LangSmith promises its users (docs.langchain.com/langsmith/webhooks).
    #[default]
    Langsmith,
    /// What Standard Webhooks 1.0.0 recommends: attempts over three days, and what did not arrive is sent again.
    Durable,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 2] = [Profile::Langsmith, Profile::Durable];

    /// The profile's name in a rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Langsmith => "langsmith",
            Self::Durable => "durable",
        }
    }
}

/// A profile with a webhook's own numbers; where there is none, the profile's hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Which outcomes are retried, and the numbers by default.
    pub profile: Profile,
    /// Seconds to be connected, and again as many to the complete response head.
    #[serde(default)]
    pub timeout_seconds: Option<u32>,
    /// Attempts in all.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// Seconds before each retry; the last one holds for all further ones.
    #[serde(default)]
    pub backoff_seconds: Option<Vec<u32>>,
}
