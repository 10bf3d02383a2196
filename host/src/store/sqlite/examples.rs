//! Examples as rows. A write looks at all of its examples before it changes the first.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::Timestamp;
use crate::model::dataset::Example;
use crate::model::ids::{DatasetId, ExampleId};
use crate::store::datasets::{ExampleChange, ExamplePage, ExampleQuery, ExamplesWritten};
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::{Micros, micros};
use crate::store::sqlite::datasets::{self, blob};
use crate::store::sqlite::runs::{Conditions, Json};
use crate::store::sqlite::writer::Group;

/// Number and dataset of a stored example.
struct Place {
    number: i64,
    dataset_number: i64,
    dataset: DatasetId,
}

fn place(group: &Group<'_>, id: ExampleId) -> Result<Option<Place>, Failure> {
    let mut find = group.connection.prepare_cached(
        "SELECT e.number, d.number, d.id FROM examples e JOIN datasets d ON d.number = e.dataset WHERE e.id = ?1",
    )?;
    let read = |row: &Row<'_>| Ok(Place { number: row.get(0)?, dataset_number: row.get(1)?, dataset: row.get(2)? });
    Ok(find.query_row([id], read).optional()?)
}

pub(super) fn make(group: &Group<'_>, examples: &[Example]) -> Result<ExamplesWritten, Failure> {
    let (mut ids, mut numbers) = (HashSet::new(), Vec::with_capacity(examples.len()));
    for example in examples {
        let Some(number) = datasets::number(group.connection, example.dataset)? else {
            return Ok(ExamplesWritten::NoDataset(example.dataset));
        };
        if !ids.insert(example.id) || place(group, example.id)?.is_some() {
            return Ok(ExamplesWritten::Taken(example.id));
        }
        numbers.push(number);
    }
    for (example, number) in examples.iter().zip(numbers) {
        insert(group, example, number)?;
        datasets::touch(group, number, example.modified_at)?;
    }
    Ok(ExamplesWritten::Done)
}

fn insert(group: &Group<'_>, example: &Example, dataset: i64) -> Result<(), Failure> {
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO examples (id, dataset, source_run, created_at, modified_at, splits, metadata, inputs, outputs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(params![
        example.id,
        dataset,
        example.source_run,
        micros(example.created_at),
        micros(example.modified_at),
        serde_json::to_string(&example.splits)?,
        blob(example.metadata.as_ref()),
        blob(Some(&example.inputs)),
        blob(example.outputs.as_ref()),
    ])?;
    Ok(())
}

pub(super) fn change(group: &Group<'_>, changes: &[ExampleChange], now: Timestamp) -> Result<ExamplesWritten, Failure> {
    let mut places = Vec::with_capacity(changes.len());
    for change in changes {
        let found = place(group, change.id)?;
        let right = found.filter(|place| change.dataset.is_none_or(|dataset| dataset == place.dataset));
        let Some(place) = right else { return Ok(ExamplesWritten::Missing(change.id)) };
        places.push(place);
    }
    for (change, place) in changes.iter().zip(places) {
        update(group, change, place.number, now)?;
        datasets::touch(group, place.dataset_number, now)?;
    }
    Ok(ExamplesWritten::Done)
}

fn update(group: &Group<'_>, change: &ExampleChange, number: i64, now: Timestamp) -> Result<(), Failure> {
    let mut update = group.connection.prepare_cached(
        "UPDATE examples SET modified_at = ?2, splits = ifnull(?3, splits), metadata = ifnull(?4, metadata),
             inputs = ifnull(?5, inputs), outputs = ifnull(?6, outputs)
         WHERE number = ?1",
    )?;
    update.execute(params![
        number,
        micros(now),
        change.splits.as_ref().map(serde_json::to_string).transpose()?,
        blob(change.metadata.as_ref()),
        blob(change.inputs.as_ref()),
        blob(change.outputs.as_ref()),
    ])?;
    Ok(())
}

pub(super) fn delete(group: &Group<'_>, id: ExampleId, now: Timestamp) -> Result<bool, Failure> {
    let Some(place) = place(group, id)? else { return Ok(false) };
    group.connection.prepare_cached("DELETE FROM examples WHERE number = ?1")?.execute([place.number])?;
    datasets::touch(group, place.dataset_number, now)?;
    Ok(true)
}

pub(super) fn examples(connection: &Connection, query: &ExampleQuery) -> Result<ExamplePage, Failure> {
    let Some(conditions) = conditions(connection, query)? else { return Ok(ExamplePage::default()) };
    // Where rows are looked at, the offset counts those that pass.
    let is_looked_at = !query.splits.is_empty() || !query.metadata.is_empty();
    let mut to_pass = if is_looked_at { query.offset } else { 0 };
    let sql = format!(
        "SELECT e.id, (SELECT d.id FROM datasets d WHERE d.number = e.dataset), e.source_run, e.created_at, e.modified_at,
             e.splits, e.metadata, e.inputs, e.outputs
         FROM examples e WHERE {} ORDER BY e.created_at DESC, e.number DESC LIMIT -1 OFFSET {}",
        conditions.text(),
        query.offset - to_pass
    );
    // Not cached: the text differs with the length of the list.
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query(conditions.values().as_slice())?;
    let (mut page, mut taken) = (ExamplePage::default(), 0);
    while page.examples.len() < query.limit
        && let Some(row) = rows.next()?
    {
        if is_looked_at && !passes(row, query)? {
            continue;
        }
        if to_pass > 0 {
            to_pass -= 1;
            continue;
        }
        if taken >= query.bytes_max {
            page.is_cut = true;
            break;
        }
        let example = example(row)?;
        taken += example.bytes();
        page.examples.push(example);
    }
    Ok(page)
}

/// None where there is no such dataset.
fn conditions(connection: &Connection, query: &ExampleQuery) -> Result<Option<Conditions>, Failure> {
    let mut conditions = Conditions::default();
    conditions.any_of("e.id", query.ids.iter().copied());
    if let Some(id) = query.dataset {
        let Some(number) = datasets::number(connection, id)? else { return Ok(None) };
        conditions.add("e.dataset = ?", [Box::new(number)]);
    }
    Ok(Some(conditions))
}

fn passes(row: &Row<'_>, query: &ExampleQuery) -> Result<bool, Failure> {
    let splits = splits(row)?;
    let is_of_split = query.splits.is_empty() || query.splits.iter().any(|wanted| splits.contains(wanted));
    let metadata: Option<Json> = row.get(6)?;
    Ok(is_of_split && datasets::has_members(metadata.as_ref(), &query.metadata))
}

fn splits(row: &Row<'_>) -> Result<Vec<String>, Failure> {
    Ok(serde_json::from_str(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?)
}

fn example(row: &Row<'_>) -> Result<Example, Failure> {
    let json = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Json>>(column)?.map(|json| json.0));
    Ok(Example {
        id: row.get(0)?,
        dataset: row.get(1)?,
        source_run: row.get(2)?,
        created_at: row.get::<_, Micros>(3)?.0,
        modified_at: row.get::<_, Micros>(4)?.0,
        splits: splits(row)?,
        metadata: json(6)?,
        inputs: row.get::<_, Json>(7)?.0,
        outputs: json(8)?,
    })
}
