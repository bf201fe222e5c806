//! Finding and reading the repository's files.

use std::fs;
use std::path::{Path, PathBuf};

/// What a build or a run left behind, and what belongs to git: a folder, or in a worktree a file.
const LEFT_OUT: [&str; 6] =
    [".git", "target", "corpus", "artifacts", "__pycache__", "node_modules"];

/// One text file.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    /// Its contents.
    pub(crate) text: String,
}

impl File {
    /// `path:line`, as editors understand it; `index` counts from 0.
    pub(crate) fn at(&self, index: usize) -> String {
        format!("{}:{}", self.path, index + 1)
    }

    /// Whether its name ends in one of these extensions.
    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|name| name.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests crate lies in the repository").to_owned()
}

/// Every text file of the repository, sorted by path; files that are not UTF-8 are left out.
pub(crate) fn all() -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder of the repository can be read");
        for entry in entries {
            let entry = entry.expect("a folder of the repository can be read");
            let kind = entry.file_type().expect("an entry has a type");
            let name = entry.file_name();
            if LEFT_OUT.iter().any(|left_out| name == *left_out) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.extend(read(&root, &entry.path()));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 20, "only {} files found under {}", files.len(), root.display());
    files
}

/// Every Rust source file.
pub(crate) fn rust() -> Vec<File> {
    all().into_iter().filter(|file| file.has_extension(&["rs"])).collect()
}

fn read(root: &Path, path: &Path) -> Option<File> {
    let text = String::from_utf8(fs::read(path).ok()?).ok()?;
    let relative = path.strip_prefix(root).ok()?;
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_str()).collect();
    let path = parts.into_iter().collect::<Option<Vec<_>>>()?.join("/");
    Some(File { path, text })
}
