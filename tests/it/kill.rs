//! SIGKILL at random moments while payloads come in: nothing that was answered 2xx is missing.

use std::time::Duration;

use rand::RngExt;

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::{Arrivals, RELAY_SECRET, RULE, Senders, rules, settle};
use crate::support::recording_receiver;

/// How often the host is killed; more by `RUNHOOK_TEST_KILLS`.
fn kills() -> usize {
    std::env::var("RUNHOOK_TEST_KILLS").map_or(50, |kills| kills.parse().expect("RUNHOOK_TEST_KILLS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_2xx_is_missing_after_sigkill_at_random_moments() {
    let folder = tempfile::tempdir().unwrap();
    let arrivals = Arrivals::default();
    let receiver = recording_receiver(arrivals.clone()).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    let mut host = HostProcess::start(&settings);
    host.apply(&rules(&receiver));
    settings.listen = host.address.to_string();
    let senders = Senders::start(4, host.url(&format!("/relay/{RULE}?secret={RELAY_SECRET}")));

    for _ in 0..kills() {
        let moment = Duration::from_millis(rand::rng().random_range(0..400));
        // Nothing is waited for here but the moment itself.
        let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
        host.kill();
        host = HostProcess::start(&settings);
    }

    let accepted = senders.stop().await;
    assert!(accepted.len() > kills(), "only {} payloads were accepted", accepted.len());
    settle(&host, &accepted, &arrivals).await;
}
