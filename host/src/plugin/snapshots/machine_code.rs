//! Compiled components as bytes: where they may come from, and the one place where they are trusted.
//!
//! Machine code runs with all the host's rights. So it exists only as a [`MachineCode`], and one is made in three ways: by
//! the compiler in this process, by a child that compiled and ran no guest, or out of bytes that carry this host's seal.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the seal in front of the code.
const SEAL_BYTES: usize = blake3::OUT_LEN;

/// What names a component with all that its machine code depends on; see [`crate::plugin::registry::loader::Loader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::plugin) struct Label(pub(in crate::plugin) blake3::Hash);

/// Machine code that this host's compiler made.
#[derive(Debug)]
pub(in crate::plugin) struct MachineCode(Vec<u8>);

impl MachineCode {
    /// Compiles in this process.
    ///
    /// # Errors
    /// The compiler's: the bytes are no component, or use what the engine's settings rule out.
    pub(in crate::plugin) fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<Self> {
        engine.precompile_component(component).map(Self)
    }

    /// What a child answered that was asked to compile, and does nothing else.
    pub(in crate::plugin) fn of_compiler(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(in crate::plugin) fn len(&self) -> usize {
        self.0.len()
    }

    /// The code, for whoever asked a child to compile it.
    pub(in crate::plugin) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The seal and the code, to be kept where others could write.
    pub(in crate::plugin) fn sealed(&self, key: &[u8; 32], label: &Label) -> Vec<u8> {
        [seal(key, label, &self.0).as_bytes().as_slice(), &self.0].concat()
    }

    /// What [`MachineCode::sealed`] gave under the same key and label; none for anything else.
    pub(in crate::plugin) fn open(key: &[u8; 32], label: &Label, mut sealed: Vec<u8>) -> Option<Self> {
        let (found, code) = sealed.split_first_chunk::<SEAL_BYTES>()?;
        // Compared in constant time.
        if seal(key, label, code) != *found {
            return None;
        }
        sealed.drain(..SEAL_BYTES);
        Some(Self(sealed))
    }

    /// Makes it callable.
    ///
    /// # Errors
    /// That it was compiled for another engine, by wasmtime's own check.
    #[allow(unsafe_code, reason = "the bytes come from this host's compiler: see the three ways above")]
    pub(in crate::plugin) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` wants bytes that `precompile_component` gave. All constructors see to that: two take
        // them from it, in this process or in a child that never ran a guest, and the third takes what bears a seal
        // that only this host can make, and that it puts on nothing else.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

fn seal(key: &[u8; 32], label: &Label, code: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(key).update(label.0.as_bytes()).update(code).finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn label(text: &str) -> Label {
        Label(blake3::hash(text.as_bytes()))
    }

    proptest! {
        #[test]
        fn only_what_was_sealed_opens(code: Vec<u8>, place: prop::sample::Index, flip in 1_u8..) {
            let sealed = MachineCode(code.clone()).sealed(&KEY, &label("a"));
            let open = |key, text, sealed| MachineCode::open(key, &label(text), sealed).map(|code| code.0);
            prop_assert_eq!(open(&KEY, "a", sealed.clone()), Some(code));
            prop_assert_eq!(open(&KEY, "b", sealed.clone()), None);
            prop_assert_eq!(open(&[8; 32], "a", sealed.clone()), None);
            prop_assert_eq!(open(&KEY, "a", sealed[..place.index(sealed.len())].to_vec()), None);
            let mut forged = sealed;
            let place = place.index(forged.len());
            forged[place] ^= flip;
            prop_assert_eq!(open(&KEY, "a", forged), None);
        }
    }
}
