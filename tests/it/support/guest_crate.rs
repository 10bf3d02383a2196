//! A plugin's crate as its author has it: made by `runhook plugin new`, built by cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A target directory that stays, so that only the first run compiles the SDK's dependencies.
fn target_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-crates")
}

/// Runs cargo in a crate, first with what the cache has, then with the registry.
pub(crate) fn cargo(directory: &Path, arguments: &[&str]) {
    let run = |network: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(directory).args(arguments).args(network).arg("--target-dir").arg(target_directory());
        for outer in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(outer);
        }
        let output = command.output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    run(&["--offline"]).or_else(|_| run(&[])).unwrap();
}

/// Builds a crate as the README says; where its component is.
pub(crate) fn build(directory: &Path) -> PathBuf {
    cargo(directory, &["build", "--release", "--target", "wasm32-wasip2"]);
    let file = directory.file_name().unwrap().to_str().unwrap().replace('-', "_");
    target_directory().join(format!("wasm32-wasip2/release/{file}.wasm"))
}
