//! A key of the API and what it allows.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// The public half of a key: 12 hexadecimal digits. It stands in the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ApiKeyId(pub String);

impl Borrow<str> for ApiKeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key allows. None includes another, but that `admin` includes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To bring in and change runs, feedback, projects, datasets and examples.
    Ingest,
    /// To read all that the API shows.
    Read,
    /// To change rules, end windows, replay deliveries and delete data.
    Operate,
    /// All of it; to make and revoke keys, and to rotate the secret key.
    Admin,
}

/// Why a text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: use `ingest`, `read`, `operate` or `admin`")]
pub struct ScopeError(String);

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Operate, Self::Admin];

    /// The scope as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| ScopeError(text.to_owned()))
    }
}

/// The scopes of a key; in the store words with a space between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether what needs that scope is allowed.
    pub fn allow(&self, needed: Scope) -> bool {
        self.0.contains(&needed) || self.0.contains(&Scope::Admin)
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_whitespace().map(str::parse).collect()
    }
}

/// A key as it is kept: without its secret half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public half.
    pub id: ApiKeyId,
    /// What it is for, in its owner's words.
    pub name: String,
    /// A hash of the secret half.
    pub hash: [u8; 32],
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// The start of the day, in UTC, on which it was used last.
    pub last_used_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_includes_another_but_admin_includes_all() {
        for held in Scope::ALL {
            let scopes: Scopes = [held].into_iter().collect();
            let allowed: Vec<_> = Scope::ALL.into_iter().filter(|needed| scopes.allow(*needed)).collect();
            let expected = if held == Scope::Admin { Scope::ALL.to_vec() } else { vec![held] };
            assert_eq!(allowed, expected);
        }
        assert!(Scope::ALL.into_iter().all(|needed| !Scopes::default().allow(needed)));
    }

    #[test]
    fn scopes_come_back_as_they_are_written() {
        let scopes: Scopes = [Scope::Read, Scope::Ingest, Scope::Read].into_iter().collect();
        assert_eq!(scopes.to_string(), "ingest read");
        assert_eq!(scopes.to_string().parse(), Ok(scopes));
        assert_eq!("ingest all".parse::<Scopes>(), Err(ScopeError("all".to_owned())));
    }
}
