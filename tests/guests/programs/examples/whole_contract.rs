//! Calls every function of the contract and sends what came back. `tests/compat` keeps it as it was at each release.

use runhook_sdk::prelude::*;

/// Calls every function of the contract.
#[plugin]
mod whole_contract {
    use super::*;

    #[config]
    struct Config {
        mark: String,
    }

    #[filter]
    fn keep(run: &Run, config: &Config) -> bool {
        info!("{} sees the run {}", config.mark, run.id());
        run.status() == "error"
    }

    #[transform]
    fn ask(payload: &Payload, config: &Config) -> Result<()> {
        payload.drop_run(1);
        let run = payload.run(0).ok_or_else(|| Error::msg("no run is left"))?;
        let answers = json!({
            "run": about(&run),
            "rule_id": payload.rule_id(),
            "window": [payload.start_time(), payload.end_time()],
            "len": payload.len(),
            "past_the_end": payload.run(1).is_none(),
            "get": payload.json_at("/start_time"),
            "text": payload.text("/end_time"),
        });
        run.set("/mark", &config.mark)?;
        payload.set("/answers", answers)?;
        payload.set("/removed", [run.remove("/inputs"), payload.remove("/end_time"), payload.remove("/nothing")])
    }

    #[render]
    fn write(payload: &Payload, body: &Body, config: &Config) -> Result<bool> {
        body.set_content_type("text/plain")?;
        body.set_header("x-mark", &config.mark)?;
        body.write(payload.json())?;
        Ok(true)
    }

    fn about(run: &Run) -> Value {
        json!({
            "id": run.id(),
            "name": run.name(),
            "run_type": run.run_type(),
            "status": run.status(),
            "error": run.error(),
            "tags": run.tags(),
            "time": [run.start_time(), run.end_time()],
            "latency_ms": run.latency_ms(),
            "total_tokens": run.total_tokens(),
            "url": run.url(),
            "get": run.json("/inputs"),
            "text": run.text("/inputs/question"),
        })
    }
}
