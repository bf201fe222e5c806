//! Names of algorithms, types, reductions, collectives and transports.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use onepath_collectives::algorithm::Class;
use onepath_collectives::{Algorithm, DataType, ReduceOp, TransportKind};
use onepath_fuzz::{assert_readable, seed};

const NAMES: [&str; 6] = ["halving-doubling", "bf16", "avg", "all_reduce", "local", "no\nname"];

fuzz_target!(init: seed(NAMES), |text: &str| {
    check::<Algorithm>(text);
    check::<Class>(text);
    check::<DataType>(text);
    check::<ReduceOp>(text);
    check::<TransportKind>(text);
});

fn check<T: FromStr<Err: Display> + Display>(text: &str) {
    match text.parse::<T>() {
        Ok(item) => assert_eq!(item.to_string(), text),
        Err(error) => assert_readable(&error),
    }
}
