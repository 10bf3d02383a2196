//! The rules of ARCHITECTURE.md ("Invariants") that a grep can hold.

use std::fs;
use std::path::{Path, PathBuf};

/// A pattern and the only places below `host/src` where it may stand, as path prefixes.
struct Confined {
    pattern: &'static str,
    allowed: &'static [&'static str],
}

const CONFINED: &[Confined] = &[
    Confined { pattern: "wasmtime", allowed: &["plugin"] },
    Confined { pattern: "wasmparser", allowed: &["plugin"] },
    Confined { pattern: "reqwest::", allowed: &["outbound", "client.rs"] },
    Confined { pattern: "rusqlite::", allowed: &["store"] },
    Confined { pattern: "object_store::", allowed: &["blobs"] },
    Confined { pattern: "minisign::", allowed: &["plugin/signing"] },
    Confined { pattern: "minisign_verify::", allowed: &["plugin/registry/signature"] },
    Confined { pattern: "rpassword::", allowed: &["cli"] },
    Confined { pattern: "axum::", allowed: &["api", "receiver"] },
    Confined { pattern: "clap::", allowed: &["cli", "main.rs"] },
    Confined { pattern: "env::var", allowed: &["config"] },
    Confined { pattern: "Timestamp::now()", allowed: &["clock.rs", "receiver"] },
    Confined { pattern: "rand::", allowed: &["clock.rs", "secrets", "access", "api/key.rs"] },
    Confined { pattern: "current_exe", allowed: &["main.rs"] },
];

/// A file or folder of `host/src` and the modules of ours that it must not import.
struct Forbidden {
    place: &'static str,
    imports: &'static [&'static str],
}

const ENGINE: &[&str] = &[
    "api", "app", "cli", "client", "config", "dispatch", "fanout", "intake", "outbound", "plugin", "rulebook", "store",
];

const ALL_BUT_STORE: &[&str] =
    &["plugin", "dispatch", "intake", "fanout", "matching", "rulebook", "outbound", "api", "app", "config", "cli"];

const FORBIDDEN: &[Forbidden] = &[
    Forbidden { place: "model", imports: ENGINE },
    Forbidden { place: "model", imports: &["clock", "limits", "document", "definition", "secrets"] },
    Forbidden { place: "clock.rs", imports: ENGINE },
    Forbidden { place: "limits.rs", imports: ENGINE },
    Forbidden { place: "document", imports: ENGINE },
    Forbidden { place: "sampling.rs", imports: ENGINE },
    Forbidden { place: "definition", imports: ENGINE },
    Forbidden { place: "pem.rs", imports: ENGINE },
    Forbidden { place: "filter", imports: ENGINE },
    Forbidden { place: "layers", imports: ENGINE },
    Forbidden { place: "payload", imports: ENGINE },
    Forbidden { place: "ingest/otlp", imports: ENGINE },
    Forbidden {
        place: "matching",
        imports: &["fanout", "plugin", "dispatch", "intake", "outbound", "api", "app", "config"],
    },
    Forbidden { place: "blobs", imports: ENGINE },
    Forbidden { place: "dispatch", imports: &["plugin", "intake", "fanout", "api", "app", "config", "cli"] },
    Forbidden {
        place: "plugin",
        imports: &["store", "dispatch", "intake", "fanout", "rulebook", "outbound", "api", "app", "config", "cli"],
    },
    Forbidden {
        place: "outbound",
        imports: &["store", "plugin", "dispatch", "intake", "fanout", "rulebook", "api", "app", "config", "cli"],
    },
    Forbidden { place: "intake", imports: &["dispatch", "plugin", "outbound", "api", "app", "config", "cli"] },
    Forbidden { place: "references.rs", imports: ENGINE },
    Forbidden { place: "offload.rs", imports: ALL_BUT_STORE },
    Forbidden { place: "retention.rs", imports: ALL_BUT_STORE },
    Forbidden {
        place: "release.rs",
        imports: &[
            "dispatch",
            "intake",
            "fanout",
            "matching",
            "offload",
            "retention",
            "outbound",
            "api",
            "app",
            "config",
            "cli",
        ],
    },
    Forbidden { place: "access", imports: ALL_BUT_STORE },
    Forbidden { place: "rotation", imports: ALL_BUT_STORE },
    Forbidden { place: "secrets", imports: ENGINE },
    Forbidden { place: "offload.rs", imports: &["retention", "release"] },
    Forbidden { place: "retention.rs", imports: &["offload", "release"] },
    Forbidden {
        place: "store",
        imports: &["plugin", "dispatch", "intake", "fanout", "rulebook", "outbound", "api", "app", "config", "cli"],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Path below `host/src` and the code of the file: comments and the unit tests at its end are left out.
fn host_sources() -> Vec<(String, String)> {
    let source = root().join("host/src");
    let files = rust_files(&source);
    assert!(files.len() > 30, "found only {} files", files.len());
    files
        .into_iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "tests"))
        .filter(|path| path.file_name().is_none_or(|name| name != "tests.rs" && name != "conformance.rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (path.strip_prefix(&source).unwrap().to_string_lossy().into_owned(), code.join("\n"))
        })
        .collect()
}

/// `plugin` covers `plugin.rs` and `plugin/…`, but not `plugins.rs`.
fn is_in(path: &str, place: &str) -> bool {
    path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// Whether the pattern stands in the code, and not as the end of another name.
fn has_word(code: &str, pattern: &str) -> bool {
    let is_whole = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(pattern).any(|(at, _)| is_whole(at))
}

#[test]
fn libraries_are_used_only_in_their_rooms() {
    let mut slips = Vec::new();
    for (path, code) in host_sources() {
        for rule in CONFINED {
            let is_allowed = rule.allowed.iter().any(|place| is_in(&path, place));
            if !is_allowed && has_word(&code, rule.pattern) {
                slips.push(format!("{path} uses `{}`, which belongs into {:?}", rule.pattern, rule.allowed));
            }
        }
    }
    assert!(slips.is_empty(), "\n{}", slips.join("\n"));
}

#[test]
fn modules_import_only_what_their_place_in_the_house_allows() {
    let mut slips = Vec::new();
    for (path, code) in host_sources() {
        for rule in FORBIDDEN.iter().filter(|rule| is_in(&path, rule.place)) {
            for module in rule.imports {
                let is_imported =
                    [format!("crate::{module}::"), format!("crate::{module};")].iter().any(|name| code.contains(name));
                if is_imported {
                    slips.push(format!("{path} imports crate::{module}"));
                }
            }
        }
    }
    assert!(slips.is_empty(), "\n{}", slips.join("\n"));
}

#[test]
fn guests_depend_on_the_contract_only() {
    for place in ["guest-sdk", "plugins"] {
        for manifest in manifests(&root().join(place)) {
            let text = fs::read_to_string(&manifest).unwrap();
            assert!(!text.contains("../host"), "{} depends on the host", manifest.display());
        }
    }
}

fn manifests(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(manifests(&path));
        } else if path.ends_with("Cargo.toml") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_file_says_what_it_owns() {
    for (path, _) in host_sources() {
        let text = fs::read_to_string(root().join("host/src").join(&path)).unwrap();
        assert!(text.starts_with("//! "), "{path} does not open with what it owns");
    }
}

#[test]
fn plugins_are_short_enough_to_be_examples() {
    let files: Vec<_> = rust_files(&root().join("plugins"));
    assert!(files.len() >= 5, "found only {} files", files.len());
    for file in files.iter().filter(|file| !file.components().any(|part| part.as_os_str() == "target")) {
        let lines = fs::read_to_string(file).unwrap().lines().count();
        assert!(lines <= 150, "{} has {lines} lines", file.display());
    }
}
