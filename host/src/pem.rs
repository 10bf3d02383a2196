//! Certificates and keys in PEM: read, checked, and what is wrong with them in words. Pure.

use rustls::RootCertStore;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What is wrong with a text that should be PEM. Never shows a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A section that does not end, or holds no base64.
    #[error("is damaged PEM: a section does not end, or is no base64")]
    Damaged,
    /// Nothing of that kind in it.
    #[error("has no certificate; it needs one or more sections `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// A private key where all is shown.
    #[error("has a private key, which does not belong here; take it out")]
    KeyAmongCertificates,
    /// A request, a revocation list, a public key.
    #[error("has a section that is no certificate; take it out")]
    OtherSection,
    /// A certificate that cannot be read.
    #[error("has a certificate, number {number}, that cannot be used: {cause}")]
    BadCertificate {
        /// Counted from 1.
        number: usize,
        /// What the TLS library says.
        cause: String,
    },
    /// No key, several, or something besides.
    #[error(
        "needs one private key, `-----BEGIN PRIVATE KEY-----`, and nothing else; {keys} of its {sections} sections are"
    )]
    NotOneKey {
        /// How many keys.
        keys: usize,
        /// How many sections, keys included.
        sections: usize,
    },
    /// A key under a password.
    #[error("is encrypted; write it without its password (`openssl pkey -in FILE`)")]
    EncryptedKey,
    /// A key of a kind that TLS cannot use here.
    #[error("cannot be used: {0}; use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519")]
    BadKey(String),
    /// The key is another certificate's.
    #[error("is not the key of the certificate")]
    OtherKey,
}

/// The authorities of a text, each of which a TLS library takes.
///
/// # Errors
/// See [`PemError`].
pub fn authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = certificates(text)?;
    for (index, certificate) in certificates.iter().enumerate() {
        let added = RootCertStore::empty().add(certificate.clone());
        added.map_err(|error| PemError::BadCertificate { number: index + 1, cause: error.to_string() })?;
    }
    Ok(certificates)
}

/// The certificates of a text that has nothing else.
///
/// # Errors
/// See [`PemError`].
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let sections = sections(text)?;
    if has_key(text) || sections.iter().any(|(kind, _)| is_key(*kind)) {
        return Err(PemError::KeyAmongCertificates);
    }
    if sections.is_empty() {
        return Err(PemError::NoCertificate);
    }
    let certificate = |(kind, der)| match kind {
        SectionKind::Certificate => Ok(CertificateDer::from(der)),
        _ => Err(PemError::OtherSection),
    };
    sections.into_iter().map(certificate).collect()
}

/// The one private key of a text, which has to be the first certificate's.
///
/// # Errors
/// See [`PemError`].
pub fn key_of(certificates: &[CertificateDer<'static>], text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    if has_encrypted_key(text) {
        return Err(PemError::EncryptedKey);
    }
    let sections = sections(text)?;
    let keys = sections.iter().filter(|(kind, _)| is_key(*kind)).count();
    if (keys, sections.len()) != (1, 1) {
        return Err(PemError::NotOneKey { keys, sections: sections.len() });
    }
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| PemError::Damaged)?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(certificates.to_vec(), key.clone_key(), &provider) {
        Ok(_) => Ok(key),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PemError::OtherKey),
        Err(error) => Err(PemError::BadKey(error.to_string())),
    }
}

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, PemError> {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text);
    sections.collect::<Result<_, _>>().map_err(|_| PemError::Damaged)
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

/// Of whatever kind, those that rustls does not know included.
fn has_key(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"PRIVATE KEY-----").is_some()
}

/// Of PKCS #8, whose section has a name of its own, and of the older forms, which have a header line.
fn has_encrypted_key(text: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    marks.iter().any(|mark| memchr::memmem::find(text, mark).is_some())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn made() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_also_with_carriage_returns_and_words_around_them() {
        let (certificate, key) = made();
        let windows = format!("subject=localhost\r\n{}", certificate.replace('\n', "\r\n"));
        assert_eq!(authorities(windows.as_bytes()).unwrap().len(), 1);
        assert_eq!(authorities(format!("{certificate}{certificate}").as_bytes()).unwrap().len(), 2);
        let parsed = certificates(certificate.as_bytes()).unwrap();
        assert!(key_of(&parsed, key.as_bytes()).is_ok());
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        assert!(key_of(&parsed, format!("{parameters}{key}").as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_the_text_is_shown() {
        let (certificate, key) = made();
        let damaged = certificate.replacen("\nMII", "\n*II", 1);
        let no_certificate = certificate.replacen("\nMII", "\nAII", 1);
        for (text, says) in [
            ("", "has no certificate"),
            ("hunter2", "has no certificate"),
            ("-----BEGIN CERTIFICATE-----\nhunter2", "damaged"),
            (&damaged, "damaged"),
            (&no_certificate, "number 1"),
            (&format!("{certificate}{key}"), "has a private key"),
            (
                &format!("{certificate}{}", certificate.replace("CERTIFICATE", "X509 CRL")),
                "no certificate; take it out",
            ),
        ] {
            let error = authorities(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_key_is_one_open_and_the_certificates_own() {
        let ((certificate, key), (_, other)) = (made(), made());
        let certificates = certificates(certificate.as_bytes()).unwrap();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let no_key = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
        for (text, says) in [
            ("", "0 of its 0 sections"),
            (certificate.as_str(), "0 of its 1 sections"),
            (&format!("{key}{key}"), "2 of its 2 sections"),
            (&format!("{key}{certificate}"), "1 of its 2 sections"),
            (&other, "is not the key of the certificate"),
            (&encrypted, "is encrypted"),
            (no_key, "cannot be used"),
        ] {
            let error = key_of(&certificates, text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
