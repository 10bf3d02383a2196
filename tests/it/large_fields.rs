//! Inputs and outputs that are too large for a row: they go to the object store, and payloads carry links to them.

use std::sync::Arc;
use std::time::Duration;

use runhook::blobs::{BlobKey, BlobSettings, Blobs, LocalSettings, SigningKey};
use runhook::limits;
use runhook::model::Timestamp;
use runhook::secrets::Keyring;
use serde_json::{Value, json};

use crate::host_process::{HostProcess, HostSettings, client};
use crate::support::payloads::{Payloads, runs};

const ID: &str = "01a20a21-7cd8-7000-8000-02556ffdde73";
const OTHER_ID: &str = "01a20a21-7ceb-7000-8000-03795a883c23";

struct Scene {
    host: HostProcess,
    payloads: Payloads,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
        let (url, payloads) = Payloads::serve().await;
        host.apply(&format!(
            r#"
            [[rules]]
            display_name = "all"
            sampling_rate = 1.0
            session_name = "default"
            window_seconds = 1
            webhooks = [{{ url = "{url}" }}]
            "#
        ));
        Self { host, payloads, _folder: folder }
    }

    /// Posts a run that has ended.
    async fn post(&self, id: &str, inputs: &Value, outputs: &Value) {
        let run = json!({
            "id": id, "name": "large", "run_type": "llm", "trace_id": id, "start_time": "2026-07-01T09:00:00",
            "end_time": "2026-07-01T09:00:01", "inputs": inputs, "outputs": outputs,
        });
        let request = client().post(self.host.url("/runs/batch")).header("x-api-key", self.host.api_key());
        let answer = request.body(json!({"post": [run]}).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    }

    /// Blobs as the host has them, with its key.
    fn blobs(&self) -> Blobs {
        let data = &self.host.data;
        let keyring = Arc::new(Keyring::load(data, None).unwrap());
        let public_url = self.host.url("/").parse().unwrap();
        let signing_key = SigningKey::new(keyring.url_key());
        Blobs::open(BlobSettings::Local(LocalSettings { folder: data.join("blobs"), public_url, signing_key })).unwrap()
    }
}

async fn status(url: &str) -> u16 {
    client().get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_field_travels_as_a_link_that_expires_and_cannot_be_altered() {
    let scene = Scene::set().await;
    let inputs = json!({"document": "x".repeat(limits::INLINE_BYTES_MAX)});
    let usage = json!({"input_tokens": 41, "output_tokens": 17, "total_tokens": 58});
    let outputs = json!({"text": "y".repeat(limits::INLINE_BYTES_MAX), "usage_metadata": usage});
    scene.post(ID, &inputs, &outputs).await;
    let payloads = scene.payloads.until_runs(1).await;
    let run = runs(&payloads)[0];
    assert_eq!((&run["inputs"], &run["outputs"]), (&Value::Null, &Value::Null));
    assert_eq!(run["total_tokens"], 58, "what was used is read without the blob");
    let url = run["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap();
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.json::<Value>().await.unwrap(), inputs);
    let url_of_outputs = run["outputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap();
    assert_eq!(client().get(url_of_outputs).send().await.unwrap().json::<Value>().await.unwrap(), outputs);

    assert_eq!(status(&url.replace("expires=", "expires=1")).await, 403);
    assert_eq!(status(url.split('?').next().unwrap()).await, 403);
    let key: BlobKey = run["inputs_s3_urls"]["ROOT"]["s3_url"].as_str().unwrap().parse().unwrap();
    let long_ago = Timestamp::now() - Duration::from_secs(3600);
    let expired = scene.blobs().presign(&key, Duration::from_secs(60), long_ago).await.unwrap();
    assert_eq!(status(expired.as_str()).await, 403);
    let fresh = scene.blobs().presign(&key, Duration::from_secs(60), Timestamp::now()).await.unwrap();
    assert_eq!(status(fresh.as_str()).await, 200);

    let read = scene.host.get(&format!("/runs/{ID}")).await;
    assert_eq!((&read["inputs"], &read["outputs"]), (&inputs, &outputs));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_reference_gives_nobody_elses_data() {
    let scene = Scene::set().await;
    scene.post(ID, &json!({"secret": "s".repeat(limits::INLINE_BYTES_MAX)}), &json!({})).await;
    let payloads = scene.payloads.until_runs(1).await;
    let key = runs(&payloads)[0]["inputs_s3_urls"]["ROOT"]["s3_url"].clone();
    let forged = json!({"runhook:blob": key});
    scene.post(OTHER_ID, &forged, &json!({})).await;
    let payloads = scene.payloads.until_runs(2).await;
    let run = *runs(&payloads).iter().find(|run| run["id"] == OTHER_ID).unwrap();
    let link = &run["inputs_s3_urls"]["ROOT"];
    assert_ne!(link["s3_url"], key);
    let answer = client().get(link["presigned_url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), forged);
}
