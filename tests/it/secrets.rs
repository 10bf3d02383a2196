//! No secret that was used is found in the data directory, beside the key files, nor in the log, nor in what the API says.

use std::fs;
use std::path::Path;

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::Arrivals;
use crate::support::recording_receiver;

const RULE: &str = "5f0c9a7e-1111-4c38-9d5e-0d7a3c1f9b10";
const RELAY_SECRET: &str = "relay-s3cret-d41d8cd9";
const QUERY_SECRET: &str = "query-s3cret-8f00b204";
const HEADER_SECRET: &str = "header-s3cret-e9800998";
const PATH_SECRET: &str = "XXpathS3cret0ecf8427eXX";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_left_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = recording_receiver(Arrivals::default()).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let mut host = HostProcess::start(&settings);
    host.apply(&format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "secretive"
        sampling_rate = 1.0
        relay_secret = "{RELAY_SECRET}"
        [[rules.webhooks]]
        id = "works"
        url = "{receiver}/hook?secret={QUERY_SECRET}"
        headers = {{ authorization = "Bearer {HEADER_SECRET}" }}
        [[rules.webhooks]]
        id = "token-in-path"
        url = "{receiver}/{PATH_SECRET}"
        [[rules.webhooks]]
        id = "refused"
        url = "http://127.0.0.1:1/hook?secret={QUERY_SECRET}"
        [[rules.webhooks]]
        id = "forbidden"
        url = "http://10.0.0.1/hook?secret={QUERY_SECRET}"
        [[rules.webhooks]]
        id = "unknown-host"
        url = "http://nowhere.invalid/hook?secret={QUERY_SECRET}"
        "#
    ));
    let payload = r#"{"rule_id":"r","runs":[{"id":"1","status":"error"}]}"#;
    assert_eq!(host.relay(RULE, RELAY_SECRET, payload).await.status(), 202);
    assert_eq!(host.relay(RULE, "wrong-s3cret-guess", payload).await.status(), 401);
    host.until_settled().await;

    let mut seen = vec![
        ("rule list".to_owned(), host.cli_ok(&["rule", "list", "--json"])),
        ("rule show".to_owned(), host.cli_ok(&["rule", "show", RULE])),
        ("deliveries".to_owned(), host.cli_ok(&["deliveries", "list", "--json"])),
    ];
    for delivery in host.deliveries("").await {
        let id = delivery["id"].as_str().unwrap();
        seen.push((format!("delivery {}", delivery["webhook_id"]), host.cli_ok(&["deliveries", "show", id, "--json"])));
    }
    assert_eq!(host.stop(), Some(0));
    assert!(host.log().contains(r#""level":"TRACE""#), "everything was logged");
    seen.push(("log".to_owned(), host.log()));

    let keys = [host.api_key(), fs::read_to_string(host.data.join("secret-key")).unwrap().trim().to_owned()];
    let given = [RELAY_SECRET, QUERY_SECRET, HEADER_SECRET, PATH_SECRET, "wrong-s3cret-guess"];
    let secrets: Vec<&str> = given.into_iter().chain(keys.iter().map(String::as_str)).collect();
    for (place, text) in &seen {
        for secret in &secrets {
            assert!(!text.contains(secret), "{place} shows {secret}:\n{text}");
        }
    }
    let mut files = 0;
    for file in files_below(&host.data) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name == "api-key" || name == "secret-key" {
            continue;
        }
        files += 1;
        let bytes = fs::read(&file).unwrap();
        for secret in &secrets {
            let is_found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_found, "{} holds {secret}", file.display());
        }
    }
    assert!(files >= 2, "the data directory has only {files} files");
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
