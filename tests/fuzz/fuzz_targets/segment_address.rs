//! Where a rank's shared memory is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_transport::local::SegmentAddress;

fuzz_target!(|bytes: [u8; SegmentAddress::ENCODED_BYTES]| {
    let address = SegmentAddress::decode(&bytes);
    assert_eq!(address.encode(), bytes, "{address:?}");
});
