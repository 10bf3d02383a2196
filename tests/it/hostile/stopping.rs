//! A host that is told to stop while a guest does not come back.

use std::fs;
use std::time::{Duration, Instant};

use runhook::limits::{FANOUTS_MAX, SHUTDOWN_GRACE};
use runhook_test_guests as guests;

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::Arrivals;
use crate::support::recording_receiver;
use crate::support::waiting::PATIENCE;

const RULE: &str = "9d1c9a7e-4444-4c38-9d5e-0d7a3c1f9b10";

/// More than are worked on at once.
const PAYLOADS: usize = FANOUTS_MAX + 2;

/// A minute of CPU time and more by the clock than any test waits: only the stop can end the guest.
const POLICY: &str = "isolation = \"host\"\n[limits]\ncpu_ms = 60000\nwall_factor = 100\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stops_in_time_while_a_guest_loops_and_its_payloads_are_delivered_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(guests::ENDLESS_LOOP, plugins.join("mood.wasm")).unwrap();
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, POLICY).unwrap();
    let receiver = recording_receiver(Arrivals::default()).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.plugins = Some(plugins.clone());
    settings.arguments = vec!["--plugin-policy".to_owned(), policy.display().to_string()];

    let mut host = HostProcess::start(&settings);
    host.apply(&format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "stopping"
        sampling_rate = 1.0
        relay_secret = "relay"
        [[rules.webhooks]]
        id = "w"
        url = "{receiver}/hook"
        plugins = [{{ name = "mood" }}]
        "#
    ));
    for _ in 0..PAYLOADS {
        let answer = host.relay(RULE, "relay", r#"{"rule_id":"r","runs":[{"id":"1","status":"error"}]}"#).await;
        assert_eq!(answer.status(), 202);
    }
    until_a_guest_is_busy(&host);

    let begun = Instant::now();
    assert_eq!(host.stop(), Some(0));
    println!("stopped in {:?}", begun.elapsed());
    assert!(begun.elapsed() < SHUTDOWN_GRACE + Duration::from_secs(10));

    fs::copy(guests::RENAMES, plugins.join("mood.wasm")).unwrap();
    let host = HostProcess::start(&settings);
    host.until_settled().await;
    let deliveries = host.deliveries("").await;
    assert_eq!(deliveries.len(), PAYLOADS);
    assert!(deliveries.iter().all(|delivery| delivery["state"] == "delivered"), "{deliveries:#?}");
}

/// Waits until a thread of the host's guests has been at work for a while.
fn until_a_guest_is_busy(host: &HostProcess) {
    let begun = Instant::now();
    while busiest_guest_ticks(host.id()) < 20 {
        assert!(begun.elapsed() < PATIENCE, "no guest runs\n{}", host.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// CPU time of the busiest of the threads that guests run on, in hundredths of a second.
fn busiest_guest_ticks(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let ticks = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, fields) = stat.rsplit_once(") ")?;
        // `state` is the third field of all, `utime` the fourteenth.
        name.contains("(guest-").then(|| fields.split(' ').nth(11)?.parse::<u64>().ok())?
    };
    tasks.filter_map(|task| ticks(task.ok()?)).max().unwrap_or_default()
}
