//! `webhook-signature` of Standard Webhooks 1.0.0: HMAC-SHA256 over id, timestamp and body, by each secret there is, so
//! that a receiver may know the new one or the old one while a secret is replaced.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use ring::hmac::{Context, HMAC_SHA256, Key};

use crate::model::Timestamp;
use crate::model::ids::DeliveryId;
use crate::model::signing::SigningSecret;

static NAME: HeaderName = HeaderName::from_static("webhook-signature");

/// The header; none without a secret.
pub(super) fn signature(
    secrets: &[SigningSecret],
    delivery: DeliveryId,
    at: Timestamp,
    body: &[u8],
) -> Option<(HeaderName, HeaderValue)> {
    if secrets.is_empty() {
        return None;
    }
    let head = format!("{delivery}.{}.", at.as_second());
    let signed = |secret: &SigningSecret| {
        let mut context = Context::with_key(&Key::new(HMAC_SHA256, &secret.key()));
        context.update(head.as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    let signatures: Vec<_> = secrets.iter().map(signed).collect();
    Some((NAME.clone(), HeaderValue::try_from(signatures.join(" ")).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(Secret::new(text)).unwrap()
    }

    fn delivery() -> DeliveryId {
        "0197c2f0-0000-7000-8000-000000000001".parse().unwrap()
    }

    #[test]
    fn each_secret_signs_and_none_signs_nothing() {
        let [new, old] =
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"].map(secret);
        let at: Timestamp = "2021-02-25T22:43:39Z".parse().unwrap();
        let of = |secrets: &[SigningSecret]| {
            let (name, value) = signature(secrets, delivery(), at, br#"{"test": 2432232314}"#)?;
            assert_eq!(name, "webhook-signature");
            Some(value.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&[]), None);
        let (one, other) = (of(std::slice::from_ref(&new)).unwrap(), of(std::slice::from_ref(&old)).unwrap());
        assert!(one.starts_with("v1,") && one.len() == 47, "{one}");
        assert_ne!(one, other);
        assert_eq!(of(&[new, old]).unwrap(), format!("{one} {other}"));
    }
}
