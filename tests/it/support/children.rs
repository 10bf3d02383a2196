//! The child processes of this one, as the system shows them.

use std::fs;

/// A child of this process.
pub(crate) struct Child {
    pub(crate) id: u32,
    pub(crate) is_zombie: bool,
}

impl Child {
    /// A file of the system's about it; nothing when it is gone.
    pub(crate) fn about(&self, file: &str) -> Vec<u8> {
        fs::read(format!("/proc/{}/{file}", self.id)).unwrap_or_default()
    }

    /// Whether it was started as this kind of child of the plugin runtime.
    pub(crate) fn is_for(&self, errand: &str) -> bool {
        String::from_utf8_lossy(&self.about("cmdline")).contains(&format!("plugin-child\0{errand}"))
    }

    /// Whether there is such a process still, whoever its parent is by now.
    pub(crate) fn is_there(&self) -> bool {
        !self.is_zombie && !self.about("cmdline").is_empty()
    }

    /// Whether its status has this line, whatever white space stands in it.
    pub(crate) fn has_status(&self, line: &str) -> bool {
        has_line(&self.about("status"), line)
    }

    /// Whether its limits have this line.
    pub(crate) fn has_limit(&self, line: &str) -> bool {
        has_line(&self.about("limits"), line)
    }

    /// Whether it can open no file.
    pub(crate) fn opens_nothing(&self) -> bool {
        self.has_limit("Max open files 0 0 files")
    }

    /// What its open files are.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.id)).into_iter().flatten();
        let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    }
}

fn has_line(text: &[u8], line: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    text.lines().any(|other| other.split_whitespace().eq(line.split_whitespace()))
}

/// All of them.
pub(crate) fn children() -> Vec<Child> {
    children_of(std::process::id())
}

/// Those of another process.
pub(crate) fn children_of(parent: u32) -> Vec<Child> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let about = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // `id (name) state parent …`, and a name may have anything in it.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_zombie = fields.next() == Some("Z");
        (fields.next()?.parse() == Ok(parent)).then_some(Child { id, is_zombie })
    };
    ids.filter_map(about).collect()
}
