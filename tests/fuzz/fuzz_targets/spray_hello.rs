//! Where a rank receives datagrams.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_transport::spray::Hello;
use onepath_transport::spray::hello::HELLO_BYTES;

fn seeds() -> [[u8; HELLO_BYTES]; 2] {
    ["10.1.2.3:4567", "[2001:db8::7]:65535"].map(|address| {
        let address = address.parse().expect("an address");
        Hello { address, receive_bytes: 4 << 20 }.encode()
    })
}

fuzz_target!(init: seed(seeds()), |bytes: [u8; HELLO_BYTES]| {
    match Hello::decode(&bytes) {
        Ok(hello) => {
            assert!(hello.address.port() > 0, "{hello:?}");
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
        Err(error) => assert_readable(&error),
    }
});
