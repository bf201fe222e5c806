//! Parsers of this module for the fuzz targets; no part of the API.

use std::time::Duration;

use onepath_topology::{Rank, WorldSize};

use super::failure::{DeathCause, Departure, Failure};
use super::hello::{Hello, Purpose, decode_answer, encode_answer};
use super::membership::Ballot;
use super::message::{MAX_FRAME_BYTES, Message};
use super::progress::{OldestOperation, Progress};
use super::rank_set::RankSet;
use super::reason::AbortReason;
use crate::algorithm::{Algorithm, Collective};
use crate::call::{CallDescription, CallMismatch};
use crate::types::{DataType, ReduceOp};

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
    let (data, pinned) = (Purpose::Data { index: 2 }, Purpose::Pinned { index: 4 });
    let hellos = [Purpose::Control, data, pinned].map(hello);
    [&hellos[..], &[encode_answer(true), encode_answer(false)]].concat()
}

/// Reads an answer to a hello; only one is an acceptance.
pub fn hello_answer(bytes: &[u8]) {
    assert_eq!(decode_answer(bytes).is_ok(), bytes == encode_answer(true));
}

/// Messages to begin with, each after the size of its world less one in two bytes.
pub fn control_message_examples() -> Vec<Vec<u8>> {
    let world = WorldSize::new(11).expect("eleven ranks are a world");
    let call = CallDescription {
        collective: Some(Collective::AllReduce),
        data_type: DataType::F32,
        op: Some(ReduceOp::Sum),
        algorithm: Algorithm::Ring,
        count: 5,
    };
    let (rank, other) = (Rank::new(2), (Rank::new(10), CallDescription { count: 6, ..call }));
    let mismatch = CallMismatch::new(3, (rank, call), other).expect("they differ");
    let aborts = [
        AbortReason::Requested,
        AbortReason::Mismatch(mismatch),
        AbortReason::TimedOut { call, after: Duration::from_mins(10), late: vec![rank] },
        AbortReason::Left { rank },
        AbortReason::Misfit { rank },
        AbortReason::Unreachable { rank },
    ];
    let oldest = Some(OldestOperation { number: 3, signature: call.signature() });
    let cause = DeathCause::Silent { span: Duration::from_secs(10) };
    let failures = [Failure::Dead { rank, cause }, Failure::Stopped];
    let aborted = aborts.clone().map(|reason| Failure::Aborted { by: rank, reason });
    let goodbye = |reason| Message::Goodbye(Departure { reason });
    let others = [
        Message::Joined { world: 11, subflows: 2, pinned: 3 },
        Message::Heartbeat(Progress::default()),
        Message::Heartbeat(Progress { posted: 7, oldest, waiting: true }),
        Message::Dead { rank, cause },
        Message::Ballot(Ballot { epoch: 3, decided: true, gone: RankSet::empty(world) }),
        goodbye(None),
    ];
    let messages = others.into_iter().chain(aborts.into_iter().map(Message::Abort));
    let reasons = failures.into_iter().chain(aborted).map(Some);
    messages.chain(reasons.map(goodbye)).map(|m| [vec![10, 0], m.encode(world)].concat()).collect()
}

/// Reads a message of a control connection of `world`; each has one form.
pub fn control_message(bytes: &[u8], world: WorldSize) {
    if let Ok(message) = Message::decode(bytes, world) {
        assert_eq!(message.encode(world), bytes, "{message:?}");
        assert!(bytes.len() <= MAX_FRAME_BYTES, "too long for its frame: {message:?}");
    }
}
