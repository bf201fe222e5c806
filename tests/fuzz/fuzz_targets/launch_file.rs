//! A rank's place from a file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::fuzzing;
use onepath_fuzz::{assert_readable, seed};

const FILES: [&str; 3] = [
    "rank = 1\nworld_size = 4\nlocal_rank = 1\nlocal_world_size = 2\n\
     rendezvous = \"[::1]:29400\"\n",
    "world_size = 2\nrendezvous = \"node1\"\n",
    "rank = -1\nworld_size = 0\nports = [1]\n",
];

fuzz_target!(init: seed(FILES), |text: &str| {
    let lookup = |name: &str| (name == "ONEPATH_RANK").then(|| "1".to_owned());
    match fuzzing::launch_file(text, &lookup) {
        Ok(launch) => {
            assert!(launch.world_size.contains(launch.rank), "{launch:?}");
            let local = launch.local_rank.zip(launch.local_world_size);
            assert!(local.is_none_or(|(rank, size)| rank < size), "{launch:?}");
        }
        Err(error) => assert_readable(&error),
    }
});
