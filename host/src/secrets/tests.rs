use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

/// Sealed by the release that knew one key and no data keys, with the key of 32 bytes `7`.
const SEVENS: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn end(keyring: &Keyring) {
    keyring.end_rotation(now(), now()).unwrap();
}

fn lines(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join(KEY_FILE)).unwrap().lines().map(str::to_owned).collect()
}

/// As `v1` was written.
fn seal_v1(key: &str, secret: &str) -> String {
    use chacha20poly1305::XNonce;
    use chacha20poly1305::aead::Aead;
    let key = SealingKey::parse(key).unwrap();
    let nonce = [5; 24];
    let sealed = key.cipher().encrypt(&XNonce::from(nonce), secret.as_bytes()).unwrap();
    let bytes = [nonce.as_slice(), &sealed].concat();
    use base64::Engine;
    format!("v1:{}:{}", key.id(), base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes))
}

#[test]
fn what_was_sealed_opens_with_the_key_of_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Keyring::load(folder.path(), None).unwrap().seal(&Secret::new("hunter2"));
    assert!(!sealed.contains("hunter2"));
    let opened = Keyring::load(folder.path(), None).unwrap().open(&sealed).unwrap();
    assert_eq!(opened.expose(), "hunter2");
}

#[test]
fn the_same_secret_is_sealed_differently_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    assert_ne!(keyring.seal(&Secret::new("a")), keyring.seal(&Secret::new("a")));
}

#[test]
fn another_key_is_named_and_a_changed_byte_is_noticed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keyring = Keyring::load(one.path(), None).unwrap();
    let sealed = keyring.seal(&Secret::new("a"));
    let other = Keyring::load(two.path(), None).unwrap().open(&sealed);
    assert!(matches!(other, Err(SecretsError::OtherKey { needed, .. }) if sealed.contains(&needed)));
    for at in sealed.match_indices(|c: char| c.is_ascii_alphanumeric()).map(|(at, _)| at).skip("v2:12345678".len() - 2)
    {
        let mut changed = sealed.clone();
        changed.replace_range(at..=at, if &sealed[at..=at] == "A" { "B" } else { "A" });
        assert!(keyring.open(&changed).is_err(), "{changed}");
    }
}

#[test]
fn a_key_file_is_private_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    Keyring::load(folder.path(), None).unwrap();
    let path = folder.path().join(KEY_FILE);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Keyring::load(folder.path(), None), Err(SecretsError::Exposed(_))));
}

#[test]
fn a_key_of_the_wrong_length_is_refused() {
    for text in ["c2hvcnQ=", "", "A", &"A".repeat(44), &"A".repeat(86), &"A".repeat(500)] {
        let key = Some(Secret::new(text));
        assert!(matches!(Keyring::load(Path::new("/nowhere"), key), Err(SecretsError::MalformedKey)), "{text}");
    }
}

#[test]
fn a_key_may_be_padded_and_of_either_alphabet() {
    let ids = ["_-8", "/+8"].map(|tail| format!("{}{tail}=", "A".repeat(40)));
    let ids = ids.map(|text| Keyring::load(Path::new("/nowhere"), Some(Secret::new(text))).unwrap().current_id());
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn the_form_before_data_keys_opens_and_a_rotation_rewrites_it() {
    let keyring = Keyring::load(Path::new("/nowhere"), Some(Secret::new(SEVENS))).unwrap();
    let sealed = seal_v1(SEVENS, "old");
    assert_eq!(keyring.open(&sealed).unwrap().expose(), "old");
    let resealed = keyring.reseal(&sealed).unwrap();
    assert!(resealed.starts_with("v2:"), "{resealed}");
    assert_eq!(keyring.open(&resealed).unwrap().expose(), "old");
    assert_eq!(keyring.reseal(&resealed), None);
}

#[test]
fn a_rotation_seals_the_data_key_anew_and_leaves_the_secrets_ciphertext() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let before = keyring.seal(&Secret::new("hunter2"));
    let with_old_key = Keyring::load(folder.path(), None).unwrap();
    assert!(keyring.begin_rotation().unwrap());
    let after = keyring.reseal(&before).unwrap();
    let parts = |text: &str| text.split(':').map(str::to_owned).collect::<Vec<_>>();
    let (before, changed) = (parts(&before), parts(&after));
    assert_eq!(before[3], changed[3]);
    assert!(before[1] != changed[1] && before[2] != changed[2]);
    end(&keyring);
    assert_eq!(keyring.open(&after).unwrap().expose(), "hunter2");
    assert!(matches!(with_old_key.open(&after), Err(SecretsError::OtherKey { .. })));
}

#[test]
fn what_only_looks_sealed_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let sealed = keyring.seal(&Secret::new("a"));
    let id = keyring.current_id();
    keyring.begin_rotation().unwrap();
    let swapped = sealed.replacen("v2:", "v1:", 1);
    let cut = &sealed[..sealed.len() - 40];
    let forged = format!("v2:{id}:{}:{}", "A".repeat(96), "A".repeat(80));
    for text in ["", "v1", "v2:", "v2:a:b:c", "v3:a:b:c", &swapped, cut.rsplit_once(':').unwrap().0, &forged] {
        assert_eq!(keyring.reseal(text), None, "{text}");
    }
}

#[test]
fn a_sealed_data_key_is_no_secret_and_a_secret_no_data_key() {
    let keyring = Keyring::load(Path::new("/nowhere"), Some(Secret::new(SEVENS))).unwrap();
    let sealed = keyring.seal(&Secret::new("a"));
    let parts: Vec<_> = sealed.split(':').collect();
    assert!(keyring.open(&format!("v1:{}:{}", parts[1], parts[2])).is_err());
    let chosen = seal_v1(SEVENS, &"k".repeat(KEY_BYTES));
    let chosen = chosen.rsplit_once(':').unwrap().1;
    assert!(keyring.open(&format!("v2:{}:{chosen}:{}", parts[1], parts[3])).is_err());
}

#[test]
fn a_new_key_is_on_disk_before_it_seals_and_the_earlier_one_goes_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let first = lines(folder.path());
    keyring.begin_rotation().unwrap();
    let begun = lines(folder.path());
    assert_eq!((begun.len(), &begun[1]), (2, &first[0]));
    let sealed = keyring.seal(&Secret::new("a"));
    assert!(Keyring::load(folder.path(), None).unwrap().open(&sealed).is_ok());
    end(&keyring);
    let ended = lines(folder.path());
    assert_eq!(ended[0], begun[0]);
    assert!(!ended.join("\n").contains(&first[0]));
    assert_eq!(fs::metadata(folder.path().join(KEY_FILE)).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_rotation_that_was_begun_goes_on_after_a_restart_without_another_key() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let sealed = keyring.seal(&Secret::new("a"));
    keyring.begin_rotation().unwrap();
    let id = keyring.current_id();
    let again = Keyring::load(folder.path(), None).unwrap();
    assert!(again.has_earlier() && again.open(&sealed).is_ok());
    assert!(!again.begin_rotation().unwrap());
    assert_eq!(again.current_id(), id);
}

#[test]
fn a_draft_that_a_crash_left_is_no_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let id = Keyring::load(folder.path(), None).unwrap().current_id();
    let draft = folder.path().join("secret-key.new");
    fs::write(&draft, "half a k").unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o644)).unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    assert_eq!(keyring.current_id(), id);
    keyring.begin_rotation().unwrap();
    assert!(!draft.exists());
    assert_eq!(fs::metadata(folder.path().join(KEY_FILE)).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_key_file_that_cannot_be_written_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let (id, before) = (keyring.current_id(), lines(folder.path()));
    // Whoever runs the tests, nobody opens a folder for writing.
    fs::create_dir(folder.path().join("secret-key.new")).unwrap();
    assert!(matches!(keyring.begin_rotation(), Err(SecretsError::File { .. })));
    assert_eq!((keyring.current_id(), keyring.has_earlier()), (id, false));
    assert_eq!(lines(folder.path()), before);
}

#[test]
fn a_key_file_that_was_edited_meanwhile_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let added = format!("{}\n{SEVENS}\n", lines(folder.path())[0]);
    for edited in [format!("{SEVENS}\n"), added] {
        fs::write(folder.path().join(KEY_FILE), &edited).unwrap();
        assert!(matches!(keyring.begin_rotation(), Err(SecretsError::Changed(_))), "{edited}");
        assert_eq!(fs::read_to_string(folder.path().join(KEY_FILE)).unwrap(), edited);
    }
}

#[test]
fn who_read_the_file_before_another_rotated_notices() {
    let folder = tempfile::tempdir().unwrap();
    let (early, other) = (Keyring::load(folder.path(), None).unwrap(), Keyring::load(folder.path(), None).unwrap());
    other.begin_rotation().unwrap();
    assert!(other.check_file().is_ok());
    assert!(matches!(early.check_file(), Err(SecretsError::Changed(_))));
    end(&other);
    assert!(other.check_file().is_ok());
    assert!(matches!(early.check_file(), Err(SecretsError::Changed(_))));
}

#[test]
fn a_key_of_the_environment_is_not_made_here_and_earlier_ones_open() {
    let sealed = seal_v1(SEVENS, "old");
    let key = || Some(Secret::new("A".repeat(43)));
    let alone = Keyring::load(Path::new("/nowhere"), key()).unwrap();
    assert!(matches!(alone.begin_rotation(), Err(SecretsError::FromEnvironment)));
    assert!(alone.open(&sealed).is_err());
    let earlier = [Secret::new(SEVENS), Secret::new("A".repeat(43))];
    let keyring = Keyring::load(Path::new("/nowhere"), key()).unwrap().with_earlier(&earlier).unwrap();
    assert_eq!(keyring.current_id(), alone.current_id());
    assert!(!keyring.begin_rotation().unwrap());
    let resealed = keyring.reseal(&sealed).unwrap();
    end(&keyring);
    assert!(!keyring.has_earlier(), "the current key is no earlier one");
    assert_eq!(alone.open(&resealed).unwrap().expose(), "old");
}

#[test]
fn links_of_an_earlier_key_hold_for_their_time_and_the_key_itself_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let (first, in_two_days) = (keyring.url_key(), Timestamp::from_second(1_800_172_800).unwrap());
    keyring.begin_rotation().unwrap();
    assert_ne!(keyring.url_key(), first);
    let of_begun: Vec<_> = keyring.earlier_url_keys().iter().map(|(key, until)| (**key, *until)).collect();
    assert_eq!(of_begun, [(first, Timestamp::MAX)]);
    keyring.end_rotation(now(), in_two_days).unwrap();
    let again = Keyring::load(folder.path(), None).unwrap();
    for keyring in [&keyring, &again] {
        let kept: Vec<_> = keyring.earlier_url_keys().iter().map(|(key, until)| (**key, *until)).collect();
        assert_eq!(kept, [(first, in_two_days)]);
        assert!(!keyring.has_earlier());
    }
    again.begin_rotation().unwrap();
    again.end_rotation(in_two_days, in_two_days).unwrap();
    assert_eq!(again.earlier_url_keys().len(), 1, "what is over is forgotten");
}

#[test]
fn a_body_opens_under_its_key_at_its_place_and_unchanged_only() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::load(folder.path(), None).unwrap();
    let (key, text) = BodyKey::generate(&keyring);
    for body in [&b""[..], b"body", &[7; 100_000]] {
        let sealed = key.seal(body, b"here");
        assert_eq!(sealed.len(), body.len() + BodyKey::OVERHEAD);
        assert_ne!(sealed, key.seal(body, b"here"));
        assert_eq!(key.open(sealed.clone(), b"here").unwrap(), body);
        assert_eq!(BodyKey::open_sealed(&text, &keyring).unwrap().open(sealed.clone(), b"here").unwrap(), body);
        assert!(key.open(sealed.clone(), b"there").is_none());
        assert!(BodyKey::generate(&keyring).0.open(sealed.clone(), b"here").is_none());
        for at in [0, sealed.len() / 2, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(changed, b"here").is_none(), "{at}");
        }
        assert!(key.open(sealed[..sealed.len() - 1].to_vec(), b"here").is_none());
    }
    assert!(key.open(vec![0; BodyKey::OVERHEAD - 1], b"here").is_none());
}
