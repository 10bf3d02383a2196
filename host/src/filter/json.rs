//! One walk over JSON text, as far as it is needed. What is malformed ends the walk; what was seen before it counts.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

/// Walks a text, or one member of the object in it. The seed keeps what it finds by itself.
pub(super) fn walk<'de>(text: &'de str, member: Option<&str>, seed: impl DeserializeSeed<'de, Value = ()>) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // An error says that the text is malformed, or that the seed has seen enough.
    let _ = match member {
        Some(name) => deserializer.deserialize_map(Member { name, seed: Some(seed) }),
        None => seed.deserialize(&mut deserializer),
    };
}

struct Member<'m, S> {
    name: &'m str,
    seed: Option<S>,
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Member<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let name = self.name;
        while let Some(is_it) = map.next_key_seed(WithKey(|key: &str| key == name))? {
            match self.seed.take_if(|_| is_it) {
                Some(seed) => return map.next_value_seed(seed),
                None => map.next_value::<IgnoredAny>()?,
            };
        }
        Ok(())
    }
}

/// Looks at an object's key without keeping it.
pub(super) struct WithKey<F>(pub(super) F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for WithKey<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for WithKey<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<T, E> {
        Ok((self.0)(key))
    }
}
