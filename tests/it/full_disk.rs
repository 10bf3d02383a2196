//! A disk that fills up while payloads come in: what does not fit is refused, and nothing that was answered 2xx is missing.
//!
//! Needs a small file system: `.ci/run` mounts one and names its folder in `RUNHOOK_TEST_SMALL_DISK`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use crate::host_process::{HostProcess, HostSettings, PATIENCE};
use crate::ledger::{Arrivals, RELAY_SECRET, RULE, Senders, rules, settle};
use crate::support::recording_receiver;

/// What is left of the disk when payloads begin to come.
const LEFT_BYTES: u64 = 3 * 1024 * 1024;
/// Larger than that is no small disk, and would take long to fill.
const DISK_BYTES_MAX: u64 = 256 * 1024 * 1024;

fn small_disk() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("RUNHOOK_TEST_SMALL_DISK").map(PathBuf::from) else {
        eprintln!("SKIPPED: RUNHOOK_TEST_SMALL_DISK names no folder of a small file system");
        return None;
    };
    let disk = statvfs(&folder).unwrap();
    assert!(disk.f_blocks * disk.f_frsize <= DISK_BYTES_MAX, "{} is on no small file system", folder.display());
    Some(folder)
}

fn free_bytes(folder: &tempfile::TempDir) -> u64 {
    let disk = statvfs(folder.path()).unwrap();
    disk.f_bavail * disk.f_frsize
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_2xx_is_missing_after_the_disk_was_full() {
    let Some(disk) = small_disk() else { return };
    let folder = tempfile::tempdir_in(disk).unwrap();
    let arrivals = Arrivals::default();
    let receiver = recording_receiver(arrivals.clone()).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    let mut host = HostProcess::start(&settings);
    host.apply(&rules(&receiver));
    settings.listen = host.address.to_string();
    let filler = folder.path().join("filler");
    let size = usize::try_from(free_bytes(&folder) - LEFT_BYTES).unwrap();
    fs::write(&filler, vec![1; size]).unwrap();

    let senders = Senders::start(4, host.url(&format!("/relay/{RULE}?secret={RELAY_SECRET}")));
    let begun = Instant::now();
    loop {
        if free_bytes(&folder) < 64 * 1024 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the disk never fills up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It goes on, and refuses what does not fit.
    let large = format!(r#"{{"runs":[],"filler":"{}"}}"#, "x".repeat(512 * 1024));
    let answer = host.relay(RULE, RELAY_SECRET, &large).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(host.get("/health").await["status"], "ok");
    host.kill();
    fs::remove_file(&filler).unwrap();
    let host = HostProcess::start(&settings);
    let accepted = senders.stop().await;
    assert!(accepted.len() > 10, "only {} payloads were accepted", accepted.len());
    settle(&host, &accepted, &arrivals).await;
}
