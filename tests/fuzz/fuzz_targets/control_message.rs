//! What ranks say on their control connections.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::fuzzing;
use onepath_fuzz::seed;
use onepath_topology::WorldSize;

fuzz_target!(init: seed(fuzzing::control_message_examples()), |bytes: &[u8]| {
    // The size of the world less one in two bytes, then a message.
    let Some((size, message)) = bytes.split_first_chunk() else { return };
    let size = 1 + u64::from(u16::from_le_bytes(*size));
    let world = WorldSize::new(size).expect("at most 65,536 ranks are a world");
    fuzzing::control_message(message, world);
});
