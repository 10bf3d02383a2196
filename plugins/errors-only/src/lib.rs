//! Keeps the runs that failed; a payload of which none is left is not sent.

use runhook_sdk::prelude::*;

/// Keeps the runs that failed.
#[filter]
fn keep_errors(run: &Run) -> bool {
    run.status() == "error" || run.error().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_failed_runs_only() -> Result<()> {
        assert!(keep_errors(&Run::from_json(r#"{"status": "error"}"#)?));
        assert!(keep_errors(&Run::from_json(r#"{"error": "Timeout"}"#)?));
        assert!(!keep_errors(&Run::from_json(r#"{"status": "success", "error": null}"#)?));
        Ok(())
    }
}
