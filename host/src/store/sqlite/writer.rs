//! One thread that writes: it commits in one transaction what gathered while the last commit ran. No timer: a lone write
//! is committed at once, a crowd shares its sync.
//!
//! Each piece of work runs under a savepoint of its own, so that one that fails takes nobody along. Nobody hears of a
//! result before the commit. The queue is bounded by count and by bytes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::error;

use crate::model::ids::{EndpointId, ProjectId};
use crate::store::sqlite::body_log::BodyLog;
use crate::store::sqlite::fan_out::EndpointRow;
use crate::store::sqlite::generations::Generations;
use crate::store::sqlite::{Failure, failed};
use crate::store::{Result, StoreError};

/// Work that waits or runs, in pieces.
const QUEUE_MAX: usize = 8192;
/// Work that waits or runs, in units of [`UNIT`].
const QUEUE_UNITS_MAX: usize = 128 * 1024;
/// Bytes to a unit of the queue's room.
const UNIT: usize = 1024;
/// Pieces of work in one commit: beyond it, waiting longer costs more than another sync.
const GROUP_MAX: usize = 1024;

/// What a piece of work writes through.
pub(super) struct Group<'a> {
    pub(super) connection: &'a Connection,
    pub(super) log: &'a mut BodyLog,
    /// Endpoints that are there and not removed.
    pub(super) endpoints: &'a mut HashMap<EndpointId, EndpointRow>,
    /// Projects whose runs the group changes.
    pub(super) changed: &'a mut HashSet<ProjectId>,
}

type Reply = Box<dyn FnOnce(Option<&str>) + Send>;
type Run = Box<dyn FnOnce(Option<&mut Group<'_>>) -> Reply + Send>;

struct Work {
    /// Without a group nothing is done; the reply is told why.
    run: Run,
    _room: OwnedSemaphorePermit,
}

/// The thread's handle; the thread ends with it.
pub(super) struct Writer {
    queue: mpsc::Sender<Work>,
    room: Arc<Semaphore>,
    generations: Arc<Generations>,
}

impl Writer {
    pub(super) fn start(connection: Connection, log: BodyLog) -> Result<Self> {
        let (queue, work) = mpsc::channel(QUEUE_MAX);
        let generations = Arc::new(Generations::default());
        let growing = generations.clone();
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        thread.spawn(move || write_all(&connection, log, work, &growing)).map_err(failed("starting the writer"))?;
        Ok(Self { queue, room: Arc::new(Semaphore::new(QUEUE_UNITS_MAX)), generations })
    }

    /// Of what is committed.
    pub(super) fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Waits for room in the queue.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        context: &'static str,
        size: usize,
        work: impl FnOnce(&mut Group<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let room = self.room.clone().acquire_many_owned(units(size)).await.map_err(failed(context))?;
        let (work, answer) = piece(context, room, IfNobodyWaits::Work, work);
        self.queue.send(work).await.map_err(|_| stopped(context))?;
        answer.await.map_err(|_| stopped(context))?
    }

    /// Refuses where the queue is full. What nobody waits for any more when its turn comes is left undone.
    pub(super) async fn try_submit<T: Send + 'static>(
        &self,
        context: &'static str,
        size: usize,
        work: impl FnOnce(&mut Group<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let room = self.room.clone().try_acquire_many_owned(units(size)).map_err(|_| StoreError::Busy)?;
        let (work, answer) = piece(context, room, IfNobodyWaits::Leave, work);
        self.queue.try_send(work).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(context),
        })?;
        answer.await.map_err(|_| stopped(context))?
    }
}

fn units(size: usize) -> u32 {
    // One body may be larger than the queue: it then has it for itself.
    (size / UNIT + 1).min(QUEUE_UNITS_MAX) as u32
}

fn stopped(context: &'static str) -> StoreError {
    StoreError::Failed { context, cause: "the store's writer has stopped".to_owned() }
}

/// What becomes of work whose caller has gone before its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfNobodyWaits {
    Work,
    Leave,
}

fn piece<T: Send + 'static>(
    context: &'static str,
    room: OwnedSemaphorePermit,
    if_nobody_waits: IfNobodyWaits,
    work: impl FnOnce(&mut Group<'_>) -> std::result::Result<T, Failure> + Send + 'static,
) -> (Work, oneshot::Receiver<Result<T>>) {
    let (sender, answer) = oneshot::channel();
    let run = move |group: Option<&mut Group<'_>>| -> Reply {
        let is_left = sender.is_closed() && if_nobody_waits == IfNobodyWaits::Leave;
        let result = match group {
            Some(group) if !is_left => under_savepoint(group, work).map_err(failed(context)),
            _ => Err(StoreError::Failed { context, cause: "it was not begun".to_owned() }),
        };
        Box::new(move |commit_error| {
            let result = match commit_error {
                Some(cause) => Err(StoreError::Failed { context, cause: cause.to_owned() }),
                None => result,
            };
            // Whoever asked may have gone; the work is done all the same.
            let _ = sender.send(result);
        })
    };
    (Work { run: Box::new(run), _room: room }, answer)
}

fn under_savepoint<T>(
    group: &mut Group<'_>,
    work: impl FnOnce(&mut Group<'_>) -> std::result::Result<T, Failure>,
) -> std::result::Result<T, Failure> {
    group.connection.prepare_cached("SAVEPOINT work")?.execute([])?;
    let result = work(group);
    if result.is_err() {
        group.endpoints.clear();
        group.connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
    }
    group.connection.prepare_cached("RELEASE work")?.execute([])?;
    result
}

fn write_all(connection: &Connection, mut log: BodyLog, mut queue: mpsc::Receiver<Work>, generations: &Generations) {
    let (mut endpoints, mut changed) = (HashMap::new(), HashSet::new());
    let mut gathered = Vec::with_capacity(GROUP_MAX);
    while queue.blocking_recv_many(&mut gathered, GROUP_MAX) > 0 {
        let mut group = Group { connection, log: &mut log, endpoints: &mut endpoints, changed: &mut changed };
        commit_group(&mut group, gathered.drain(..), generations);
    }
}

fn commit_group(group: &mut Group<'_>, gathered: impl Iterator<Item = Work>, generations: &Generations) {
    let begun = group.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
    let mut rooms = Vec::new();
    let replies: Vec<Reply> = gathered
        .map(|work| {
            rooms.push(work._room);
            (work.run)(is_open(group).then_some(&mut *group))
        })
        .collect();
    let committed = begun.map_err(Failure::from).and_then(|_| commit(group));
    if let Err(error) = &committed {
        error!(%error, "a group of writes failed");
        group.endpoints.clear();
        // Without a transaction there is nothing to roll back.
        let _ = group.connection.execute_batch("ROLLBACK");
        // Where that fails too, the next group fails, and it is tried again.
        let _ = group.log.leave_lost().inspect_err(|error| error!(%error, "cannot begin another file for bodies"));
    }
    // Before anybody hears of it: who asks then sees that there is something new.
    generations.grow(group.changed);
    let cause = committed.err().map(|error| error.to_string());
    replies.into_iter().for_each(|reply| reply(cause.as_deref()));
    drop(rooms);
}

/// Whether the group's transaction is there: SQLite rolls it back by itself when the disk fails in the middle, and what
/// ran then would commit alone, before its bodies are synced.
fn is_open(group: &Group<'_>) -> bool {
    !group.connection.is_autocommit()
}

fn commit(group: &mut Group<'_>) -> std::result::Result<(), Failure> {
    if !is_open(group) {
        return Err(Failure::Missing("the transaction was lost when a write failed".to_owned()));
    }
    group.log.sync()?;
    group.connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::sqlite::body_log::tests::plain_log;

    fn database(folder: &Path) -> Connection {
        let connection = Connection::open(folder.join("x.db")).unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS words (word TEXT)").unwrap();
        connection
    }

    fn write(word: &'static str) -> impl FnOnce(&mut Group<'_>) -> std::result::Result<(), Failure> + Send {
        move |group| {
            group.connection.execute("INSERT INTO words VALUES (?1)", [word])?;
            Ok(())
        }
    }

    fn words(folder: &Path) -> Vec<String> {
        let connection = database(folder);
        let mut select = connection.prepare("SELECT word FROM words").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(std::result::Result::unwrap).collect()
    }

    fn room() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    #[test]
    fn without_a_transaction_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, other) = (database(folder.path()), database(folder.path()));
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        let mut log = plain_log(&folder.path().join("bodies"));
        let (endpoints, changed) = (&mut HashMap::new(), &mut HashSet::new());
        let mut group = Group { connection: &connection, log: &mut log, endpoints, changed };
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (work, answer) = piece("writing", room(), IfNobodyWaits::Work, write("lost"));
        commit_group(&mut group, [work].into_iter(), &Generations::default());
        assert!(answer.blocking_recv().unwrap().unwrap_err().to_string().contains("locked"));
        other.execute_batch("ROLLBACK").unwrap();
        let (work, answer) = piece("writing", room(), IfNobodyWaits::Work, write("kept"));
        commit_group(&mut group, [work].into_iter(), &Generations::default());
        answer.blocking_recv().unwrap().unwrap();
        assert_eq!(words(folder.path()), ["kept"]);
    }

    #[test]
    fn a_transaction_that_is_lost_in_the_middle_takes_all_of_its_group_along() {
        let folder = tempfile::tempdir().unwrap();
        let connection = database(folder.path());
        let mut log = plain_log(&folder.path().join("bodies"));
        let (endpoints, changed) = (&mut HashMap::new(), &mut HashSet::new());
        let mut group = Group { connection: &connection, log: &mut log, endpoints, changed };
        // As SQLite itself does when the disk is full.
        let lose = |group: &mut Group<'_>| Ok(group.connection.execute_batch("ROLLBACK")?);
        let (first, first_answer) = piece("writing", room(), IfNobodyWaits::Work, write("before"));
        let (middle, _) = piece("losing", room(), IfNobodyWaits::Work, lose);
        let (last, last_answer) = piece("writing", room(), IfNobodyWaits::Work, write("after"));
        commit_group(&mut group, [first, middle, last].into_iter(), &Generations::default());
        for answer in [first_answer, last_answer] {
            assert!(answer.blocking_recv().unwrap().is_err());
        }
        assert!(words(folder.path()).is_empty());
    }

    #[test]
    fn bodies_that_were_lost_in_the_middle_take_all_of_their_group_along() {
        let folder = tempfile::tempdir().unwrap();
        let connection = database(folder.path());
        let mut log = plain_log(&folder.path().join("bodies"));
        let (endpoints, changed) = (&mut HashMap::new(), &mut HashSet::new());
        let mut group = Group { connection: &connection, log: &mut log, endpoints, changed };
        let append = |group: &mut Group<'_>| Ok(group.log.append(b"body").map(|_| ())?);
        // As at the end of a segment: what fails is one piece's.
        let close = |group: &mut Group<'_>| {
            group.log.break_disk();
            Ok(group.log.sync()?)
        };
        let (first, first_answer) = piece("accepting", room(), IfNobodyWaits::Work, append);
        let (middle, _) = piece("closing", room(), IfNobodyWaits::Work, close);
        let (last, last_answer) = piece("writing", room(), IfNobodyWaits::Work, write("lost"));
        commit_group(&mut group, [first, middle, last].into_iter(), &Generations::default());
        for answer in [first_answer, last_answer] {
            assert!(answer.blocking_recv().unwrap().is_err());
        }
        assert!(words(folder.path()).is_empty());
        let (next, next_answer) = piece("accepting", room(), IfNobodyWaits::Work, append);
        commit_group(&mut group, [next].into_iter(), &Generations::default());
        next_answer.blocking_recv().unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_left_undone() {
        let folder = tempfile::tempdir().unwrap();
        let log = plain_log(&folder.path().join("bodies"));
        let writer = Writer::start(database(folder.path()), log).unwrap();
        let (go, waits) = std::sync::mpsc::channel::<()>();
        let block = move |_: &mut Group<'_>| {
            waits.recv().unwrap();
            Ok(())
        };
        {
            let mut blocked = std::pin::pin!(writer.submit("blocking", 0, block));
            let mut given_up = Box::pin(writer.try_submit("accepting", 0, write("given up")));
            assert!(futures::poll!(&mut blocked).is_pending());
            assert!(futures::poll!(&mut given_up).is_pending());
            drop(given_up);
            go.send(()).unwrap();
            blocked.await.unwrap();
        }
        writer.submit("writing", 0, write("kept")).await.unwrap();
        assert_eq!(words(folder.path()), ["kept"]);
    }
}
