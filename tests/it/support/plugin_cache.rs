//! Machine code that tests share, as the starts of one host do: most of them run the same few plugins.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use runhook::plugin::{CacheSettings, RuntimeSettings};
use zeroize::Zeroizing;

use crate::host_process::BINARY;

/// The built-in plugins alone, and what any test of this build has compiled is not compiled again. Not for tests of
/// what compiling does.
pub(crate) fn settings() -> RuntimeSettings {
    static IS_OF_THIS_BUILD: OnceLock<()> = OnceLock::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
    IS_OF_THIS_BUILD.get_or_init(|| forget_other_builds(&folder));
    RuntimeSettings {
        cache: Some(CacheSettings { folder, key: Zeroizing::new([7; 32]) }),
        ..RuntimeSettings::default()
    }
}

/// What another build has compiled says nothing of this one.
fn forget_other_builds(folder: &Path) {
    let marker = folder.with_extension("build");
    let built = [BINARY.into(), std::env::current_exe().unwrap()].map(|file| fs::metadata(file).unwrap().modified());
    let build = format!("{:?}", built.map(|at| at.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap()));
    if fs::read_to_string(&marker).is_ok_and(|old| old == build) {
        return;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::write(marker, build).unwrap();
}
