//! Files of objects: YAML with one or more documents, or JSON.

use serde_json::Value;
use thiserror::Error;

use super::objects::ObjectError;
use super::snapshot::Snapshot;

/// The longest file that is read: 50,000 pods as the API server says them.
pub const MAX_FILE_BYTES: usize = 512 << 20;
/// The longest file of YAML, which is read more slowly.
pub const MAX_YAML_BYTES: usize = 64 << 20;
/// Objects and values of a file of YAML.
const MAX_YAML_NODES: usize = 8_000_000;

/// A file that is not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Neither JSON nor YAML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// Longer than any that is written.
    #[error("{bytes} bytes of {form}: at most {most} would be right")]
    Long {
        /// How long it is.
        bytes: usize,
        /// `JSON` or `YAML`.
        form: &'static str,
        /// How long it may be.
        most: usize,
    },
    /// Nothing in it.
    #[error("holds no object: Nodes, Pods or a List of them would be right")]
    Empty,
    /// An object that cannot be used.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl Snapshot {
    /// Adds all objects of a file.
    pub fn read(&mut self, text: &str) -> Result<(), ReadError> {
        let json = text.trim_start().starts_with(['{', '[']);
        let documents = if json { read_json(text)? } else { read_yaml(text)? };
        let mut count = 0;
        for document in documents {
            // A sequence of objects is as good as a list.
            let objects = match document {
                Value::Array(objects) => objects,
                Value::Null => continue,
                object => vec![object],
            };
            for object in objects {
                self.add(object)?;
                count += 1;
            }
        }
        if count == 0 { Err(ReadError::Empty) } else { Ok(()) }
    }
}

/// One document after another, as `kubectl get -o json` prints them for several calls.
fn read_json(text: &str) -> Result<Vec<Value>, ReadError> {
    check_length(text, "JSON", MAX_FILE_BYTES)?;
    let documents = serde_json::Deserializer::from_str(text).into_iter();
    let syntax = |error: serde_json::Error| {
        let text = error.to_string();
        // The line stands before it already.
        let problem = text.split(" at line ").next().unwrap_or_default();
        ReadError::Syntax { line: error.line() as u64, problem: super::one_line(problem) }
    };
    documents.map(|document| document.map_err(syntax)).collect()
}

fn read_yaml(text: &str) -> Result<Vec<Value>, ReadError> {
    check_length(text, "YAML", MAX_YAML_BYTES)?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * MAX_YAML_NODES,
            max_nodes: MAX_YAML_NODES,
            max_documents: 1_000_000,
        },
        strict_booleans: true,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let problem = super::one_line(&error.without_snippet().to_string());
        ReadError::Syntax { line, problem }
    })
}

fn check_length(text: &str, form: &'static str, most: usize) -> Result<(), ReadError> {
    let bytes = text.len();
    if bytes > most { Err(ReadError::Long { bytes, form, most }) } else { Ok(()) }
}
