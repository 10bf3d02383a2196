//! Runs and feedback as they are read back: by query, and as a rule looks at them.

use bytestring::ByteString;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use crate::limits;
use crate::model::delivery::State;
use crate::model::ids::{FeedbackId, ProjectId, RunId};
use crate::store::runs::{
    FeedbackQuery, Look, LookAt, NewAttachment, RuleLogEntry, RuleLogQuery, RunQuery, Seen, StoredFeedback, StoredRun,
    Tree,
};
use crate::store::sqlite::columns::{Micros, Text, micros};
use crate::store::sqlite::{Failure, projects};

/// The columns of [`run`].
const RUN: &str = "r.number, r.id, p.id, r.trace, r.is_root, r.is_complete, r.start_time, r.modified_at, r.changed, \
     r.post, r.patch";

/// A JSON text in a blob column.
pub(super) struct Json(pub(super) ByteString);

impl FromSql for Json {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = std::str::from_utf8(value.as_blob()?).map_err(FromSqlError::other)?;
        Ok(Self(ByteString::from(text)))
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<StoredRun> {
    Ok(StoredRun {
        number: row.get(0)?,
        id: row.get(1)?,
        project: row.get(2)?,
        trace: row.get(3)?,
        is_root: row.get(4)?,
        is_complete: row.get(5)?,
        start_time: row.get::<_, Micros>(6)?.0,
        modified_at: row.get::<_, Micros>(7)?.0,
        changed: row.get(8)?,
        post: row.get::<_, Option<Json>>(9)?.map(|json| json.0),
        patch: row.get::<_, Option<Json>>(10)?.map(|json| json.0),
    })
}

/// Conditions joined by AND, with their values.
#[derive(Default)]
pub(super) struct Conditions {
    texts: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    /// Each `?` of the text stands for the next value.
    pub(super) fn add<const N: usize>(&mut self, text: &str, values: [Box<dyn ToSql>; N]) {
        self.texts.push(text.to_owned());
        self.values.extend(values);
    }

    /// `column IN (…)`; nothing where the list is empty.
    pub(super) fn any_of<T: ToSql + 'static>(&mut self, column: &str, values: impl ExactSizeIterator<Item = T>) {
        if values.len() > 0 {
            self.texts.push(format!("{column} IN ({})", vec!["?"; values.len()].join(", ")));
            self.values.extend(values.map(|value| Box::new(value) as Box<dyn ToSql>));
        }
    }

    pub(super) fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(AsRef::as_ref).collect()
    }

    pub(super) fn text(&self) -> String {
        if self.texts.is_empty() { "true".to_owned() } else { self.texts.join(" AND ") }
    }
}

pub(super) fn runs(connection: &Connection, query: RunQuery) -> Result<Vec<StoredRun>, Failure> {
    let mut conditions = Conditions::default();
    let projects = query.projects.iter().filter_map(|id| projects::number(connection, *id).transpose());
    let projects = projects.collect::<Result<Vec<_>, _>>()?;
    if projects.is_empty() && !query.projects.is_empty() {
        return Ok(Vec::new());
    }
    // A plus keeps the planner from the index by project where an id narrows more.
    let is_narrow = query.trace.is_some() || !query.ids.is_empty();
    conditions.any_of(if is_narrow { "+r.project" } else { "r.project" }, projects.into_iter());
    conditions.any_of("r.id", query.ids.into_iter());
    if let Some(trace) = query.trace {
        conditions.add("r.trace = ?", [Box::new(trace)]);
    }
    if let Some(is_root) = query.is_root {
        conditions.add("r.is_root = ?", [Box::new(is_root)]);
    }
    if let Some(start) = query.start_min {
        conditions.add("r.start_time >= ?", [Box::new(micros(start))]);
    }
    if let Some(start) = query.start_max {
        conditions.add("r.start_time <= ?", [Box::new(micros(start))]);
    }
    let (order, beyond) = if query.is_ascending { ("ASC", ">") } else { ("DESC", "<") };
    if let Some((start, number)) = query.after {
        let text = format!("(r.start_time, r.number) {beyond} (?, ?)");
        conditions.add(&text, [Box::new(micros(start)), Box::new(number)]);
    }
    let sql = format!(
        "SELECT {RUN} FROM runs r LEFT JOIN projects p ON p.number = r.project WHERE {}
         ORDER BY r.start_time {order}, r.number {order} LIMIT {}",
        conditions.text(),
        query.limit
    );
    // Not cached: the text differs with the lengths of the lists.
    let mut select = connection.prepare(&sql)?;
    within(select.query(conditions.values().as_slice())?, query.bytes_max)
}

pub(super) fn roots(connection: &Connection, trees: &[Tree]) -> Result<Vec<StoredRun>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {RUN} FROM runs r JOIN projects p ON p.number = r.project
         WHERE r.trace = ?1 AND r.is_root = 1 AND p.id = ?2 ORDER BY r.number LIMIT 1"
    ))?;
    let find = |tree: &Tree| select.query_row(params![tree.trace, tree.project], run).optional().transpose();
    Ok(trees.iter().filter_map(find).collect::<Result<_, _>>()?)
}

pub(super) fn tree(connection: &Connection, tree: Tree, after: i64) -> Result<Vec<StoredRun>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {RUN} FROM runs r CROSS JOIN projects p ON p.number = r.project
         WHERE r.trace = ?1 AND r.number > ?2 AND p.id = ?3 ORDER BY r.number LIMIT {}",
        limits::LOOK_RUNS_MAX
    ))?;
    within(select.query(params![tree.trace, after, tree.project])?, limits::LOOK_BYTES_MAX)
}

/// Runs until their layers have that many bytes; the last one may pass it.
fn within(mut rows: Rows<'_>, bytes_max: usize) -> Result<Vec<StoredRun>, Failure> {
    let (mut found, mut taken) = (Vec::new(), 0);
    while taken < bytes_max
        && let Some(row) = rows.next()?
    {
        let run = run(row)?;
        taken += run.bytes();
        found.push(run);
    }
    Ok(found)
}

/// Feedback of the runs, oldest first within each.
pub(super) fn feedback(connection: &Connection, runs: &[RunId]) -> Result<Vec<StoredFeedback>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT id, run, stored_at, document FROM feedback WHERE run = ?1 ORDER BY number LIMIT {}",
        limits::FEEDBACK_PER_RUN_MAX
    ))?;
    let mut found = Vec::new();
    for run in runs {
        for feedback in select.query_map([run], stored_feedback)? {
            found.push(feedback?);
        }
    }
    Ok(found)
}

pub(super) fn attachments(connection: &Connection, runs: &[RunId]) -> Result<Vec<NewAttachment>, Failure> {
    let mut select = connection
        .prepare_cached("SELECT run, name, blob, media_type FROM attachments WHERE run = ?1 ORDER BY name")?;
    let mut found = Vec::new();
    for run in runs {
        let file = |row: &Row<'_>| {
            Ok(NewAttachment { run: row.get(0)?, name: row.get(1)?, blob: row.get(2)?, media_type: row.get(3)? })
        };
        for file in select.query_map([run], file)? {
            found.push(file?);
        }
    }
    Ok(found)
}

/// The type of who gave feedback; the SDKs say `api` where nothing is said.
const SOURCE_TYPE: &str = "ifnull(json_extract(CAST(document AS TEXT), '$.feedback_source.type'), 'api')";

pub(super) fn feedback_page(connection: &Connection, query: FeedbackQuery) -> Result<Vec<StoredFeedback>, Failure> {
    let mut conditions = Conditions::default();
    conditions.any_of("run", query.runs.into_iter());
    conditions.any_of("key", query.keys.into_iter());
    conditions.any_of(SOURCE_TYPE, query.sources.into_iter());
    let sql = format!(
        "SELECT id, run, stored_at, document FROM feedback WHERE {} ORDER BY number LIMIT {} OFFSET {}",
        conditions.text(),
        query.limit,
        query.offset
    );
    let mut select = connection.prepare(&sql)?;
    let rows = select.query_map(conditions.values().as_slice(), stored_feedback)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn one_feedback(connection: &Connection, id: FeedbackId) -> Result<Option<StoredFeedback>, Failure> {
    let mut select = connection.prepare_cached("SELECT id, run, stored_at, document FROM feedback WHERE id = ?1")?;
    Ok(select.query_row([id], stored_feedback).optional()?)
}

fn stored_feedback(row: &Row<'_>) -> rusqlite::Result<StoredFeedback> {
    Ok(StoredFeedback {
        id: row.get(0)?,
        run: row.get(1)?,
        stored_at: row.get::<_, Micros>(2)?.0,
        document: row.get::<_, Json>(3)?.0,
    })
}

pub(super) fn head(connection: &Connection, project: ProjectId) -> Result<i64, Failure> {
    let mut select = connection
        .prepare_cached("SELECT MAX(changed) FROM runs WHERE project = (SELECT number FROM projects WHERE id = ?1)")?;
    Ok(select.query_row([project], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
}

/// Runs of the rule's project that changed; ?2 and ?3 are places.
const CHANGES: &str = "r.project = c.project AND r.changed > ?2 AND r.changed <= ?3 ORDER BY r.changed";

/// Runs of a trace that are in the rule's project and not matched: what is matched may be most of it, and its layers are
/// not read. ?2 is a number, ?3 the trace.
const TRACE: &str = "r.trace = ?3 AND r.project = c.project AND r.number > ?2
     AND NOT EXISTS (SELECT 1 FROM matches m WHERE m.cursor = c.number AND m.run = r.number) ORDER BY r.number";

pub(super) fn look(connection: &Connection, look: &Look) -> Result<Vec<Seen>, Failure> {
    let (place, after, until): (_, _, Box<dyn ToSql>) = match look.at {
        LookAt::Changes { after, until } => (CHANGES, after, Box::new(until)),
        LookAt::Trace { trace, after } => (TRACE, after, Box::new(trace)),
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {RUN}, EXISTS (SELECT 1 FROM matches m WHERE m.cursor = c.number AND m.run = r.number)
         FROM cursors c CROSS JOIN runs r LEFT JOIN projects p ON p.number = r.project
         WHERE c.rule = ?1 AND {place} LIMIT ?4"
    ))?;
    let mut rows = select.query(params![look.rule, after, until, look.limit as i64])?;
    let (mut seen, mut taken) = (Vec::new(), 0);
    while taken < look.bytes_max
        && let Some(row) = rows.next()?
    {
        let found = Seen { run: run(row)?, is_matched: row.get(11)? };
        taken += found.run.bytes();
        seen.push(found);
    }
    Ok(seen)
}

pub(super) fn rule_log(connection: &Connection, query: &RuleLogQuery) -> Result<Vec<RuleLogEntry>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {RUN}, l.number, l.id, l.window_start, l.window_end, l.accepted_at
         FROM payloads l JOIN matches m ON m.payload = l.number JOIN runs r ON r.number = m.run
         LEFT JOIN projects p ON p.number = r.project
         WHERE l.rule = ?1 AND l.part IS NOT NULL AND l.accepted_at BETWEEN ?2 AND ?3
         ORDER BY l.number DESC, r.number LIMIT ?4 OFFSET ?5"
    ))?;
    let (since, until) = (query.since.map_or(i64::MIN, micros), query.until.map_or(i64::MAX, micros));
    let mut rows = select.query(params![query.rule, since, until, query.limit as i64, query.offset as i64])?;
    let (mut entries, mut taken) = (Vec::new(), 0);
    while taken < limits::LOOK_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let run = run(row)?;
        taken += run.bytes();
        entries.push(RuleLogEntry {
            rule: query.rule,
            run,
            payload: row.get(12)?,
            window: (row.get::<_, Micros>(13)?.0, row.get::<_, Micros>(14)?.0),
            applied_at: row.get::<_, Micros>(15)?.0,
            states: states(connection, row.get(11)?)?,
        });
    }
    Ok(entries)
}

fn states(connection: &Connection, payload: i64) -> Result<Vec<State>, Failure> {
    let mut select = connection.prepare_cached("SELECT state FROM deliveries WHERE payload = ?1 ORDER BY number")?;
    Ok(select.query_map([payload], |row| Ok(row.get::<_, Text<State>>(0)?.0))?.collect::<Result<_, _>>()?)
}
