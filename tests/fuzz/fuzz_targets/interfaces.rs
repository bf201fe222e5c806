//! The choice of interfaces by name and by kind of address.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::bootstrap::interfaces::{AddressFamily, InterfaceFilter};
use onepath_fuzz::{assert_readable, seed};

const FILTERS: [&str; 5] = ["eth0,ib", "=eth0", "^docker, br-", "^=eth0,lo", "ipv6"];

fuzz_target!(init: seed(FILTERS), |text: &str| {
    match text.parse::<InterfaceFilter>() {
        Ok(filter) => assert_eq!(filter.to_string().parse(), Ok(filter)),
        Err(error) => assert_readable(&error),
    }
    match text.parse::<AddressFamily>() {
        Ok(family) => assert_eq!(family.to_string().parse(), Ok(family)),
        Err(error) => assert_readable(&error),
    }
});
