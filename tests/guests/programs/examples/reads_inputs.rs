//! Says of every run whether its inputs can be read. With a URL in its configuration it has written that link before.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    #[serde(default)]
    url: Option<String>,
}

#[transform]
fn apply(payload: &Payload, config: &Config) -> Result<()> {
    for run in payload {
        if let Some(url) = &config.url {
            run.set_json("/inputs", "null")?;
            run.set("/inputs_s3_urls", json!({"ROOT": {"presigned_url": url}}))?;
        }
        run.set("/is_read", run.json("/inputs").is_some_and(|inputs| inputs != "null"))?;
    }
    Ok(())
}
