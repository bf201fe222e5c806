//! The greeting on a connection between two ranks, and its answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::fuzzing;
use onepath_fuzz::seed;

fuzz_target!(init: seed(fuzzing::hello_examples()), |bytes: &[u8]| {
    fuzzing::hello(bytes);
    fuzzing::hello_answer(bytes);
});
