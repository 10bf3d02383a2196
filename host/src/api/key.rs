//! The API key: made at the first start, kept beside the data for the owner's eyes only.

use std::path::Path;

use zeroize::Zeroizing;

use crate::model::secret::Secret;
use crate::secrets::{SecretsError, private_file};

/// Name of the key's file in the data directory.
pub const KEY_FILE: &str = "api-key";

/// 256 bits, as the sealing key has.
const KEY_BYTES: usize = 32;

/// The key of the data directory; made where there is none.
///
/// # Errors
/// What the system says, or that others may read the file.
pub fn load_or_make(data_dir: &Path) -> Result<Secret, SecretsError> {
    let text = private_file(data_dir, KEY_FILE, || {
        let bytes = rand::random::<[u8; KEY_BYTES]>();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Zeroizing::new(format!("rh_{digits}"))
    })?;
    Ok(Secret::new(text.trim()))
}
