//! Power loss at random moments: everything that was not synced is gone, and nothing that was answered 2xx is missing.
//!
//! `tests/power_loss/shim.c` is loaded into the spawned host. With syncing switched off the same books do not add up,
//! which shows that the test can fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use rand::RngExt;

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::{Arrivals, RELAY_SECRET, RULE, Senders, adds_up, rules, settle};
use crate::support::recording_receiver;

const ROUNDS: usize = 25;
/// Watched calls until the power goes: a start takes some dozen, a payload about ten.
const CALLS_MAX: u32 = 3_000;

/// Compiles the shim; without a C compiler nothing of runhook could be built either.
fn shim(folder: &Path) -> PathBuf {
    let library = folder.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/power_loss/shim.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("cc runs");
    assert!(built.success());
    library
}

struct Scene {
    folder: tempfile::TempDir,
    settings: HostSettings,
    arrivals: Arrivals,
}

impl Scene {
    /// A data directory with the rules in it, on a port that stays the same.
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().canonicalize().unwrap().join("data");
        let arrivals = Arrivals::default();
        let receiver = recording_receiver(arrivals.clone()).await;
        let mut settings = HostSettings::on(&data);
        let mut host = HostProcess::start(&settings);
        host.apply(&rules(&receiver));
        settings.listen = host.address.to_string();
        assert_eq!(host.stop(), Some(0));
        Self { folder, settings, arrivals }
    }

    /// Runs the host under the shim again and again while payloads come in; what was answered 202.
    async fn lose_power(&mut self, rounds: usize, ignores_sync: bool) -> Vec<String> {
        let shim = shim(self.folder.path());
        let senders = Senders::start(4, format!("http://{}/relay/{RULE}?secret={RELAY_SECRET}", self.settings.listen));
        for _ in 0..rounds {
            let (after, seed): (u32, u64) = (rand::rng().random_range(1..CALLS_MAX), rand::rng().random());
            println!("power goes after {after} calls, seed {seed}");
            self.settings.environment = vec![
                ("LD_PRELOAD".to_owned(), shim.display().to_string()),
                ("POWER_LOSS_DIR".to_owned(), self.settings.data.display().to_string()),
                ("POWER_LOSS_AFTER".to_owned(), after.to_string()),
                ("POWER_LOSS_SEED".to_owned(), seed.to_string()),
            ];
            if ignores_sync {
                self.settings.environment.push(("POWER_LOSS_IGNORE_SYNC".to_owned(), "1".to_owned()));
            }
            // The power may go before the host listens; where it cannot start again at all, the end of the test tells.
            if let Ok(mut host) = HostProcess::try_start(&self.settings) {
                host.wait();
            }
        }
        self.settings.environment.clear();
        senders.stop().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_2xx_is_missing_after_power_loss() {
    let mut scene = Scene::set().await;
    let accepted = scene.lose_power(ROUNDS, false).await;
    assert!(accepted.len() > ROUNDS, "only {} payloads were accepted", accepted.len());
    let host = HostProcess::start(&scene.settings);
    settle(&host, &accepted, &scene.arrivals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_syncing_switched_off_the_books_do_not_add_up() {
    let mut scene = Scene::set().await;
    let mut accepted = Vec::new();
    for _ in 0..ROUNDS {
        accepted.extend(scene.lose_power(1, true).await);
        let Ok(mut host) = HostProcess::try_start(&scene.settings) else { return };
        if !adds_up(&host, &accepted).await {
            return;
        }
        host.kill();
    }
    panic!("{} payloads were accepted without syncing, and none was lost in {ROUNDS} power losses", accepted.len());
}
