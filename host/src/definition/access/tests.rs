use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;
use crate::definition::{Problem, RuleDefinition, changes, is_same, patched, read_rule, resolve, show};
use crate::model::Timestamp;
use crate::model::rule::Rule;

const ID: &str = "0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10";
const CLIENT_SECRET: &str = "client-s3cret";
const TOKEN_URL: &str = "https://auth.example.com/a1b2c3d4e5f6g7h8i9/token?tenant=t3nant";

fn made() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn rule_with(url: &str, access: &Value) -> Value {
    let mut webhook = json!({"id": "a", "url": url});
    webhook.as_object_mut().unwrap().extend(access.as_object().unwrap().clone());
    json!({"display_name": "a", "sampling_rate": 1, "webhooks": [webhook]})
}

fn rule_of(definition: RuleDefinition, before: Option<&Rule>) -> Result<Rule, Problems> {
    resolve(definition, before, ID.parse().unwrap(), &[], "", Timestamp::UNIX_EPOCH)
}

fn stored(access: &Value) -> Rule {
    rule_of(read_rule(&rule_with("https://example.com/hook", access)).unwrap(), None).unwrap()
}

fn problems(url: &str, access: &Value, before: Option<&Rule>) -> Vec<String> {
    let resolved = read_rule(&rule_with(url, access)).and_then(|definition| rule_of(definition, before));
    resolved.unwrap_err().iter().map(Problem::to_string).collect()
}

fn whole() -> (Value, String) {
    let (certificate, key) = made();
    let access = json!({
        "ca": made().0,
        "client_certificate": {"certificate": certificate, "key": key},
        "oauth2": {
            "token_url": TOKEN_URL,
            "client_id": "runhook",
            "client_secret": CLIENT_SECRET,
            "scope": "hooks",
            "audience": "api",
            "client_auth": "body",
        },
    });
    (access, key)
}

#[test]
fn what_is_shown_has_no_secret_and_means_the_same_when_it_is_sent_back() {
    let (access, key) = whole();
    let rule = stored(&access);
    let shown = show(&rule);
    for secret in [key.lines().nth(1).unwrap(), CLIENT_SECRET, "t3nant", "a1b2c3d4e5f6g7h8i9"] {
        assert!(!shown.to_string().contains(secret) && !format!("{rule:?}").contains(secret), "{secret}");
    }
    let webhook = &shown["webhooks"][0];
    assert_eq!(webhook["client_certificate"]["key"], MASK);
    assert_eq!(webhook["oauth2"]["client_secret"], MASK);
    assert_eq!(webhook["oauth2"]["token_url"], "https://auth.example.com/********/token?********");
    let back = rule_of(read_rule(&shown).unwrap(), Some(&rule)).unwrap();
    assert_eq!(back.webhooks[0].endpoint.access, rule.webhooks[0].endpoint.access);
    let renamed = patched(&rule, &json!({"display_name": "b", "sampling_rate": 1})).unwrap();
    let renamed = rule_of(renamed, Some(&rule)).unwrap();
    assert_eq!(renamed.webhooks[0].endpoint.access, rule.webhooks[0].endpoint.access);
    assert_eq!(changes(&rule, &renamed), [r#"display_name: "a" -> "b""#]);
}

#[test]
fn each_change_is_one_line_without_a_secret() {
    let (access, _) = whole();
    let before = stored(&access);
    let (certificate, key) = made();
    let mut changed = access.clone();
    changed["client_certificate"] = json!({"certificate": certificate, "key": key});
    changed["oauth2"]["token_url"] = json!(TOKEN_URL.replace("t3nant", "other"));
    changed["oauth2"]["client_secret"] = json!("another");
    changed["oauth2"]["scope"] = Value::Null;
    changed.as_object_mut().unwrap().remove("ca");
    let after = stored(&changed);
    assert!(!is_same(&before, &after));
    assert_eq!(
        changes(&before, &after),
        [
            "webhooks.a.ca: removed",
            "webhooks.a.client_certificate.certificate: changed",
            "webhooks.a.client_certificate.key: changed",
            "webhooks.a.oauth2.token_url: changed where it is masked",
            r#"webhooks.a.oauth2.scope: "hooks" -> null"#,
            "webhooks.a.oauth2.client_secret: changed",
        ]
    );
    assert_eq!(changes(&stored(&json!({})), &after)[2], "webhooks.a.oauth2: added");
}

#[test]
fn a_kept_key_has_to_be_that_of_the_new_certificate() {
    let (access, _) = whole();
    let before = stored(&access);
    let renewed = json!({"client_certificate": {"certificate": made().0, "key": MASK}});
    let wrong = problems("https://example.com/hook", &renewed, Some(&before));
    assert_eq!(wrong, ["webhooks[0].client_certificate.key: is not the key of the certificate"]);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_without_the_value() {
    let ((certificate, key), url) = (made(), "https://example.com/hook");
    let oauth2 = |key: &str, value: Value| {
        let mut oauth2 = json!({"token_url": "https://a.example/", "client_id": "a", "client_secret": "s3cret"});
        oauth2[key] = value;
        json!({"oauth2": oauth2})
    };
    for (access, says) in [
        (json!({"ca": "s3cret"}), "webhooks[0].ca: has no certificate"),
        (json!({"ca": key}), "webhooks[0].ca: has a private key"),
        (json!({"ca": "x".repeat(65 * 1024)}), "webhooks[0].ca: has 66560 bytes; at most 65536 are kept"),
        (json!({"ca": [certificate]}), "webhooks[0].ca: needs a string"),
        (json!({"client_certificate": "s3cret"}), "webhooks[0].client_certificate: needs an object"),
        (json!({"client_certificate": {"certificate": certificate}}), "client_certificate.key: is missing"),
        (
            json!({"client_certificate": {"certificate": "s3cret", "key": key}}),
            "client_certificate.certificate: has no certificate",
        ),
        (
            json!({"client_certificate": {"certificate": certificate, "key": "s3cret"}}),
            "client_certificate.key: needs one private key",
        ),
        (
            json!({"client_certificate": {"certificate": certificate, "key": MASK}}),
            "client_certificate.key: is masked, and there is no value to keep",
        ),
        (oauth2("token_url", json!("ftp://a.example/s3cret")), "oauth2.token_url: has the scheme `ftp`"),
        (oauth2("token_url", json!("https://a.example/?********")), "oauth2.token_url: has a masked part"),
        (oauth2("client_id", json!("")), "oauth2.client_id: is empty"),
        (oauth2("client_secret", Value::Null), "oauth2.client_secret: is missing"),
        (oauth2("client_secret", json!(MASK)), "oauth2.client_secret: is masked"),
        (oauth2("client_auth", json!("bodi")), "`bodi` is neither basic nor body; did you mean"),
        (oauth2("scopes", json!("a")), "oauth2.scopes: unknown key"),
    ] {
        let wrong = problems(url, &access, None).join("\n");
        assert!(wrong.contains(says) && !wrong.contains("s3cret"), "{says}: {wrong}");
    }
}

#[test]
fn what_acts_on_tls_needs_a_url_that_has_it() {
    let (access, _) = whole();
    assert!(read_rule(&rule_with("http://example.com/", &access)).and_then(|it| rule_of(it, None)).is_ok());
    let mut plain = access;
    plain["oauth2"]["token_url"] = json!("http://auth.example.com/");
    let wrong = problems("http://example.com/", &plain, None);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].starts_with("webhooks[0].ca: needs an https:// URL"), "{wrong:?}");
    assert!(wrong[1].starts_with("webhooks[0].client_certificate: needs an https:// URL"), "{wrong:?}");
}

#[test]
fn a_client_secret_is_kept_only_while_it_and_its_tokens_go_where_they_went() {
    let (access, _) = whole();
    let before = stored(&access);
    let mut masked = json!({"oauth2": access["oauth2"]});
    masked["oauth2"]["client_secret"] = json!(MASK);
    let same = rule_with("https://example.com/other", &masked);
    let kept = rule_of(read_rule(&same).unwrap(), Some(&before)).unwrap();
    let kept = kept.webhooks[0].endpoint.access.oauth2.as_ref().unwrap();
    assert_eq!(kept.client_secret.expose(), CLIENT_SECRET);
    let refused = ["webhooks[0].oauth2.client_secret: is masked, and there is no value to keep; give the value"];
    assert_eq!(problems("https://elsewhere.example/hook", &masked, Some(&before)), refused);
    masked["oauth2"]["token_url"] = json!("https://elsewhere.example/token");
    assert_eq!(problems("https://example.com/hook", &masked, Some(&before)), refused);
}
