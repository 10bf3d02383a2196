//! Links: presigned URLs to what of a run lies in the object store, in the shape of LangSmith's `…_s3_urls`.
//!
//! Whoever has a link has the blob until it expires. Links are minted when a payload is built or a run is shown, and
//! anew when a delivery is replayed.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::aside::aside;
use crate::blobs::{BlobError, BlobKey, Blobs};
use crate::clock::Clock;
use crate::document::Document;
use crate::limits;
use crate::payload::Urls;
use crate::selection::Found;

/// The links of a run as JSON texts.
#[derive(Clone, Debug, Default)]
pub struct Links {
    inputs: Option<String>,
    outputs: Option<String>,
    others: Option<String>,
}

impl Links {
    /// As payloads take them.
    pub fn urls(&self) -> Urls<'_> {
        Urls { inputs: self.inputs.as_deref(), outputs: self.outputs.as_deref(), others: self.others.as_deref() }
    }

    /// Mints the links of a run.
    ///
    /// # Errors
    /// Where the object store cannot sign.
    pub async fn of(found: &Found, blobs: &Blobs, clock: &dyn Clock) -> Result<Self, BlobError> {
        let mut others = Map::new();
        for file in &found.attachments {
            if let Some(mut link) = link(&file.blob, blobs, clock).await? {
                link["mime_type"] = json!(file.media_type);
                others.insert(format!("attachment.{}", file.name), link);
            }
        }
        Ok(Self {
            inputs: root(found.run.blobs.inputs.as_deref(), blobs, clock).await?,
            outputs: root(found.run.blobs.outputs.as_deref(), blobs, clock).await?,
            others: (!others.is_empty()).then(|| Value::Object(others).to_string()),
        })
    }
}

/// `{"ROOT": {"presigned_url", "s3_url"}}`
async fn root(key: Option<&str>, blobs: &Blobs, clock: &dyn Clock) -> Result<Option<String>, BlobError> {
    let Some(key) = key else { return Ok(None) };
    Ok(link(key, blobs, clock).await?.map(|link| json!({"ROOT": link}).to_string()))
}

/// None where the text is no key, which nothing is that was stored here.
async fn link(key: &str, blobs: &Blobs, clock: &dyn Clock) -> Result<Option<Value>, BlobError> {
    let Ok(parsed) = key.parse::<BlobKey>() else { return Ok(None) };
    let url = blobs.presign(&parsed, limits::LINK_LIFETIME, clock.now()).await?;
    Ok(Some(json!({"presigned_url": url, "s3_url": key})))
}

/// A payload that was built here with a new URL for every link; the very bytes where it has none.
///
/// # Errors
/// Where the object store cannot sign.
pub async fn renewed(payload: &Bytes, blobs: &Blobs, clock: &dyn Clock) -> Result<Bytes, BlobError> {
    // Keys are written without escapes here.
    if memchr::memmem::find(payload, b"\"presigned_url\"").is_none() {
        return Ok(payload.clone());
    }
    let source = payload.clone();
    // What cannot be read goes on as it is: who runs its chain says so.
    let Ok(mut document) = aside(|| Document::parse(source)).await else { return Ok(payload.clone()) };
    renew(&mut document, blobs, clock).await?;
    Ok(document.to_bytes())
}

/// Gives every link in a payload that was built here a new URL.
async fn renew(document: &mut Document, blobs: &Blobs, clock: &dyn Clock) -> Result<(), BlobError> {
    for run in document.runs().collect::<Vec<_>>() {
        for place in places(document, run) {
            let Some(key) = document.run_text(run, &format!("{place}/s3_url")) else { continue };
            let Ok(key) = key.parse::<BlobKey>() else { continue };
            let url = blobs.presign(&key, limits::LINK_LIFETIME, clock.now()).await?;
            // A link has the fields that are set here; only a run beyond all bounds would not take it.
            let _ = document.run_set(run, &format!("{place}/presigned_url"), &json!(url).to_string());
        }
    }
    Ok(())
}

/// Pointers to the links of a run.
fn places(document: &Document, run: crate::document::RunKey) -> Vec<String> {
    let files =
        document.run_get(run, "/s3_urls").and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
    let files = files.unwrap_or_default();
    let escaped = files.keys().map(|name| format!("/s3_urls/{}", name.replace('~', "~0").replace('/', "~1")));
    ["/inputs_s3_urls/ROOT".to_owned(), "/outputs_s3_urls/ROOT".to_owned()].into_iter().chain(escaped).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dispatch::retry::Terms;
    use crate::model::retry::{Profile, Retry};

    #[test]
    fn a_link_outlives_every_retry_by_a_day() {
        let retries = limits::ATTEMPTS_OF_DELIVERY_MAX - 1;
        let longest = Retry {
            timeout_seconds: Some(limits::TIMEOUT_SECONDS_MAX),
            attempts: Some(limits::ATTEMPTS_OF_DELIVERY_MAX),
            backoff_seconds: Some(vec![limits::BACKOFF_MAX.as_secs() as u32 / retries]),
            ..Retry::default()
        };
        for retry in [longest, Retry { profile: Profile::Durable, ..Retry::default() }, Retry::default()] {
            let tried = Terms::of(&retry).tried_max() + Duration::from_hours(24);
            assert!(limits::LINK_LIFETIME >= tried, "{tried:?}");
        }
    }
}
