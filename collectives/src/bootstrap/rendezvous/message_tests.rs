use proptest::prelude::*;

use super::*;

fn post() -> Post {
    Post {
        key: "world".to_owned(),
        rank: 3,
        count: 4,
        parameters: vec![("subflows".to_owned(), "2".to_owned())],
        blob: Bytes::from_static(b"blob"),
        patience: Duration::from_mins(1),
    }
}

fn every_failure() -> Vec<Failure> {
    vec![
        Failure::ParameterDiffers {
            name: "subflows".into(),
            first_rank: 0,
            first_value: "2".into(),
            other_rank: 3,
            other_value: "4".into(),
        },
        Failure::CountDiffers { first_rank: 1, first_count: 2, other_rank: 3, other_count: 4 },
        Failure::VersionDiffers { rank: 3, theirs: 2, ours: 1 },
        Failure::DuplicateRank { rank: 3, first: "a".into(), second: "b".into() },
        Failure::Missing {
            waited: Duration::from_mins(1),
            ranks: vec![2, 5],
            missing: 2,
            refused: 0,
        },
        Failure::Left { rank: 3 },
        Failure::Ended { key: "world".into() },
        Failure::Full { what: "exchanges".into(), limit: 7 },
        Failure::Stopped,
        Failure::Malformed { reason: "why".into() },
    ]
}

fn content(frame: &Bytes) -> Bytes {
    frame.slice(4..)
}

#[test]
fn a_post_survives_the_wire() {
    assert_eq!(Request::decode(post().encode().freeze()), Ok(Request::Post(post())));
}

#[test]
fn the_longest_post_fits_the_longest_request() {
    let parameter = ("n".repeat(MAX_NAME_BYTES), "v".repeat(MAX_VALUE_BYTES));
    let longest = Post {
        key: "k".repeat(MAX_KEY_BYTES),
        parameters: vec![parameter; MAX_PARAMETERS],
        blob: Bytes::from(vec![1; MAX_BLOB_BYTES]),
        ..post()
    };
    let wire = longest.encode().freeze();
    assert!(wire.len() <= MAX_REQUEST_BYTES);
    assert_eq!(Request::decode(wire), Ok(Request::Post(longest)));
}

#[test]
fn a_post_out_of_bounds_is_named_by_sender_and_receiver() {
    for (wrong, expected) in [
        (Post { rank: 4, ..post() }, "rank 4 of 4 members"),
        (Post { count: MAX_WORLD_SIZE + 1, ..post() }, "rank 3 of 65537 members"),
        (Post { key: "k".repeat(257), ..post() }, "key"),
        (Post { blob: vec![0; MAX_BLOB_BYTES + 1].into(), ..post() }, "the blob has a length"),
        (Post { parameters: vec![Default::default(); 65], ..post() }, "list of parameters"),
    ] {
        let error = wrong.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    for wrong in [Post { rank: 4, ..post() }, Post { count: 0, rank: 0, ..post() }] {
        let error = Request::decode(wrong.encode().freeze()).expect_err("refused");
        assert!(matches!(error, Malformed::Rank { .. }), "{error}");
    }
}

#[test]
fn a_request_of_another_version_still_tells_rank_and_key() {
    let mut wire = post().encode();
    wire[0] = 9;
    wire.truncate(20);
    let expected = Request::OtherVersion { version: 9, rank: 3, key: "world".to_owned() };
    assert_eq!(Request::decode(wire.freeze()), Ok(expected));
}

#[test]
fn every_failure_survives_the_wire_and_reads_as_one_line() {
    for failure in every_failure() {
        assert!(!failure.to_string().contains('\n'), "{failure}");
        let wire = content(&encode_failure(&failure));
        assert_eq!(Answer::decode(wire), Ok(Answer::Failed(failure)));
    }
}

#[test]
fn the_messages_read_as_people_need_them() {
    let failures = every_failure();
    assert_eq!(failures[0].to_string(), "parameter 'subflows' differs: rank 0 has 2, rank 3 has 4");
    assert_eq!(failures[4].to_string(), "rendezvous timed out after 60 s: ranks 2, 5 did not come");
    let missing = Failure::Missing {
        waited: Duration::from_millis(59_997),
        ranks: vec![7],
        missing: 1,
        refused: 1,
    };
    assert_eq!(
        missing.to_string(),
        "rendezvous timed out after 60 s: rank 7 did not come \
         (1 connection was refused: wrong secret or version)"
    );
    let many = Failure::Missing {
        waited: Duration::from_millis(300),
        ranks: vec![1, 2],
        missing: 9,
        refused: 0,
    };
    assert_eq!(
        many.to_string(),
        "rendezvous timed out after 0.3 s: ranks 1, 2 and 7 more did not come"
    );
}

#[test]
fn a_cut_or_prolonged_message_is_malformed() {
    let wire = post().encode().freeze();
    for end in 0..wire.len() {
        let error = Request::decode(wire.slice(..end)).expect_err("cut");
        assert!(matches!(error, Malformed::Short { .. }), "{error} at {end}");
    }
    let mut longer = post().encode();
    longer.put_u8(0);
    assert_eq!(Request::decode(longer.freeze()), Err(Malformed::Extra { extra: 1 }));
}

#[test]
fn a_good_answer_has_its_count_and_then_the_blobs() {
    let blobs = [Bytes::from_static(b"a"), Bytes::new()];
    let wire = encode_good(blobs.iter()).expect("small");
    assert_eq!(&wire[..], b"\x05\0\0\0\0\x02\0\0\0\x01\0\0\0a\0\0\0\0");
    assert_eq!(Answer::decode(wire.slice(4..9)), Ok(Answer::Good { count: 2 }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = Answer::decode(bytes.clone());
        let _ = Request::decode(bytes.clone());
        let mut ours = BytesMut::new();
        ours.put_u16_le(PROTOCOL_VERSION);
        ours.put_slice(&bytes);
        let _ = Request::decode(ours.freeze());
    }
}
