//! How ranks introduce themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::fuzzing;
use onepath_fuzz::seed;

const CARDS: [&str; 2] = [
    r#"{"addresses":["10.0.0.1:7","[fe80::1%2]:8"],"host":null,"nonce":5}"#,
    r#"{"addresses":[],"host":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16],"nonce":1234567890}"#,
];

fuzz_target!(init: seed(CARDS), |bytes: &[u8]| fuzzing::card(bytes));
