//! Sizes as arguments.

pub(super) const MIB: usize = 1024 * 1024;
pub(super) const KIB: usize = 1024;

pub(super) fn parse_mib(text: &str) -> Result<usize, String> {
    let mib = text.parse().ok().filter(|mib| (1..=1024).contains(mib));
    mib.ok_or_else(|| format!("`{text}` is no size in MiB from 1 to 1024"))
}

pub(super) fn parse_kib(text: &str) -> Result<usize, String> {
    let kib = text.parse().ok().filter(|kib| (1..=16 * 1024).contains(kib));
    kib.ok_or_else(|| format!("`{text}` is no size in KiB from 1 to 16384"))
}
