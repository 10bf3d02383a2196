//! Rules by file and by API, through the real binary: idempotent, compared without secrets, refused with reasons.

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};

use crate::host_process::{HostProcess, HostSettings, client};

const RULE: &str = "4d1c9a7e-7777-4c38-9d5e-0d7a3c1f9b10";

struct Scene {
    host: HostProcess,
    folder: tempfile::TempDir,
}

impl Scene {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
        Self { host, folder }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn apply(&self, name: &str, text: &str, options: &[&str]) -> String {
        let file = self.file(name, text);
        self.host.cli_ok(&[&["apply", "-f", &file], options].concat())
    }

    fn refused(&self, name: &str, text: &str) -> String {
        let file = self.file(name, text);
        let Output { status, stderr, .. } = self.host.cli(&["apply", "-f", &file]);
        assert!(!status.success());
        String::from_utf8(stderr).unwrap()
    }

    async fn api(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = client().request(method, self.host.url(path)).header("x-api-key", self.host.api_key());
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn toml(url: &str, extra: &str) -> String {
    format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "first"
        sampling_rate = 1.0
        relay_secret = "relay-s3cret"
        [[rules.webhooks]]
        id = "w"
        url = "{url}"
        plugins = [{{ name = "errors-only" }}]
        {extra}
        "#
    )
}

#[test]
fn applying_twice_changes_nothing_and_a_dry_run_shows_what_would_change() {
    let scene = Scene::set();
    let first = toml("https://example.com/a?secret=query-s3cret", "");
    let created = scene.apply("rules.toml", &first, &[]);
    assert!(created.starts_with(&format!("create     {RULE}  first")), "{created}");
    assert!(created.contains(&format!("/relay/{RULE}?secret=")), "{created}");
    assert!(scene.apply("rules.toml", &first, &[]).starts_with("unchanged"));

    let second = toml("https://example.com/b?secret=other-s3cret", "headers = { x-key = \"header-s3cret\" }");
    let shown = scene.apply("rules.toml", &second, &["--dry-run"]);
    assert!(shown.starts_with("update") && shown.contains("nothing was changed"), "{shown}");
    assert!(shown.contains("https://example.com/a?******** -> https://example.com/b?********"), "{shown}");
    assert!(shown.contains("webhooks.w.headers.x-key: added"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(scene.apply("rules.toml", &first, &[]).starts_with("unchanged"), "the dry run changed nothing");
    assert!(scene.apply("rules.toml", &second, &[]).starts_with("update"));
}

#[test]
fn what_rule_show_and_list_print_can_be_applied() {
    let scene = Scene::set();
    scene.apply(
        "rules.toml",
        &toml("https://example.com/a?secret=query-s3cret", "headers = { x-key = \"s3cret\" }"),
        &[],
    );
    let shown = scene.host.cli_ok(&["rule", "show", "first"]);
    assert!(scene.apply("shown.json", &shown, &[]).starts_with("unchanged"), "{shown}");
    let listed = scene.host.cli_ok(&["rule", "list", "--json"]);
    assert!(scene.apply("listed.json", &listed, &["--prune"]).starts_with("unchanged"), "{listed}");
    let renamed = shown.replace("\"first\"", "\"a/b\"");
    assert!(scene.apply("shown.json", &renamed, &[]).starts_with("update"), "{renamed}");
    assert!(scene.host.cli_ok(&["rule", "show", "a/b"]).contains(RULE));
    assert!(scene.host.cli_ok(&["rule", "delete", "a/b"]).starts_with("deleted a/b"));
}

#[test]
fn a_dry_run_and_a_rule_without_a_secret_show_no_relay_url() {
    let scene = Scene::set();
    let named = "[[rules]]\ndisplay_name = \"named\"\nsampling_rate = 1.0\nrelay_secret = \"s\"\n";
    let shown = scene.apply("rules.toml", named, &["--dry-run"]);
    assert!(shown.starts_with("create     named\n") && !shown.contains("relay URL"), "{shown}");
    let created = scene.apply("rules.toml", named, &[]);
    assert!(created.contains("relay URL: http"), "{created}");
    let closed = scene.apply("rules.toml", &named.replace("relay_secret = \"s\"", ""), &[]);
    assert!(closed.contains("relay_secret: removed") && !closed.contains("relay URL"), "{closed}");
}

#[test]
fn a_rule_without_an_id_is_matched_by_its_name_and_prune_deletes_the_rest() {
    let scene = Scene::set();
    scene.apply("rules.toml", &toml("https://example.com/a", ""), &[]);
    let yaml = "rules:\n  - display_name: second\n    sampling_rate: 0.5\n";
    assert!(scene.apply("rules.yaml", yaml, &[]).starts_with("create"));
    assert!(scene.apply("rules.yaml", yaml, &[]).starts_with("unchanged"));
    let json = r#"{"rules": [{"display_name": "second", "sampling_rate": 0.25}]}"#;
    let pruned = scene.apply("rules.json", json, &["--prune"]);
    assert!(pruned.contains("update") && pruned.contains("sampling_rate: 0.5 -> 0.25"), "{pruned}");
    assert!(pruned.contains(&format!("delete     {RULE}  first")), "{pruned}");
    let listed = scene.host.cli_ok(&["rule", "list"]);
    assert!(listed.contains("second") && !listed.contains("first"), "{listed}");
    scene.host.cli_ok(&["rule", "delete", "second"]);
    assert_eq!(scene.host.cli_ok(&["rule", "list", "--json"]).trim(), "[]");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_the_nearest_right_word() {
    let scene = Scene::set();
    let wrong = toml("ftp://example.com", "retries = 5")
        .replace("errors-only\" }", "error-only\" }, { name = \"redact\", config = { pointer = [] } }")
        .replace("sampling_rate", "sampling_rat");
    let shown = scene.refused("rules.toml", &wrong);
    for words in [
        "rules[0].sampling_rat: unknown key; did you mean `sampling_rate`?",
        "rules[0].webhooks[0].retries: unknown key",
    ] {
        assert!(shown.contains(words), "{words:?} is not in {shown}");
    }
    let wrong = toml("ftp://example.com", "");
    assert!(scene.refused("rules.toml", &wrong).contains("webhooks[0].url: has the scheme `ftp`"));
    let wrong = toml("https://example.com", "").replace("errors-only", "error-only");
    let shown = scene.refused("rules.toml", &wrong);
    assert!(
        shown.contains("plugins[0]: error-only: there is no plugin of that name; did you mean `errors-only`?"),
        "{shown}"
    );
    let wrong = toml("https://example.com", "").replace(
        r#"{ name = "errors-only" }"#,
        r#"{ name = "slack" }, { name = "redact", config = { pointer = [] } }"#,
    );
    let shown = scene.refused("rules.toml", &wrong);
    assert!(shown.contains("plugins[1]: redact: never runs, since `slack` before it renders the body"), "{shown}");
    assert!(shown.contains("plugins[1]: redact: config") && shown.contains("pointer"), "{shown}");
    assert!(scene.refused("rules.toml", "[[rules]\n").contains("line 1, column 9"));
    assert!(scene.refused("rules.txt", "").contains("--format"));
    assert_eq!(scene.host.cli_ok(&["rule", "list", "--json"]).trim(), "[]", "nothing of it was applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_webhook_cancels_what_waits_for_it_visibly() {
    let scene = Scene::set();
    let rules = format!(
        "{}\n[[rules.webhooks]]\nid = \"held\"\nurl = \"https://example.com/held\"\n",
        toml("https://example.com/a", "")
    );
    let switched_off = |rules: &str| rules.replace("sampling_rate = 1.0", "sampling_rate = 1.0\nis_enabled = false");
    scene.apply("rules.toml", &switched_off(&rules), &[]);
    let payload = r#"{"rule_id":"r","runs":[{"id":"1","status":"error"}]}"#;
    assert_eq!(scene.host.relay(RULE, "relay-s3cret", payload).await.status(), 202);
    scene.host.until_settled().await;
    let applied = scene.apply("rules.toml", &switched_off(&toml("https://example.com/a", "")), &[]);
    assert!(applied.contains("webhooks.held: removed"), "{applied}");
    assert!(applied.contains("1 waiting deliveries of removed webhooks were cancelled"), "{applied}");
    let cancelled = scene.host.deliveries("&state=cancelled").await;
    let cause = json!("the webhook was removed");
    assert_eq!((cancelled.len(), &cancelled[0]["webhook_id"], &cancelled[0]["cause"]), (1, &json!("held"), &cause));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_creates_shows_changes_and_deletes_as_langsmiths_does() {
    let scene = Scene::set();
    let (rules, given) = (
        "/api/v1/runs/rules",
        json!({
            "display_name": "by api", "sampling_rate": 1, "session_id": null, "extend_only": false,
            "webhooks": [{"url": "https://example.com/a?secret=query-s3cret", "headers": {"x-key": "header-s3cret"}}],
        }),
    );
    let (status, created) = scene.api(Method::POST, rules, given.clone()).await;
    assert_eq!(status, 200, "{created}");
    assert!(!created.to_string().contains("s3cret"), "{created}");
    let path = format!("{rules}/{}", created["id"].as_str().unwrap());
    assert_eq!(scene.api(Method::POST, rules, given).await.0, 409);

    // What was shown can be sent back: the masks keep what they hide.
    let (status, same) = scene.api(Method::PATCH, &path, created.clone()).await;
    assert_eq!((status, &same["webhooks"]), (200, &created["webhooks"]));
    let (status, changed) =
        scene.api(Method::PATCH, &path, json!({"display_name": "renamed", "sampling_rate": 0.5})).await;
    assert_eq!(
        (status, &changed["display_name"], &changed["webhooks"]),
        (200, &json!("renamed"), &created["webhooks"])
    );
    let (status, wrong) = scene.api(Method::PATCH, &path, json!({"display_name": "renamed"})).await;
    assert_eq!((status, &wrong["problems"][0]["at"]), (422, &json!("sampling_rate")));
    let (status, wrong) =
        scene.api(Method::POST, rules, json!({"display_name": "x", "sampling_rate": 1, "filter": "eq(a)"})).await;
    assert_eq!((status, &wrong["problems"][0]["at"]), (422, &json!("filter")));

    assert_eq!(scene.host.get(rules).await, json!([changed]));
    assert_eq!(scene.api(Method::DELETE, &path, Value::Null).await.0, 200);
    assert_eq!(scene.api(Method::DELETE, &path, Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_needs_its_key_and_names_where_it_is() {
    let scene = Scene::set();
    let ask = async |key: Option<&str>| {
        let request = client().get(scene.host.url("/api/v1/plugins"));
        let request = key.iter().fold(request, |request, key| request.header("x-api-key", *key));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = ask(None).await;
    assert!(status == 401 && text.contains("`api-key`"), "{text}");
    assert_eq!(ask(Some("rh_wrong")).await.0, 401);
    assert_eq!(ask(Some(&scene.host.api_key())).await.0, 200);
    let log = scene.host.log();
    assert!(log.contains("api-key") && !log.contains(&scene.host.api_key()), "{log}");
}

#[test]
fn a_plugin_that_has_gone_stands_only_in_the_way_of_its_new_uses() {
    let mut scene = Scene::set();
    assert_eq!(scene.host.stop(), Some(0));
    let plugins = scene.folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::copy(runhook_test_guests::KEEPS_EVEN, plugins.join("picky.wasm")).unwrap();
    let mut settings = HostSettings::on(&scene.host.data);
    settings.plugins = Some(plugins);
    scene.host = HostProcess::start(&settings);
    let rules = toml("https://example.com/a", "").replace("errors-only", "picky");
    scene.apply("rules.toml", &rules, &[]);
    assert_eq!(scene.host.stop(), Some(0));

    scene.host = HostProcess::start(&HostSettings::on(&scene.host.data));
    assert!(scene.apply("rules.toml", &rules, &[]).starts_with("unchanged"));
    let off = rules.replace("sampling_rate = 1.0", "sampling_rate = 1.0\nis_enabled = false");
    assert!(scene.apply("rules.toml", &off, &[]).contains("is_enabled: true -> false"));
    let extended = rules.replace(r#"{ name = "picky" }"#, r#"{ name = "picky" }, { name = "errors-only" }"#);
    assert!(scene.apply("rules.toml", &extended, &[]).starts_with("update"));
    let other = rules.replace("id = \"w\"", "id = \"x\"");
    assert!(scene.refused("rules.toml", &other).contains("plugins[0]: picky: there is no plugin of that name"));
}

#[test]
fn rules_outlive_the_host_and_a_lost_key_is_told() {
    let mut scene = Scene::set();
    scene.apply("rules.toml", &toml("https://example.com/a?x=1", ""), &[]);
    assert_eq!(scene.host.stop(), Some(0));
    let mut settings = HostSettings::on(&scene.host.data);
    let mut again = HostProcess::start(&settings);
    assert!(again.cli_ok(&["rule", "list"]).contains("first"));
    again.stop();
    settings.environment.push(("RUNHOOK_SECRET_KEY".to_owned(), "A".repeat(43)));
    let log = HostProcess::try_start(&settings).err().expect("it does not start");
    assert!(log.contains("needs the key with the id"), "{log}");
}

#[tokio::test]
async fn a_refused_rule_leaves_no_project_behind() {
    let scene = Scene::set();
    let webhook = |plugin: &str| json!({"url": "https://example.com/a", "plugins": [{"name": plugin}]});
    let rule =
        |plugin| json!({"display_name": "r", "sampling_rate": 1, "session_name": "new", "webhooks": [webhook(plugin)]});
    let (status, refused) = scene.api(Method::POST, "/api/v1/runs/rules", rule("errors-onyl")).await;
    assert_eq!(status, 422);
    assert!(refused.to_string().contains("errors-only"), "{refused}");
    assert_eq!(scene.api(Method::GET, "/sessions?name=new", Value::Null).await.1, json!([]));
    let (status, stored) = scene.api(Method::POST, "/api/v1/runs/rules", rule("errors-only")).await;
    assert_eq!(status, 200);
    let projects = scene.api(Method::GET, "/sessions?name=new", Value::Null).await.1;
    assert_eq!(projects[0]["id"], stored["session_id"]);
}
