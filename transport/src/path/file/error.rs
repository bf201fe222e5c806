//! What can be wrong with a path file.

use super::{MAX_ENTRIES, MAX_FILE_BYTES, To};
use crate::path::config::{HopRangeError, MAX_PATHS, MAX_PORTS_PER_PATH};
use crate::path::{HopRange, ProtocolError};
use crate::verbs::ROCE_UDP_PORT;

/// Shows at most so much of a wrong value.
const SHOWN: usize = 64;

/// What is wrong with a path file: where, the value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFileError {
    /// Longer than any that is written.
    #[error("the path file has {0} bytes: at most {MAX_FILE_BYTES} would be right")]
    TooLong(usize),
    /// Not TOML, an unknown or a missing field, or a value of another type.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// `protocol`.
    #[error("protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// `hops` of the file.
    #[error("hops: {0}")]
    Hops(#[from] HopRangeError),
    /// An address that is none.
    #[error("{field}: '{value}' is no {expected}")]
    Address {
        /// Where.
        field: String,
        /// The value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A list with too many or no elements.
    #[error("{field} has {count} elements: from {least} to {most} would be right")]
    Count {
        /// Where.
        field: String,
        /// How many.
        count: usize,
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// A number that is no port.
    #[error("{field}: {value} is no port: from 1 to 65535 it would be right")]
    Port {
        /// Where.
        field: String,
        /// The value.
        value: i64,
    },
    /// A port that no flow label chooses, in a file for RoCE.
    #[error(
        "{field}: {port} is no source port of RoCE v2: 49152 and a flow label up to 16383 would \
         be right"
    )]
    NoLabel {
        /// Where.
        field: String,
        /// The port.
        port: u16,
    },
    /// A destination to which RoCE does not go.
    #[error("{field}: {to}: RoCE v2 goes to UDP port {ROCE_UDP_PORT}")]
    NotRoce {
        /// Where.
        field: String,
        /// The destination.
        to: To,
    },
    /// A port that would take two paths, or is named twice.
    #[error("{field}: port {port} is named before in this destination: it takes one path")]
    PortTwice {
        /// Where.
        field: String,
        /// The port.
        port: u16,
    },
    /// Two entries for the same destinations.
    #[error("{field}: {to} has an entry before: one entry with all paths would be right")]
    Twice {
        /// Where.
        field: String,
        /// The destinations.
        to: To,
    },
    /// The same path twice.
    #[error("{field}: '{path}' is listed before in this destination: all its ports in one list")]
    PathTwice {
        /// Where.
        field: String,
        /// The path.
        path: String,
    },
    /// A path with both hops and a name, or neither.
    #[error("{field}: a path has either hops or a name")]
    Identity {
        /// Where.
        field: String,
    },
    /// A name that cannot be printed, or is empty or long.
    #[error("{field}: '{value}' is no name: 1 to 64 characters without control characters")]
    Name {
        /// Where.
        field: String,
        /// The value.
        value: String,
    },
    /// Another number of hops than the file's `hops`, or only silent ones.
    #[error(
        "{field}: {count} hops, {named} of them named: with hops = \"{hops}\" there are \
             {expected}, at least one of them an address"
    )]
    HopCount {
        /// Where.
        field: String,
        /// How many.
        count: usize,
        /// How many are addresses.
        named: usize,
        /// The file's.
        hops: HopRange,
        /// How many these are.
        expected: usize,
    },
}

impl PathFileError {
    /// What the TOML parser found, in one line.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].split(|&byte| byte == b'\n').count();
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        Self::Syntax { line, problem: problem.chars().take(400).collect() }
    }

    pub(super) fn entries(count: usize) -> Self {
        Self::Count { field: "destination".to_owned(), count, least: 0, most: MAX_ENTRIES }
    }

    pub(super) fn paths(field: String, count: usize) -> Self {
        Self::Count { field, count, least: 1, most: MAX_PATHS }
    }

    pub(super) fn ports(field: String, count: usize) -> Self {
        Self::Count { field, count, least: 1, most: usize::from(MAX_PORTS_PER_PATH) }
    }
}

/// The beginning of a wrong value, fit to be printed.
pub(super) fn shown(value: &str) -> String {
    value.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
