use proptest::prelude::*;

use super::*;

const KEY: &str = "ttl_s/20261125/\
                   58627322-53c1-45a0-b271-1d71a7e98510.inputs.0123456789abcdef0123456789abcdef.application.json";

fn key_of(media_type: &str, bytes: &[u8]) -> BlobKey {
    let origin = BlobOrigin {
        run: RunId(Uuid::from_u128(2)),
        received_at: "2026-11-25T23:59:59.9Z".parse().unwrap(),
        field: BlobField::Attachment,
        media_type,
    };
    BlobKey::of(&origin, bytes)
}

#[test]
fn a_key_names_day_run_field_content_and_type() {
    let text = "ttl_s/20261125/00000000-0000-0000-0000-000000000002.\
                attachment.af1349b9f5f9a1a6a0404dea36dcc949.image.svg+xml";
    assert_eq!(key_of("image/svg+xml", b"").as_str(), text);
}

#[test]
fn a_media_type_comes_back_without_parameters() {
    let cases = [
        ("application/json", "application/json"),
        ("Text/Plain; charset=utf-8", "text/plain"),
        ("application/vnd.ms-excel.sheet+xml", "application/vnd.ms-excel.sheet+xml"),
        ("", "application/octet-stream"),
        ("image", "application/octet-stream"),
        ("image/", "application/octet-stream"),
        ("image/../../x", "application/octet-stream"),
        ("a.b/c", "application/octet-stream"),
        ("image/pn\u{e9}", "application/octet-stream"),
    ];
    for (given, expected) in cases {
        assert_eq!(key_of(given, b"x").media_type(), expected, "{given}");
    }
    assert_eq!(key_of(&format!("a/{}", "b".repeat(118)), b"").media_type(), format!("a/{}", "b".repeat(118)));
    assert_eq!(key_of(&format!("a/{}", "b".repeat(119)), b"").media_type(), "application/octet-stream");
}

#[test]
fn other_bytes_have_another_key() {
    assert_ne!(key_of("text/plain", b"one"), key_of("text/plain", b"two"));
}

#[test]
fn what_leads_elsewhere_is_no_key() {
    let name = KEY.rsplit_once('/').unwrap().1;
    let cases = [
        String::new(),
        "..".to_owned(),
        "ttl_s/../../etc/passwd".to_owned(),
        format!("/{KEY}"),
        format!("../{KEY}"),
        format!("{KEY}/.."),
        format!("{KEY}/../x"),
        format!("{KEY}#1"),
        format!("{KEY}\0"),
        format!("ttl_s/./20261125/{name}"),
        format!("ttl_s/20261125/../{name}"),
        KEY.replace("ttl_s/", "ttl_s//"),
        KEY.replace('/', "\\"),
        KEY.replace('/', "%2f"),
        KEY.replace(".json", ""),
        KEY.replace(".json", "."),
        KEY.to_uppercase(),
        KEY.replace("58627322-53c1-45a0-b271-1d71a7e98510", "5862732253c145a0b2711d71a7e98510"),
        KEY.replace("1d71a7e98510", "1D71A7E98510"),
        KEY.replace("inputs", "secrets"),
    ];
    assert!(KEY.parse::<BlobKey>().is_ok());
    for case in cases {
        assert_eq!(case.parse::<BlobKey>(), Err(KeyError), "{case}");
    }
}

proptest! {
    #[test]
    fn what_is_made_parses_and_fits_a_file_name(media_type in ".{0,200}", bytes in any::<Vec<u8>>()) {
        let key = key_of(&media_type, &bytes);
        prop_assert_eq!(key.as_str().parse::<BlobKey>().unwrap(), key.clone());
        // A file that is being written has `#` and a number behind its name.
        prop_assert!(key.as_str().rsplit('/').next().unwrap().len() < 240);
    }

    #[test]
    fn what_parses_needs_no_encoding(at in 0..KEY.len(), put in any::<char>()) {
        let mut text = KEY.to_owned();
        text.replace_range(at..=at, &put.to_string());
        if let Ok(key) = text.parse::<BlobKey>() {
            let mut url = url::Url::parse("http://host/").unwrap();
            url.set_path(key.as_str());
            prop_assert_eq!(&url.path()[1..], key.as_str());
            let path = key.path(&Path::default());
            prop_assert_eq!(path.as_ref(), key.as_str());
        }
    }
}
