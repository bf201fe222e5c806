//! Length-prefixed frames.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use onepath_collectives::bootstrap::frame::{FrameError, HEADER_BYTES, put_frame, read_frame};
use onepath_fuzz::{assert_readable, finished, seed};

/// Two bytes for the longest frame, then frames.
const STREAMS: [&[u8]; 3] = [
    b"\x10\x00\x03\0\0\0abc\0\0\0\0\x10\0\0\0aaaabbbbccccdddd",
    b"\x10\x00\x11\0\0\0aaaabbbbccccddddd",
    b"\xff\xff\x03\0\0\0ab",
];

fuzz_target!(init: seed(STREAMS), |bytes: &[u8]| {
    let Some((maximum, mut stream)) = bytes.split_first_chunk() else { return };
    let maximum = usize::from(u16::from_le_bytes(*maximum));
    loop {
        let before = stream;
        match finished(read_frame(&mut stream, maximum)) {
            Ok(content) => {
                let mut written = BytesMut::new();
                put_frame(&mut written, &content, maximum).expect("it was read");
                assert_eq!(written, before[..before.len() - stream.len()]);
            }
            Err(error) => return check(&error, before, maximum),
        }
    }
});

fn check(error: &FrameError, bytes: &[u8], maximum: usize) {
    assert_readable(error);
    let claimed = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
    match (error, claimed) {
        (FrameError::Closed, None) => assert!(bytes.is_empty()),
        (FrameError::Truncated { received, .. }, None) => assert_eq!(*received, bytes.len()),
        (FrameError::TooLong { length, .. }, Some(claimed)) => {
            assert_eq!(*length, claimed);
            assert!(claimed > maximum);
        }
        (FrameError::Truncated { received, length }, Some(claimed)) => {
            assert_eq!((*received, *length), (bytes.len(), HEADER_BYTES + claimed));
        }
        _ => panic!("{error}, of {bytes:?}"),
    }
}
