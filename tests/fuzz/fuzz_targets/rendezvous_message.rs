//! Requests to the rendezvous store and its answers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::fuzzing;
use onepath_fuzz::seed;

fuzz_target!(init: seed(fuzzing::rendezvous_examples()), |bytes: &[u8]| {
    fuzzing::rendezvous_request(bytes);
    fuzzing::rendezvous_answer(bytes);
});
