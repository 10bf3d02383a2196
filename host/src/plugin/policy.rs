//! What an operator grants plugins: their limits, the most that any may be given, what they may import beside the
//! contract, and whose signatures let them in. Written in TOML, read once when the host starts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::plugin::PluginName;
use crate::nearest::did_you_mean;
use crate::plugin::limits::{LimitName, PluginLimits};
use crate::plugin::registry::signature::{PublicKeyError, Signers};

/// What holds for each plugin, and for those that are named.
#[derive(Clone, Debug, Default)]
pub struct PluginPolicy {
    /// Of every plugin that has none of its own.
    pub terms: Terms,
    /// Of these, in place of the above.
    pub plugins: BTreeMap<PluginName, Terms>,
    /// Who may have signed a plugin's file, or has to.
    pub signers: Signers,
}

/// What one plugin may use, and import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// For each payload.
    pub limits: PluginLimits,
    /// Beside the contract.
    pub grants: Grants,
    /// Where it runs.
    pub isolation: Isolation,
    /// Whether what its quarantine holds goes on by itself when that is over.
    pub releases_held: bool,
}

/// Where the guests of a plugin file run; what comes with the binary runs in the host's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// In processes of their own, which can do nothing but pass payloads through the plugin. On Linux; elsewhere as
    /// below.
    #[default]
    Process,
    /// In processes of their own, but for files that one of the policy's keys has signed.
    Unsigned,
    /// In the host's process.
    Host,
}

impl Isolation {
    /// Where a file runs that is signed, or is not.
    pub(super) fn of(self, is_signed: bool) -> Self {
        match (self, is_signed) {
            (Self::Unsigned, true) => Self::Host,
            (Self::Unsigned, false) => Self::Process,
            (other, _) => other,
        }
    }
}

/// What is granted beside the contract. Neither tells plugins anything of the host but the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The time, which stands still during a call.
    pub clock: bool,
    /// Numbers that look random: the same for the same payload.
    pub random: bool,
}

/// Something that can be granted, by the name it has in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// `wasi:clocks`.
    Clock,
    /// `wasi:random`.
    Random,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clock => "clock",
            Self::Random => "random",
        })
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let granted = [Grant::Clock, Grant::Random].into_iter().filter(|grant| self.has(*grant));
        let names: Vec<_> = granted.map(|grant| grant.to_string()).collect();
        if names.is_empty() { f.write_str("none") } else { f.write_str(&names.join(", ")) }
    }
}

impl Grants {
    pub(super) fn has(self, grant: Grant) -> bool {
        match grant {
            Grant::Clock => self.clock,
            Grant::Random => self.random,
        }
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        grants.into_iter().fold(Self::default(), |grants, grant| match grant {
            Grant::Clock => Self { clock: true, ..grants },
            Grant::Random => Self { random: true, ..grants },
        })
    }
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is no TOML, or not of this form.
    #[error("{0}")]
    Form(String),
    /// A limit beyond its bounds.
    #[error("{place} is {value}; it has to be from {min} to {max}{}", if *.is_own { ", the policy's own `maximum`" } else { "" })]
    OutOfBounds {
        /// Where it stands, `plugins.NAME.limits.LIMIT`.
        place: String,
        /// What stands there.
        value: u64,
        /// The least that makes sense.
        min: u64,
        /// The most that is allowed.
        max: u64,
        /// Whether the policy itself allows no more.
        is_own: bool,
    },
    /// A key that is none.
    #[error("{place}: {error}")]
    Key {
        /// Where it stands, `keys[0]`.
        place: String,
        /// What is wrong with it.
        error: PublicKeyError,
    },
    /// No file could ever be let in.
    #[error(
        "`require_signed` wants signatures and `keys` names nobody who could give one; `runhook plugin keygen` makes a key"
    )]
    NoKeys,
}

type Limits = BTreeMap<LimitName, u64>;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    isolation: Isolation,
    #[serde(default)]
    release_held: bool,
    #[serde(default)]
    require_signed: bool,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    maximum: Limits,
    #[serde(default)]
    plugins: BTreeMap<PluginName, WrittenPlugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPlugin {
    /// As for all where it says nothing.
    release_held: Option<bool>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    grants: Vec<Grant>,
    isolation: Option<Isolation>,
}

impl PluginPolicy {
    /// One with these limits for every plugin.
    pub fn with_limits(limits: PluginLimits) -> Self {
        Self { terms: Terms { limits, ..Terms::default() }, ..Self::default() }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong and where, and what would be right.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let written: Written = toml::from_str(text).map_err(|error| PolicyError::Form(error.to_string()))?;
        let maximum = Maximum::of(&written.maximum)?;
        let limits = maximum.applied(PluginLimits::default(), &written.limits, "limits")?;
        let signers = signers(&written.keys, written.require_signed)?;
        let mut plugins = BTreeMap::new();
        for (name, plugin) in written.plugins {
            let limits = maximum.applied(limits, &plugin.limits, &format!("plugins.{name}.limits"))?;
            let grants = plugin.grants.into_iter().collect();
            let isolation = plugin.isolation.unwrap_or(written.isolation);
            let releases_held = plugin.release_held.unwrap_or(written.release_held);
            plugins.insert(name, Terms { limits, grants, isolation, releases_held });
        }
        let (isolation, releases_held) = (written.isolation, written.release_held);
        let terms = Terms { limits, grants: Grants::default(), isolation, releases_held };
        Ok(Self { terms, plugins, signers })
    }

    /// Whether what the plugin's quarantine holds goes on by itself when that is over.
    pub fn releases_held(&self, name: &PluginName) -> bool {
        self.of(name).releases_held
    }

    /// Whether that holds for any plugin.
    pub fn releases_any(&self) -> bool {
        self.terms.releases_held || self.plugins.values().any(|terms| terms.releases_held)
    }

    /// What holds for a plugin.
    pub(super) fn of(&self, name: &PluginName) -> &Terms {
        self.plugins.get(name).unwrap_or(&self.terms)
    }

    /// The largest of each limit: what room is kept for.
    pub(super) fn largest(&self) -> PluginLimits {
        self.plugins.values().fold(self.terms.limits, |largest, terms| largest.max(&terms.limits))
    }

    /// The named plugins that there are not, in words: most likely misspelt.
    pub(super) fn unknown<'a>(&'a self, known: &'a [PluginName]) -> impl Iterator<Item = String> {
        self.plugins.keys().filter(|name| !known.contains(name)).map(|name| {
            let near = did_you_mean(name.as_str(), known.iter().map(PluginName::as_str));
            format!("there is no plugin `{name}` now{near}")
        })
    }
}

fn signers(keys: &[String], is_required: bool) -> Result<Signers, PolicyError> {
    let key = |(index, key): (usize, &String)| {
        key.parse().map_err(|error| PolicyError::Key { place: format!("keys[{index}]"), error })
    };
    let keys = keys.iter().enumerate().map(key).collect::<Result<Vec<_>, _>>()?;
    if is_required && keys.is_empty() { Err(PolicyError::NoKeys) } else { Ok(Signers::new(keys, is_required)) }
}

/// The most that a plugin may be given.
struct Maximum<'a> {
    written: &'a Limits,
}

impl<'a> Maximum<'a> {
    fn of(written: &'a Limits) -> Result<Self, PolicyError> {
        for (name, value) in written {
            let (min, max) = name.bounds();
            check(&format!("maximum.{name}"), *value, (min, max), false)?;
        }
        Ok(Self { written })
    }

    fn applied(&self, limits: PluginLimits, own: &Limits, place: &str) -> Result<PluginLimits, PolicyError> {
        let mut applied = limits;
        for name in LimitName::ALL {
            let (min, max) = name.bounds();
            let (max, is_own) = self.written.get(&name).map_or((max, false), |max| (*max, true));
            if let Some(value) = own.get(&name) {
                check(&format!("{place}.{name}"), *value, (min, max), is_own)?;
                name.put(&mut applied, *value);
            } else if name.of(&limits) > max {
                // A default is no claim: it gives way.
                name.put(&mut applied, max);
            }
        }
        Ok(applied)
    }
}

fn check(place: &str, value: u64, (min, max): (u64, u64), is_own: bool) -> Result<(), PolicyError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(PolicyError::OutOfBounds { place: place.to_owned(), value, min, max, is_own })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> PluginName {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        PluginPolicy::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_plugins_own_limits_stand_above_those_of_all() {
        let policy = PluginPolicy::parse(
            "[limits]\ncpu_ms = 80\nmemory_mib = 32\n\
             [plugins.score_py]\nlimits = { memory_mib = 128, file_mib = 20 }\ngrants = [\"clock\"]\nisolation = \"host\"\n",
        );
        let policy = policy.unwrap();
        let (all, own) = (policy.of(&name("redact")), policy.of(&name("score-py")));
        assert_eq!((all.limits.cpu_base, all.limits.memory_bytes), (Duration::from_millis(80), 32 << 20));
        assert_eq!((own.limits.cpu_base, own.limits.memory_bytes), (Duration::from_millis(80), 128 << 20));
        assert_eq!((own.limits.file_bytes, all.limits.file_bytes), (20 << 20, 16 << 20));
        assert_eq!((all.isolation, own.isolation), (Isolation::Process, Isolation::Host));
        assert!(own.grants.has(Grant::Clock) && !own.grants.has(Grant::Random) && !all.grants.has(Grant::Clock));
        let largest = policy.largest();
        assert_eq!((largest.memory_bytes, largest.file_bytes), (128 << 20, 20 << 20));
    }

    #[test]
    fn no_policy_is_the_defaults() {
        let policy = PluginPolicy::parse("").unwrap();
        assert_eq!(policy.terms, Terms::default());
        for name in LimitName::ALL {
            let (min, max) = name.bounds();
            assert!((min..=max).contains(&name.of(&PluginLimits::default())), "{name}");
        }
    }

    #[test]
    fn what_a_quarantine_holds_goes_on_where_the_policy_says_so() {
        let policy = |text: &str| PluginPolicy::parse(text).unwrap();
        assert!(!policy("").releases_any());
        let one = policy("[plugins.a]\nrelease_held = true");
        assert!(one.releases_any() && one.releases_held(&name("a")) && !one.releases_held(&name("b")));
        let but_one = policy("release_held = true\n[plugins.a]\nrelease_held = false\n[plugins.c.limits]\ncpu_ms = 9");
        let asked: Vec<_> = ["a", "b", "c"].into_iter().filter(|text| but_one.releases_held(&name(text))).collect();
        assert_eq!(asked, ["b", "c"]);
    }

    #[test]
    fn above_the_maximum_nothing_is_given_and_the_defaults_give_way() {
        let text = "[maximum]\nmemory_mib = 48\n[plugins.a.limits]\nmemory_mib = 64";
        assert_eq!(
            refused(text),
            "plugins.a.limits.memory_mib is 64; it has to be from 1 to 48, the policy's own `maximum`"
        );
        let policy = PluginPolicy::parse("[maximum]\nmemory_mib = 48").unwrap();
        assert_eq!(policy.terms.limits.memory_bytes, 48 << 20);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(refused("[limits]\ncpu_ms = 0"), "limits.cpu_ms is 0; it has to be from 1 to 60000");
        assert!(refused("[maximum]\nfile_mib = 5000").starts_with("maximum.file_mib is 5000; it has to be from 1 to "));
        let misspelt = refused("[limits]\ncpu = 4");
        assert!(misspelt.contains("unknown variant `cpu`") && misspelt.contains("cpu_ms"), "{misspelt}");
        assert!(refused("[plugins.a]\ngrants = [\"files\"]").contains("expected `clock` or `random`"));
        assert!(refused("[plugins.\"no name\"]").contains("is no plugin name"));
        assert!(refused("[limit]\ncpu_ms = 4").contains("unknown field `limit`"));
    }

    #[test]
    fn a_key_that_is_none_and_a_requirement_that_nobody_can_meet_are_refused() {
        const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let policy = |text: &str| PluginPolicy::parse(text).map(|policy| policy.signers.has_keys());
        assert!(policy(&format!("require_signed = true\nkeys = [\"{KEY}\"]")).unwrap());
        assert!(policy(&format!("keys = [\"{KEY}\"]")).unwrap());
        assert!(!policy("require_signed = false").unwrap());
        let cut = &KEY[..55];
        assert!(refused(&format!("keys = [\"{KEY}\", \"{cut}\"]")).starts_with("keys[1]: it is no public key"));
        assert!(refused("require_signed = true").contains("`keys` names nobody"));
        // Below the header of a table, a key is one of the table's.
        assert!(refused(&format!("[limits]\nkeys = [\"{KEY}\"]")).contains("unknown variant `keys`"));
    }

    #[test]
    fn a_plugin_that_is_not_there_is_named_with_the_nearest() {
        let policy = PluginPolicy::parse("[plugins.score]\n[plugins.redcat]").unwrap();
        let unknown: Vec<_> = policy.unknown(&[name("redact"), name("score")]).collect();
        assert_eq!(unknown, ["there is no plugin `redcat` now; did you mean `redact`?"]);
    }
}
