//! What can be wrong with an inventory file.

use super::{MAX_FILE_BYTES, MAX_LINE_BYTES, shown};
use crate::cluster::hosts::HostListError;
use crate::cluster::{InventoryError, printable};

/// What is wrong: the field, the value, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InventoryFileError {
    /// Longer than any that is written.
    #[error("the file has {0} bytes: at most {MAX_FILE_BYTES} would be right")]
    TooLong(usize),
    /// A line longer than any that is written.
    #[error("line {line}: {bytes} bytes: at most {MAX_LINE_BYTES} would be right")]
    LongLine {
        /// The line, from 1.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// Not TOML, an unknown field, or a value of another type.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A field that must be there.
    #[error("{field} is missing: {expected} would be right")]
    Missing {
        /// Where.
        field: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A value that is none.
    #[error("{field}: {value}: {expected} would be right")]
    Value {
        /// Where.
        field: String,
        /// The value.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A list that is none.
    #[error("{field}: {problem}")]
    Hosts {
        /// Where.
        field: String,
        /// What is wrong.
        problem: HostListError,
    },
    /// Two lists that should be of one length.
    #[error("{field}: {count} where {other} has {others}: as many would be right")]
    Lengths {
        /// Where.
        field: String,
        /// Its length.
        count: usize,
        /// The other field.
        other: &'static str,
        /// The other's length.
        others: usize,
    },
    /// Parts that make no whole.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl InventoryFileError {
    /// What the TOML parser found, in one line.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(text.len(), |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].split(|&byte| byte == b'\n').count();
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        Self::Syntax { line, problem: printable(&problem, 400) }
    }

    pub(super) fn text(field: String, value: &str, expected: impl Into<String>) -> Self {
        Self::Value { field, value: format!("'{}'", shown(value)), expected: expected.into() }
    }
}
