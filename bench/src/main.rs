//! onepath-bench.
fn main() {}
