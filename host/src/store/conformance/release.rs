//! Deliveries that a plugin failed on, and those among them that a quarantine holds.

use super::{Scene, webhook};
use crate::model::delivery::{Cause, Fate, NewDelivery, State, Still};
use crate::model::ids::DeliveryId;
use crate::model::plugin::PluginFailureKind;
use crate::model::rule::Rule;
use crate::store::DeliveryQuery;

fn failed(plugin: &str, kind: PluginFailureKind) -> Cause {
    Cause { words: "in words".to_owned(), failed: Some((plugin.parse().unwrap(), kind)) }
}

impl Scene {
    /// A delivery to the webhook, held by the plugin's failure.
    async fn hold(&self, webhook: &str, plugin: &str, kind: PluginFailureKind) -> DeliveryId {
        let payload = self.accept(r#"{"runs":[]}"#).await;
        let held = NewDelivery { fate: Fate::Held(failed(plugin, kind)), ..self.to_send(webhook, &payload.document) };
        self.fan_out(&payload, vec![held.clone()], &[]).await;
        held.id
    }

    async fn listed(&self, plugin: &str, state: Option<State>) -> Vec<DeliveryId> {
        let query =
            DeliveryQuery { plugin: Some(plugin.parse().unwrap()), state, limit: 10, ..DeliveryQuery::default() };
        self.store.deliveries(query).await.unwrap().into_iter().map(|delivery| delivery.id).collect()
    }

    async fn held_by(&self, webhook: &str, plugin: &str, behind: Option<DeliveryId>, limit: usize) -> Vec<DeliveryId> {
        let (endpoint, plugin) = (self.endpoint(webhook), plugin.parse().unwrap());
        self.store.held_by_quarantine(&endpoint, &plugin, behind, limit).await.unwrap()
    }
}

pub(crate) async fn a_delivery_knows_which_plugin_failed_on_it_and_how(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let held = NewDelivery {
        fate: Fate::Held(failed("slow", PluginFailureKind::Deadline)),
        ..scene.to_send("a", &payload.document)
    };
    let dropped = NewDelivery {
        fate: Fate::Dropped(failed("slow", PluginFailureKind::Refused)),
        ..scene.to_send("b", &payload.document)
    };
    scene.fan_out(&payload, vec![held.clone(), dropped.clone()], &[]).await;
    let sent = scene.queue(&["a"]).await[0];
    let scene = scene.reopen().await;
    let failure = async |id| {
        let delivery = scene.store.delivery(id).await.unwrap().unwrap().delivery;
        (delivery.state, delivery.plugin.map(String::from), delivery.failure)
    };
    let slow = Some("slow".to_owned());
    assert_eq!(failure(held.id).await, (State::Held, slow.clone(), Some(PluginFailureKind::Deadline)));
    assert_eq!(failure(dropped.id).await, (State::Dropped, slow, Some(PluginFailureKind::Refused)));
    assert_eq!(failure(sent).await, (State::Pending, None, None));
}

pub(crate) async fn deliveries_are_listed_by_the_plugin_that_failed(scene: Scene) {
    let first = scene.hold("a", "slow", PluginFailureKind::Trap).await;
    scene.hold("a", "other", PluginFailureKind::Trap).await;
    let second = scene.hold("b", "slow", PluginFailureKind::Quarantined).await;
    scene.queue(&["a"]).await;
    assert_eq!(scene.listed("slow", None).await, [second, first]);
    assert_eq!(scene.listed("slow", Some(State::Dropped)).await, []);
    assert_eq!(scene.listed("unknown", None).await, []);
    // A replay closes it, and it is still known why it was held.
    let source = scene.store.replay_source(first).await.unwrap().unwrap();
    let replay = scene.to_replay(first, Still::Any, "a", &source.payload.document);
    scene.fan_out(&source.payload, vec![replay], &[]).await;
    assert_eq!(scene.listed("slow", Some(State::Held)).await, [second]);
    assert_eq!(scene.listed("slow", Some(State::Cancelled)).await, [first]);
}

pub(crate) async fn what_a_quarantine_holds_is_found_by_webhook_and_plugin_the_oldest_first(scene: Scene) {
    assert_eq!(scene.store.quarantined().await.unwrap(), []);
    let (mut of_slow, quarantined) = (Vec::new(), PluginFailureKind::Quarantined);
    for _ in 0..3 {
        of_slow.push(scene.hold("a", "slow", quarantined).await);
        scene.hold("a", "slow", PluginFailureKind::Trap).await;
    }
    let elsewhere = scene.hold("b", "slow", quarantined).await;
    let by_other = scene.hold("a", "other", quarantined).await;
    let scene = scene.reopen().await;
    let groups = scene.store.quarantined().await.unwrap();
    let mut groups: Vec<_> =
        groups.into_iter().map(|(endpoint, plugin)| (endpoint.webhook.0, plugin.to_string())).collect();
    groups.sort();
    assert_eq!(groups, [("a", "other"), ("a", "slow"), ("b", "slow")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(scene.held_by("a", "slow", None, 10).await, of_slow);
    assert_eq!(scene.held_by("a", "slow", None, 2).await, of_slow[..2]);
    assert_eq!(scene.held_by("a", "slow", Some(of_slow[1]), 10).await, of_slow[2..]);
    assert_eq!(scene.held_by("b", "slow", None, 10).await, [elsewhere]);
    assert_eq!(scene.held_by("a", "other", None, 10).await, [by_other]);
    assert_eq!(scene.held_by("b", "other", None, 10).await, []);
    // What goes to nobody any more waits for nothing.
    scene.put(vec![Rule { webhooks: vec![webhook("b")], ..scene.rule.clone() }]).await;
    assert_eq!(scene.held_by("a", "slow", None, 10).await, []);
    assert_eq!(scene.store.quarantined().await.unwrap(), [(scene.endpoint("b"), "slow".parse().unwrap())]);
}
