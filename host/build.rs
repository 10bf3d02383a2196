//! Compiles the first-party plugins, so that the binary carries them, and collects the SDK's sources, which
//! `runhook plugin new` writes beside a new plugin.

#[path = "build/guests.rs"]
mod guests;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The SDK as it is copied: manifests, sources and the WIT.
const SDK: [&str; 5] = ["Cargo.toml", "src", "macros/Cargo.toml", "macros/src", "wit"];

fn main() {
    if let Err(error) = run() {
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), String> {
    let host = PathBuf::from(guests::variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(guests::variable("OUT_DIR")?);
    let workspace = host.parent().ok_or("the host's directory has no parent")?;
    guests::rerun_if_changed(workspace, ["host/build.rs", "host/build", "plugins", "Cargo.toml", "Cargo.lock", "wit"]);
    guests::rerun_if_changed(&workspace.join("guest-sdk"), SDK);
    built_in(workspace, &out)?;
    sdk_sources(&workspace.join("guest-sdk"), &out)
}

/// `BUILT_IN`: each plugin's name and component.
fn built_in(workspace: &Path, out: &Path) -> Result<(), String> {
    let names = plugin_names(&workspace.join("plugins"))?;
    let selection: Vec<_> = names.iter().flat_map(|name| ["--package".to_owned(), name.clone()]).collect();
    let components = guests::build(workspace, &selection)?;
    let mut code = String::from(
        "/// The first-party plugins: name and component.\npub(super) static BUILT_IN: &[(&str, &[u8])] = &[\n",
    );
    for name in names {
        let file = components.join(name.replace('-', "_")).with_extension("wasm");
        guests::write(&out.join(format!("{name}.wasm")), &read(&file)?)?;
        let _ = writeln!(code, r#"    ("{name}", include_bytes!(concat!(env!("OUT_DIR"), "/{name}.wasm"))),"#);
    }
    code.push_str("];\n");
    guests::write(&out.join("built_in.rs"), code.as_bytes())
}

/// `SDK_SOURCES`: each file's path in the SDK and its text.
fn sdk_sources(sdk: &Path, out: &Path) -> Result<(), String> {
    let mut code =
        String::from("/// The SDK's files: path and text.\npub(super) static SDK_SOURCES: &[(&str, &str)] = &[\n");
    let mut files = Vec::new();
    for path in SDK {
        collect(sdk, Path::new(path), &mut files)?;
    }
    files.sort();
    for file in files {
        let path = file.to_str().ok_or("a file of the SDK has a name that is no UTF-8")?;
        let include = format!(r#"include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/{path}"))"#);
        let _ = writeln!(code, r#"    ("{path}", {include}),"#);
    }
    code.push_str("];\n");
    guests::write(&out.join("sdk_sources.rs"), code.as_bytes())
}

fn plugin_names(plugins: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for name in entries(plugins)? {
        if plugins.join(&name).join("Cargo.toml").is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn collect(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let full = root.join(path);
    if full.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for name in entries(&full)? {
        collect(root, &path.join(name), files)?;
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<String>, String> {
    let fail = |error| format!("cannot read {}: {error}", directory.display());
    let names = std::fs::read_dir(directory).map_err(fail)?.map(|entry| Ok(entry?.file_name().into_string()));
    let names = names.collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
    names.into_iter().collect::<Result<_, _>>().map_err(|name| format!("{} is no UTF-8", name.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}
