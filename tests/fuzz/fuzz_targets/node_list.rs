//! Slurm's lists of nodes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::bootstrap::node_list::first_host;
use onepath_fuzz::{assert_readable, seed};

const LISTS: [&str; 3] = ["node[01-04,7],login", "rack[1-2]n[001-016].example,x", "a,b"];

fuzz_target!(init: seed(LISTS), |text: &str| match first_host(text) {
    Ok(host) => {
        assert!(!host.contains(['[', ']', ',']), "{host:?}");
        // A host is a list of itself, but for white space around it.
        assert_eq!(first_host(&host).as_deref(), Ok(host.trim()));
    }
    Err(error) => assert_readable(&error),
});
