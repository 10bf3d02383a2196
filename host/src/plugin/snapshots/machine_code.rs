//! Compiled components as bytes: where they may come from, and the one place where they are trusted.
//!
//! Machine code runs with all the host's rights. So it exists only as a [`MachineCode`], and one is made in three ways: by
//! the compiler in this process, by a child that compiled and ran no guest, or out of bytes that carry this host's seal.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the seal in front of the code.
const SEAL_BYTES: usize = blake3::OUT_LEN;

/// What names a component with all that its machine code depends on; see [`crate::plugin::registry::loader::Loader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::plugin) struct Label(pub(in crate::plugin) blake3::Hash);

/// The seal and the bytes, to be kept where others could write.
pub(in crate::plugin) fn sealed(key: &[u8; 32], label: &Label, bytes: &[u8]) -> Vec<u8> {
    [seal(key, label, bytes).as_bytes().as_slice(), bytes].concat()
}

/// Bytes that bore the seal of this host.
#[derive(Debug)]
pub(in crate::plugin) struct Opened(Vec<u8>);

impl Opened {
    /// What [`sealed`] was given under the same key and label; none for anything else.
    pub(in crate::plugin) fn open(key: &[u8; 32], label: &Label, mut sealed: Vec<u8>) -> Option<Self> {
        let (found, bytes) = sealed.split_first_chunk::<SEAL_BYTES>()?;
        // Compared in constant time.
        if seal(key, label, bytes) != *found {
            return None;
        }
        sealed.drain(..SEAL_BYTES);
        Some(Self(sealed))
    }

    pub(in crate::plugin) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

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

    /// What bore this host's seal under a label for machine code.
    pub(in crate::plugin) fn of_seal(opened: Opened) -> Self {
        Self(opened.0)
    }

    pub(in crate::plugin) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes it callable, and something that other processes can load: all of them map the same memory.
    ///
    /// # Errors
    /// The system's, or that it was compiled for another engine.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code, reason = "the bytes come from this host's compiler: see the three ways above")]
    pub(in crate::plugin) fn share(&self, engine: &Engine) -> wasmtime::Result<(Component, SharedCode)> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let file = memfd_create("plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(file);
        file.write_all(&self.0)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        let file = OwnedFd::from(file);
        // SAFETY: as in `load`; and nobody can change the file once it is sealed.
        let component = unsafe { Component::deserialize_file(engine, path(file.as_fd()))? };
        Ok((component, SharedCode { file, id: IDS.fetch_add(1, Ordering::Relaxed) }))
    }

    /// Other systems have no such memory; nobody asks for it there.
    #[cfg(not(target_os = "linux"))]
    pub(in crate::plugin) fn share(&self, _: &Engine) -> wasmtime::Result<(Component, SharedCode)> {
        Err(wasmtime::Error::msg("this system has no sealed memory"))
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

/// Machine code in memory that nobody can write to any more, this host included: what a process of its own loads.
#[derive(Debug)]
pub(in crate::plugin) struct SharedCode {
    file: OwnedFd,
    id: u64,
}

impl SharedCode {
    /// Another number for each.
    pub(in crate::plugin) fn id(&self) -> u64 {
        self.id
    }

    /// What a child is given that is to load it.
    ///
    /// # Errors
    /// The system's.
    pub(in crate::plugin) fn handed_over(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }
}

/// Loads what the parent handed over, in a process that has run no guest yet and reads nothing but its parent's words.
///
/// # Errors
/// That it was compiled for another engine, by wasmtime's own check.
#[allow(
    unsafe_code,
    reason = "the file is sealed, and its bytes come from the host's compiler: see the three ways above"
)]
pub(in crate::plugin) fn from_parent(engine: &Engine, file: BorrowedFd<'_>) -> wasmtime::Result<Component> {
    // SAFETY: as in `load`; that the parent is a host is as sure as that it was one who started this.
    unsafe { Component::deserialize_file(engine, path(file)) }
}

/// Another way to an open file.
fn path(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
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
            let sealed = sealed(&KEY, &label("a"), &code);
            let open = |key, text, sealed| Opened::open(key, &label(text), sealed).map(Opened::into_bytes);
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
