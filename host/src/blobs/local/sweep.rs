//! Clears the blob folder of what is no blob: files of writes that were cut short, folders that hold nothing.
//!
//! Others write and delete meanwhile: what is gone when it is looked at is no error.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::RwLock;

use crate::model::Timestamp;

/// No write takes that long.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// Folders between the blob folder and a file: tier, day.
const DEPTH: usize = 2;

/// Blocks. Removes files of writes begun more than a day before `now`; returns how many.
pub(super) fn sweep(folder: &Path, gate: &RwLock<()>, now: Timestamp) -> io::Result<usize> {
    let until = now.checked_sub(LEFTOVER_AGE).unwrap_or(Timestamp::MIN);
    let mut swept = 0;
    let mut seen = Vec::new();
    let mut ahead = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = ahead.pop() {
        let (files, inner) = sweep_folder(&folder, until)?;
        swept += files;
        ahead.extend(inner.into_iter().filter(|_| depth < DEPTH).map(|inner| (inner, depth + 1)));
        seen.push(folder);
    }
    // Inner ones first; the blob folder itself stays.
    seen.iter().skip(1).rev().try_for_each(|folder| remove_empty(folder, gate))?;
    Ok(swept)
}

/// How many of its own files were removed, and the folders in it.
fn sweep_folder(folder: &Path, until: Timestamp) -> io::Result<(usize, Vec<PathBuf>)> {
    let mut swept = 0;
    let mut inner = Vec::new();
    for entry in there(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            inner.push(entry.path());
        } else if is_unfinished(&entry.file_name()) {
            swept += usize::from(remove_old(&entry, until)?);
        }
    }
    Ok((swept, inner))
}

/// Whether it was old enough.
fn remove_old(entry: &DirEntry, until: Timestamp) -> io::Result<bool> {
    let modified = there(entry.metadata())?.map(|metadata| metadata.modified()).transpose()?;
    let modified = modified.and_then(|modified| Timestamp::try_from(modified).ok());
    let is_old = modified.is_some_and(|modified| modified < until);
    Ok(is_old && there(fs::remove_file(entry.path()))?.is_some())
}

/// Writes wait only where there is something to remove.
fn remove_empty(folder: &Path, gate: &RwLock<()>) -> io::Result<()> {
    if !is_empty(folder)? {
        return Ok(());
    }
    let _alone = gate.blocking_write();
    if is_empty(folder)? { there(fs::remove_dir(folder)).map(drop) } else { Ok(()) }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(there(fs::read_dir(folder))?.is_some_and(|mut entries| entries.next().is_none()))
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn is_unfinished(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
