//! What the fuzz targets share.
//!
//! A target is `fuzz_target!(init: seed(...), |bytes: &[u8]| ...)`: it panics when a parser breaks
//! a promise. `tests/fuzz/run` runs them all.

use std::fmt::Display;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The variable with the folder that a target writes its first inputs to.
pub const SEEDS_VARIABLE: &str = "ONEPATH_FUZZ_SEEDS";

/// Writes inputs to begin with, one file each, if the folder for them was named.
pub fn seed<T: AsRef<[u8]>>(inputs: impl IntoIterator<Item = T>) {
    let Some(folder) = std::env::var_os(SEEDS_VARIABLE) else { return };
    for (number, input) in inputs.into_iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        fs::write(&path, input).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Checks that a person can read an error: one line, of bounded length.
pub fn assert_readable(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than one line: {text:?}");
    assert!(text.len() < 2_000, "{} bytes: {text:?}", text.len());
}

/// The result of a future that waits for nothing.
pub fn finished<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("all bytes are there, but the future waits"),
    }
}
