//! What a peer says that it calls, in the two words of a chunk header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::call::CallDescription;
use onepath_fuzz::assert_readable;
use onepath_transport::wire::Signature;

fuzz_target!(|words: [u64; 2]| {
    let signature = Signature(words);
    if let Some(call) = CallDescription::from_signature(signature) {
        assert_eq!(call.signature(), signature, "{call:?}");
        assert_readable(&call);
    }
});
