//! The third of the store's seam that is about datasets and their examples.
//!
//! The rules of [`crate::store`] hold. A write of several examples is made whole or not at all.

use async_trait::async_trait;
use bytestring::ByteString;
use serde_json::{Map, Value};

use crate::limits;
use crate::model::Timestamp;
use crate::model::dataset::{DataType, Dataset, Example};
use crate::model::ids::{DatasetId, ExampleId};
use crate::store::Result;

/// A dataset as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDataset {
    /// What it is.
    pub dataset: Dataset,
    /// How many examples it has.
    pub examples: u64,
}

/// Which datasets to read, newest first.
#[derive(Clone, Debug)]
pub struct DatasetQuery {
    /// Only these; all where empty.
    pub ids: Vec<DatasetId>,
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only those whose name has this in it, in whatever case (ASCII).
    pub name_contains: Option<String>,
    /// Only of these types; of all where empty.
    pub data_types: Vec<DataType>,
    /// Only those whose metadata has these members.
    pub metadata: Map<String, Value>,
    /// So many of them are passed over.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

impl Default for DatasetQuery {
    /// The newest of all.
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            name: None,
            name_contains: None,
            data_types: Vec::new(),
            metadata: Map::new(),
            offset: 0,
            limit: limits::EXAMPLES_PER_PAGE_MAX,
        }
    }
}

/// How a new dataset was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetMade {
    /// It is durable.
    Done,
    /// Nothing is written: this one has its id or its name.
    Taken(DatasetId),
}

/// Which examples to read, newest first.
#[derive(Clone, Debug)]
pub struct ExampleQuery {
    /// Only of this dataset.
    pub dataset: Option<DatasetId>,
    /// Only these; all where empty.
    pub ids: Vec<ExampleId>,
    /// Only of one of these splits; of all where empty.
    pub splits: Vec<String>,
    /// Only those whose metadata has these members.
    pub metadata: Map<String, Value>,
    /// So many of them are passed over.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
    /// Bytes of their JSON; the last one may pass it.
    pub bytes_max: usize,
}

impl Default for ExampleQuery {
    /// The newest of all datasets.
    fn default() -> Self {
        Self {
            dataset: None,
            ids: Vec::new(),
            splits: Vec::new(),
            metadata: Map::new(),
            offset: 0,
            limit: limits::EXAMPLES_PER_PAGE_MAX,
            bytes_max: limits::EXAMPLES_PAGE_BYTES_MAX,
        }
    }
}

/// Examples of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExamplePage {
    /// Newest first.
    pub examples: Vec<Example>,
    /// Whether there are more within the limit, which would have passed the bytes.
    pub is_cut: bool,
}

/// What an example is to be from now on; what is none stays.
#[derive(Clone, Debug)]
pub struct ExampleChange {
    /// Which one.
    pub id: ExampleId,
    /// The dataset that it has to be in.
    pub dataset: Option<DatasetId>,
    /// A JSON object.
    pub inputs: Option<ByteString>,
    /// A JSON object.
    pub outputs: Option<ByteString>,
    /// A JSON object, without its splits.
    pub metadata: Option<ByteString>,
    /// Its splits.
    pub splits: Option<Vec<String>>,
}

impl ExampleChange {
    /// Size of its JSON.
    pub fn bytes(&self) -> usize {
        [&self.inputs, &self.outputs, &self.metadata].into_iter().flatten().map(|json| json.len()).sum()
    }
}

/// What became of a write of examples. But for `Done`, nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExamplesWritten {
    /// All of them are durable.
    Done,
    /// There is no such dataset.
    NoDataset(DatasetId),
    /// There is an example of that id already, or twice in the same write.
    Taken(ExampleId),
    /// There is no example of that id in the dataset.
    Missing(ExampleId),
}

/// Datasets and examples. See [`crate::store`] for the rules that every method keeps.
#[async_trait]
pub trait DatasetStore: Send + Sync {
    /// Makes a dataset, unless its name or id is taken.
    async fn make_dataset(&self, dataset: Dataset) -> Result<DatasetMade>;

    /// Datasets, newest first.
    async fn datasets(&self, query: DatasetQuery) -> Result<Vec<StoredDataset>>;

    /// Deletes a dataset with its examples. False where it is not there.
    async fn delete_dataset(&self, id: DatasetId) -> Result<bool>;

    /// Makes examples, all of them or, where one cannot be, none. Their datasets change with them.
    async fn make_examples(&self, examples: Vec<Example>) -> Result<ExamplesWritten>;

    /// Examples, newest first; of those with the same time, the one that came last is first.
    async fn examples(&self, query: ExampleQuery) -> Result<ExamplePage>;

    /// Changes examples, all of them or, where one is missing, none. Their datasets change with them.
    async fn change_examples(&self, changes: Vec<ExampleChange>, now: Timestamp) -> Result<ExamplesWritten>;

    /// Deletes an example; its dataset changes with it. False where it is not there.
    async fn delete_example(&self, id: ExampleId, now: Timestamp) -> Result<bool>;
}
