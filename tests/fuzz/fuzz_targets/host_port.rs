//! Addresses as people write them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::bootstrap::HostPort;
use onepath_fuzz::{assert_readable, seed};

const ADDRESSES: [&str; 5] = ["node1", "10.0.0.1:29400", "[::1]:7", "::1", "[fe80::1%eth0]:7"];

fuzz_target!(init: seed(ADDRESSES), |text: &str| match text.parse::<HostPort>() {
    Ok(address) => {
        assert_ne!(address.port(), 0);
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address), "{address}");
        assert_eq!(HostPort::new(address.host(), address.port()).as_ref(), Ok(&address));
        let loopback = address.literal().is_some_and(|ip| ip.is_loopback());
        assert!(address.is_loopback() || !loopback, "{address}");
        assert_readable(&address);
    }
    Err(error) => assert_readable(&error),
});
