//! `onepath pack`: the placement of pods on nodes.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line as it is written |
//! | `input` | objects from files |
//! | `cluster` | objects of a running cluster |
//! | `place` | the best placement beside what the default scheduler would do |
//! | `verify` | a certificate against the objects that it is about |
//! | `bench` | back ends on instances made from seeds |
//! | `interrupt` | Ctrl-C |
//! | `write` | files that are whole or not there |

pub(crate) mod arguments;
pub(crate) mod bench;
mod cluster;
mod input;
pub(crate) mod interrupt;
pub(crate) mod place;
pub(crate) mod verify;
mod write;
