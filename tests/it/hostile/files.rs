//! What can lie in the plugin directory in place of a file that is at rest: nothing but a whole file is ever a plugin.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runhook::model::plugin::OnError;
use runhook::plugin::{ChainOutcome, PluginInfo, PluginPolicy, PluginRuntime};
use runhook_test_guests as guests;
use serde_json::json;

use crate::support::plugin_scene::{Scene, payload};
use crate::support::waiting::{PATIENCE, a_moment};

/// Waits until the file's plugin is as it should be.
async fn until(scene: &Scene, file: &str, is_so: impl Fn(&PluginInfo) -> bool) {
    let begun = Instant::now();
    let listed = || scene.runtime.plugins().into_iter().find(|plugin| plugin.file.as_deref() == Some(file));
    while !listed().is_some_and(|plugin| is_so(&plugin)) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", listed());
        a_moment().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_the_directory_is_refused_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside.wasm");
    fs::copy(guests::RENAMES, &outside).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().to_owned();
    let place = |name: &str| home.join(name);
    fs::copy(guests::RENAMES, place("a_good_one.wasm")).unwrap();
    symlink(&outside, place("link_out.wasm")).unwrap();
    symlink("/dev/zero", place("endless.wasm")).unwrap();
    symlink("a_good_one.wasm", place("link_inside.wasm")).unwrap();
    symlink("nowhere", place("dangling.wasm")).unwrap();
    assert!(Command::new("mkfifo").arg(place("fifo.wasm")).status().unwrap().success());
    fs::create_dir(place("folder.wasm")).unwrap();
    fs::File::create(place("giant.wasm")).unwrap().set_len(1 << 40).unwrap();
    fs::write(place("No name.wasm"), "").unwrap();
    fs::copy(guests::RENAMES, place("errors-only.wasm")).unwrap();

    let begun = Instant::now();
    let scene = Scene::in_directory(directory, "a_good_one.wasm", PluginPolicy::default());
    assert!(begun.elapsed() < PATIENCE);
    let refused = [
        ("link_out.wasm", "a link out of the directory"),
        ("endless.wasm", "a link out of the directory"),
        ("fifo.wasm", "no regular file"),
        ("folder.wasm", "no regular file"),
        ("giant.wasm", "has 1048576 MiB and may have 16"),
        ("No name.wasm", "is no plugin name"),
        ("errors-only.wasm", "a built-in plugin is called `errors-only`"),
    ];
    for (file, says) in refused {
        let info = scene.runtime.plugins().into_iter().find(|plugin| plugin.file.as_deref() == Some(file)).unwrap();
        assert!(info.error.as_ref().is_some_and(|error| error.contains(says)) && info.hash.is_none(), "{info:?}");
    }
    let listed: Vec<_> = scene.runtime.plugins().into_iter().filter(|plugin| plugin.file.is_some()).collect();
    assert_eq!(listed.len(), refused.len() + 2, "{listed:?}");
    assert_eq!(scene.sent(json!({"name": "n"})).await["runs"][0]["name"], "n");
    assert!(scene.serves_on().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_files_of_one_name_the_older_stays_and_the_newer_has_it_when_that_is_gone() {
    let scene = Scene::of(guests::KEEPS_EVEN);
    let newer = "keeps-even.wasm";
    fs::copy(guests::RENAMES, scene.directory.path().join(newer)).unwrap();
    until(&scene, newer, |plugin| plugin.error.is_some()).await;
    let info = scene.runtime.plugins().into_iter().find(|plugin| plugin.file.as_deref() == Some(newer)).unwrap();
    assert!(info.error.unwrap().contains("`keeps_even.wasm` is called `keeps-even` already"));
    assert_eq!(scene.sent(json!({})).await["runs"].as_array().unwrap().len(), 1, "the older one, a filter");

    fs::remove_file(scene.directory.path().join("keeps_even.wasm")).unwrap();
    until(&scene, newer, |plugin| plugin.error.is_none() && plugin.hash.is_some()).await;
    assert_eq!(scene.sent(json!({"name": "n"})).await["runs"][0]["name"], "n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_all_the_time_is_never_active_but_as_a_whole() {
    let scene = Scene::of(guests::KEEPS_EVEN);
    let file = scene.directory.path().join("keeps_even.wasm");
    let versions = [guests::RENAMES, guests::KEEPS_EVEN].map(|guest| fs::read(guest).unwrap());
    let whole: BTreeSet<String> = versions.iter().map(|version| blake3::hash(version).to_hex().to_string()).collect();
    let is_over = AtomicBool::new(false);
    let hash = || scene.runtime.plugins().into_iter().find(|plugin| plugin.file.is_some()).unwrap().hash;
    thread::scope(|threads| {
        threads.spawn(|| {
            for version in versions.iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                write_slowly(&file, version);
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            assert!(hash().is_some_and(|hash| whole.contains(&hash)));
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    fs::copy(guests::RENAMES, &file).unwrap();
    let renames = blake3::hash(&versions[0]).to_hex().to_string();
    until(&scene, "keeps_even.wasm", |plugin| plugin.error.is_none() && plugin.hash.as_ref() == Some(&renames)).await;
    let outcome = scene.runtime.run(&[scene.used(json!({"name": "n"}), OnError::Hold)], payload()).await;
    assert!(matches!(outcome, ChainOutcome::Send(_)), "{outcome:?}");
}

/// In pieces, so that most looks find a part.
fn write_slowly(file: &Path, content: &[u8]) {
    use std::io::Write;
    let mut file = fs::File::create(file).unwrap();
    for piece in content.chunks(content.len() / 8 + 1) {
        file.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}
