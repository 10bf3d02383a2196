//! The part of the suite that is about offloading.

use bytes::Bytes;
use serde_json::json;

use super::Scene;
use crate::limits;
use crate::model::ids::RunId;
use crate::model::run::Layer;
use crate::store::conformance::runs::{about, fresh, patch, post, write};
use crate::store::offload::{Behind, OffloadQuery, OffloadedRun, OldRun};
use crate::store::runs::{Cursor, LookAt, NewRun, Progress};

/// A run with something to move.
fn large(id: RunId, layer: Layer) -> NewRun {
    write(id, layer, &json!({"session_name": "p", "inputs": {"text": "x".repeat(limits::OFFLOADED_BYTES_MIN)}}))
}

fn offloaded(run: &OldRun) -> OffloadedRun {
    let post = run.post.as_ref().map(|_| Bytes::from_static(br#"{"inputs":{"runhook:blob":"k"}}"#));
    OffloadedRun { number: run.number, changed: run.changed, post, patch: None }
}

impl Scene {
    async fn old_runs(&self) -> Vec<OldRun> {
        self.store.runs_to_offload(OffloadQuery::batch(self.now, None)).await.unwrap()
    }

    async fn offload(&self, runs: &[OldRun]) -> Vec<bool> {
        self.store.offload(runs.iter().map(offloaded).collect()).await.unwrap()
    }
}

fn ids(runs: &[OldRun]) -> Vec<RunId> {
    runs.iter().map(|run| run.id).collect()
}

pub(crate) async fn only_what_was_modified_before_is_to_be_offloaded(mut scene: Scene) {
    let (old, patched) = (fresh(), fresh());
    scene.ingest([large(old, Layer::Post), large(patched, Layer::Post)]).await;
    let stored = scene.one_run(old).await;
    assert!(scene.old_runs().await.is_empty(), "nothing is older than now");
    scene.pass_hours(1);
    scene.ingest([patch(patched), large(fresh(), Layer::Post)]).await;
    let found = scene.old_runs().await;
    assert_eq!(ids(&found), [old]);
    assert_eq!((found[0].number, found[0].changed), (stored.number, stored.changed));
    assert_eq!((found[0].modified_at, found[0].patch.is_none()), (stored.modified_at, true));
    assert_eq!(found[0].post.as_deref(), stored.post.as_ref().map(|post| post.as_bytes().as_ref()));
}

pub(crate) async fn runs_to_offload_come_in_bounded_batches_by_their_age(mut scene: Scene) {
    let all: Vec<_> = (0..6).map(|_| fresh()).collect();
    scene.ingest(all[..3].iter().map(|id| large(*id, Layer::Post))).await;
    for id in &all[3..] {
        scene.pass_hours(1);
        scene.ingest([large(*id, Layer::Post)]).await;
    }
    scene.pass_hours(1);
    scene.ingest([patch(all[0])]).await;
    scene.pass_hours(1);
    let expected = [all[1], all[2], all[3], all[4], all[5], all[0]];
    for (limit, bytes_max, sizes) in [(2, usize::MAX, &[2, 2, 2][..]), (4, 1, &[1; 6]), (9, usize::MAX, &[6])] {
        let (mut behind, mut found, mut found_sizes): (Option<Behind>, _, _) = (None, Vec::new(), Vec::new());
        loop {
            let query = OffloadQuery { before: scene.now, behind, limit, bytes_max };
            let batch = scene.store.runs_to_offload(query).await.unwrap();
            let Some(last) = batch.last() else { break };
            behind = Some(last.place());
            found_sizes.push(batch.len());
            found.extend(ids(&batch));
        }
        assert_eq!((found.as_slice(), found_sizes.as_slice()), (&expected[..], sizes));
    }
}

pub(crate) async fn offloading_swaps_layers_and_nothing_else(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let id = fresh();
    scene.ingest([large(id, Layer::Post), patch(id)]).await;
    let was = scene.one_run(id).await;
    let payload = scene.built(&before, vec![was.number]);
    let after = Cursor { window_start: payload.window.1, ..before.clone() };
    let step = Progress { before, after, payload: Some(payload), now: scene.now };
    assert!(scene.store.advance(step).await.unwrap());
    scene.pass_hours(1);
    let found = scene.old_runs().await;
    assert_eq!(scene.offload(&found).await, [true]);
    assert!(scene.old_runs().await.is_empty());
    let mut scene = scene.reopen().await;
    assert!(scene.old_runs().await.is_empty());
    let is = scene.one_run(id).await;
    assert_eq!(is.post.as_deref(), Some(r#"{"inputs":{"runhook:blob":"k"}}"#));
    assert_eq!(is.patch, was.patch, "a layer that nothing is said of stays");
    assert_eq!((is.number, is.changed, is.modified_at), (was.number, was.changed, was.modified_at));
    assert_eq!((is.project, is.trace, is.start_time), (was.project, was.trace, was.start_time));
    assert_eq!((is.is_root, is.is_complete), (was.is_root, was.is_complete));
    let seen = scene.seen(LookAt::Changes { after: 0, until: i64::MAX }).await;
    assert_eq!(seen, [(id, true)]);
    scene.ingest([large(id, Layer::Patch)]).await;
    scene.pass_hours(1);
    assert_eq!(ids(&scene.old_runs().await), [id], "what was added since is to be offloaded too");
}

pub(crate) async fn a_run_that_changed_since_it_was_read_is_not_swapped(mut scene: Scene) {
    let [judged, modified, gone, same] = [fresh(), fresh(), fresh(), fresh()];
    scene.ingest([large(gone, Layer::Post)]).await;
    scene.pass_hours(1);
    scene.ingest([judged, modified, same].map(|id| large(id, Layer::Post))).await;
    let pruned_before = scene.now;
    scene.pass_hours(1);
    let found = scene.old_runs().await;
    assert_eq!(ids(&found), [gone, judged, modified, same]);
    scene.say(about(judged, 1)).await;
    scene.ingest([patch(modified)]).await;
    assert_eq!(scene.store.prune_runs(pruned_before, 10).await.unwrap().runs, 1);
    let was = [scene.one_run(judged).await, scene.one_run(modified).await];
    assert_eq!(scene.offload(&found).await, [false, false, false, true]);
    for was in was {
        let is = scene.one_run(was.id).await;
        assert_eq!((is.post, is.patch, is.changed), (was.post, was.patch, was.changed));
    }
    assert_eq!(ids(&scene.old_runs().await), [judged]);
    scene.pass_hours(1);
    let found = scene.old_runs().await;
    assert_eq!((ids(&found), scene.offload(&found).await), (vec![judged, modified], vec![true, true]));
}

pub(crate) async fn small_runs_do_not_hold_up_offloading(mut scene: Scene) {
    let id = fresh();
    scene.ingest((0..3).map(|_| post(fresh(), "p")).chain([large(id, Layer::Post)])).await;
    scene.pass_hours(1);
    let found = scene.old_runs().await;
    assert!(ids(&found).contains(&id));
    assert!(scene.offload(&found).await.into_iter().all(|is_swapped| is_swapped));
    assert!(scene.old_runs().await.is_empty());
}
