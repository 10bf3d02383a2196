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

/// What a profile's numbers are.
struct Numbers {
    timeout_seconds: u32,
    attempts: u32,
    backoff_seconds: &'static [u32],
}

impl Profile {
    fn numbers(self) -> Numbers {
        match self {
            Self::Langsmith => Numbers { timeout_seconds: 5, attempts: 3, backoff_seconds: &[1, 2] },
            Self::Durable => Numbers {
                timeout_seconds: 15,
                attempts: 10,
                backoff_seconds: &[5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400],
            },
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

impl Retry {
    /// Seconds to be connected, and again as many to the complete response head.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.unwrap_or(self.profile.numbers().timeout_seconds)
    }

    /// Attempts in all.
    pub fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(self.profile.numbers().attempts)
    }

    /// Seconds before the retry that follows on so many attempts; the last delay holds for all further ones.
    pub fn delay_seconds(&self, attempts: u32) -> u32 {
        let delays = self.backoff_seconds.as_deref().unwrap_or(self.profile.numbers().backoff_seconds);
        let place = (attempts.saturating_sub(1) as usize).min(delays.len().saturating_sub(1));
        delays.get(place).copied().unwrap_or_default()
    }

    /// Seconds of all delays together.
    pub fn waited_seconds(&self) -> u64 {
        (1..self.attempts()).map(|attempts| u64::from(self.delay_seconds(attempts))).sum()
    }
}
