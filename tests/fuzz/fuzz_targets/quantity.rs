//! Amounts as Kubernetes writes them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_pack::kubernetes::quantity::Quantity;

const TEXTS: [&str; 9] = ["100m", "1Gi", "2", "1e3", "0.5", "1E", "1.5E-2", "+0.1Ki", "12n"];

fuzz_target!(init: seed(TEXTS), |text: &str| {
    match text.parse::<Quantity>() {
        Err(error) => assert_readable(&error),
        Ok(quantity) => match (quantity.scaled(0), quantity.scaled(3)) {
            (Ok(whole), Ok(milli)) => {
                assert!(whole >= 0 && milli >= whole && milli <= whole * 1_000, "{whole} {milli}");
                let again: Quantity = whole.to_string().parse().expect("a number is a quantity");
                assert_eq!(again.scaled(0), Ok(whole));
            }
            (Err(error), Ok(_)) => panic!("{error}, but a thousand of them are not"),
            (_, Err(error)) => assert_readable(&error),
        },
    }
});
