//! Slurm's `topology.yaml`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::cluster::structure::{MAX_DEPTH, Structure};

const FILES: [&str; 3] = [
    "---\n- topology: main\n  cluster_default: true\n  tree:\n    switches:\n\
     \x20     - switch: root\n        children: s[1-2]\n\
     \x20     - switch: s1\n        nodes: n[01-02]\n\
     \x20     - switch: s2\n        nodes: n[03-04]\n",
    "- topology: racks\n  block:\n    block_sizes: [2, 4]\n    blocks:\n      - block: b1\n        \
     nodes: n[1-2]\n      - block: b2\n- topology: flat\n  flat: true\n",
    "- &a\n  topology: t\n  tree: { switches: [{ switch: x, children: x }] }\n- *a\n",
];

fuzz_target!(init: seed(FILES), |text: &str| match Structure::from_slurm(text, None) {
    Err(error) => assert_readable(&error),
    Ok(structure) => {
        for (place, (host, unit)) in structure.hosts().iter().enumerate() {
            assert_eq!(structure.place(host), Some(place));
            let unit = &structure.units()[unit.expect("every node of Slurm hangs from a unit")];
            assert!(unit.depth <= MAX_DEPTH);
        }
        for unit in structure.units().iter().take(16) {
            let inside = structure.within(&unit.name).expect("the unit is there");
            assert!(inside.len() <= structure.hosts().len());
        }
    }
});
