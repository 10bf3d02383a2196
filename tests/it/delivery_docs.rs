//! docs/delivery.md names the test behind each promise; the tests have to be there.

/// Where the tests are that the page names.
const SOURCES: [&str; 21] = [
    include_str!("dispatching.rs"),
    include_str!("langsmith_profile.rs"),
    include_str!("durable_profile.rs"),
    include_str!("endpoints.rs"),
    include_str!("pacing.rs"),
    include_str!("stopping.rs"),
    include_str!("../../host/src/dispatch/lane.rs"),
    include_str!("../../host/src/dispatch/retry.rs"),
    include_str!("../../host/src/dispatch/slots.rs"),
    include_str!("../../host/src/outbound/address.rs"),
    include_str!("../../host/src/outbound/clients.rs"),
    include_str!("../../host/src/outbound/resolver.rs"),
    include_str!("../../host/src/outbound/tests.rs"),
    include_str!("../../host/src/cli/serve.rs"),
    include_str!("access.rs"),
    include_str!("egress.rs"),
    include_str!("kill.rs"),
    include_str!("power_loss.rs"),
    include_str!("lying_receiver.rs"),
    include_str!("full_disk.rs"),
    include_str!("clock_jumps.rs"),
];

#[test]
fn every_test_that_the_delivery_page_names_exists() {
    let page = include_str!("../../docs/delivery.md");
    // In backticks, of four words or more: names of outcomes and headers are shorter.
    let names = page.split('`').skip(1).step_by(2).filter(|code| code.matches('_').count() >= 3);
    let names: Vec<_> =
        names.filter(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())).collect();
    assert!(names.len() > 25, "the page names its tests: {names:?}");
    for name in names {
        assert!(SOURCES.iter().any(|source| source.contains(&format!("fn {name}("))), "no test is called {name}");
    }
}

#[test]
fn every_row_of_the_profile_is_on_the_delivery_page() {
    let page = include_str!("../../docs/delivery.md");
    let tests =
        SOURCES[1].lines().filter_map(|line| line.strip_prefix("async fn ")?.split_once("()")).map(|(name, _)| name);
    let untold = [
        "a_silent_receiver_of_an_empty_body_is_told_from_one_that_cannot_be_reached",
        "a_reused_connection_that_falls_silent_is_a_timeout_with_its_address",
    ];
    for name in tests.filter(|name| !untold.contains(name)) {
        assert!(page.contains(&format!("`{name}`")), "{name} holds a promise that the page does not make");
    }
}
