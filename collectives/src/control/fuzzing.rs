//! Parsers of this module for the fuzz targets; no part of the API.

use onepath_topology::{Rank, WorldSize};

use super::hello::{Hello, Purpose, decode_answer, encode_answer};
use super::message::{MAX_FRAME_BYTES, Message};

/// Reads a hello, which has one form: what was read is written with the same bytes.
pub fn hello(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(hello.encode(), bytes, "{hello:?}");
    }
}

/// Hellos and answers to begin with.
pub fn hello_examples() -> Vec<Vec<u8>> {
    let (from, to) = (Rank::new(7), Rank::new(3));
    let hello = |purpose| Hello { session: 5, from, to, purpose }.encode();
    let data = Purpose::Data { index: 2 };
    vec![hello(Purpose::Control), hello(data), encode_answer(true), encode_answer(false)]
}

/// Reads an answer to a hello; only one is an acceptance.
pub fn hello_answer(bytes: &[u8]) {
    assert_eq!(decode_answer(bytes).is_ok(), bytes == encode_answer(true));
}

/// Reads a message of a control connection of `world`; each has one form.
pub fn control_message(bytes: &[u8], world: WorldSize) {
    if let Ok(message) = Message::decode(bytes, world) {
        assert_eq!(message.encode(), bytes, "{message:?}");
        assert!(bytes.len() <= MAX_FRAME_BYTES, "too long for its frame: {message:?}");
    }
}
