//! Files of bounded size.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The system says no.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too long.
    #[error("{}: more than {most} bytes: at most {most} would be right", .path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// The most.
        most: usize,
    },
    /// Not text.
    #[error("{}: not UTF-8 from byte {at} on: text would be right", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Where it ceases to be text.
        at: usize,
    },
}

/// The text of a file with at most `most` bytes; no more are read.
pub(crate) fn text(path: &Path, most: usize) -> Result<String, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > most {
        return Err(ReadError::Long { path: path.to_owned(), most });
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ReadError::Text { path: path.to_owned(), at }
    })
}
