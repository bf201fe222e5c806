//! Host list expressions.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::cluster::MAX_NODES;
use onepath_topology::cluster::hosts::{MAX_HOST_NAME, expand};

const LISTS: [&str; 4] =
    ["node[01-04,7],login", "rack[1-2]n[001-016].example,x", "a[1-99999]", "a[1]b[2]c[3]d[4]e[5]"];

fuzz_target!(init: seed(LISTS), |text: &str| match expand(text) {
    Err(error) => assert_readable(&error),
    Ok(hosts) => {
        assert!((1..=MAX_NODES).contains(&hosts.len()), "{}", hosts.len());
        for host in &hosts {
            assert!((1..=MAX_HOST_NAME).contains(&host.len()), "{host:?}");
            // A host is a list of itself.
            assert_eq!(expand(host).as_deref(), Ok(std::slice::from_ref(host)));
        }
    }
});
