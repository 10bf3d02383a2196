//! A good plugin of three stages that share a configuration.

use runhook_sdk::prelude::*;

/// Keeps failed runs, marks them, and writes their number.
#[plugin]
mod all_stages {
    use super::*;

    #[config]
    struct Config {
        mark: String,
    }

    #[filter]
    fn keep(run: &Run) -> bool {
        run.status() == "error"
    }

    #[transform]
    fn mark(payload: &Payload, config: &Config) -> Result<()> {
        payload.runs().try_for_each(|run| run.set("/mark", &config.mark))
    }

    #[render]
    fn render(payload: &Payload, body: &Body, config: &Config) -> Result<bool> {
        body.set_content_type("text/plain")?;
        body.set_header("x-mark", &config.mark)?;
        body.write(format!("{} failed", payload.len()))?;
        Ok(true)
    }
}
