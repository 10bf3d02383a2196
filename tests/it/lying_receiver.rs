//! A receiver that resets, lies and answers nonsense, and a host that is killed meanwhile: the books add up all the same.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::{Arrivals, RELAY_SECRET, RULE, Senders, outcomes, rules_with, settle_in};
use crate::support::liar::{Liar, Lie};

const KILLS: usize = 6;
/// Attempts of a delivery to the webhook that gives up.
const FEW: usize = 2;

/// `RUNHOOK_TEST_SEED`, or one by chance; printed.
fn seed() -> u64 {
    let given = std::env::var("RUNHOOK_TEST_SEED").ok();
    let seed = given.map_or_else(|| rand::rng().random(), |seed| seed.parse().expect("the seed is a number"));
    println!("seed {seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_to_a_receiver_that_resets_and_lies_while_the_host_is_killed() {
    let mut random = StdRng::seed_from_u64(seed());
    let folder = tempfile::tempdir().unwrap();
    let arrivals = Arrivals::default();
    let (liar, url) = Liar::start(arrivals.clone(), random.random()).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    let mut host = HostProcess::start(&settings);
    let terms =
        |attempts| format!("profile = \"durable\"\ntimeout_seconds = 1\nbackoff_seconds = [1]\nattempts = {attempts}");
    host.apply(&rules_with(&url, [&terms(100), &terms(FEW)]));
    settings.listen = host.address.to_string();
    let senders = Senders::start(2, host.url(&format!("/relay/{RULE}?secret={RELAY_SECRET}")));

    for _ in 0..KILLS {
        let moment = Duration::from_millis(random.random_range(0..1_000));
        // Nothing is waited for here but the moment itself.
        let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
        host.kill();
        host = HostProcess::start(&settings);
    }

    let accepted = senders.stop().await;
    assert!(accepted.len() > 10 * KILLS, "only {} payloads were accepted", accepted.len());
    let records = settle_in(&["delivered", "failed", "filtered"], &host, &accepted, &arrivals).await;
    let failed: Vec<_> = records.iter().filter(|record| record["state"] == "failed").collect();
    failed.iter().for_each(|record| assert_used_up(record));
    let told = liar.told();
    println!("{} failed; {told:?}", failed.len());
    assert!(!failed.is_empty(), "nothing was given up");
    assert!(Lie::ALL.iter().all(|lie| told.contains_key(lie)), "not every lie was told");
}

/// A failed delivery has had all its attempts, the first interrupted one made up for.
#[track_caller]
fn assert_used_up(record: &Value) {
    assert_eq!(record["webhook_id"], "errors", "{record:#}");
    let outcomes = outcomes(record);
    let is_made_up_for = outcomes.contains(&"interrupted");
    assert!(outcomes.len() >= FEW + usize::from(is_made_up_for), "{record:#}");
    assert_ne!(outcomes.last(), Some(&"interrupted"), "{record:#}");
}
