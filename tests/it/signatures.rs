//! Signed plugin files: keys and signatures that minisign takes, and a host that lets in only what its keys have signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::host_process::{BINARY, HostProcess, HostSettings};
use crate::support::peers;

const ONE: &str = runhook_test_guests::KEEPS_EVEN;
const OTHER: &str = runhook_test_guests::RENAMES;

/// A key pair in a folder of its own.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    /// As `runhook plugin keygen` makes one, without a password.
    fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        runhook(&["plugin", "keygen", &keys.secret(), "--no-password"]).unwrap();
        keys
    }

    fn secret(&self) -> String {
        self.path("key")
    }

    fn public(&self) -> String {
        self.path("key.pub")
    }

    /// The key alone.
    fn line(&self) -> String {
        fs::read_to_string(self.public()).unwrap().lines().nth(1).unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A copy of the file under another name, with its signature, in the keys' folder.
    fn signed(&self, file: &str, name: &str) -> PathBuf {
        let copy = self.path(name);
        fs::copy(file, &copy).unwrap();
        runhook(&["plugin", "sign", &copy, "--key", &self.secret()]).unwrap();
        copy.into()
    }

    fn policy(&self, is_required: bool) -> String {
        let file = self.path("plugins.toml");
        fs::write(&file, format!("require_signed = {is_required}\nkeys = [\"{}\"]\n", self.line())).unwrap();
        file
    }
}

/// What the command says; an error where it fails.
fn runhook(arguments: &[&str]) -> Result<String, String> {
    said(Command::new(BINARY).args(arguments))
}

fn said(command: &mut Command) -> Result<String, String> {
    command.stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if status.success() { Ok(text) } else { Err(text) }
}

fn signature_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.minisig", file.display()))
}

struct Scene {
    host: HostProcess,
    plugins: PathBuf,
    keys: Keys,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn set(is_required: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        let keys = Keys::new();
        let mut settings = HostSettings::on(&folder.path().join("data"));
        settings.plugins = Some(plugins.clone());
        settings.arguments = vec!["--plugin-policy".to_owned(), keys.policy(is_required)];
        Self { host: HostProcess::start(&settings), plugins, keys, _folder: folder }
    }

    /// Copies as a careful tool does: under another name, then renamed.
    fn install(&self, file: &Path, name: &str) {
        let hidden = self.plugins.join(format!(".{name}.part"));
        fs::copy(file, &hidden).unwrap();
        fs::rename(hidden, self.plugins.join(name)).unwrap();
    }

    async fn until_plugin(&self, name: &str, claim: impl Fn(&Value) -> bool) -> Value {
        let entry =
            |answer: &Value| answer["plugins"].as_array()?.iter().find(|plugin| plugin["name"] == name).cloned();
        let answer =
            self.host.until("/api/v1/plugins", |answer| entry(answer).is_some_and(|found| claim(&found))).await;
        entry(&answer).unwrap()
    }
}

fn error(plugin: &Value) -> &str {
    plugin["error"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_copied_before_its_signature_becomes_active_when_the_signature_comes() {
    let scene = Scene::set(true);
    let signed = scene.keys.signed(ONE, "picky.wasm");
    scene.install(&signed, "picky.wasm");
    let refused = scene.until_plugin("picky", |plugin| plugin["error"].is_string()).await;
    assert!(
        error(&refused).contains("it is not signed") && error(&refused).contains("runhook plugin sign"),
        "{refused:#}"
    );
    assert!(refused["hash"].is_null(), "{refused:#}");

    scene.install(&signature_of(&signed), "picky.wasm.minisig");
    let active = scene.until_plugin("picky", |plugin| plugin["error"].is_null() && plugin["hash"].is_string()).await;
    let id = active["signed_by"].as_str().unwrap();
    assert!(fs::read_to_string(scene.keys.public()).unwrap().contains(id), "{active:#}");
    let listed = scene.host.cli_ok(&["plugin", "list"]);
    assert!(listed.contains(&format!("signed by {id}")), "{listed}");
    let built_in = scene.until_plugin("errors-only", |plugin| plugin["error"].is_null()).await;
    assert!(built_in["hash"].is_string() && built_in["signed_by"].is_null(), "{built_in:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_whose_place_a_wrongly_signed_one_comes_stays_active() {
    let scene = Scene::set(true);
    let (good, stranger) = (scene.keys.signed(ONE, "picky.wasm"), Keys::new());
    scene.install(&signature_of(&good), "picky.wasm.minisig");
    scene.install(&good, "picky.wasm");
    let first = scene.until_plugin("picky", |plugin| plugin["hash"].is_string()).await;
    assert!(first["error"].is_null(), "{first:#}");

    // Other bytes under the old signature.
    scene.install(Path::new(OTHER), "picky.wasm");
    let refused = scene.until_plugin("picky", |plugin| error(plugin).contains("does not belong to it")).await;
    assert_eq!((&refused["hash"], &refused["signed_by"]), (&first["hash"], &first["signed_by"]), "{refused:#}");

    // The same bytes, signed by somebody else.
    scene.install(&signature_of(&stranger.signed(OTHER, "picky.wasm")), "picky.wasm.minisig");
    let refused = scene.until_plugin("picky", |plugin| error(plugin).contains("none of the known keys")).await;
    assert_eq!(refused["hash"], first["hash"], "{refused:#}");

    // And at last by the right one: the signature alone has changed.
    scene.install(&signature_of(&scene.keys.signed(OTHER, "picky.wasm")), "picky.wasm.minisig");
    let second = scene.until_plugin("picky", |plugin| plugin["error"].is_null()).await;
    assert_ne!(second["hash"], first["hash"], "{second:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_signature_is_required_a_bad_one_is_refused_all_the_same() {
    let scene = Scene::set(false);
    scene.install(Path::new(ONE), "free.wasm");
    let active = scene.until_plugin("free", |plugin| plugin["hash"].is_string()).await;
    assert!(active["error"].is_null() && active["signed_by"].is_null(), "{active:#}");

    let stranger = Keys::new();
    let signed = stranger.signed(OTHER, "bad.wasm");
    scene.install(&signature_of(&signed), "bad.wasm.minisig");
    scene.install(&signed, "bad.wasm");
    let refused = scene.until_plugin("bad", |plugin| plugin["error"].is_string()).await;
    assert!(error(&refused).contains("none of the known keys") && refused["hash"].is_null(), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_no_plain_file_of_the_directory_is_not_read() {
    let scene = Scene::set(true);
    let signed = scene.keys.signed(ONE, "picky.wasm");
    let place = |name: &str| scene.plugins.join(format!("{name}.wasm.minisig"));
    std::os::unix::fs::symlink(signature_of(&signed), place("linked")).unwrap();
    let fifo = Command::new("mkfifo").arg(place("piped")).status().unwrap();
    assert!(fifo.success());
    fs::write(place("endless"), vec![b'x'; 64 * 1024]).unwrap();
    for (name, words) in
        [("linked", "out of the directory"), ("piped", "no regular file"), ("endless", "longer than 16 KiB")]
    {
        scene.install(&signed, &format!("{name}.wasm"));
        let refused = scene.until_plugin(name, |plugin| plugin["error"].is_string()).await;
        assert!(error(&refused).contains(words) && error(&refused).contains(".minisig"), "{refused:#}");
    }
}

#[test]
fn check_says_who_has_signed_and_test_asks_nobody() {
    let keys = Keys::new();
    let (signed, policy) = (keys.signed(ONE, "picky.wasm"), keys.policy(true));
    let file = signed.display().to_string();
    let payload = keys.path("payload.json");
    fs::write(&payload, r#"{"runs":[{"id":"1"}]}"#).unwrap();
    let checked = runhook(&["plugin", "check", &file, "--plugin-policy", &policy]).unwrap();
    assert!(checked.contains("signed       by "), "{checked}");
    fs::remove_file(signature_of(&signed)).unwrap();
    let refused = runhook(&["plugin", "check", &file, "--plugin-policy", &policy]).unwrap_err();
    assert!(refused.contains("it is not signed"), "{refused}");
    runhook(&["plugin", "test", &file, "--payload", &payload, "--plugin-policy", &policy]).unwrap();
}

#[test]
fn signed_files_alone_may_run_in_the_hosts_process() {
    let keys = Keys::new();
    let signed = keys.signed(ONE, "signed.wasm").display().to_string();
    let unsigned = keys.path("unsigned.wasm");
    fs::copy(ONE, &unsigned).unwrap();
    let policy = keys.path("unsigned.toml");
    fs::write(&policy, format!("isolation = \"unsigned\"\nkeys = [\"{}\"]\n", keys.line())).unwrap();
    for (file, place) in [(&signed, "in the host's process"), (&unsigned, "in processes of its own")] {
        let said = runhook(&["plugin", "check", file, "--plugin-policy", &policy]).unwrap();
        assert!(said.lines().any(|line| line.starts_with("runs ") && line.ends_with(place)), "{said}");
    }
}

#[test]
fn the_secret_key_is_its_owners_alone_and_nothing_is_overwritten() {
    let keys = Keys::new();
    let mode = |file: &str| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys.secret()), 0o600);
    let before = fs::read(keys.secret()).unwrap();
    let refused = runhook(&["plugin", "keygen", &keys.secret(), "--no-password"]).unwrap_err();
    assert!(refused.contains("exists already"), "{refused}");
    fs::remove_file(keys.secret()).unwrap();
    assert!(runhook(&["plugin", "keygen", &keys.secret(), "--no-password"]).unwrap_err().contains("key.pub exists"));
    assert!(!Path::new(&keys.secret()).exists() && !before.is_empty());
}

#[test]
fn a_password_comes_from_the_environment_and_where_there_is_none_the_way_out_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let with = |password: &str, arguments: &[&str]| {
        said(Command::new("setsid").arg(BINARY).args(arguments).env("RUNHOOK_SIGNING_PASSWORD", password))
    };
    fs::copy(ONE, path("a.wasm")).unwrap();
    with("correct horse", &["plugin", "keygen", &path("key")]).unwrap();
    let sign = ["plugin", "sign", &path("a.wasm"), "--key", &path("key")];
    assert!(with("battery staple", &sign).unwrap_err().contains("the password is not the key's"));
    // An empty variable is none; without a terminal nobody can be asked.
    let refused = with("", &sign).unwrap_err();
    assert!(refused.contains("RUNHOOK_SIGNING_PASSWORD"), "{refused}");
    assert!(with("", &["plugin", "keygen", &path("other")]).unwrap_err().contains("--no-password"));
    with("correct horse", &sign).unwrap();
    runhook(&["plugin", "verify", &path("a.wasm"), "--key", &path("key.pub")]).unwrap();
}

#[test]
fn a_signature_is_verified_by_key_file_or_policy_and_says_when_it_was_made() {
    let keys = Keys::new();
    let file = keys.signed(ONE, "picky.wasm").display().to_string();
    for by in [["--key", &keys.public()], ["--key", &keys.line()], ["--plugin-policy", &keys.policy(false)]] {
        let verified = runhook(&[&["plugin", "verify", &file][..], &by].concat()).unwrap();
        assert!(verified.contains("is signed by ") && verified.contains("file:picky.wasm"), "{verified}");
        assert!(verified.contains("timestamp:"), "{verified}");
    }
    let verify = |key: &str| runhook(&["plugin", "verify", &file, "--key", key]).unwrap_err();
    assert!(verify(&Keys::new().public()).contains("none of the known keys"));
    assert!(verify(&keys.secret()).contains("it is a secret key"));
    assert!(verify("RWQ").contains("`RWQ` is no file"));
    fs::copy(OTHER, &file).unwrap();
    assert!(verify(&keys.line()).contains("does not belong to it"));
    fs::remove_file(signature_of(Path::new(&file))).unwrap();
    assert!(verify(&keys.line()).contains("there is no"));
}

#[test]
fn minisign_and_runhook_take_each_others_keys_and_signatures() {
    let Some(minisign) = peers::minisign() else { return };
    let minisign = |arguments: &[&str]| said(Command::new(&minisign).args(arguments)).unwrap();
    let keys = Keys::new();
    let ours = keys.signed(ONE, "ours.wasm").display().to_string();
    let verified = minisign(&["-V", "-p", &keys.public(), "-m", &ours]);
    assert!(verified.contains("file:ours.wasm"), "{verified}");

    // The same secret key, in the hands of minisign.
    let theirs = keys.path("theirs.wasm");
    fs::copy(ONE, &theirs).unwrap();
    minisign(&["-S", "-W", "-s", &keys.secret(), "-m", &theirs]);
    runhook(&["plugin", "verify", &theirs, "--key", &keys.public()]).unwrap();

    // And a pair that minisign has made.
    let (secret, public) = (keys.path("minisign.key"), keys.path("minisign.pub"));
    minisign(&["-G", "-W", "-s", &secret, "-p", &public]);
    runhook(&["plugin", "sign", &ours, "--key", &secret]).unwrap();
    minisign(&["-V", "-p", &public, "-m", &ours]);
    let verified = runhook(&["plugin", "verify", &ours, "--key", &public]).unwrap();
    let id = verified.split("is signed by ").nth(1).unwrap().lines().next().unwrap();
    assert!(fs::read_to_string(&public).unwrap().contains(id), "{verified}");
}
