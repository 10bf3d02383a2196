//! A disk that fills up while payloads come in: what does not fit is refused, what was accepted is not lost, and once there is
//! room again the host goes on by itself.
//!
//! Needs a small file system: `.ci/run` mounts one and names its folder in `RUNHOOK_TEST_SMALL_DISK`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::timeout;

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::{Arrivals, RELAY_SECRET, RULE, Senders, post, rules, settle};
use crate::support::peers::small_disk;
use crate::support::recording_receiver;
use crate::support::waiting::{PATIENCE, a_moment};

/// What makes room when it is removed.
const BALLAST_BYTES: usize = 12 * 1024 * 1024;
const LARGE_BYTES: usize = 1024 * 1024;
/// So many refusals in a row, of all sizes, and the disk is full.
const REFUSALS: usize = 20;
/// An answer that takes longer hangs.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

fn write_ballast(path: &Path) {
    let mut file = File::create(path).unwrap();
    file.write_all(&vec![1; BALLAST_BYTES]).unwrap();
    file.sync_all().unwrap();
}

/// Posts a payload of so many bytes, which is taken or refused for now; its id where it was taken.
async fn offer(url: &str, bytes: usize) -> Option<String> {
    let payload = format!(r#"{{"runs":[{{"id":"1","status":"error","inputs":"{}"}}]}}"#, "x".repeat(bytes));
    let answer = timeout(ANSWERED_WITHIN, post(url, payload)).await.expect("the door answers");
    let (status, id) = answer.expect("the host is there");
    assert!([StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
    id
}

/// Posts until nothing is taken any more, be it large or small; what was taken.
async fn fill(url: &str) -> Vec<String> {
    let (mut taken, mut refusals, begun) = (Vec::new(), 0, Instant::now());
    while refusals < REFUSALS {
        assert!(begun.elapsed() < PATIENCE, "the disk never fills up");
        match offer(url, LARGE_BYTES >> refusals.min(10)).await {
            Some(id) => {
                taken.push(id);
                refusals = 0;
            }
            None => refusals += 1,
        }
    }
    taken
}

/// Posts until one is taken again.
async fn until_taken(url: &str) -> String {
    let begun = Instant::now();
    loop {
        if let Some(id) = offer(url, 1_000).await {
            return id;
        }
        assert!(begun.elapsed() < PATIENCE, "there is room again, and the host takes nothing");
        a_moment().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_once_it_has_room_again_all_that_was_accepted_is_delivered() {
    let Some(disk) = small_disk() else { return };
    let folder = tempfile::tempdir_in(disk).unwrap();
    let ballast = folder.path().join("ballast");
    write_ballast(&ballast);
    let arrivals = Arrivals::default();
    let receiver = recording_receiver(arrivals.clone()).await;
    let settings = HostSettings::on(&folder.path().join("data"));
    let mut host = HostProcess::start(&settings);
    host.apply(&rules(&receiver));
    let url = host.url(&format!("/relay/{RULE}?secret={RELAY_SECRET}"));
    let senders = Senders::start(2, url.clone());

    let mut accepted = fill(&url).await;
    assert_eq!(host.get("/health").await["status"], "ok");
    fs::remove_file(&ballast).unwrap();
    accepted.push(until_taken(&url).await);
    accepted.extend(senders.stop().await);

    println!("{} lines of log", host.log().lines().count());
    settle(&host, &accepted, &arrivals).await;
    host.kill();
    settle(&HostProcess::start(&settings), &accepted, &arrivals).await;
}
