//! Cost tables, from a file or a broadcast.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::algorithm::cost::{MAX_ENCODED_BYTES, Model};
use onepath_collectives::algorithm::{Class, CostTable, supports};
use onepath_fuzz::seed;
use onepath_topology::{Bytes, WorldSize};

fuzz_target!(init: seed([example()]), |bytes: &[u8]| {
    let Ok(table) = CostTable::decode(bytes) else { return };
    let written = table.encode();
    assert!(written.len() <= MAX_ENCODED_BYTES, "{} bytes", written.len());
    assert_eq!(CostTable::decode(&written).as_ref(), Ok(&table));
    for class in Class::ALL {
        for size in [0, 1, 4097, 1 << 30, u64::MAX] {
            for ranks in [table.ranks(), world(3)] {
                assert!(supports(class, table.choose(class, Bytes(size), ranks)));
            }
        }
    }
});

fn world(ranks: u64) -> WorldSize {
    WorldSize::new(ranks).expect("a world size")
}

fn example() -> Vec<u8> {
    CostTable::modelled(world(4), Model::default()).encode()
}
