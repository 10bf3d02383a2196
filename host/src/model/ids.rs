//! Identifiers as types, so that a delivery's id is never passed where a payload's is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id that sorts by its time of creation (UUID version 7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(text.parse()?))
            }
        }
    };
}

uuid_id! {
    /// A rule.
    RuleId
}
uuid_id! {
    /// A payload that was accepted (relayed) or built from runs.
    PayloadId
}
uuid_id! {
    /// A delivery: one body to one endpoint. Sent to the receiver as `webhook-id`.
    DeliveryId
}
uuid_id! {
    /// A run; the client makes it.
    RunId
}
uuid_id! {
    /// A project.
    ProjectId
}
uuid_id! {
    /// A piece of feedback; the client makes it.
    FeedbackId
}
uuid_id! {
    /// A dataset.
    DatasetId
}
uuid_id! {
    /// An example of a dataset; the client may make it.
    ExampleId
}
uuid_id! {
    /// What LangSmith calls a tenant: all that one store holds.
    WorkspaceId
}
uuid_id! {
    /// One start of a host; the owner of leases.
    HostId
}

/// A webhook within its rule: given by the operator, or a hash of the rule's id and the URL without its query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(pub String);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An endpoint, the unit of fairness and of ownership: one webhook of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointId {
    /// The rule that the webhook belongs to.
    pub rule: RuleId,
    /// The webhook within the rule.
    pub webhook: WebhookId,
}

/// Number of hash buckets that endpoints are spread over: what several hosts will divide between them.
pub const BUCKETS: u16 = 256;

impl EndpointId {
    /// The endpoint's bucket, `0..BUCKETS`; stable over releases, since it is stored.
    pub fn bucket(&self) -> u16 {
        let hash = blake3::hash(self.to_string().as_bytes());
        u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]) % BUCKETS
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rule, self.webhook)
    }
}
