//! What ranks say on their control connections.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::fuzzing;
use onepath_fuzz::seed;
use onepath_topology::WorldSize;

/// The size of the world less one in two bytes, then a message: joined, heartbeats without and
/// with an oldest operation, dead of silence, abort, goodbyes, a decision.
const MESSAGES: [&[u8]; 8] = [
    b"\x03\x00\x01\x04\0\0\0\x02\0",
    b"\x03\x00\x02\x07\0\0\0\0\0\0\0\x01",
    b"\x03\x00\x02\x07\0\0\0\0\0\0\0\x03\x06\0\0\0\0\0\0\0abcdefghabcdefgh",
    b"\x03\x00\x03\x02\0\0\0\x02\x01\0\0\0\0\0\0\0",
    b"\x03\x00\x04",
    b"\x03\x00\x05\x00",
    b"\x03\x00\x05\x02\x01\0\0\0",
    b"\x09\x00\x07\x01\0\0\0\x01\x02",
];

fuzz_target!(init: seed(MESSAGES), |bytes: &[u8]| {
    let Some((size, message)) = bytes.split_first_chunk() else { return };
    let size = 1 + u64::from(u16::from_le_bytes(*size));
    let world = WorldSize::new(size).expect("at most 65,536 ranks are a world");
    fuzzing::control_message(message, world);
});
