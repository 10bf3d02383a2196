//! A webhook's access as a rule's row keeps it: keys, client secrets and token URLs are sealed.

use serde::{Deserialize, Serialize};

use crate::model::access::{Access, ClientAuth, ClientCertificate, OAuth2};
use crate::model::endpoint::EndpointUrl;
use crate::model::secret::Secret;
use crate::secrets::{Keyring, SecretsError};

/// Empty in rules of a time when webhooks had none.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct StoredAccess {
    authority: Option<String>,
    client_certificate: Option<StoredCertificate>,
    oauth2: Option<StoredOAuth2>,
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    certificate: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct StoredOAuth2 {
    token_url: String,
    client_id: String,
    client_secret: String,
    scope: Option<String>,
    audience: Option<String>,
    client_auth: ClientAuth,
}

impl StoredAccess {
    pub(super) fn seal(access: &Access, keyring: &Keyring) -> Self {
        let certificate = access.client_certificate.as_ref();
        let oauth2 = access.oauth2.as_ref();
        Self {
            authority: access.authority.clone(),
            client_certificate: certificate
                .map(|it| StoredCertificate { certificate: it.certificate.clone(), key: keyring.seal(&it.key) }),
            oauth2: oauth2.map(|it| StoredOAuth2 {
                token_url: keyring.seal(&Secret::new(it.token_url.expose().as_str())),
                client_id: it.client_id.clone(),
                client_secret: keyring.seal(&it.client_secret),
                scope: it.scope.clone(),
                audience: it.audience.clone(),
                client_auth: it.client_auth,
            }),
        }
    }

    pub(super) fn open(self, keyring: &Keyring) -> Result<Access, SecretsError> {
        let certificate = self.client_certificate.map(|it| it.open(keyring)).transpose()?;
        let oauth2 = self.oauth2.map(|it| it.open(keyring)).transpose()?;
        Ok(Access { authority: self.authority, client_certificate: certificate, oauth2 })
    }
}

impl StoredCertificate {
    fn open(self, keyring: &Keyring) -> Result<ClientCertificate, SecretsError> {
        Ok(ClientCertificate { certificate: self.certificate, key: keyring.open(&self.key)? })
    }
}

impl StoredOAuth2 {
    fn open(self, keyring: &Keyring) -> Result<OAuth2, SecretsError> {
        let token_url = keyring.open(&self.token_url)?;
        Ok(OAuth2 {
            token_url: EndpointUrl::parse(token_url.expose()).map_err(|_| SecretsError::Malformed)?,
            client_id: self.client_id,
            client_secret: keyring.open(&self.client_secret)?,
            scope: self.scope,
            audience: self.audience,
            client_auth: self.client_auth,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::store::sqlite::stored_rule::Definition;

    use super::*;

    #[test]
    fn a_row_of_a_time_when_webhooks_had_no_access_is_still_read() {
        let webhook =
            serde_json::json!({"id": "a", "url": "v1:", "headers": {}, "profile": "langsmith", "plugins": []});
        let row = serde_json::json!(
            {"is_enabled": true, "sampling_rate": 1.0, "relay_secret": null, "webhooks": [webhook]}
        );
        assert!(serde_json::from_value::<Definition>(row).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::load(folder.path(), None).unwrap();
        assert_eq!(StoredAccess::default().open(&keyring).unwrap(), Access::default());
    }
}
