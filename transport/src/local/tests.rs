//! What can go wrong with segments and rings.

use std::sync::atomic::Ordering;

use onepath_topology::{Rank, WorldSize};

use super::layout::{DOORBELL, IDENTITY};
use super::segment::Shared;
use super::*;

fn segment(peers: usize) -> Segment {
    Segment::create(peers, &LocalOptions::default()).expect("there is memory for a segment")
}

#[test]
fn a_segment_with_another_token_is_refused_as_another_runs() {
    let segment = segment(1);
    let mut address = segment.address();
    address.token ^= 1;
    let error = Shared::open(Rank::new(3), &address).expect_err("the token differs");
    assert!(error.to_string().contains("token"), "{error}");
    assert!(error.to_string().contains("rank 3"), "{error}");
}

#[test]
fn a_descriptor_that_is_another_file_is_refused_without_opening_it() {
    let (end, _other) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let mut address = segment(1).address();
    address.fd = std::os::fd::AsRawFd::as_raw_fd(&end).cast_unsigned();
    let error = Shared::open(Rank::new(0), &address).expect_err("it is a socket");
    assert!(matches!(error, SegmentError::NotTheSegment { .. }), "{error}");
}

#[test]
fn the_segment_of_a_process_that_is_gone_is_an_open_error() {
    let mut address = segment(1).address();
    address.pid = u32::MAX;
    let error = Shared::open(Rank::new(0), &address).expect_err("no such process");
    assert!(matches!(error, SegmentError::Open { .. }), "{error}");
}

#[test]
fn an_identity_with_impossible_sizes_is_refused() {
    let segment = segment(2);
    for word in 0..7 {
        let cell = segment.shared().word(IDENTITY + 8 * word);
        let before = cell.swap(u64::MAX, Ordering::Relaxed);
        let error = Shared::open(Rank::new(1), &segment.address()).expect_err("a broken identity");
        assert!(matches!(error, SegmentError::NotTheSegment { .. }), "{error}");
        cell.store(before, Ordering::Relaxed);
    }
    assert!(Shared::open(Rank::new(1), &segment.address()).is_ok());
}

#[test]
fn a_ring_is_given_to_one_producer_only() {
    let segment = segment(1);
    let remote = Shared::open(Rank::new(0), &segment.address()).expect("it is alive");
    assert!(remote.attach(Rank::new(0), 0, Rank::new(1)).is_ok());
    let second = remote.attach(Rank::new(0), 0, Rank::new(2));
    assert!(matches!(second, Err(SegmentError::RingTaken { by: 1, .. })));
    let none = remote.attach(Rank::new(0), 1, Rank::new(2));
    assert!(matches!(none, Err(SegmentError::NoSuchRing { .. })));
}

#[test]
fn a_segment_can_neither_shrink_nor_grow() {
    let segment = segment(1);
    let path = format!("/proc/self/fd/{}", segment.address().fd);
    let file = std::fs::File::options().write(true).open(path).expect("our own descriptor");
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 30).is_err());
}

#[test]
fn a_transport_of_one_rank_has_nobody_to_wait_for() {
    let world = WorldSize::new(1).expect("1 is a world size");
    let transport = LocalTransport::connect(world, Rank::new(0), segment(0), &[]);
    let mut transport = transport.expect("nothing to open");
    assert!(!transport.is_waiting(&FlowTable::new(world)));
    assert_eq!(transport.segment.shared().word(DOORBELL).load(Ordering::Relaxed), 0);
    transport.cancel();
}
