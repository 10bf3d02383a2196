//! The part of the suite that is about datasets and examples.

use bytestring::ByteString;
use serde_json::{Map, Value, json};

use crate::clock::after;
use crate::model::Timestamp;
use crate::model::dataset::{DataType, Dataset, Example};
use crate::model::ids::{DatasetId, ExampleId, RunId};
use crate::store::conformance::Scene;
use crate::store::datasets::{
    DatasetMade, DatasetQuery, ExampleChange, ExamplePage, ExampleQuery, ExamplesWritten, StoredDataset,
};

fn members(json: Value) -> Map<String, Value> {
    serde_json::from_value(json).unwrap()
}

fn text(json: &'static str) -> ByteString {
    ByteString::from_static(json)
}

fn later(now: Timestamp, seconds: u64) -> Timestamp {
    after(now, std::time::Duration::from_secs(seconds))
}

impl Scene {
    fn dataset(&self, name: &str) -> Dataset {
        Dataset {
            id: DatasetId::generate(),
            name: name.to_owned(),
            description: None,
            data_type: DataType::Kv,
            inputs_schema: None,
            outputs_schema: None,
            metadata: None,
            created_at: self.now,
            modified_at: self.now,
        }
    }

    async fn made(&self, name: &str) -> DatasetId {
        let dataset = self.dataset(name);
        assert_eq!(self.store.make_dataset(dataset.clone()).await.unwrap(), DatasetMade::Done);
        dataset.id
    }

    async fn names(&self, query: DatasetQuery) -> Vec<String> {
        let found = self.store.datasets(query).await.unwrap();
        found.into_iter().map(|stored| stored.dataset.name).collect()
    }

    async fn one_dataset(&self, id: DatasetId) -> Option<StoredDataset> {
        let query = DatasetQuery { ids: vec![id], ..DatasetQuery::default() };
        self.store.datasets(query).await.unwrap().pop()
    }

    fn example(&self, dataset: DatasetId) -> Example {
        Example {
            id: ExampleId::generate(),
            dataset,
            inputs: text("{}"),
            outputs: None,
            metadata: None,
            splits: Vec::new(),
            source_run: None,
            created_at: self.now,
            modified_at: self.now,
        }
    }

    async fn keep(&self, examples: &[Example]) {
        let written = self.store.make_examples(examples.to_vec()).await.unwrap();
        assert_eq!(written, ExamplesWritten::Done);
    }

    async fn page(&self, query: ExampleQuery) -> ExamplePage {
        self.store.examples(query).await.unwrap()
    }

    async fn found(&self, query: ExampleQuery) -> Vec<ExampleId> {
        self.page(query).await.examples.iter().map(|example| example.id).collect()
    }

    async fn one_example(&self, id: ExampleId) -> Option<Example> {
        self.page(ExampleQuery { ids: vec![id], ..ExampleQuery::default() }).await.examples.pop()
    }
}

fn change(id: ExampleId) -> ExampleChange {
    ExampleChange { id, dataset: None, inputs: None, outputs: None, metadata: None, splits: None }
}

pub(crate) async fn a_dataset_comes_back_as_it_was_made(scene: Scene) {
    let dataset = Dataset {
        description: Some("of".to_owned()),
        data_type: DataType::Chat,
        inputs_schema: Some(text(r#"{"type": "object"}"#)),
        outputs_schema: Some(text("{ }")),
        metadata: Some(text(r#"{"a": 1.0, "a":"\u0041"}"#)),
        created_at: later(scene.now, 1),
        ..scene.dataset("d")
    };
    assert_eq!(scene.store.make_dataset(dataset.clone()).await.unwrap(), DatasetMade::Done);
    let scene = scene.reopen().await;
    assert_eq!(scene.one_dataset(dataset.id).await, Some(StoredDataset { dataset, examples: 0 }));
    assert_eq!(scene.one_dataset(DatasetId::generate()).await, None);
}

pub(crate) async fn a_dataset_is_found_by_what_it_is(scene: Scene) {
    for (index, name) in ["Quality one", "quality two", "other"].into_iter().enumerate() {
        let dataset = Dataset {
            data_type: DataType::ALL[index],
            metadata: (index > 0).then(|| text(r#"{"team": {"name": "a"}, "n": 1}"#)),
            created_at: later(scene.now, index as u64),
            ..scene.dataset(name)
        };
        scene.store.make_dataset(dataset).await.unwrap();
    }
    let all = DatasetQuery::default;
    assert_eq!(scene.names(all()).await, ["other", "quality two", "Quality one"]);
    assert_eq!(scene.names(DatasetQuery { offset: 1, limit: 1, ..all() }).await, ["quality two"]);
    assert_eq!(scene.names(DatasetQuery { name: Some("other".to_owned()), ..all() }).await, ["other"]);
    assert!(scene.names(DatasetQuery { name: Some("othe".to_owned()), ..all() }).await.is_empty());
    let part = DatasetQuery { name_contains: Some("QUAL".to_owned()), ..all() };
    assert_eq!(scene.names(part).await, ["quality two", "Quality one"]);
    let types = DatasetQuery { data_types: vec![DataType::Kv, DataType::Llm], ..all() };
    assert_eq!(scene.names(types).await, ["quality two", "Quality one"]);
    let team = members(json!({"team": {"name": "a"}}));
    assert_eq!(scene.names(DatasetQuery { metadata: team, offset: 1, ..all() }).await, ["quality two"]);
    let other = members(json!({"team": {"name": "a"}, "n": 2}));
    assert!(scene.names(DatasetQuery { metadata: other, ..all() }).await.is_empty());
}

pub(crate) async fn a_taken_name_or_id_changes_nothing(scene: Scene) {
    let first = scene.dataset("d");
    scene.store.make_dataset(first.clone()).await.unwrap();
    let same_name = scene.dataset("d");
    let same_id = Dataset { id: first.id, ..scene.dataset("e") };
    for second in [same_name, same_id] {
        assert_eq!(scene.store.make_dataset(second).await.unwrap(), DatasetMade::Taken(first.id));
    }
    let found = scene.store.datasets(DatasetQuery::default()).await.unwrap();
    assert_eq!(found, [StoredDataset { dataset: first, examples: 0 }]);
}

pub(crate) async fn examples_come_back_as_they_were_made(scene: Scene) {
    let dataset = scene.made("d").await;
    let example = Example {
        inputs: text(r#"{"q": 1.0, "q":"\ud800"}"#),
        outputs: Some(text("{ }")),
        metadata: Some(text(r#"{"a":1e400}"#)),
        splits: vec!["a,\"b\"".to_owned(), "ä".to_owned()],
        source_run: Some(RunId::generate()),
        created_at: later(scene.now, 1),
        modified_at: later(scene.now, 2),
        ..scene.example(dataset)
    };
    let bare = scene.example(dataset);
    scene.keep(&[example.clone(), bare.clone()]).await;
    let scene = scene.reopen().await;
    let changed = scene.one_dataset(dataset).await.unwrap();
    // The batch's own time is that of its last example.
    assert_eq!((changed.examples, changed.dataset.modified_at), (2, scene.now));
    assert_eq!(scene.one_example(bare.id).await, Some(bare));
    assert_eq!(scene.one_example(example.id).await, Some(example));
    assert_eq!(scene.one_example(ExampleId::generate()).await, None);
}

pub(crate) async fn examples_come_in_pages_newest_first(scene: Scene) {
    let (dataset, other) = (scene.made("d").await, scene.made("e").await);
    let of = |dataset, seconds| Example { created_at: later(scene.now, seconds), ..scene.example(dataset) };
    let examples = [of(dataset, 2), of(dataset, 1), of(other, 4), of(dataset, 3), of(dataset, 3)];
    scene.keep(&examples).await;
    let expected = [4, 3, 0, 1].map(|index: usize| examples[index].id);
    let mut listed = Vec::new();
    loop {
        let query = ExampleQuery { dataset: Some(dataset), offset: listed.len(), limit: 3, ..ExampleQuery::default() };
        let page = scene.found(query).await;
        listed.extend_from_slice(&page);
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(scene.found(ExampleQuery::default()).await[0], examples[2].id);
    let unknown = ExampleQuery { dataset: Some(DatasetId::generate()), ..ExampleQuery::default() };
    assert!(scene.found(unknown).await.is_empty());
    let ids = vec![examples[1].id, examples[2].id];
    let of_both = ExampleQuery { dataset: Some(dataset), ids, ..ExampleQuery::default() };
    assert_eq!(scene.found(of_both).await, [examples[1].id]);
}

pub(crate) async fn examples_are_found_by_split_and_metadata(scene: Scene) {
    let dataset = scene.made("d").await;
    let of = |split: &str, metadata| Example {
        splits: vec![split.to_owned(), "all".to_owned()],
        metadata: Some(metadata),
        ..scene.example(dataset)
    };
    let first = of("train", text(r#"{"k": 1, "l": [1]}"#));
    let second = of("test", text(r#"{"k": 1, "l": [2]}"#));
    let third = of("test", text(r#"{"k": 2}"#));
    scene.keep(&[first.clone(), second.clone(), third.clone(), scene.example(dataset)]).await;
    let all = ExampleQuery::default;
    let split = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(scene.found(ExampleQuery { splits: split(&["test"]), ..all() }).await, [third.id, second.id]);
    let either = ExampleQuery { splits: split(&["train", "test"]), offset: 1, limit: 1, ..all() };
    assert_eq!(scene.found(either).await, [second.id]);
    let listed = ExampleQuery { metadata: members(json!({"k": 1})), ..all() };
    assert_eq!(scene.found(listed).await, [second.id, first.id]);
    let narrow = ExampleQuery { metadata: members(json!({"k": 1, "l": [1]})), splits: split(&["all"]), ..all() };
    assert_eq!(scene.found(narrow).await, [first.id]);
}

pub(crate) async fn a_page_of_examples_says_where_it_is_cut(scene: Scene) {
    let dataset = scene.made("d").await;
    let examples = [(); 3].map(|()| Example { inputs: text(r#"{"q":"0123456789"}"#), ..scene.example(dataset) });
    scene.keep(&examples).await;
    let lengths = [(1, 1, true), (19, 2, true), (36, 2, true), (37, 3, false), (usize::MAX, 3, false)];
    for (bytes_max, length, is_cut) in lengths {
        let page = scene.page(ExampleQuery { bytes_max, ..ExampleQuery::default() }).await;
        assert_eq!((page.examples.len(), page.is_cut), (length, is_cut), "{bytes_max}");
    }
    let page = scene.page(ExampleQuery { bytes_max: 1, limit: 1, ..ExampleQuery::default() }).await;
    assert!(!page.is_cut);
}

pub(crate) async fn of_a_batch_with_a_taken_id_nothing_is_written(scene: Scene) {
    let dataset = scene.made("d").await;
    let first = scene.example(dataset);
    scene.keep(std::slice::from_ref(&first)).await;
    let fresh = scene.example(dataset);
    let lost = DatasetId::generate();
    let batches = [
        (vec![fresh.clone(), first.clone()], ExamplesWritten::Taken(first.id)),
        (vec![fresh.clone(), fresh.clone()], ExamplesWritten::Taken(fresh.id)),
        (vec![fresh.clone(), scene.example(lost)], ExamplesWritten::NoDataset(lost)),
    ];
    for (batch, expected) in batches {
        assert_eq!(scene.store.make_examples(batch).await.unwrap(), expected);
    }
    assert_eq!(scene.found(ExampleQuery::default()).await, [first.id]);
}

pub(crate) async fn a_change_of_an_example_leaves_what_it_does_not_name(scene: Scene) {
    let dataset = scene.made("d").await;
    let example = Example {
        outputs: Some(text(r#"{"a":1}"#)),
        metadata: Some(text("{ }")),
        splits: vec!["x".to_owned()],
        ..scene.example(dataset)
    };
    scene.keep(std::slice::from_ref(&example)).await;
    let now = later(scene.now, 5);
    let inputs = ExampleChange { inputs: Some(text(r#"{"q":2}"#)), ..change(example.id) };
    assert_eq!(scene.store.change_examples(vec![inputs], now).await.unwrap(), ExamplesWritten::Done);
    let expected = Example { inputs: text(r#"{"q":2}"#), modified_at: now, ..example.clone() };
    assert_eq!(scene.one_example(example.id).await, Some(expected.clone()));
    assert_eq!(scene.one_dataset(dataset).await.unwrap().dataset.modified_at, now);
    let rest = ExampleChange {
        dataset: Some(dataset),
        outputs: Some(text("{}")),
        metadata: Some(text(r#"{"m":1}"#)),
        splits: Some(Vec::new()),
        ..change(example.id)
    };
    scene.store.change_examples(vec![rest], now).await.unwrap();
    let metadata = Some(text(r#"{"m":1}"#));
    let expected = Example { outputs: Some(text("{}")), metadata, splits: Vec::new(), ..expected };
    assert_eq!(scene.one_example(example.id).await, Some(expected));
}

pub(crate) async fn of_changes_with_an_unknown_example_none_is_made(scene: Scene) {
    let (dataset, other) = (scene.made("d").await, scene.made("e").await);
    let (here, there) = (scene.example(dataset), scene.example(other));
    scene.keep(&[here.clone(), there.clone()]).await;
    let to = |id| ExampleChange { dataset: Some(dataset), inputs: Some(text(r#"{"q":2}"#)), ..change(id) };
    for missing in [there.id, ExampleId::generate()] {
        let written = scene.store.change_examples(vec![to(here.id), to(missing)], scene.now).await.unwrap();
        assert_eq!(written, ExamplesWritten::Missing(missing));
    }
    assert_eq!(scene.one_example(here.id).await, Some(here));
}

pub(crate) async fn a_deleted_dataset_takes_its_examples_along(scene: Scene) {
    let (dataset, other) = (scene.made("d").await, scene.made("e").await);
    let (first, second, kept) = (scene.example(dataset), scene.example(dataset), scene.example(other));
    scene.keep(&[first.clone(), second.clone(), kept.clone()]).await;
    let now = later(scene.now, 5);
    assert!(scene.store.delete_example(first.id, now).await.unwrap());
    assert!(!scene.store.delete_example(first.id, now).await.unwrap());
    let left = scene.one_dataset(dataset).await.unwrap();
    assert_eq!((left.examples, left.dataset.modified_at), (1, now));
    assert!(scene.store.delete_dataset(dataset).await.unwrap());
    assert!(!scene.store.delete_dataset(dataset).await.unwrap());
    let scene = scene.reopen().await;
    assert_eq!(scene.found(ExampleQuery::default()).await, [kept.id]);
    assert_eq!(scene.names(DatasetQuery::default()).await, ["e"]);
    // Both the name and the ids are free again.
    let again = scene.made("d").await;
    scene.keep(&[Example { dataset: again, ..second }]).await;
}
