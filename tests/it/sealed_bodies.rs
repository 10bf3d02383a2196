//! With `--encrypt-bodies` no payload and no body is found in the data directory, and all that works without it works.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::Arrivals;
use crate::support::recording_receiver;

const RULE: &str = "7d1e9a7e-2222-4c38-9d5e-0d7a3c1f9b10";
const SECRET: &str = "relay-secret-of-sealed-bodies";
/// Stands in each payload; one through redaction, so that its body differs from the payload.
const MARK: &str = "a sentence that nobody but its receiver is to read";

fn rule(receiver: &str) -> String {
    format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "sealed"
        sampling_rate = 1.0
        relay_secret = "{SECRET}"
        [[rules.webhooks]]
        id = "whole"
        url = "{receiver}/whole"
        [[rules.webhooks]]
        id = "changed"
        url = "{receiver}/changed"
        plugins = [{{ name = "redact", config = {{ pointers = ["/outputs"] }} }}]
        "#
    )
}

fn payload(number: usize) -> String {
    format!(
        r#"{{"rule_id":"{RULE}","runs":[{{"id":"{number:02}","status":"success","inputs":{{"q":"{MARK}"}},"outputs":{{"a":"x"}}}}]}}"#
    )
}

/// Files below the folder that hold the mark.
fn holding_the_mark(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding_the_mark(&path));
        } else if fs::read(&path).unwrap().windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_payload_can_be_read_on_disk_and_all_is_delivered_over_kills_rotations_and_replays() {
    let folder = tempfile::tempdir().unwrap();
    let arrivals = Arrivals::default();
    let receiver = recording_receiver(arrivals.clone()).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.arguments = vec!["--encrypt-bodies".to_owned()];
    let mut host = HostProcess::start(&settings);
    host.apply(&rule(&receiver));
    for round in 0..3 {
        for number in 0..20 {
            assert_eq!(host.relay(RULE, SECRET, &payload(round * 20 + number)).await.status(), 202);
        }
        host.kill();
        host = HostProcess::start(&settings);
        host.cli_ok(&["keys", "rotate"]);
    }
    host.until_settled().await;
    let deliveries = host.deliveries("").await;
    assert_eq!(deliveries.len(), 2 * 60);
    let bodies: std::collections::HashSet<_> = deliveries
        .iter()
        .map(|delivery| {
            assert_eq!(delivery["state"], "delivered", "{delivery}");
            let is_whole = delivery["body_bytes"] == payload(10).len();
            assert_eq!(is_whole, delivery["webhook_id"] == "whole", "{delivery}");
            arrivals.last(delivery["id"].as_str().unwrap())
        })
        .collect();
    assert_eq!(bodies.len(), 2 * 60, "each payload is its own, and redacted another");
    assert_eq!(holding_the_mark(&host.data), Vec::<PathBuf>::new());

    // Without it from now on: what is sealed stays readable, what comes is in clear, which shows that a look finds it.
    assert_eq!(host.stop(), Some(0));
    settings.arguments.clear();
    let host = HostProcess::start(&settings);
    let first = deliveries.last().unwrap()["id"].as_str().unwrap();
    host.cli_ok(&["deliveries", "replay", first]);
    host.until_settled().await;
    let replay = &host.deliveries("").await[0];
    assert_eq!((&replay["replay_of"], &replay["state"]), (&first.into(), &"delivered".into()), "{replay}");
    assert_eq!(arrivals.last(replay["id"].as_str().unwrap()), arrivals.last(first));
    assert_eq!(host.relay(RULE, SECRET, &payload(99)).await.status(), 202);
    host.until_settled().await;
    assert_eq!(holding_the_mark(&host.data).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_secret_key_of_bodies_says_which_one_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.arguments = vec!["--encrypt-bodies".to_owned()];
    let mut host = HostProcess::start(&settings);
    assert_eq!(host.stop(), Some(0));
    fs::remove_file(settings.data.join("secret-key")).unwrap();
    let log = HostProcess::try_start(&settings).map(|_| ()).unwrap_err();
    assert!(log.contains("000001.key: a stored secret needs the key with the id"), "{log}");
}
