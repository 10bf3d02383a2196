//! Compiles the guests in `programs/` and writes their paths as constants.

#[path = "../../host/build/guests.rs"]
mod guests;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// `(module (func (export "run")))`
const CORE_MODULE: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x07\x01\x03run\0\0\x0a\x04\x01\x02\0\x0b";

fn main() {
    if let Err(error) = run() {
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), String> {
    let crate_dir = PathBuf::from(guests::variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(guests::variable("OUT_DIR")?);
    let workspace = crate_dir.ancestors().nth(2).ok_or("the crate lies two levels below the workspace")?;
    let sources = [
        "tests/guests/build.rs",
        "tests/guests/programs/Cargo.toml",
        "tests/guests/programs/examples",
        "host/build",
        "Cargo.toml",
        "Cargo.lock",
    ];
    guests::rerun_if_changed(workspace, sources);
    guests::rerun_if_changed(workspace, ["guest-sdk/Cargo.toml", "guest-sdk/src", "guest-sdk/macros", "wit"]);

    let selection = ["--package", "runhook-test-guest-programs", "--examples"].map(str::to_owned);
    let components = guests::build(workspace, &selection)?.join("examples");
    let names = names(&crate_dir.join("programs/examples"))?;
    let mut code = String::new();
    for name in &names {
        let component = std::fs::read(components.join(format!("{name}.wasm")));
        let component = component.map_err(|error| format!("no component of {name}: {error}"))?;
        guests::write(&out.join(format!("{name}.wasm")), &component)?;
        constant(&mut code, name);
        if name == "keeps_even" {
            guests::write(&out.join("truncated.wasm"), &component[..component.len() / 2])?;
        }
    }
    guests::write(&out.join("core_module.wasm"), CORE_MODULE)?;
    constant(&mut code, "truncated");
    constant(&mut code, "core_module");
    let all: Vec<_> = names.iter().map(|name| format!("(\"{name}\", {})", name.to_uppercase())).collect();
    let _ = writeln!(code, "/// Every guest: name and path.\npub const ALL: &[(&str, &str)] = &[{}];", all.join(", "));
    guests::write(&out.join("paths.rs"), code.as_bytes())
}

fn constant(code: &mut String, name: &str) {
    let _ = writeln!(code, "/// Path of `{name}.wasm`.");
    let upper = name.to_uppercase();
    let _ = writeln!(code, r#"pub const {upper}: &str = concat!(env!("OUT_DIR"), "/{name}.wasm");"#);
}

fn names(examples: &Path) -> Result<Vec<String>, String> {
    let fail = |error| format!("cannot read {}: {error}", examples.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(examples).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
