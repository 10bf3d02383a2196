//! A webhook's access: read from JSON, resolved, shown and compared. Keys and client secrets are never shown.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::definition::difference::secret;
use crate::definition::object::Object;
use crate::definition::read::{bounded, problem};
use crate::definition::resolve::{place, unmasked};
use crate::definition::{AccessDefinition, OAuth2Definition, Problems};
use crate::model::access::{Access, ClientAuth, ClientCertificate, OAuth2};
use crate::model::endpoint::EndpointUrl;
use crate::model::secret::MASK;
use crate::nearest::did_you_mean;
use crate::pem;

/// Of a webhook.
pub(super) const ACCESS_KEYS: &[&str] = &["ca", "client_certificate", "oauth2"];
const CERTIFICATE_KEYS: &[&str] = &["certificate", "key"];
const OAUTH2_KEYS: &[&str] = &["token_url", "client_id", "client_secret", "scope", "audience", "client_auth"];

/// Longest text of certificates, in bytes: a chain is a few KiB, a bundle of an organisation's authorities tens.
const CERTIFICATES_BYTES_MAX: usize = 64 * 1024;

const MASKED_URL: &str = "has a masked part, and is not the stored URL as it is shown; write the masked part out";
const NEEDS_TLS: &str = "needs an https:// URL to act on; the webhook has none";

pub(super) fn access(webhook: &Object<'_>, problems: &mut Problems) -> AccessDefinition {
    AccessDefinition {
        authority: authority(webhook, problems),
        client_certificate: client_certificate(webhook, problems),
        oauth2: oauth2(webhook, problems),
    }
}

fn authority(webhook: &Object<'_>, problems: &mut Problems) -> Option<String> {
    let text = certificates(webhook, "ca", problems)?;
    if let Err(error) = pem::authorities(text.as_bytes()) {
        problems.push(problem(&webhook.place("ca"), &error.to_string()));
    }
    Some(text)
}

fn client_certificate(webhook: &Object<'_>, problems: &mut Problems) -> Option<ClientCertificate> {
    let object = part(webhook, "client_certificate", CERTIFICATE_KEYS, &["certificate", "key"], problems)?;
    let certificate = certificates(&object, "certificate", problems);
    if let Some(Err(error)) = certificate.as_ref().map(|text| pem::certificates(text.as_bytes())) {
        problems.push(problem(&object.place("certificate"), &error.to_string()));
    }
    let key = object.string("key", problems)?;
    Some(ClientCertificate { certificate: certificate?, key: bounded(key, &object.place("key"), problems)? })
}

fn oauth2(webhook: &Object<'_>, problems: &mut Problems) -> Option<OAuth2Definition> {
    let needed = ["token_url", "client_id", "client_secret"];
    let object = part(webhook, "oauth2", OAUTH2_KEYS, &needed, problems)?;
    let mut text = |key| {
        let text = object.string(key, problems)?;
        bounded(text, &object.place(key), problems)
    };
    let (token_url, client_id, client_secret) = (text("token_url"), text("client_id"), text("client_secret"));
    let (scope, audience) = (text("scope"), text("audience"));
    let client_auth = match object.string("client_auth", problems) {
        None | Some("basic") => ClientAuth::Basic,
        Some("body") => ClientAuth::Body,
        Some(other) => {
            let hint = did_you_mean(other, ["basic", "body"]);
            problems.push(problem(&object.place("client_auth"), &format!("`{other}` is neither basic nor body{hint}")));
            ClientAuth::Basic
        }
    };
    Some(OAuth2Definition {
        token_url: token_url?,
        client_id: client_id?.expose().to_owned(),
        client_secret: client_secret?,
        scope: scope.map(|scope| scope.expose().to_owned()),
        audience: audience.map(|audience| audience.expose().to_owned()),
        client_auth,
    })
}

/// An object within the webhook's, of which some keys have to be there and say something.
fn part<'a>(
    webhook: &Object<'a>,
    key: &str,
    known: &[&str],
    needed: &[&str],
    problems: &mut Problems,
) -> Option<Object<'a>> {
    let object = Object::new(webhook.get(key)?, &webhook.place(key), problems)?;
    object.only(known, problems);
    for key in needed {
        match object.get(key) {
            None => problems.push(problem(&object.place(key), "is missing")),
            Some(Value::String(text)) if text.is_empty() => problems.push(problem(&object.place(key), "is empty")),
            Some(_) => {}
        }
    }
    Some(object)
}

fn certificates(object: &Object<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    let text = object.string(key, problems)?;
    if text.len() > CERTIFICATES_BYTES_MAX {
        let long = format!("has {} bytes; at most {CERTIFICATES_BYTES_MAX} are kept", text.len());
        problems.push(problem(&object.place(key), &long));
        return None;
    }
    Some(text.to_owned())
}

/// The access that a definition means; what is masked is kept from the webhook as it was, which sends to `url` now. A
/// client secret is kept only where that is the same place as before: its tokens go there.
pub(super) fn resolve_access(
    given: AccessDefinition,
    before: Option<&Access>,
    is_same_place: bool,
    url: &EndpointUrl,
    at: &str,
    problems: &mut Problems,
) -> Option<Access> {
    let kept = before.and_then(|before| before.client_certificate.as_ref());
    let client_certificate = match given.client_certificate {
        Some(given) => Some(resolve_certificate(given, kept, &place(at, "client_certificate"), problems)?),
        None => None,
    };
    let kept = before.and_then(|before| before.oauth2.as_ref());
    let oauth2 = match given.oauth2 {
        Some(given) => Some(resolve_oauth2(given, kept, is_same_place, &place(at, "oauth2"), problems)?),
        None => None,
    };
    let is_tls = |url: &EndpointUrl| url.expose().scheme() == "https";
    if !is_tls(url) && !oauth2.as_ref().is_some_and(|oauth2: &OAuth2| is_tls(&oauth2.token_url)) {
        let useless = [("ca", given.authority.is_some()), ("client_certificate", client_certificate.is_some())];
        let useless = useless.into_iter().filter(|(_, is_given)| *is_given);
        problems.extend(useless.map(|(key, _)| problem(&place(at, key), NEEDS_TLS)));
    }
    Some(Access { authority: given.authority, client_certificate, oauth2 })
}

fn resolve_certificate(
    given: ClientCertificate,
    kept: Option<&ClientCertificate>,
    at: &str,
    problems: &mut Problems,
) -> Option<ClientCertificate> {
    let key = unmasked(given.key, kept.map(|kept| &kept.key), &place(at, "key"), problems)?;
    match pem::certificates(given.certificate.as_bytes()) {
        Ok(certificates) => {
            if let Err(error) = pem::key_of(&certificates, key.expose().as_bytes()) {
                problems.push(problem(&place(at, "key"), &error.to_string()));
            }
        }
        Err(error) => problems.push(problem(&place(at, "certificate"), &error.to_string())),
    }
    Some(ClientCertificate { certificate: given.certificate, key })
}

fn resolve_oauth2(
    given: OAuth2Definition,
    kept: Option<&OAuth2>,
    is_same_place: bool,
    at: &str,
    problems: &mut Problems,
) -> Option<OAuth2> {
    let shown = given.token_url.expose();
    let token_url = match kept.filter(|kept| kept.token_url.to_string() == shown) {
        Some(kept) => Ok(kept.token_url.clone()),
        None if shown.contains(MASK) => Err(MASKED_URL.to_owned()),
        None => EndpointUrl::parse(shown).map_err(|error| error.to_string()),
    };
    let token_url = token_url.map_err(|wrong| problems.push(problem(&place(at, "token_url"), &wrong))).ok();
    // A secret that is kept goes where it went, and nowhere else, and so does what it buys.
    let goes_there =
        |kept: &&OAuth2| token_url.as_ref().is_none_or(|url| url.expose().origin() == kept.token_url.expose().origin());
    let kept = kept.filter(goes_there).filter(|_| is_same_place).map(|kept| &kept.client_secret);
    let client_secret = unmasked(given.client_secret, kept, &place(at, "client_secret"), problems);
    Some(OAuth2 {
        token_url: token_url?,
        client_id: given.client_id,
        client_secret: client_secret?,
        scope: given.scope,
        audience: given.audience,
        client_auth: given.client_auth,
    })
}

/// The fields of a webhook as answers show them.
pub(super) fn show_access(access: &Access) -> [(&'static str, Value); 3] {
    let certificate = access.client_certificate.as_ref();
    let certificate = certificate.map(|it| json!({"certificate": it.certificate, "key": MASK}));
    let oauth2 = access.oauth2.as_ref().map(|it| {
        json!({
            "token_url": it.token_url.to_string(),
            "client_id": it.client_id,
            "client_secret": MASK,
            "scope": it.scope,
            "audience": it.audience,
            "client_auth": it.client_auth,
        })
    });
    [("ca", json!(access.authority)), ("client_certificate", json!(certificate)), ("oauth2", json!(oauth2))]
}

/// One line for each change.
pub(super) fn access_changes(at: &str, before: &Access, after: &Access) -> Vec<String> {
    let (old, new) = (before.client_certificate.as_ref(), after.client_certificate.as_ref());
    let certificate = |it: Option<&ClientCertificate>| it.map(|it| it.certificate.clone());
    let key = |it: Option<&ClientCertificate>| it.map(|it| it.key.clone());
    let mut lines = Vec::new();
    lines.extend(secret(&format!("{at}.ca"), before.authority.as_ref(), after.authority.as_ref()));
    let place = format!("{at}.client_certificate");
    lines.extend(secret(&format!("{place}.certificate"), certificate(old).as_ref(), certificate(new).as_ref()));
    lines.extend(secret(&format!("{place}.key"), key(old).as_ref(), key(new).as_ref()));
    lines.extend(oauth2_changes(&format!("{at}.oauth2"), before.oauth2.as_ref(), after.oauth2.as_ref()));
    lines
}

fn oauth2_changes(at: &str, before: Option<&OAuth2>, after: Option<&OAuth2>) -> Vec<String> {
    let (Some(old), Some(new)) = (before, after) else { return secret(at, before, after).into_iter().collect() };
    let mut lines = Vec::new();
    let urls = (old.token_url.to_string(), new.token_url.to_string());
    if old.token_url != new.token_url && urls.0 == urls.1 {
        lines.push(format!("{at}.token_url: changed where it is masked"));
    }
    let shown = |it: &OAuth2| {
        [
            ("token_url", it.token_url.to_string()),
            ("client_id", json!(it.client_id).to_string()),
            ("scope", json!(it.scope).to_string()),
            ("audience", json!(it.audience).to_string()),
            ("client_auth", json!(it.client_auth).to_string()),
        ]
    };
    let pairs = shown(old).into_iter().zip(shown(new)).filter(|(old, new)| old != new);
    lines.extend(pairs.map(|((key, old), (_, new))| format!("{at}.{key}: {old} -> {new}")));
    lines.extend(secret(&format!("{at}.client_secret"), Some(&old.client_secret), Some(&new.client_secret)));
    lines
}
