//! Claims, and what comes of them.

use std::time::Duration;

use super::{Scene, attempt};
use crate::clock::after;
use crate::limits::SMALL_BODY_BYTES_MAX;
use crate::model::attempt::Outcome;
use crate::model::delivery::{Claim, Next, State};
use crate::store::{ClaimRequest, Room, Share};

pub(crate) async fn a_claim_is_exclusive(scene: Scene) {
    for _ in 0..5 {
        scene.queue(&["a", "b"]).await;
    }
    let claims = futures::future::join_all((0..8).map(|_| scene.claim_at(scene.now))).await;
    let mut ids: Vec<_> = claims.into_iter().flatten().map(|claim| claim.delivery).collect();
    assert_eq!(ids.len(), 10);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "a delivery was claimed twice");
}

pub(crate) async fn no_endpoint_gets_more_than_its_share(scene: Scene) {
    for _ in 0..6 {
        scene.queue(&["a"]).await;
    }
    scene.queue(&["b"]).await;
    let request = ClaimRequest {
        owner: scene.host,
        now: scene.now,
        lease_until: scene.in_seconds(30),
        room: Room::by({
            let crowded = scene.endpoint("a");
            move |endpoint| Share { claims: if *endpoint == crowded { 2 } else { 3 }, bytes: usize::MAX }
        }),
        limit: 100,
        bytes_max: usize::MAX,
    };
    let claims = scene.store.claim(request.clone()).await.unwrap();
    let count = |name: &str| claims.iter().filter(|claim| claim.endpoint == scene.endpoint(name)).count();
    assert_eq!((count("a"), count("b")), (2, 1));
    let limited = scene.store.claim(ClaimRequest { limit: 1, ..request }).await.unwrap();
    assert_eq!(limited.len(), 1);
}

pub(crate) async fn large_bodies_have_room_at_each_endpoint_and_in_all_and_hold_up_no_small_ones(scene: Scene) {
    let large = "x".repeat(SMALL_BODY_BYTES_MAX + 1);
    for document in [large.as_str(), &large, "{}"] {
        let payload = scene.accept(document).await;
        let deliveries = ["a", "b"].map(|webhook| scene.to_send(webhook, &payload.document)).into();
        scene.fan_out(&payload, deliveries, &[]).await;
    }
    let request = |bytes, bytes_max| ClaimRequest {
        owner: scene.host,
        now: scene.now,
        lease_until: scene.in_seconds(30),
        room: Room::by(move |_| Share { claims: 10, bytes }),
        limit: 100,
        bytes_max,
    };
    let claimed = async |request: ClaimRequest| {
        let claims = scene.store.claim(request).await.unwrap();
        ["a", "b"].map(|name| {
            let of_endpoint = claims.iter().filter(|claim| claim.endpoint == scene.endpoint(name));
            of_endpoint.map(|claim| claim.body.bytes.len()).collect::<Vec<_>>()
        })
    };
    // The first may be larger than the bound.
    assert_eq!(claimed(request(1, usize::MAX)).await, [vec![large.len(), 2], vec![large.len(), 2]]);
    let [a, b] = claimed(request(usize::MAX, 1)).await;
    assert_eq!([a, b].concat(), [large.len()], "of all endpoints together");
    assert_eq!(claimed(request(usize::MAX, 0)).await, [Vec::<usize>::new(), Vec::new()]);
    let [a, b] = claimed(request(usize::MAX, usize::MAX)).await;
    assert_eq!([a, b].concat(), [large.len()]);
}

pub(crate) async fn nothing_is_claimed_before_it_is_due(scene: Scene) {
    scene.queue(&["a"]).await;
    let claim = scene.claim_at(scene.now).await.remove(0);
    let due = scene.in_seconds(5);
    assert!(
        scene.store.complete(&claim, attempt(1, Outcome::ServerError, scene.now), Next::RetryAt(due)).await.unwrap()
    );
    assert_eq!(scene.waiting_at(scene.now).await, (false, Some(due)));
    assert!(scene.claim_at(scene.in_seconds(4)).await.is_empty());
    assert_eq!(scene.waiting_at(due).await, (true, None));
    let again = scene.claim_at(due).await.remove(0);
    assert_eq!((again.delivery, again.attempt, again.uncounted), (claim.delivery, 2, 0));
    assert_eq!(again.body, claim.body);
    assert_eq!(scene.waiting_at(due).await, (false, Some(again.lease_until)));
}

pub(crate) async fn an_outcome_advances_the_delivery(scene: Scene) {
    let ids = scene.queue(&["a", "b"]).await;
    let mut claims = scene.claim_at(scene.now).await;
    claims.sort_by_key(|claim| ids.iter().position(|id| *id == claim.delivery));
    let (good, bad) = (attempt(1, Outcome::Delivered, scene.now), attempt(1, Outcome::ClientError, scene.now));
    scene.store.complete(&claims[0], good.clone(), Next::Delivered).await.unwrap();
    scene.store.complete(&claims[1], bad.clone(), Next::Failed).await.unwrap();
    let scene = scene.reopen().await;
    let delivered = scene.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((delivered.delivery.state, delivered.attempts), (State::Delivered, vec![good]));
    let failed = scene.store.delivery(ids[1]).await.unwrap().unwrap();
    assert_eq!((failed.delivery.state, failed.attempts), (State::Failed, vec![bad]));
    assert_eq!(failed.delivery.cause.as_deref(), Some("client_error: in words"));
    assert_eq!(scene.waiting_at(scene.now).await, (false, None));
}

pub(crate) async fn a_stale_claim_changes_nothing(scene: Scene) {
    let id = scene.queue(&["a"]).await[0];
    let stale = scene.claim_at(scene.now).await.remove(0);
    let fresh = scene.claim_at(scene.in_seconds(31)).await.remove(0);
    assert!(fresh.fence > stale.fence);
    let late = attempt(1, Outcome::Delivered, scene.now);
    assert!(!scene.store.complete(&stale, late, Next::Delivered).await.unwrap());
    assert_eq!(scene.state(id).await, State::Pending);
    let second = attempt(2, Outcome::Delivered, scene.now);
    assert!(scene.store.complete(&fresh, second.clone(), Next::Delivered).await.unwrap());
    assert!(!scene.store.complete(&fresh, second, Next::Failed).await.unwrap());
    let record = scene.store.delivery(id).await.unwrap().unwrap();
    let outcomes: Vec<_> = record.attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
    assert_eq!(outcomes, [(1, Outcome::Interrupted), (2, Outcome::Delivered)]);
    assert_eq!(record.delivery.state, State::Delivered);
}

pub(crate) async fn the_first_interrupted_attempt_is_uncounted(scene: Scene) {
    scene.queue(&["a"]).await;
    let uncounted =
        |claims: Vec<Claim>| claims.iter().map(|claim| (claim.attempt, claim.uncounted)).collect::<Vec<_>>();
    assert_eq!(uncounted(scene.claim_at(scene.now).await), [(1, 0)]);
    assert_eq!(uncounted(scene.claim_at(scene.in_seconds(100)).await), [(2, 1)]);
    assert_eq!(uncounted(scene.claim_at(scene.in_seconds(200)).await), [(3, 1)]);
}

pub(crate) async fn a_restart_ends_all_leases(scene: Scene) {
    let id = scene.queue(&["a"]).await[0];
    scene.claim_at(scene.now).await;
    let scene = scene.reopen().await;
    assert!(scene.claim_at(scene.now).await.is_empty(), "the lease is still alive");
    assert_eq!(scene.store.end_leases().await.unwrap(), 1);
    assert_eq!(scene.store.end_leases().await.unwrap(), 0);
    assert_eq!(scene.claim_at(scene.now).await[0].attempt, 2);
    let record = scene.store.delivery(id).await.unwrap().unwrap();
    assert_eq!(record.attempts[0].outcome, Outcome::Interrupted);
    assert_eq!(record.attempts[0].started_at, scene.now);
}

pub(crate) async fn what_a_clock_ahead_has_put_off_is_due_when_it_is_set_back(mut scene: Scene) {
    let ids = scene.queue(&["a", "b"]).await;
    let claims = scene.claim_at(scene.now).await;
    let (start, retry_at) = (scene.now, scene.in_seconds(20));
    let ahead = scene.in_seconds(24 * 3600);
    // The one waits for its retry as it has to, the other for one that a clock has set which was a day ahead.
    for (id, begun_at, retry_at) in [(ids[0], start, retry_at), (ids[1], ahead, after(ahead, Duration::from_secs(5)))] {
        let claim = claims.iter().find(|claim| claim.delivery == id).unwrap();
        let failed = attempt(1, Outcome::ServerError, begun_at);
        assert!(scene.store.complete(claim, failed, Next::RetryAt(retry_at)).await.unwrap());
    }
    scene.now = ahead;
    let fresh = scene.queue(&["a"]).await[0];
    scene.now = after(start, Duration::from_secs(1));
    assert!(scene.claim_at(scene.now).await.is_empty());
    let set_back = || scene.store.clock_was_set_back(scene.now, scene.in_seconds(30));
    assert_eq!(set_back().await.unwrap(), 2);
    assert_eq!(set_back().await.unwrap(), 0);
    let claimed: Vec<_> = scene.claim_at(scene.now).await.iter().map(|claim| claim.delivery).collect();
    assert!(claimed.len() == 2 && claimed.contains(&ids[1]) && claimed.contains(&fresh), "{claimed:?}");
    assert_eq!(scene.claim_at(retry_at).await[0].delivery, ids[0]);
}

pub(crate) async fn a_clock_that_is_set_back_lengthens_no_lease(mut scene: Scene) {
    let id = scene.queue(&["a"]).await[0];
    let start = scene.now;
    scene.now = scene.in_seconds(24 * 3600);
    let claim = scene.claim_at(scene.now).await.remove(0);
    scene.now = start;
    assert_eq!(scene.store.clock_was_set_back(start, scene.in_seconds(30)).await.unwrap(), 0);
    assert!(scene.claim_at(scene.in_seconds(29)).await.is_empty(), "the attempt may be under way");
    assert_eq!(scene.claim_at(scene.in_seconds(30)).await[0].attempt, 2);
    assert!(!scene.store.complete(&claim, attempt(1, Outcome::Delivered, start), Next::Delivered).await.unwrap());
    let record = scene.store.delivery(id).await.unwrap().unwrap();
    assert_eq!(record.attempts.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Interrupted]);
}
