//! Tokens of OAuth2's client credentials (RFC 6749, section 4.4): fetched where they are needed, kept in memory until
//! shortly before they expire, one fetch at a time however many attempts wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::clock::{Clock, after};
use crate::limits;
use crate::model::Timestamp;
use crate::model::access::{Access, ClientAuth, OAuth2};
use crate::outbound::clients::{Clients, hash_of};
use crate::outbound::failure::describe;
use crate::outbound::progress::Progress;

/// How long a fetch goes on, whoever still waits for it: what comes too late for one attempt is there for the next.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a token is used whose answer does not say how long it holds (RFC 6749 only recommends that it does).
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// So long before its end a token is no longer used, or half its lifetime: the request has to arrive, and clocks differ.
const MARGIN: Duration = Duration::from_secs(30);

/// A younger token is kept although the receiver refused it: a new one would be as good, and who refuses all of them
/// must not have one fetched for each delivery.
const YOUNG: Duration = Duration::from_secs(10);

/// Tokens that are kept; beyond it those go that are not in use any more, else the one that ends first.
const TOKENS_MAX: usize = 1024;

/// How much of the `error` of an answer is told.
const ERROR_CHARS_MAX: usize = 64;

pub(super) struct Tokens {
    clock: Arc<dyn Clock>,
    fetches: Mutex<HashMap<blake3::Hash, Fetching>>,
}

/// A token that is there, or will be, for all who wait for it.
pub(super) type Fetching = Shared<BoxFuture<'static, Result<Token, String>>>;

/// A token and how long it is used.
#[derive(Clone)]
pub(super) struct Token {
    /// The value of the header `authorization`.
    pub(super) authorization: HeaderValue,
    fetched_at: Timestamp,
    used_until: Timestamp,
}

impl Tokens {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, fetches: Mutex::default() }
    }

    /// The token of these credentials: the one at hand, the one that is on its way, or one that is asked for now. Fails with
    /// words that name the token endpoint and what it did.
    pub(super) fn get(&self, clients: &Arc<Clients>, access: &Arc<Access>, oauth2: &OAuth2) -> Fetching {
        let key = key(access, oauth2);
        let mut fetches = self.fetches();
        let now = self.clock.now();
        if let Some(fetching) = fetches.get(&key).filter(|fetching| is_in_use(fetching, now)) {
            return fetching.clone();
        }
        if fetches.len() >= TOKENS_MAX {
            make_room(&mut fetches, now);
        }
        let fetching = fetch(clients.clone(), access.clone(), oauth2.clone(), now).boxed().shared();
        // In a task of its own: who gives up waiting does not stop it.
        tokio::spawn(fetching.clone());
        fetches.insert(key, fetching.clone());
        fetching
    }

    /// The receiver answered 401: the token is not used again, unless it is young or another took its place already.
    pub(super) fn refused(&self, access: &Access, oauth2: &OAuth2, token: &Token) {
        let now = self.clock.now();
        if token.fetched_at <= now && now < after(token.fetched_at, YOUNG) {
            return;
        }
        let key = key(access, oauth2);
        let mut fetches = self.fetches();
        let kept = fetches.get(&key).and_then(|fetching| fetching.peek());
        if kept.is_some_and(|kept| kept.as_ref().is_ok_and(|kept| kept.authorization == token.authorization)) {
            fetches.remove(&key);
        }
    }

    fn fetches(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Fetching>> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose endpoint it is, as far as it may be shown.
pub(super) fn endpoint(oauth2: &OAuth2) -> String {
    oauth2.token_url.expose().origin().ascii_serialization()
}

fn make_room(fetches: &mut HashMap<blake3::Hash, Fetching>, now: Timestamp) {
    fetches.retain(|_, fetching| is_in_use(fetching, now));
    if fetches.len() >= TOKENS_MAX {
        let first = fetches.iter().min_by_key(|(_, fetching)| ends_at(fetching)).map(|(key, _)| *key);
        first.map(|key| fetches.remove(&key));
    }
}

/// One that is on its way ends last: some wait for it.
fn ends_at(fetching: &Fetching) -> Timestamp {
    let token = fetching.peek().and_then(|fetched| fetched.as_ref().ok());
    token.map_or(Timestamp::MAX, |token| token.used_until)
}

fn is_in_use(fetching: &Fetching, now: Timestamp) -> bool {
    match fetching.peek() {
        None => true,
        // One that is not fetched yet is from before the clock was set back, and may be over.
        Some(Ok(token)) => token.fetched_at <= now && now < token.used_until,
        Some(Err(_)) => false,
    }
}

/// All that a token depends on: webhooks of the same credentials share it, and changed ones have their own.
fn key(access: &Access, oauth2: &OAuth2) -> blake3::Hash {
    let own = access.client_certificate.as_ref();
    hash_of(&[
        Some(oauth2.token_url.expose().as_str()),
        Some(&oauth2.client_id),
        Some(oauth2.client_secret.expose()),
        oauth2.scope.as_deref(),
        oauth2.audience.as_deref(),
        Some(if oauth2.client_auth == ClientAuth::Basic { "basic" } else { "body" }),
        access.authority.as_deref(),
        own.map(|own| &*own.certificate),
        own.map(|own| own.key.expose()),
    ])
}

async fn fetch(
    clients: Arc<Clients>,
    access: Arc<Access>,
    oauth2: OAuth2,
    fetched_at: Timestamp,
) -> Result<Token, String> {
    let asked = tokio::time::timeout(FETCH_TIMEOUT, ask(&clients, &access, &oauth2, fetched_at)).await;
    let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", FETCH_TIMEOUT.as_secs())));
    asked.map_err(|cause| format!("no token from the token endpoint {}: {cause}", endpoint(&oauth2)))
}

async fn ask(clients: &Clients, access: &Arc<Access>, oauth2: &OAuth2, fetched_at: Timestamp) -> Result<Token, String> {
    let url = oauth2.token_url.expose();
    clients.check_literal(url).map_err(|failure| failure.to_string())?;
    let client = clients.of(access).await.map_err(|failure| failure.to_string())?;
    let mut request = client.http.post(url.clone()).header(ACCEPT, "application/json");
    request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(oauth2));
    if oauth2.client_auth == ClientAuth::Basic {
        request = request.header(AUTHORIZATION, basic(oauth2)?);
    }
    let failed = |error| client.failure(&error, &Progress::default(), url.scheme() == "https").to_string();
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let answer: Value = serde_json::from_slice(&read(response).await?).unwrap_or_default();
    if !status.is_success() {
        return Err(format!("it answered {status}{}", told(&answer, oauth2)));
    }
    token(&answer, fetched_at)
}

/// What of an answer's `error` may be shown: a code as RFC 6749 has them, in which no secret is.
fn told(answer: &Value, oauth2: &OAuth2) -> String {
    let is_code = |code: &&str| {
        let is_short = (1..=ERROR_CHARS_MAX).contains(&code.len());
        let is_word = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        is_short && is_word && !code.contains(oauth2.client_secret.expose())
    };
    match answer.get("error").and_then(Value::as_str).filter(is_code) {
        Some(code) => format!(" with the error `{code}`"),
        None => String::new(),
    }
}

fn token(answer: &Value, fetched_at: Timestamp) -> Result<Token, String> {
    let Some(token) = answer.get("access_token").and_then(Value::as_str) else {
        return Err("its answer has no `access_token`, or is no JSON".to_owned());
    };
    // Some leave the type out; it is the only one in use then.
    let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err("its token is of another type than `bearer`".to_owned());
    }
    let header = Zeroizing::new(format!("Bearer {token}"));
    let mut authorization =
        HeaderValue::try_from(header.as_str()).map_err(|_| "its token cannot stand in a header".to_owned())?;
    authorization.set_sensitive(true);
    let lifetime = lifetime(answer);
    let used_until = after(fetched_at, lifetime - MARGIN.min(lifetime / 2));
    Ok(Token { authorization, fetched_at, used_until })
}

/// `expires_in` in seconds; some write it as a text.
fn lifetime(answer: &Value) -> Duration {
    let seconds = answer.get("expires_in").and_then(|it| it.as_f64().or_else(|| it.as_str()?.parse().ok()));
    seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok()).unwrap_or(LIFETIME)
}

fn form(oauth2: &OAuth2) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", &oauth2.scope), ("audience", &oauth2.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    if oauth2.client_auth == ClientAuth::Body {
        form.append_pair("client_id", &oauth2.client_id);
        form.append_pair("client_secret", oauth2.client_secret.expose());
    }
    form.finish()
}

/// Id and secret are form-encoded first (RFC 6749, section 2.3.1).
fn basic(oauth2: &OAuth2) -> Result<HeaderValue, String> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(&oauth2.client_id), encoded(oauth2.client_secret.expose()));
    let header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(Zeroizing::new(pair).as_bytes())));
    let mut header = header.map_err(|_| "the client's id cannot stand in a header".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

async fn read(mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        if bytes.len() + chunk.len() > limits::RESPONSE_BYTES_MAX {
            return Err(format!("its answer has more than {} KiB", limits::RESPONSE_BYTES_MAX / 1024));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use futures::future::{pending, ready};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn ready_until(seconds: u64) -> Fetching {
        let used_until = after(NOW, Duration::from_secs(seconds));
        let token = Token { authorization: HeaderValue::from_static("Bearer t"), fetched_at: NOW, used_until };
        let fetching = ready(Ok(token)).boxed().shared();
        assert!(fetching.clone().now_or_never().is_some());
        fetching
    }

    #[test]
    fn where_there_are_too_many_the_token_that_ends_first_goes_and_what_is_on_its_way_stays() {
        let key = |number: usize| blake3::hash(&number.to_le_bytes());
        let mut fetches: HashMap<_, _> =
            (2..TOKENS_MAX).map(|number| (key(number), pending().boxed().shared())).collect();
        fetches.insert(key(0), ready_until(9));
        fetches.insert(key(1), ready_until(5));
        make_room(&mut fetches, NOW);
        assert_eq!((fetches.len(), fetches.contains_key(&key(1))), (TOKENS_MAX - 1, false));
        fetches.insert(key(1), pending().boxed().shared());
        make_room(&mut fetches, NOW);
        assert_eq!((fetches.len(), fetches.contains_key(&key(0))), (TOKENS_MAX - 1, false));
    }
}
