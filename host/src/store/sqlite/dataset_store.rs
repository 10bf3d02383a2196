//! The third of the seam that is about datasets, each method handed to the writer or to a reader.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::model::dataset::{Dataset, Example};
use crate::model::ids::{DatasetId, ExampleId};
use crate::store::Result;
use crate::store::datasets::{
    DatasetMade, DatasetQuery, DatasetStore, ExampleChange, ExamplePage, ExampleQuery, ExamplesWritten, StoredDataset,
};
use crate::store::sqlite::{SqliteStore, datasets, examples};

#[async_trait]
impl DatasetStore for SqliteStore {
    async fn make_dataset(&self, dataset: Dataset) -> Result<DatasetMade> {
        self.writer.submit("making a dataset", 0, move |group| datasets::make(group, &dataset)).await
    }

    async fn datasets(&self, query: DatasetQuery) -> Result<Vec<StoredDataset>> {
        self.read("reading datasets", move |_, connection| datasets::datasets(connection, &query)).await
    }

    async fn delete_dataset(&self, id: DatasetId) -> Result<bool> {
        self.writer.submit("deleting a dataset", 0, move |group| datasets::delete(group, id)).await
    }

    async fn make_examples(&self, batch: Vec<Example>) -> Result<ExamplesWritten> {
        let size = batch.iter().map(Example::bytes).sum();
        self.writer.submit("making examples", size, move |group| examples::make(group, &batch)).await
    }

    async fn examples(&self, query: ExampleQuery) -> Result<ExamplePage> {
        self.read("reading examples", move |_, connection| examples::examples(connection, &query)).await
    }

    async fn change_examples(&self, changes: Vec<ExampleChange>, now: Timestamp) -> Result<ExamplesWritten> {
        let size = changes.iter().map(ExampleChange::bytes).sum();
        self.writer.submit("changing examples", size, move |group| examples::change(group, &changes, now)).await
    }

    async fn delete_example(&self, id: ExampleId, now: Timestamp) -> Result<bool> {
        self.writer.submit("deleting an example", 0, move |group| examples::delete(group, id, now)).await
    }
}
