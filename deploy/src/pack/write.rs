//! Files that are whole or not there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

/// Writes a text beside the file and puts it in its place when it is whole; what is no plain file,
/// such as `/dev/stdout`, is written as it is.
pub(super) fn whole(path: &Path, text: &str) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, text);
    }
    let Some(name) = path.file_name() else { return fs::write(path, text) };
    let mut part = OsString::from(name);
    part.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(part);
    let written = fs::write(&part, text).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is wrong was said by the first error.
        let _ = fs::remove_file(&part);
    }
    written
}
