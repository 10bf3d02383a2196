//! Builds guests for wasm32-wasip2 from a build script: one nested cargo call, apart from the outer build.
//!
//! Shared by the build scripts of the host and of the test guests. The nested target directory lies in the outer one,
//! beside the profiles, so that guests are built once for all of them. Nothing of the outer build leaks in: neither
//! its flags nor its wrappers, which differ between `build`, `test` and `clippy` and would rebuild everything.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// Has its own settings in the root manifest.
const PROFILE: &str = "plugin";

/// Builds what the arguments select and returns the directory of the components.
pub(crate) fn build(workspace: &Path, selection: &[String]) -> Result<PathBuf, String> {
    require_target()?;
    let target_dir = nested_target_dir();
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(workspace).args(["build", "--locked", "--quiet", "--profile", PROFILE, "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir).args(selection);
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_the_outer_build(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "").env("CARGO_ENCODED_RUSTFLAGS", flags());
    let status = cargo.status().map_err(|error| format!("cannot start cargo for the guests: {error}"))?;
    if !status.success() {
        return Err(format!("the guests do not build for {TARGET}; the errors stand above"));
    }
    Ok(target_dir.join(TARGET).join(PROFILE))
}

/// Asks cargo to run the build script again when one of these changes; directories count with all in them.
pub(crate) fn rerun_if_changed<'a>(workspace: &Path, paths: impl IntoIterator<Item = &'a str>) {
    for path in paths {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
}

/// Writes a file, unless it has that content already.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    std::fs::write(path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// An environment variable that cargo sets.
pub(crate) fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or(format!("{name} is not set: run the build script through cargo"))
}

fn require_target() -> Result<(), String> {
    let asked = Command::new(variable("RUSTC")?).args(["--print", "target-libdir", "--target", TARGET]).output();
    let output = asked.map_err(|error| format!("cannot start rustc: {error}"))?;
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && directory.is_dir() {
        return Ok(());
    }
    Err(format!("the Rust target {TARGET} is not installed; run: rustup target add {TARGET}"))
}

/// Cargo marks the outer target directory with a tag file.
fn nested_target_dir() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let outer = out.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    outer.unwrap_or(&out).join("guests")
}

/// What cargo, clippy and the like set for one build. Where cargo finds its registry is no matter of one build.
fn is_of_the_outer_build(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "RUSTUP_",
    ];
    const DROPPED: [&str; 4] = ["CARGO", "CLIPPY_", "RUST", "LLVM_PROFILE_FILE"];
    const BUILD_SCRIPT: [&str; 7] = ["DEBUG", "HOST", "NUM_JOBS", "OPT_LEVEL", "OUT_DIR", "PROFILE", "TARGET"];
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    !starts_with(&KEPT) && (starts_with(&DROPPED) || BUILD_SCRIPT.contains(&name))
}

/// The same flags on every machine, and no path of this one in the components. The engine has SIMD, which makes the
/// search for a byte in a text several times faster.
fn flags() -> OsString {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
    let mut flags = OsString::from("-Ctarget-feature=+simd128\x1f--remap-path-prefix=");
    flags.push(home);
    flags.push("=cargo");
    flags
}
