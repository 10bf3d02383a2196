//! `runhook plugin keygen|sign|verify`: keys and signatures that minisign takes, and the other way round.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;

use super::{name_of, read};
use crate::cli::plugin_policy::PluginPolicyArgs;
use crate::clock::{Clock, SystemClock};
use crate::model::secret::Secret;
use crate::plugin::signing::{NewKey, SigningError, SigningKey, signed_comment};
use crate::plugin::{PublicKey, Signers};

/// Where a script puts the password: an argument would show in the process list.
const PASSWORD_VARIABLE: &str = "RUNHOOK_SIGNING_PASSWORD";

#[derive(Args, Debug)]
pub(in crate::cli) struct KeygenArgs {
    /// Where the secret key is written; the public one goes to FILE.pub
    file: PathBuf,
    /// Keep the secret key as it is, for who keeps the file itself in a vault
    #[arg(long)]
    no_password: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct SignArgs {
    /// The .wasm file
    file: PathBuf,
    /// The secret key, as `keygen` or minisign wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct VerifyArgs {
    /// The .wasm file; its signature is FILE.minisig
    file: PathBuf,
    /// A public key that may have signed it: the line, or the file that it stands in
    #[arg(long, value_name = "KEY", required_unless_present = "plugin_policy", conflicts_with = "plugin_policy")]
    key: Option<String>,
    #[command(flatten)]
    policy: PluginPolicyArgs,
}

/// Nothing is overwritten: a key that is lost cannot be made again.
pub(super) fn keygen(arguments: &KeygenArgs, password: Option<&Secret>) -> anyhow::Result<()> {
    let (secret, public) = (&arguments.file, with_suffix(&arguments.file, ".pub"));
    // Before anybody thinks of a password.
    for file in [secret, &public] {
        anyhow::ensure!(!file.exists(), "{} exists already; choose another name", file.display());
    }
    let password = match (arguments.no_password, password) {
        (true, _) => None,
        (false, Some(password)) => Some(password.clone()),
        (false, None) => Some(ask_twice()?),
    };
    let key = NewKey::generate(password.as_ref())?;
    write_new(&public, &key.public_file, 0o644)?;
    if let Err(error) = write_new(secret, key.secret_file.expose(), 0o600) {
        // Half a pair is of no use, and would be in the way.
        let _ = fs::remove_file(&public);
        return Err(error);
    }
    println!("wrote {} (keep it secret) and {}\n", secret.display(), public.display());
    println!("  runhook plugin sign --key {} PLUGIN.wasm\n", secret.display());
    println!("In the plugin policy:\n\n  require_signed = true\n  keys = [\"{}\"]", key.public_line);
    Ok(())
}

pub(super) fn sign(arguments: &SignArgs, password: Option<&Secret>) -> anyhow::Result<()> {
    let (file, name) = (&arguments.file, name_of(&arguments.file)?);
    anyhow::ensure!(!name.contains(char::is_control), "the file's name has control characters; rename it");
    let bytes = read(file)?;
    let key = open(&arguments.key, password).with_context(|| arguments.key.display().to_string())?;
    let signature = key.sign(&bytes, &signed_comment(name, SystemClock.now()))?;
    let beside = with_suffix(file, ".minisig");
    fs::write(&beside, signature).with_context(|| format!("cannot write {}", beside.display()))?;
    println!("wrote {}; it goes beside {name} in the plugin directory", beside.display());
    Ok(())
}

pub(super) fn verify(arguments: &VerifyArgs) -> anyhow::Result<()> {
    let file = &arguments.file;
    let signers = match &arguments.key {
        Some(key) => Signers::new(vec![public_key(key)?], true),
        None => arguments.policy.policy()?.signers,
    };
    anyhow::ensure!(signers.has_keys(), "the plugin policy names no `keys`");
    let beside = with_suffix(file, ".minisig");
    let signature = signature_beside(file)?.ok_or_else(|| anyhow!("there is no {}", beside.display()))?;
    let signed = signers.verify(&read(file)?, Some(&signature)).with_context(|| file.display().to_string())?;
    let signed = signed.ok_or_else(|| anyhow!("{} is not signed", file.display()))?;
    let comment: String = signed.comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    println!("{} is signed by {}\n{comment}", file.display(), signed.by);
    Ok(())
}

/// What stands in the signature beside a file, where there is one.
pub(super) fn signature_beside(file: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let beside = with_suffix(file, ".minisig");
    match fs::read(&beside) {
        Ok(signature) => Ok(Some(signature)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", beside.display())),
    }
}

/// The line itself, or a file's content.
fn public_key(key: &str) -> anyhow::Result<PublicKey> {
    let error = match key.parse() {
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    match fs::read_to_string(key) {
        Ok(text) => text.parse().with_context(|| key.to_owned()),
        Err(_) => Err(error).with_context(|| format!("`{key}` is no file, and")),
    }
}

fn open(file: &Path, password: Option<&Secret>) -> anyhow::Result<SigningKey> {
    let text = fs::read_to_string(file).map(Secret::new).context("it cannot be read")?;
    match SigningKey::open(text.expose(), password) {
        Err(SigningError::NeedsPassword) => Ok(SigningKey::open(text.expose(), Some(&ask("Password: ")?))?),
        opened => Ok(opened?),
    }
}

fn ask(prompt: &str) -> anyhow::Result<Secret> {
    let no_terminal = || format!("a password is needed and there is no terminal to ask at; set {PASSWORD_VARIABLE}");
    rpassword::prompt_password(prompt).map(Secret::new).with_context(no_terminal)
}

fn ask_twice() -> anyhow::Result<Secret> {
    let first = ask("Password for the secret key: ").context("or make a key without one: --no-password")?;
    anyhow::ensure!(!first.expose().is_empty(), "that is no password; --no-password makes a key without one");
    if ask("The same again: ")? != first {
        bail!("the passwords differ");
    }
    Ok(first)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

fn write_new(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let write = |mut opened: File| opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all());
    opened.and_then(write).with_context(|| format!("cannot write {}", file.display()))
}
