//! Failures of the HTTP client in words, without the URL: it carries secrets.

use std::error::Error;

use crate::outbound::{Forbidden, SendFailure};

/// The error's causes without reqwest's own line, which names the URL.
pub(super) fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

pub(super) fn describe(error: &reqwest::Error) -> String {
    let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
    if causes.is_empty() { "the request could not be made".to_owned() } else { causes.join(": ") }
}

pub(super) fn forbidden(forbidden: Forbidden) -> SendFailure {
    SendFailure::AddressForbidden(forbidden.to_string())
}
