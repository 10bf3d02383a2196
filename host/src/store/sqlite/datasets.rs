//! Datasets as rows. What is asked of their metadata is asked row by row, since its keys are the client's.

use bytestring::ByteString;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

use crate::model::Timestamp;
use crate::model::dataset::{DataType, Dataset};
use crate::model::ids::DatasetId;
use crate::store::datasets::{DatasetMade, DatasetQuery, StoredDataset};
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::{Micros, Text, micros};
use crate::store::sqlite::runs::{Conditions, Json};
use crate::store::sqlite::writer::Group;

pub(super) fn make(group: &Group<'_>, dataset: &Dataset) -> Result<DatasetMade, Failure> {
    let mut find = group.connection.prepare_cached("SELECT id FROM datasets WHERE id = ?1 OR name = ?2")?;
    if let Some(taken) = find.query_row(params![dataset.id, dataset.name], |row| row.get(0)).optional()? {
        return Ok(DatasetMade::Taken(taken));
    }
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO datasets (id, name, description, data_type, created_at, modified_at, metadata, inputs_schema,
             outputs_schema)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(params![
        dataset.id,
        dataset.name,
        dataset.description,
        dataset.data_type.as_str(),
        micros(dataset.created_at),
        micros(dataset.modified_at),
        blob(dataset.metadata.as_ref()),
        blob(dataset.inputs_schema.as_ref()),
        blob(dataset.outputs_schema.as_ref()),
    ])?;
    Ok(DatasetMade::Done)
}

pub(super) fn number(connection: &Connection, id: DatasetId) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached("SELECT number FROM datasets WHERE id = ?1")?;
    Ok(find.query_row([id], |row| row.get(0)).optional()?)
}

/// A dataset changes with its examples.
pub(super) fn touch(group: &Group<'_>, number: i64, now: Timestamp) -> Result<(), Failure> {
    let mut update = group.connection.prepare_cached("UPDATE datasets SET modified_at = ?2 WHERE number = ?1")?;
    update.execute(params![number, micros(now)])?;
    Ok(())
}

pub(super) fn delete(group: &Group<'_>, id: DatasetId) -> Result<bool, Failure> {
    let Some(number) = number(group.connection, id)? else { return Ok(false) };
    group.connection.prepare_cached("DELETE FROM examples WHERE dataset = ?1")?.execute([number])?;
    group.connection.prepare_cached("DELETE FROM datasets WHERE number = ?1")?.execute([number])?;
    Ok(true)
}

pub(super) fn datasets(connection: &Connection, query: &DatasetQuery) -> Result<Vec<StoredDataset>, Failure> {
    let conditions = conditions(query);
    let sql = format!(
        "SELECT d.id, d.name, d.description, d.data_type, d.created_at, d.modified_at, d.metadata, d.inputs_schema,
             d.outputs_schema, (SELECT COUNT(*) FROM examples e WHERE e.dataset = d.number)
         FROM datasets d WHERE {} ORDER BY d.created_at DESC, d.number DESC",
        conditions.text()
    );
    // Not cached: the text differs with the lengths of the lists.
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query(conditions.values().as_slice())?;
    let (mut found, mut passed) = (Vec::new(), 0);
    while found.len() < query.limit
        && let Some(row) = rows.next()?
    {
        if !has_members(row.get::<_, Option<Json>>(6)?.as_ref(), &query.metadata) {
            continue;
        }
        if passed == query.offset {
            found.push(dataset(row)?);
        } else {
            passed += 1;
        }
    }
    Ok(found)
}

fn conditions(query: &DatasetQuery) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.any_of("d.id", query.ids.iter().copied());
    conditions.any_of("d.data_type", query.data_types.iter().map(|data_type| data_type.as_str()));
    if let Some(name) = &query.name {
        conditions.add("d.name = ?", [Box::new(name.clone())]);
    }
    if let Some(part) = &query.name_contains {
        conditions.add("instr(lower(d.name), lower(?)) > 0", [Box::new(part.clone())]);
    }
    conditions
}

fn dataset(row: &Row<'_>) -> rusqlite::Result<StoredDataset> {
    let json = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Json>>(column)?.map(|json| json.0));
    let dataset = Dataset {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        data_type: row.get::<_, Text<DataType>>(3)?.0,
        created_at: row.get::<_, Micros>(4)?.0,
        modified_at: row.get::<_, Micros>(5)?.0,
        metadata: json(6)?,
        inputs_schema: json(7)?,
        outputs_schema: json(8)?,
    };
    Ok(StoredDataset { dataset, examples: row.get::<_, i64>(9)?.cast_unsigned() })
}

/// What is written into a column of [`Json`].
pub(super) fn blob(json: Option<&ByteString>) -> Option<&[u8]> {
    json.map(|json| json.as_bytes().as_ref())
}

/// Whether metadata has all these members. Such as cannot be read has none.
pub(super) fn has_members(metadata: Option<&Json>, wanted: &Map<String, Value>) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let read = metadata.and_then(|json| serde_json::from_str::<Map<String, Value>>(&json.0).ok());
    read.is_some_and(|read| wanted.iter().all(|(key, value)| read.get(key) == Some(value)))
}
