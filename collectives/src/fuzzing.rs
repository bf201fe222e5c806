//! Parsers that are private, for the fuzz targets.
//!
//! No part of the API: anything here may change or go at any time. Each function takes any bytes
//! and panics when the parser breaks a promise.

use std::path::Path;

pub use crate::bootstrap::rendezvous::fuzzing::{
    rendezvous_answer, rendezvous_examples, rendezvous_request,
};
use crate::bootstrap::{Launch, LaunchError, Lookup};
pub use crate::communicator::fuzzing::card;
pub use crate::control::fuzzing::{
    control_message, control_message_examples, hello, hello_answer, hello_examples,
};

/// Reads a rank's place from the text of a launch file.
pub fn launch_file(text: &str, lookup: Lookup<'_>) -> Result<Launch, LaunchError> {
    Launch::from_text(Path::new("launch.toml"), text, lookup)
}
