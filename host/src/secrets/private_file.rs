//! Files of the data directory that nobody else may read, written whole and durably.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::secrets::SecretsError;

/// The content of a private file of the data directory; made with mode 0600, durably, where there is none.
///
/// # Errors
/// What the system says, or that others may read the file.
pub fn private_file(
    data_dir: &Path,
    name: &str,
    content: impl FnOnce() -> Zeroizing<String>,
) -> Result<Zeroizing<String>, SecretsError> {
    let path = data_dir.join(name);
    make(data_dir, &path, content).map_err(|cause| SecretsError::File { path, cause })?;
    read(data_dir, name)
}

/// One at a time, so that who starts at the same moment reads this file and makes no other. The system gives the lock back,
/// however it ends.
fn make(data_dir: &Path, path: &Path, content: impl FnOnce() -> Zeroizing<String>) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    fs::create_dir_all(data_dir)?;
    let folder = File::open(data_dir)?;
    folder.lock()?;
    if path.try_exists()? { Ok(()) } else { replace(data_dir, path, &content()) }
}

pub(super) fn read(data_dir: &Path, name: &str) -> Result<Zeroizing<String>, SecretsError> {
    let path = data_dir.join(name);
    let failed = |cause| SecretsError::File { path: path.clone(), cause };
    if fs::metadata(&path).map_err(failed)?.mode() & 0o077 != 0 {
        return Err(SecretsError::Exposed(path));
    }
    Ok(Zeroizing::new(fs::read_to_string(&path).map_err(failed)?))
}

/// Makes the file, with mode 0600, or takes its place; durably, and whole or not at all.
///
/// # Errors
/// What the system says.
pub fn write_private_file(data_dir: &Path, name: &str, content: &str) -> Result<(), SecretsError> {
    let path = data_dir.join(name);
    replace(data_dir, &path, content).map_err(|cause| SecretsError::File { path, cause })
}

/// Under another name first: a crash must not leave half a key. What a crash left there is not written to, whoever may
/// read it.
fn replace(data_dir: &Path, path: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", content.trim_end())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn who_starts_at_once_makes_one_file_and_all_read_it() {
        for _ in 0..20 {
            let (folder, all_there) = (tempfile::tempdir().unwrap(), Barrier::new(8));
            let start = |number: u32| {
                all_there.wait();
                private_file(folder.path(), "key", || Zeroizing::new(number.to_string())).unwrap()
            };
            let read: Vec<_> = thread::scope(|scope| {
                let start = &start;
                let starts: Vec<_> = (0..8).map(|number| scope.spawn(move || start(number))).collect();
                starts.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let on_disk = fs::read_to_string(folder.path().join("key")).unwrap();
            assert!(read.iter().all(|text| **text == on_disk), "{read:?}");
        }
    }
}
