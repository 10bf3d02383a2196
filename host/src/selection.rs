//! Which runs are wanted: a filter of the run itself, one of its trace's root, one that some run of its trace passes.
//!
//! Rules select the runs of their payloads with it, and the API the runs that it shows. Filters are compiled once.
//! Evaluation happens where it holds up no other task. Knows nothing of windows or pages.

use std::collections::HashSet;
use std::sync::Arc;

use tracing::error;

use crate::aside::aside;
use crate::filter::{Facts, Filter, FilterError};
use crate::model::ids::RunId;
use crate::model::run::{Feedback, Run};
use crate::said::Said;
use crate::store::runs::{NewAttachment, RunQuery, StoredRun, Tree};
use crate::store::{Store, StoreError};

/// The three filters; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Selection(Arc<Filters>);

#[derive(Debug, Default)]
struct Filters {
    run: Option<Filter>,
    root: Option<Filter>,
    tree: Option<Filter>,
}

/// A run that is wanted.
#[derive(Clone, Debug)]
pub struct Found {
    /// The store's number of it.
    pub number: i64,
    /// The run.
    pub run: Run,
    /// What is said about it, oldest first.
    pub feedback: Vec<Feedback>,
    /// Its files, by name.
    pub attachments: Vec<NewAttachment>,
    /// Size of its layers.
    pub bytes: usize,
}

impl Selection {
    /// Compiles; none stands for a filter that everything passes.
    ///
    /// # Errors
    /// The key of the filter that is wrong (`filter`, `trace_filter` or `tree_filter`), and what is wrong with it.
    pub fn parse(
        run: Option<&str>,
        root: Option<&str>,
        tree: Option<&str>,
    ) -> Result<Self, (&'static str, FilterError)> {
        let parse = |key, text: Option<&str>| text.map(Filter::parse).transpose().map_err(|error| (key, error));
        Ok(Self(Arc::new(Filters {
            run: parse("filter", run)?,
            root: parse("trace_filter", root)?,
            tree: parse("tree_filter", tree)?,
        })))
    }

    /// Whether a change of the root run can change what is wanted among the others.
    pub fn asks_root(&self) -> bool {
        self.0.root.is_some()
    }

    /// Whether a change of any run of the trace can.
    pub fn asks_tree(&self) -> bool {
        self.0.tree.is_some()
    }

    /// Those of the runs that pass the first two filters, with what is said about them.
    ///
    /// # Errors
    /// The store's.
    pub async fn pick(&self, store: &dyn Store, rows: Vec<StoredRun>) -> Result<Vec<Found>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let needs_feedback = needs_feedback(self.0.run.as_ref());
        let mut said = said(store, needs_feedback, rows.iter().map(|row| row.id)).await?;
        let roots = self.roots(store, &rows).await?;
        let filters = self.0.clone();
        let pick = move || {
            let found = |row: StoredRun| {
                let is_open = filters.root.is_none() || Tree::of(&row).is_some_and(|tree| roots.contains(&tree));
                let run = is_open.then(|| run(&row)).flatten()?;
                let feedback = said.take(run.id);
                let is_wanted = passes(filters.run.as_ref(), &run, &feedback);
                let (number, bytes, attachments) = (row.number, row.bytes(), Vec::new());
                is_wanted.then_some(Found { number, run, feedback, attachments, bytes })
            };
            rows.into_iter().filter_map(found).collect::<Vec<_>>()
        };
        let mut found = aside(pick).await;
        if !needs_feedback {
            let mut said = Said::about(store, found.iter().map(|found| found.run.id)).await?;
            found.iter_mut().for_each(|found| found.feedback = said.take(found.run.id));
        }
        add_attachments(store, &mut found).await?;
        Ok(found)
    }

    /// A run of the trace that passes the third filter, complete or not; the first one where all pass. A trace is looked
    /// at within one project.
    ///
    /// # Errors
    /// The store's.
    pub async fn witness(&self, store: &dyn Store, tree: Tree) -> Result<Option<RunId>, StoreError> {
        let mut after = 0;
        loop {
            let rows = store.tree(tree, after).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            after = last.number;
            let witness = self.first_witness(store, &rows).await?;
            if witness.is_some() {
                return Ok(witness);
            }
        }
    }

    /// Whether that run is still in the trace and passes the third filter.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_witness(&self, store: &dyn Store, tree: Tree, run: RunId) -> Result<bool, StoreError> {
        let Tree { trace, project } = tree;
        let query =
            RunQuery { projects: vec![project], ids: vec![run], trace: Some(trace), limit: 1, ..RunQuery::default() };
        let rows = store.runs(query).await?;
        Ok(self.first_witness(store, &rows).await?.is_some())
    }

    /// The first of the runs that passes the third filter.
    ///
    /// # Errors
    /// The store's.
    pub async fn first_witness(
        &self,
        store: &dyn Store,
        rows: impl IntoIterator<Item = &StoredRun>,
    ) -> Result<Option<RunId>, StoreError> {
        let rows: Vec<_> = rows.into_iter().cloned().collect();
        let said = said(store, needs_feedback(self.0.tree.as_ref()), rows.iter().map(|row| row.id)).await?;
        let filters = self.0.clone();
        let find = move || {
            let passes = |run: &Run| passes(filters.tree.as_ref(), run, said.of(run.id));
            rows.iter().filter_map(run).find(passes).map(|run| run.id)
        };
        Ok(aside(find).await)
    }

    /// The root runs of the rows' traces with what is said about them, where the second filter asks for them.
    async fn roots(&self, store: &dyn Store, rows: &[StoredRun]) -> Result<Roots, StoreError> {
        if !self.asks_root() {
            return Ok(Roots::new());
        }
        let trees: HashSet<_> = rows.iter().filter_map(Tree::of).collect();
        let trees: Vec<_> = trees.into_iter().collect();
        let mut passing = Roots::new();
        // Roots are whole runs: a few at a time, and only what they say is kept.
        for trees in trees.chunks(ROOTS_AT_ONCE) {
            let rows = store.roots(trees.to_vec()).await?;
            let said = said(store, needs_feedback(self.0.root.as_ref()), rows.iter().map(|row| row.id)).await?;
            let filters = self.0.clone();
            let evaluate = move || {
                let passes = |row: &&StoredRun| {
                    run(row).is_some_and(|root| passes(filters.root.as_ref(), &root, said.of(root.id)))
                };
                rows.iter().filter(passes).filter_map(Tree::of).collect::<Vec<_>>()
            };
            passing.extend(aside(evaluate).await);
        }
        Ok(passing)
    }
}

async fn add_attachments(store: &dyn Store, found: &mut [Found]) -> Result<(), StoreError> {
    if found.is_empty() {
        return Ok(());
    }
    let files = store.attachments(found.iter().map(|found| found.run.id).collect()).await?;
    for found in found.iter_mut() {
        found.attachments = files.iter().filter(|file| file.run == found.run.id).cloned().collect();
    }
    Ok(())
}

/// Traces whose root passes the second filter. A root that is not there yet passes nothing.
type Roots = HashSet<Tree>;

/// Root runs that are read at once.
const ROOTS_AT_ONCE: usize = 50;

fn passes(filter: Option<&Filter>, run: &Run, feedback: &[Feedback]) -> bool {
    filter.is_none_or(|filter| filter.matches(&Facts::new(run, feedback)))
}

fn needs_feedback(filter: Option<&Filter>) -> bool {
    filter.is_some_and(Filter::needs_feedback)
}

/// What is said about the runs, where it matters.
async fn said(store: &dyn Store, matters: bool, runs: impl Iterator<Item = RunId>) -> Result<Said, StoreError> {
    if matters { Said::about(store, runs).await } else { Ok(Said::default()) }
}

/// What is stored was checked at the door.
fn run(row: &StoredRun) -> Option<Run> {
    row.to_run().inspect_err(|error| error!(run = %row.id, %error, "a stored run cannot be read")).ok()
}
