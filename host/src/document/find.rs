//! Where a pointer leads in valid JSON text. Of duplicate keys the last counts.

use std::ops::Range;

use super::pointer::{Pointer, array_index};
use super::scan::{Item, Items};
use super::string::key_is;

/// The place of the value at the pointer, below the value at `place`.
pub(super) fn find(text: &[u8], place: Range<usize>, pointer: Pointer<'_>) -> Option<Range<usize>> {
    let Some((token, rest)) = pointer.split_first() else { return Some(place) };
    let found = match text.get(place.start)? {
        b'{' => Items::new(text, place.start).filter(|item| is_named(text, item, &token)).last()?,
        b'[' => Items::new(text, place.start).nth(array_index(&token)?)?,
        _ => return None,
    };
    find(text, found.value, rest)
}

/// The last of an object's members that has this name.
pub(super) fn member<'a>(text: &[u8], members: &'a [Item], name: &str) -> Option<&'a Item> {
    members.iter().rev().find(|item| is_named(text, item, name))
}

/// Whether the item is a member of this name.
pub(super) fn is_named(text: &[u8], item: &Item, name: &str) -> bool {
    item.key.is_some_and(|key| key_is(text, key, name))
}
