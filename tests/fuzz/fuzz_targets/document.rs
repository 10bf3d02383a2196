//! Any bytes as a payload, a pointer and a value: reads agree with serde_json, edits leave JSON behind.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use runhook::document::{self, Document};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (Some(source), pointer, value) = (parts.next(), parts.next(), parts.next()) else { return };
    let pointer = String::from_utf8_lossy(pointer.unwrap_or_default());
    let value = String::from_utf8_lossy(value.unwrap_or_default());
    let parsed = Document::parse(Bytes::copy_from_slice(source));
    assert_eq!(parsed.is_ok(), document::check(source).is_ok());
    let Ok(mut document) = parsed else { return };
    assert_eq!(document.to_bytes(), source, "what nobody edits is written as it came");
    // serde_json gives up on deep nesting; there is nothing to compare then.
    let Ok(whole) = serde_json::from_slice::<Value>(source) else { return };
    compare(&document, &whole, &pointer);
    if let Some(run) = document.run(0) {
        let _ = document.run_set(run, &pointer, &value);
        let _ = document.run_remove(run, "/inputs");
        assert!(document.run_get(run, "/inputs").is_none());
    }
    let _ = document.set(&pointer, &value);
    document.remove(&pointer);
    let edited = document.to_bytes();
    assert_eq!(edited.len(), document.len_bytes());
    serde_json::from_slice::<&serde_json::value::RawValue>(&edited).expect("an edited document is JSON");
});

fn compare(document: &Document, whole: &Value, pointer: &str) {
    let found = document.get(pointer).map(|json| serde_json::from_str::<Value>(&json).expect("what is read is JSON"));
    if let (Some(found), Some(expected)) = (&found, whole.pointer(pointer)) {
        assert_eq!(found, expected, "{pointer}");
    }
}
