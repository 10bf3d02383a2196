//! A span's attributes while they are mapped: what is taken is gone. An empty value counts as absent and is never taken.

use std::ops::Bound;

use uuid::Uuid;

use crate::ingest::otlp::value::{Object, Value};

#[derive(Debug)]
pub(super) struct Attributes<'a>(Object<'a>);

impl<'a> Attributes<'a> {
    pub(super) fn new(attributes: Object<'a>) -> Self {
        Self(attributes)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.get(key).filter(|value| !value.is_empty())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether any key begins so.
    pub(super) fn has_family(&self, prefix: &str) -> bool {
        self.family(prefix).next().is_some()
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value<'a>> {
        self.get(key)?;
        self.0.remove(key)
    }

    /// The first of several spellings; the others stay.
    pub(super) fn take_first(&mut self, keys: &[&str]) -> Option<Value<'a>> {
        keys.iter().find_map(|key| self.take(key))
    }

    /// Text; any other value stays.
    pub(super) fn take_text(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?.to_owned();
        self.0.remove(key);
        Some(text)
    }

    /// Text that is a UUID; any other value stays.
    pub(super) fn take_uuid(&mut self, key: &str) -> Option<Uuid> {
        let uuid = self.text(key)?.parse().ok()?;
        self.0.remove(key);
        Some(uuid)
    }

    /// The first of several spellings that is a count.
    pub(super) fn take_count(&mut self, keys: &[&str]) -> Option<u64> {
        let (key, count) = keys.iter().find_map(|key| Some((key, self.get(key)?.as_count()?)))?;
        self.0.remove(*key);
        Some(count)
    }

    /// All whose key begins so, without the prefix.
    pub(super) fn take_family(&mut self, prefix: &str) -> Object<'a> {
        self.take_members(prefix, |rest| !rest.is_empty())
    }

    /// Those of a family whose key goes on with a number: `gen_ai.prompt.0.role` as `0.role`.
    pub(super) fn take_indexed(&mut self, prefix: &str) -> Object<'a> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        self.take_members(prefix, |rest| rest.split('.').next().is_some_and(is_number))
    }

    /// What nobody took.
    pub(super) fn into_rest(self) -> Object<'a> {
        self.0
    }

    fn take_members(&mut self, prefix: &str, is_member: impl Fn(&str) -> bool) -> Object<'a> {
        let keys: Vec<_> = self.family(prefix).filter(|rest| is_member(rest)).map(str::to_owned).collect();
        let member = |rest: String| Some((self.0.remove(format!("{prefix}{rest}").as_str())?, rest));
        keys.into_iter().filter_map(member).map(|(value, rest)| (rest.into(), value)).collect()
    }

    /// Keys of a family, without the prefix.
    fn family<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.0.range::<str, _>(from).map_while(move |(key, _)| key.strip_prefix(prefix))
    }
}
