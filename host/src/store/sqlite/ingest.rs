//! ACCEPT of runs and feedback: a row per run, its layers in it, and a new place in the order of commits for each.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use rusqlite::{OptionalExtension, params};

use crate::layers::{self, Head};
use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::{FeedbackId, RunId};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::run::{FeedbackWrite, Layer};
use crate::store::runs::{NewRun, NewRuns};
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::micros;
use crate::store::sqlite::offload::has_nothing_to_move;
use crate::store::sqlite::projects;
use crate::store::sqlite::writer::Group;

/// Runs that were left as they are: see the seam.
pub(super) fn ingest(group: &mut Group<'_>, batch: &NewRuns, now: Timestamp) -> Result<Vec<RunId>, Failure> {
    let mut left = Vec::new();
    // Feedback that comes again may be about another run than before.
    let mut places = Places::take(group, batch.runs.len() + 2 * batch.feedback.len())?;
    let mut projects = HashMap::new();
    for run in &batch.runs {
        if !write(group, run, &mut places, &mut projects, now)? {
            left.push(run.write.id);
        }
    }
    let mut changed: HashSet<_> = projects.into_values().collect();
    for feedback in &batch.feedback {
        let before = write_feedback(group, feedback, now)?;
        let about = HashSet::from([before, feedback.run]);
        for run in about.into_iter().flatten() {
            changed.extend(touch(group, run, places.next())?);
        }
    }
    for file in &batch.attachments {
        let mut put = group.connection.prepare_cached(
            "INSERT INTO attachments (run, name, blob, media_type, stored_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (run, name) DO UPDATE SET blob = excluded.blob, media_type = excluded.media_type,
                 stored_at = excluded.stored_at",
        )?;
        put.execute(params![file.run, file.name, file.blob, file.media_type, micros(now)])?;
    }
    show(group, changed)?;
    Ok(left)
}

/// Rules of these projects have something to look at, once the group is committed. A project that a run has left is none
/// of them: there is nothing new in it.
fn show(group: &mut Group<'_>, changed: impl IntoIterator<Item = i64>) -> Result<(), Failure> {
    for project in changed {
        group.changed.insert(projects::id(group.connection, project)?);
    }
    Ok(())
}

/// Places in the order of commits: one writer gives them, so that a higher one is never visible before a lower one.
struct Places(i64);

impl Places {
    fn take(group: &Group<'_>, count: usize) -> Result<Self, Failure> {
        let mut last = group.connection.prepare_cached("SELECT last FROM commit_order")?;
        let last: i64 = last.query_row([], |row| row.get(0))?;
        let mut take = group.connection.prepare_cached("UPDATE commit_order SET last = ?1")?;
        take.execute([last + count as i64])?;
        Ok(Self(last))
    }

    fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

/// False where a layer would become too large.
fn write(
    group: &Group<'_>,
    run: &NewRun,
    places: &mut Places,
    projects: &mut HashMap<ProjectRef, i64>,
    now: Timestamp,
) -> Result<bool, Failure> {
    let mut find = group.connection.prepare_cached("SELECT number, post, patch, start_time FROM runs WHERE id = ?1")?;
    let stored = find
        .query_row([run.write.id], |row| {
            let layer = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Vec<u8>>>(column)?.map(Bytes::from));
            Ok(Stored { number: row.get(0)?, post: layer(1)?, patch: layer(2)?, start_time: row.get(3)? })
        })
        .optional()?;
    let Some(mut stored) = stored else {
        insert(group, run, places.next(), projects, now)?;
        return Ok(true);
    };
    if stored.add(run.write.layer, &run.write.document)? > limits::LAYER_BYTES_MAX {
        return Ok(false);
    }
    update(group, run, &stored, places.next(), projects, now)?;
    Ok(true)
}

/// A row that is there already.
struct Stored {
    number: i64,
    post: Option<Bytes>,
    patch: Option<Bytes>,
    start_time: i64,
}

impl Stored {
    /// The layer's size with it.
    fn add(&mut self, layer: Layer, document: &Bytes) -> Result<usize, Failure> {
        let half = match layer {
            Layer::Post => &mut self.post,
            Layer::Patch => &mut self.patch,
        };
        let whole = layers::add(half.as_deref(), document)?;
        let bytes = whole.len();
        *half = Some(whole);
        Ok(bytes)
    }
}

fn insert(
    group: &Group<'_>,
    run: &NewRun,
    place: i64,
    projects: &mut HashMap<ProjectRef, i64>,
    now: Timestamp,
) -> Result<(), Failure> {
    let head = &run.head;
    let project = project(group, head, run.write.layer == Layer::Post, projects, now)?;
    let (post, patch) = match run.write.layer {
        Layer::Post => (Some(&run.write.document[..]), None),
        Layer::Patch => (None, Some(&run.write.document[..])),
    };
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO runs
             (id, project, trace, is_root, is_complete, start_time, received_at, modified_at, changed, post, patch,
              is_offloaded)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11)",
    )?;
    insert.execute(params![
        run.write.id,
        project,
        head.trace_of(run.write.id),
        head.parent.is_none(),
        head.has_ended && project.is_some(),
        micros(head.start_time.unwrap_or(now)),
        micros(now),
        place,
        post,
        patch,
        has_nothing_to_move([post, patch]),
    ])?;
    Ok(())
}

fn update(
    group: &Group<'_>,
    run: &NewRun,
    stored: &Stored,
    place: i64,
    projects: &mut HashMap<ProjectRef, i64>,
    now: Timestamp,
) -> Result<(), Failure> {
    let head = layers::head(stored.post.as_deref(), stored.patch.as_deref())?;
    let project = project(group, &head, stored.post.is_some(), projects, now)?;
    let mut update = group.connection.prepare_cached(
        "UPDATE runs SET project = ?2, trace = ?3, is_root = ?4, is_complete = ?5, start_time = ?6, modified_at = ?7,
             changed = ?8, post = ?9, patch = ?10, is_offloaded = ?11
         WHERE number = ?1",
    )?;
    update.execute(params![
        stored.number,
        project,
        head.trace_of(run.write.id),
        head.parent.is_none(),
        head.has_ended && project.is_some(),
        head.start_time.map_or(stored.start_time, micros),
        micros(now),
        place,
        stored.post.as_deref(),
        stored.patch.as_deref(),
        has_nothing_to_move([stored.post.as_deref(), stored.patch.as_deref()]),
    ])?;
    Ok(())
}

/// The number of the run's project. A run that was posted belongs to one, named or not; of one that was only patched so
/// far, the post will say.
fn project(
    group: &Group<'_>,
    head: &Head,
    is_posted: bool,
    known: &mut HashMap<ProjectRef, i64>,
    now: Timestamp,
) -> Result<Option<i64>, Failure> {
    let reference = match &head.project {
        Some(reference) => reference.clone(),
        None if is_posted => ProjectRef::Name(DEFAULT_PROJECT.to_owned()),
        None => return Ok(None),
    };
    if let Some(number) = known.get(&reference) {
        return Ok(Some(*number));
    }
    let number = match &reference {
        ProjectRef::Id(id) => match projects::number(group.connection, *id)? {
            Some(number) => number,
            None => projects::named(group, &id.to_string(), now)?.number,
        },
        ProjectRef::Name(name) => projects::named(group, name, now)?.number,
    };
    known.insert(reference, number);
    Ok(Some(number))
}

/// The run that it was about before.
fn write_feedback(group: &Group<'_>, feedback: &FeedbackWrite, now: Timestamp) -> Result<Option<RunId>, Failure> {
    let (stored, run_before) = stored_feedback(group, feedback.id)?.unzip();
    let document = layers::add(stored.as_deref(), &feedback.document)?;
    let mut put = group.connection.prepare_cached(
        "INSERT INTO feedback (id, run, key, stored_at, document) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET run = ifnull(excluded.run, run), key = excluded.key,
             stored_at = excluded.stored_at, document = excluded.document",
    )?;
    put.execute(params![feedback.id, feedback.run, feedback.key, micros(now), &document[..]])?;
    Ok(run_before.flatten())
}

/// A document, and the run that it is about.
type Said = (Vec<u8>, Option<RunId>);

fn stored_feedback(group: &Group<'_>, id: FeedbackId) -> Result<Option<Said>, Failure> {
    let mut find = group.connection.prepare_cached("SELECT document, run FROM feedback WHERE id = ?1")?;
    Ok(find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// What is said about a run changes it for the rules. A run that is not there yet will have its place when it comes. The
/// number of the run's project.
fn touch(group: &Group<'_>, run: RunId, place: i64) -> Result<Option<i64>, Failure> {
    let mut find = group.connection.prepare_cached("SELECT number, project FROM runs WHERE id = ?1")?;
    let found = find.query_row([run], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((number, project)) = found else { return Ok(None) };
    let number: i64 = number;
    let mut touch = group.connection.prepare_cached("UPDATE runs SET changed = ?2 WHERE number = ?1")?;
    touch.execute(params![number, place])?;
    Ok(project)
}

/// As [`touch`], for a run that is touched alone.
fn touch_one(group: &mut Group<'_>, run: Option<RunId>) -> Result<(), Failure> {
    let Some(run) = run else { return Ok(()) };
    let place = Places::take(group, 1)?.next();
    let changed = touch(group, run, place)?;
    show(group, changed)
}

pub(super) fn change_feedback(
    group: &mut Group<'_>,
    id: FeedbackId,
    fields: &Bytes,
    now: Timestamp,
) -> Result<bool, Failure> {
    let Some((stored, run)) = stored_feedback(group, id)? else { return Ok(false) };
    let document = layers::add(Some(&stored), fields)?;
    let mut put = group.connection.prepare_cached("UPDATE feedback SET document = ?2, stored_at = ?3 WHERE id = ?1")?;
    put.execute(params![id, &document[..], micros(now)])?;
    touch_one(group, run)?;
    Ok(true)
}

pub(super) fn delete_feedback(group: &mut Group<'_>, id: FeedbackId) -> Result<bool, Failure> {
    let mut delete = group.connection.prepare_cached("DELETE FROM feedback WHERE id = ?1 RETURNING run")?;
    let deleted: Option<Option<RunId>> = delete.query_row([id], |row| row.get(0)).optional()?;
    touch_one(group, deleted.flatten())?;
    Ok(deleted.is_some())
}
