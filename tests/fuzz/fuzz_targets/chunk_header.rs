//! The header before every chunk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::seed;
use onepath_transport::plan::FlowTag;
use onepath_transport::wire::{ChunkHeader, ChunkKind, HEADER_BYTES, OperationId, Signature};

/// Written as zero and not read, so that a later version may use them.
const UNUSED: std::ops::Range<usize> = 20..24;

fuzz_target!(init: seed([example()]), |bytes: [u8; HEADER_BYTES]| {
    let Ok(header) = ChunkHeader::decode(&bytes) else { return };
    let mut expected = bytes;
    expected[UNUSED].fill(0);
    let mut written = [0xFF; HEADER_BYTES];
    header.encode(&mut written);
    assert_eq!(written, expected, "{header:?}");
    assert_eq!(ChunkHeader::decode(&written), Ok(header));
});

fn example() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let header = ChunkHeader {
        kind: ChunkKind::Data,
        length: 65_536,
        operation: OperationId::point_to_point(7),
        tag: FlowTag(3),
        offset: 1 << 40,
        signature: Signature([1, 2]),
        chunk: 9,
        acknowledged: 8,
    };
    header.encode(&mut bytes);
    bytes
}
