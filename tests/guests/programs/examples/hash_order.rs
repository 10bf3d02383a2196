//! Writes down in which order a hash map has its keys.

use std::collections::HashMap;

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    let map: HashMap<usize, ()> = (0..64).map(|number| (number, ())).collect();
    payload.set("/order", map.into_keys().collect::<Vec<_>>())
}
