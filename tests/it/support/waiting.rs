//! Waiting for what tells nobody of its changes.

use std::time::Duration;

/// When a test gives up: far beyond what a busy machine takes for anything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Passes before the next look. Looks without a pause would take the processor from what is waited for.
pub(crate) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
