//! Projects, which are made when their name is first used, and the workspace that they are in.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::model::Timestamp;
use crate::model::ids::{ProjectId, WorkspaceId};
use crate::model::project::Project;
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::{Micros, micros};
use crate::store::sqlite::writer::Group;

/// A project with the number by which rows refer to it.
pub(super) struct Numbered {
    pub(super) number: i64,
    pub(super) project: Project,
}

pub(super) fn number(connection: &Connection, id: ProjectId) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached("SELECT number FROM projects WHERE id = ?1")?;
    Ok(find.query_row([id], |row| row.get(0)).optional()?)
}

pub(super) fn id(connection: &Connection, number: i64) -> Result<ProjectId, Failure> {
    let mut find = connection.prepare_cached("SELECT id FROM projects WHERE number = ?1")?;
    Ok(find.query_row([number], |row| row.get(0))?)
}

/// The project of that name, made where there is none.
pub(super) fn named(group: &Group<'_>, name: &str, now: Timestamp) -> Result<Numbered, Failure> {
    match find(group, name)? {
        Some(found) => Ok(found),
        None => insert(group, &Project { id: ProjectId::generate(), name: name.to_owned(), created_at: now }),
    }
}

/// Adds the project, unless its name or its id is taken: then the one that has it.
pub(super) fn add(group: &Group<'_>, project: &Project) -> Result<Project, Failure> {
    let by_id = all(group.connection)?.into_iter().find(|other| other.id == project.id);
    match (find(group, &project.name)?, by_id) {
        (Some(found), _) => Ok(found.project),
        (None, Some(found)) => Ok(found),
        (None, None) => Ok(insert(group, project)?.project),
    }
}

fn find(group: &Group<'_>, name: &str) -> Result<Option<Numbered>, Failure> {
    let mut find =
        group.connection.prepare_cached("SELECT number, id, name, created_at FROM projects WHERE name = ?1")?;
    Ok(find.query_row([name], numbered).optional()?)
}

fn insert(group: &Group<'_>, project: &Project) -> Result<Numbered, Failure> {
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO projects (id, name, created_at) VALUES (?1, ?2, ?3) RETURNING number, id, name, created_at",
    )?;
    Ok(insert.query_row(params![project.id, project.name, micros(project.created_at)], numbered)?)
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Project>, Failure> {
    let mut select = connection.prepare_cached("SELECT number, id, name, created_at FROM projects ORDER BY name")?;
    let rows = select.query_map([], |row| Ok(numbered(row)?.project))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let project = Project { id: row.get(1)?, name: row.get(2)?, created_at: row.get::<_, Micros>(3)?.0 };
    Ok(Numbered { number: row.get(0)?, project })
}

/// The one workspace; made at the first start.
pub(super) fn workspace(group: &Group<'_>) -> Result<WorkspaceId, Failure> {
    let mut find = group.connection.prepare_cached("SELECT id FROM workspace")?;
    if let Some(id) = find.query_row([], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let id = WorkspaceId(Uuid::new_v4());
    group.connection.prepare_cached("INSERT INTO workspace VALUES (?1)")?.execute([id])?;
    Ok(id)
}
