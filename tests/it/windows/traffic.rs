//! What comes in during a round, and what is known of it. Knows nothing of rules and windows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runhook::layers;
use runhook::model::Timestamp;
use runhook::model::ids::{FeedbackId, RunId};
use runhook::model::run::{FeedbackWrite, Layer, RunWrite};
use runhook::store::Store;
use runhook::store::runs::{NewRun, NewRuns};
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) const PROJECTS: [&str; 2] = ["p", "q"];

/// What can be said of a run: as it is now, or as it ever was.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) is_error: bool,
    pub(super) is_posted: bool,
    pub(super) has_ended: bool,
    pub(super) is_judged: bool,
    /// By project.
    pub(super) is_in: [bool; 2],
}

impl Facts {
    pub(super) fn is_there(&self, project: usize) -> bool {
        self.is_posted && self.is_in[project]
    }

    fn add(&mut self, other: &Self) {
        self.is_error |= other.is_error;
        self.is_posted |= other.is_posted;
        self.has_ended |= other.has_ended;
        self.is_judged |= other.is_judged;
        self.is_in = [0, 1].map(|project| self.is_in[project] || other.is_in[project]);
    }
}

pub(super) struct Known {
    pub(super) id: RunId,
    /// Its error comes with its end.
    will_fail: bool,
    /// Of two starts; it is said with the post.
    pub(super) starts_late: bool,
    pub(super) now: Facts,
    pub(super) ever: Facts,
    feedback: Vec<FeedbackId>,
    /// Number of the event that touched it last.
    pub(super) touched_at: u64,
}

/// The first run is the root.
pub(super) struct Trace {
    home: usize,
    pub(super) runs: Vec<Known>,
}

/// What happens to the store in one commit.
pub(super) enum Event {
    Request(NewRuns),
    TakeBack(FeedbackId),
}

impl Event {
    pub(super) async fn apply(self, store: &dyn Store, now: Timestamp) {
        match self {
            Self::Request(request) => assert!(store.ingest(request, now).await.unwrap().is_empty()),
            Self::TakeBack(feedback) => assert!(store.delete_feedback(feedback).await.unwrap()),
        }
    }
}

/// All that is sent in a round, and what was sent.
pub(super) struct Traffic {
    pub(super) random: StdRng,
    pub(super) traces: Vec<Trace>,
    /// Number of the event that is being made.
    pub(super) event: u64,
}

impl Traffic {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), traces: Vec::new(), event: 0 }
    }

    /// The next event, with the runs that it touches, by trace.
    pub(super) fn next(&mut self) -> (Event, BTreeMap<usize, BTreeSet<usize>>) {
        self.event += 1;
        let mut touched: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let event = match self.taken_back() {
            Some((trace, run, feedback)) => {
                touched.entry(trace).or_default().insert(run);
                Event::TakeBack(feedback)
            }
            None => Event::Request(self.request(&mut touched)),
        };
        for (trace, runs) in &touched {
            for run in runs {
                let known = &mut self.traces[*trace].runs[*run];
                known.touched_at = self.event;
                known.ever.add(&known.now);
            }
        }
        (event, touched)
    }

    /// Halves of runs, moves and feedback in any order, of new traces and of old ones.
    fn request(&mut self, touched: &mut BTreeMap<usize, BTreeSet<usize>>) -> NewRuns {
        let mut request = NewRuns::default();
        for _ in 0..self.random.random_range(1..9) {
            if self.traces.is_empty() || self.random.random_bool(0.2) {
                self.begin_trace();
            }
            let trace = self.random.random_range(0..self.traces.len());
            let run = self.random.random_range(0..self.traces[trace].runs.len());
            touched.entry(trace).or_default().insert(run);
            let Trace { home, runs } = &mut self.traces[trace];
            let root = runs[0].id;
            match self.random.random_range(0..16) {
                0..6 => request.runs.push(runs[run].post(*home, (run > 0).then_some(root), root)),
                6..12 => request.runs.push(runs[run].end()),
                12..15 => request.feedback.push(runs[run].judge()),
                _ if runs[run].now.is_posted => request.runs.push(runs[run].move_away()),
                _ => request.runs.push(runs[run].post(*home, (run > 0).then_some(root), root)),
            }
        }
        request
    }

    fn begin_trace(&mut self) {
        let count = self.random.random_range(1..8);
        let mut run = |_| Known {
            id: RunId(Uuid::from_u128(self.random.random())),
            will_fail: self.random.random_bool(0.5),
            starts_late: self.random.random_bool(0.5),
            now: Facts::default(),
            ever: Facts::default(),
            feedback: Vec::new(),
            touched_at: 0,
        };
        let runs = (0..count).map(&mut run).collect();
        self.traces.push(Trace { home: usize::from(self.random.random_bool(0.25)), runs });
    }

    /// Sometimes what was said about a run is taken back.
    fn taken_back(&mut self) -> Option<(usize, usize, FeedbackId)> {
        if self.traces.is_empty() || !self.random.random_bool(0.1) {
            return None;
        }
        let trace = self.random.random_range(0..self.traces.len());
        let run = self.random.random_range(0..self.traces[trace].runs.len());
        let known = &mut self.traces[trace].runs[run];
        let feedback = known.feedback.pop()?;
        known.now.is_judged = !known.feedback.is_empty();
        Some((trace, run, feedback))
    }
}

impl Known {
    fn post(&mut self, home: usize, parent: Option<RunId>, root: RunId) -> NewRun {
        if !std::mem::replace(&mut self.now.is_posted, true) {
            self.now.is_in[home] = true;
        }
        let hour = if self.starts_late { 9 } else { 8 };
        let mut document = json!({
            "name": "n", "run_type": "chain", "session_name": PROJECTS[home], "trace_id": root,
            "start_time": format!("2026-07-01T{hour:02}:00:00"),
        });
        if let Some(parent) = parent {
            document["parent_run_id"] = json!(parent);
        }
        write(self.id, Layer::Post, &document)
    }

    fn end(&mut self) -> NewRun {
        self.now.has_ended = true;
        self.now.is_error = self.will_fail;
        let mut document = json!({"end_time": "2026-07-01T09:00:01"});
        if self.will_fail {
            document["error"] = json!("it broke");
        }
        write(self.id, Layer::Patch, &document)
    }

    /// To the other project.
    fn move_away(&mut self) -> NewRun {
        self.now.is_in.swap(0, 1);
        let project = usize::from(self.now.is_in[1]);
        write(self.id, Layer::Patch, &json!({"session_name": PROJECTS[project]}))
    }

    fn judge(&mut self) -> FeedbackWrite {
        self.now.is_judged = true;
        let id = FeedbackId::generate();
        self.feedback.push(id);
        let document = Bytes::from(json!({"key": "thumbs", "score": 1, "run_id": self.id}).to_string());
        FeedbackWrite { id, run: Some(self.id), key: "thumbs".to_owned(), document }
    }
}

fn write(id: RunId, layer: Layer, document: &Value) -> NewRun {
    let document = Bytes::from(document.to_string());
    let (post, patch) = match layer {
        Layer::Post => (Some(&document[..]), None),
        Layer::Patch => (None, Some(&document[..])),
    };
    NewRun { head: layers::head(post, patch).unwrap(), write: RunWrite { id, layer, document: document.clone() } }
}
