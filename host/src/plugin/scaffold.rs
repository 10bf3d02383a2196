//! `runhook plugin new`: writes the crate of a new plugin, with the SDK's sources beside it.
//!
//! The binary carries the SDK, so a new plugin builds against the contract of the very host that made it. Knows
//! nothing of the runtime, and runs no cargo.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::model::plugin::PluginName;

include!(concat!(env!("OUT_DIR"), "/sdk_sources.rs"));

/// The SDK's directory in a plugin's crate, and its name as a dependency.
const SDK_DIRECTORY: &str = "runhook-sdk";

/// Which stage the new plugin starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaffoldKind {
    /// Keeps or drops runs.
    Filter,
    /// Edits the payload.
    Transform,
    /// Writes the body.
    Render,
}

impl ScaffoldKind {
    /// Every kind, in the order in which stages run.
    pub const ALL: [ScaffoldKind; 3] = [ScaffoldKind::Filter, ScaffoldKind::Transform, ScaffoldKind::Render];

    /// The kind's name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            ScaffoldKind::Filter => "filter",
            ScaffoldKind::Transform => "transform",
            ScaffoldKind::Render => "render",
        }
    }

    fn source(self) -> &'static str {
        match self {
            ScaffoldKind::Filter => include_str!("scaffold/filter.rs.txt"),
            ScaffoldKind::Transform => include_str!("scaffold/transform.rs.txt"),
            ScaffoldKind::Render => include_str!("scaffold/render.rs.txt"),
        }
    }
}

impl fmt::Display for ScaffoldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ScaffoldKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| format!("`{text}` is no kind of plugin: use filter, transform or render"))
    }
}

/// Why a plugin's crate was not written.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Nothing is overwritten.
    #[error("{} exists already; choose another name or directory", .0.display())]
    Exists(PathBuf),
    /// Cargo would refuse the name, or it is the SDK's own.
    #[error("`{0}` cannot be a crate's name: begin with a letter, and leave `runhook-sdk` to the SDK")]
    CrateName(PluginName),
    /// The file system refused; what was written is removed again.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// What could not be written.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
}

/// Writes the crate `parent/NAME` and returns its path.
///
/// # Errors
/// The directory exists, the name is no crate's name, or the file system refuses.
pub fn scaffold(parent: &Path, name: &PluginName, kind: ScaffoldKind) -> Result<PathBuf, ScaffoldError> {
    let is_crate_name = name.as_str().starts_with(|first: char| first.is_ascii_lowercase());
    if !is_crate_name || name.as_str() == SDK_DIRECTORY {
        return Err(ScaffoldError::CrateName(name.clone()));
    }
    let directory = parent.join(name.as_str());
    fs::create_dir(&directory).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => ScaffoldError::Exists(directory.clone()),
        _ => ScaffoldError::Write { path: directory.clone(), cause },
    })?;
    if let Err(error) = write_all(&directory, name, kind) {
        // The directory is ours: it did not exist a moment ago.
        let _ = fs::remove_dir_all(&directory);
        return Err(error);
    }
    Ok(directory)
}

fn write_all(directory: &Path, name: &PluginName, kind: ScaffoldKind) -> Result<(), ScaffoldError> {
    let fill = |template: &str| {
        let file = name.as_str().replace('-', "_");
        template.replace("{{name}}", name.as_str()).replace("{{file}}", &file).replace("{{kind}}", kind.as_str())
    };
    write(&directory.join("Cargo.toml"), &fill(include_str!("scaffold/Cargo.toml.txt")))?;
    write(&directory.join("README.md"), &fill(include_str!("scaffold/README.md.txt")))?;
    write(&directory.join(".gitignore"), "/target/\n")?;
    write(&directory.join("payload.json"), include_str!("scaffold/payload.json.txt"))?;
    write(&directory.join("src/lib.rs"), &fill(kind.source()))?;
    let sdk = directory.join(SDK_DIRECTORY);
    SDK_SOURCES.iter().try_for_each(|(path, text)| write(&sdk.join(path), text))
}

fn write(path: &Path, text: &str) -> Result<(), ScaffoldError> {
    let parent = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
    written.map_err(|cause| ScaffoldError::Write { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PluginName {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("mine")).unwrap();
        let error = scaffold(parent.path(), &name("mine"), ScaffoldKind::Filter).unwrap_err();
        assert!(matches!(error, ScaffoldError::Exists(_)), "{error}");
        assert_eq!(fs::read_dir(parent.path().join("mine")).unwrap().count(), 0);
    }

    #[test]
    fn the_payload_beside_a_new_plugin_is_one() {
        let parent = tempfile::tempdir().unwrap();
        let crate_directory = scaffold(parent.path(), &name("mine"), ScaffoldKind::Filter).unwrap();
        let payload = fs::read(crate_directory.join("payload.json")).unwrap();
        assert_eq!(crate::document::Document::parse(payload.into()).unwrap().len(), 2);
    }

    #[test]
    fn a_name_that_cargo_would_refuse_is_refused_first() {
        let parent = tempfile::tempdir().unwrap();
        for bad in ["1st", "-x", "runhook-sdk"] {
            let error = scaffold(parent.path(), &name(bad), ScaffoldKind::Filter).unwrap_err();
            assert!(matches!(error, ScaffoldError::CrateName(_)), "{error}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_parent_is_named() {
        let error = scaffold(Path::new("no/such/place"), &name("mine"), ScaffoldKind::Render).unwrap_err();
        assert!(error.to_string().starts_with("cannot write no/such/place/mine: "), "{error}");
    }
}
