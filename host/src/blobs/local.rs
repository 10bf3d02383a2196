//! Blobs as files of a folder. Writes are durable; what a crash cut short has a name that no key can have.
//!
//! Files are written beside their place as `<name>#<number>`, synced and renamed. One process uses the folder. Knows
//! nothing of URLs.

mod sweep;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::RwLock;
use tokio::task::spawn_blocking;

use super::{BlobError, LocalSettings};
use crate::model::Timestamp;

/// The folder.
#[derive(Debug)]
pub(super) struct BlobFolder {
    store: LocalFileSystem,
    folder: PathBuf,
    /// Held by writes; whoever removes folders has it alone, so that none goes away under a write.
    gate: Arc<RwLock<()>>,
}

impl BlobFolder {
    /// Makes the folder if it is not there, for nobody else to read.
    pub(super) fn open(settings: &LocalSettings) -> Result<Self, BlobError> {
        let path = &settings.folder;
        let failed = |cause| BlobError::Folder { path: path.clone(), cause };
        let folder = make(path).map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|cause| failed(io::Error::other(cause)))?;
        Ok(Self { store: store.with_fsync(true), folder, gate: Arc::default() })
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        &self.store
    }

    /// Durable when it returns.
    pub(super) async fn put(&self, path: &StorePath, bytes: Bytes) -> object_store::Result<()> {
        let _shared = self.gate.read().await;
        self.store.put(path, bytes.into()).await?;
        let file = self.store.path_to_filesystem(path)?;
        let folder = self.folder.clone();
        let synced = spawn_blocking(move || sync_above(&file, &folder)).await?;
        synced.map_err(|cause| object_store::Error::Generic { store: "LocalFileSystem", source: cause.into() })
    }

    /// Removes what writes that were cut short more than a day ago left, and empty folders; returns how many files.
    pub(super) async fn sweep(&self, now: Timestamp) -> Result<usize, BlobError> {
        let (folder, gate) = (self.folder.clone(), self.gate.clone());
        let swept = spawn_blocking(move || sweep::sweep(&folder, &gate, now)).await;
        let swept = swept.map_err(io::Error::other).flatten();
        swept.map_err(|cause| BlobError::Folder { path: self.folder.clone(), cause })
    }
}

fn make(path: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let folder = fs::canonicalize(path)?;
    folder.parent().map_or(Ok(()), sync)?;
    Ok(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Syncs the folders above the file's own, which the store has synced. The store syncs them only where it made them:
/// one that another write has just made may not be on disk yet.
fn sync_above(file: &Path, folder: &Path) -> io::Result<()> {
    file.ancestors().skip(2).take_while(|above| above.starts_with(folder)).try_for_each(sync)
}
