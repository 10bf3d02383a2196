//! What is said about runs: feedback, read and put to the runs that it is about.

use std::collections::HashMap;

use tracing::error;

use crate::model::ids::RunId;
use crate::model::run::Feedback;
use crate::store::{Store, StoreError};

/// Feedback by run, oldest first.
#[derive(Debug, Default)]
pub struct Said(HashMap<RunId, Vec<Feedback>>);

impl Said {
    /// Reads what is said about the runs.
    ///
    /// # Errors
    /// The store's.
    pub async fn about(store: &dyn Store, runs: impl IntoIterator<Item = RunId>) -> Result<Self, StoreError> {
        let runs: Vec<_> = runs.into_iter().collect();
        let mut said = Self::default();
        if runs.is_empty() {
            return Ok(said);
        }
        for row in store.feedback(runs).await? {
            // What is stored was checked at the door.
            match (row.run, row.to_feedback()) {
                (Some(run), Ok(feedback)) => said.0.entry(run).or_default().push(feedback),
                (_, Err(error)) => error!(feedback = %row.id, %error, "stored feedback cannot be read"),
                (None, Ok(_)) => {}
            }
        }
        Ok(said)
    }

    /// What is said about one run.
    pub fn of(&self, run: RunId) -> &[Feedback] {
        self.0.get(&run).map_or(&[], Vec::as_slice)
    }

    /// The same, taken out.
    pub fn take(&mut self, run: RunId) -> Vec<Feedback> {
        self.0.remove(&run).unwrap_or_default()
    }
}
