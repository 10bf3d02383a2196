//! What requests ask with: query strings as LangSmith's clients write them, and JSON bodies.

use std::str::FromStr;

use axum::body::{Body, to_bytes};
use http::StatusCode;
use serde_json::Value;
use url::form_urlencoded;

use crate::api::answer::ApiError;
use crate::layers;
use crate::limits;
use crate::model::Timestamp;

/// A page of a list where the client does not say.
const PAGE_DEFAULT: usize = 100;

/// A query string. Keys may come more than once; those that nobody asks for are ignored, as LangSmith does.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value; an empty one is none.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.values(name).map(str::to_owned).collect()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        named.map(|(_, value)| value.as_str())
    }

    pub(super) fn ids<T: FromStr>(&self, name: &str) -> Result<Vec<T>, ApiError> {
        let ids: Vec<T> = self.values(name).map(|text| parse_id(name, text)).collect::<Result<_, _>>()?;
        if ids.len() > limits::IDS_PER_REQUEST_MAX {
            let problem = format!("are {}; a request asks for at most {}", ids.len(), limits::IDS_PER_REQUEST_MAX);
            return Err(ApiError::unprocessable(name, &problem));
        }
        Ok(ids)
    }

    pub(super) fn id<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.first(name).map(|text| parse_id(name, text)).transpose()
    }

    /// Python writes `True`, JavaScript `true`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let parse = |text: &str| {
            let time = layers::time(&Value::from(text).to_string());
            time.ok_or_else(|| ApiError::unprocessable(name, "is no time such as 2026-07-01T09:00:00Z"))
        };
        self.first(name).map(parse).transpose()
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let number = |text: &str| text.parse::<u32>().ok().map(|number| number as usize);
        let parse = |text: &str| number(text).ok_or_else(|| ApiError::unprocessable(name, "is no whole number"));
        self.first(name).map(parse).transpose()
    }

    /// `limit` and `offset`.
    pub(super) fn page(&self) -> Result<(usize, usize), ApiError> {
        let limit = self.number("limit")?.unwrap_or(PAGE_DEFAULT);
        if !(1..=limits::API_PAGE_MAX).contains(&limit) {
            let range = format!("goes from 1 to {}", limits::API_PAGE_MAX);
            return Err(ApiError::unprocessable("limit", &range));
        }
        Ok((limit, self.number("offset")?.unwrap_or(0)))
    }
}

fn parse_id<T: FromStr>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::unprocessable(name, "is no UUID"))
}

/// `api` of `FeedbackSourceType.API`.
pub(super) fn last_word(text: &str) -> String {
    text.rsplit('.').next().unwrap_or(text).to_ascii_lowercase()
}

/// A JSON body of an API call.
pub(super) async fn json(body: Body) -> Result<Value, ApiError> {
    let too_large = |_| {
        let detail = format!("the body cannot be read, or has more than {} bytes", limits::RULES_BYTES_MAX);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let bytes = to_bytes(body, limits::RULES_BYTES_MAX).await.map_err(too_large)?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn keys_may_come_more_than_once_and_booleans_as_each_language_has_them() {
        let parameters = Parameters::parse(Some("key=a&key=b&upsert=True&empty=&include=false"));
        assert_eq!(parameters.all("key"), ["a", "b"]);
        assert!(parameters.is_set("upsert") && !parameters.is_set("include"));
        assert_eq!(parameters.first("empty"), None);
        assert_eq!(last_word("FeedbackSourceType.API"), "api");
    }

    #[test]
    fn what_is_no_id_or_number_is_told_by_its_name() {
        let parameters = Parameters::parse(Some("run=x&limit=0"));
        assert!(parameters.ids::<Uuid>("run").unwrap_err().detail().starts_with("run: "));
        assert!(parameters.page().unwrap_err().detail().starts_with("limit: "));
    }
}
