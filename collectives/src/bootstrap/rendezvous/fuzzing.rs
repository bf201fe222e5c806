//! Parsers of this module for the fuzz targets; no part of the API.

use std::time::Duration;

use bytes::Bytes;

use super::failure::Failure;
use super::message::{Answer, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Post, Request, encode_failure};
use crate::bootstrap::frame::HEADER_BYTES;

/// Reads a request to the store. One of this version has one form: what was read is written with
/// the same bytes.
pub fn rendezvous_request(bytes: &[u8]) {
    match Request::decode(Bytes::copy_from_slice(bytes)) {
        Ok(Request::Post(post)) => {
            assert_eq!(post.check(), Ok(()));
            assert_eq!(post.encode(), bytes, "{post:?}");
            assert!(bytes.len() <= MAX_REQUEST_BYTES, "too long for its frame: {post:?}");
        }
        Ok(Request::OtherVersion { .. }) => {}
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

/// Reads the first frame of the store's answer; a failure has one form.
pub fn rendezvous_answer(bytes: &[u8]) {
    match Answer::decode(Bytes::copy_from_slice(bytes)) {
        Ok(Answer::Failed(failure)) => {
            assert_eq!(encode_failure(&failure)[HEADER_BYTES..], *bytes, "{failure:?}");
            assert!(bytes.len() <= MAX_ANSWER_BYTES, "too long for its frame: {failure:?}");
            assert!(!failure.to_string().is_empty());
        }
        Ok(Answer::Good { .. }) => {}
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

/// A request and answers to begin with.
pub fn rendezvous_examples() -> Vec<Vec<u8>> {
    let waited = Duration::from_mins(1);
    let post = Post {
        key: "world".to_owned(),
        rank: 3,
        count: 4,
        parameters: vec![("subflows".to_owned(), "2".to_owned())],
        blob: Bytes::from_static(b"blob"),
        patience: waited,
    };
    let missing = Failure::Missing { waited, ranks: vec![2, 5], missing: 3, refused: 1 };
    let differs = Failure::ParameterDiffers {
        name: "subflows".to_owned(),
        first_rank: 0,
        first_value: "2".to_owned(),
        other_rank: 3,
        other_value: "4".to_owned(),
    };
    let failure = |failure| encode_failure(&failure)[HEADER_BYTES..].to_vec();
    let ended = Failure::Ended { key: "world".to_owned() };
    vec![post.encode().to_vec(), failure(missing), failure(differs), failure(ended)]
}
