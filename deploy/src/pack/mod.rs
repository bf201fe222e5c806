//! `onepath pack`: the placement of pods on nodes.

pub(crate) mod bench;
