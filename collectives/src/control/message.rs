//! What ranks say on their control connections, one message a frame, little-endian.
//!
//! | kind | message | content |
//! |---|---|---|
//! | 1 | joined | world size `u32`, subflows to the receiver `u16` |
//! | 2 | heartbeat | posted `u64`, flags `u8` (1 waiting, 2 oldest follows), number, 2 words |
//! | 3 | dead | rank `u32`, cause |
//! | 4 | abort | reason |
//! | 5 | goodbye | 0 |
//! | | after a failure | 1, rank `u32`, cause (dead); 2, rank `u32`, reason (aborted by it); 3 |
//! | 6, 7 | view, decision | epoch `u32`, bitmap of the ranks that are gone |
//!
//! A cause is 1 (closed), 2 and nanoseconds `u64` (silent), or 3 (excluded). What a reason is, see
//! `reason`. The longest message has one bitmap and less than a hundred bytes beside it.

use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use onepath_topology::{Rank, WorldSize};
use onepath_transport::wire::Signature;

use super::failure::{DeathCause, Departure, Failure};
use super::membership::Ballot;
use super::progress::{OldestOperation, Progress};
use super::rank_set::RankSet;
use super::reason::AbortReason;

/// The longest frame on a control connection.
pub(super) const MAX_FRAME_BYTES: usize = 64 * 1024;

/// One message between two ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The sender has opened the session; the first message of each side. It makes so many
    /// `pinned` connections itself.
    Joined { world: u32, subflows: u16, pinned: u16 },
    /// The sender is alive.
    Heartbeat(Progress),
    /// A rank is dead.
    Dead { rank: Rank, cause: DeathCause },
    /// The sender aborts the session.
    Abort(AbortReason),
    /// The sender leaves; nothing follows.
    Goodbye(Departure),
    /// The sender's part in an agreement.
    Ballot(Ballot),
}

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    /// The frame ends too early.
    #[error("the message ends before its last field")]
    Short,
    /// The frame goes on after the last field.
    #[error("the message has {0} bytes too many")]
    TrailingBytes(usize),
    /// A number that stands for nothing.
    #[error("the field '{field}' is {value}, which has no meaning")]
    Meaningless { field: &'static str, value: u64 },
    /// The bitmap does not fit the world.
    #[error("the bitmap of ranks does not fit the world")]
    Bitmap,
}

impl From<TryGetError> for MessageError {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

const WAITING: u8 = 1;
const HAS_OLDEST: u8 = 2;

impl Message {
    /// The content of its frame, in a session of `world`.
    pub(super) fn encode(&self, world: WorldSize) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::Joined { world, subflows, pinned } => {
                out.put_u8(1);
                out.put_u32_le(*world);
                out.put_u16_le(*subflows);
                out.put_u16_le(*pinned);
            }
            Self::Heartbeat(progress) => {
                out.put_u8(2);
                put_progress(&mut out, progress);
            }
            Self::Dead { rank, cause } => {
                out.put_u8(3);
                out.put_u32_le(rank.number());
                put_cause(&mut out, *cause);
            }
            Self::Abort(reason) => {
                out.put_u8(4);
                reason.put(&mut out, world);
            }
            Self::Goodbye(departure) => {
                out.put_u8(5);
                put_departure(&mut out, departure, world);
            }
            Self::Ballot(ballot) => {
                out.put_u8(if ballot.decided { 7 } else { 6 });
                out.put_u32_le(ballot.epoch);
                out.extend_from_slice(&ballot.gone.to_bytes());
            }
        }
        out
    }

    /// Reads the content of a frame; all ranks in it are of `world`.
    pub(super) fn decode(mut bytes: &[u8], world: WorldSize) -> Result<Self, MessageError> {
        let bytes = &mut bytes;
        let message = match bytes.try_get_u8()? {
            1 => Self::Joined {
                world: bytes.try_get_u32_le()?,
                subflows: bytes.try_get_u16_le()?,
                pinned: bytes.try_get_u16_le()?,
            },
            2 => Self::Heartbeat(get_progress(bytes)?),
            3 => Self::Dead { rank: get_rank(bytes, world)?, cause: get_cause(bytes)? },
            4 => Self::Abort(AbortReason::get(bytes, world)?),
            5 => Self::Goodbye(get_departure(bytes, world)?),
            kind @ (6 | 7) => {
                let epoch = bytes.try_get_u32_le()?;
                let gone = RankSet::from_bytes(world, bytes).ok_or(MessageError::Bitmap)?;
                bytes.advance(bytes.len());
                Self::Ballot(Ballot { epoch, decided: kind == 7, gone })
            }
            kind => return Err(meaningless("kind", u64::from(kind))),
        };
        if bytes.is_empty() { Ok(message) } else { Err(MessageError::TrailingBytes(bytes.len())) }
    }
}

pub(super) const fn meaningless(field: &'static str, value: u64) -> MessageError {
    MessageError::Meaningless { field, value }
}

fn put_progress(out: &mut Vec<u8>, progress: &Progress) {
    out.put_u64_le(progress.posted);
    let waiting = if progress.waiting { WAITING } else { 0 };
    out.put_u8(waiting | if progress.oldest.is_some() { HAS_OLDEST } else { 0 });
    if let Some(oldest) = progress.oldest {
        out.put_u64_le(oldest.number);
        out.put_u64_le(oldest.signature.0[0]);
        out.put_u64_le(oldest.signature.0[1]);
    }
}

fn get_progress(bytes: &mut &[u8]) -> Result<Progress, MessageError> {
    let posted = bytes.try_get_u64_le()?;
    let flags = bytes.try_get_u8()?;
    if flags & !(WAITING | HAS_OLDEST) != 0 {
        return Err(meaningless("flags", u64::from(flags)));
    }
    let oldest = if flags & HAS_OLDEST == 0 {
        None
    } else {
        let number = bytes.try_get_u64_le()?;
        let signature = Signature([bytes.try_get_u64_le()?, bytes.try_get_u64_le()?]);
        Some(OldestOperation { number, signature })
    };
    Ok(Progress { posted, oldest, waiting: flags & WAITING != 0 })
}

pub(super) fn get_rank(bytes: &mut &[u8], world: WorldSize) -> Result<Rank, MessageError> {
    let number = bytes.try_get_u32_le()?;
    let rank = Rank::new(number);
    if world.contains(rank) { Ok(rank) } else { Err(meaningless("rank", u64::from(number))) }
}

fn put_cause(out: &mut Vec<u8>, cause: DeathCause) {
    match cause {
        DeathCause::Closed => out.put_u8(1),
        DeathCause::Silent { span } => {
            out.put_u8(2);
            out.put_u64_le(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        }
        DeathCause::Excluded => out.put_u8(3),
    }
}

fn get_cause(bytes: &mut &[u8]) -> Result<DeathCause, MessageError> {
    match bytes.try_get_u8()? {
        1 => Ok(DeathCause::Closed),
        2 => Ok(DeathCause::Silent { span: Duration::from_nanos(bytes.try_get_u64_le()?) }),
        3 => Ok(DeathCause::Excluded),
        cause => Err(meaningless("cause", u64::from(cause))),
    }
}

fn put_departure(out: &mut Vec<u8>, departure: &Departure, world: WorldSize) {
    match &departure.reason {
        None => out.put_u8(0),
        Some(Failure::Dead { rank, cause }) => {
            out.put_u8(1);
            out.put_u32_le(rank.number());
            put_cause(out, *cause);
        }
        Some(Failure::Aborted { by, reason }) => {
            out.put_u8(2);
            out.put_u32_le(by.number());
            reason.put(out, world);
        }
        Some(Failure::Stopped) => out.put_u8(3),
    }
}

fn get_departure(bytes: &mut &[u8], world: WorldSize) -> Result<Departure, MessageError> {
    let reason = match bytes.try_get_u8()? {
        0 => None,
        1 => Some(Failure::Dead { rank: get_rank(bytes, world)?, cause: get_cause(bytes)? }),
        2 => {
            let by = get_rank(bytes, world)?;
            Some(Failure::Aborted { by, reason: AbortReason::get(bytes, world)? })
        }
        3 => Some(Failure::Stopped),
        reason => return Err(meaningless("reason", u64::from(reason))),
    };
    Ok(Departure { reason })
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::super::reason::tests::reasons;
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::call::tests::call;

    fn world() -> WorldSize {
        WorldSize::new(11).expect("a world size")
    }

    fn messages() -> Vec<Message> {
        let rank = Rank::new(10);
        let mut gone = RankSet::empty(world());
        gone.insert(rank);
        let causes = [
            DeathCause::Closed,
            DeathCause::Silent { span: Duration::from_millis(1_234) },
            DeathCause::Excluded,
        ];
        let oldest = OldestOperation { number: 3, signature: Signature([1, u64::MAX]) };
        let mut messages = vec![
            Message::Joined { world: 11, subflows: 2, pinned: 3 },
            Message::Heartbeat(Progress::default()),
            Message::Heartbeat(Progress { posted: 7, oldest: Some(oldest), waiting: true }),
            Message::Goodbye(Departure { reason: None }),
            Message::Goodbye(Departure { reason: Some(Failure::Stopped) }),
            Message::Ballot(Ballot { epoch: 3, decided: false, gone: gone.clone() }),
            Message::Ballot(Ballot { epoch: u32::MAX, decided: true, gone }),
        ];
        for cause in causes {
            messages.push(Message::Dead { rank, cause });
            let reason = Some(Failure::Dead { rank, cause });
            messages.push(Message::Goodbye(Departure { reason }));
        }
        for reason in reasons() {
            messages.push(Message::Abort(reason.clone()));
            let reason = Some(Failure::Aborted { by: rank, reason });
            messages.push(Message::Goodbye(Departure { reason }));
        }
        messages
    }

    #[test]
    fn every_message_survives_the_wire() {
        for message in messages() {
            assert_eq!(Message::decode(&message.encode(world()), world()), Ok(message));
        }
    }

    #[test]
    fn a_cut_or_longer_message_is_refused() {
        for message in messages() {
            let mut bytes = message.encode(world());
            for length in 0..bytes.len() {
                assert!(Message::decode(&bytes[..length], world()).is_err(), "{message:?}");
            }
            bytes.push(0);
            assert!(Message::decode(&bytes, world()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn an_abort_fits_its_frame_in_the_largest_world_with_all_ranks_late() {
        let world = WorldSize::new(65_536).expect("the largest world");
        let call = call(Algorithm::Ring, 1);
        let (after, late) = (Duration::MAX, world.ranks().collect());
        let reason = AbortReason::TimedOut { call, after, late };
        let reason = Some(Failure::Aborted { by: Rank::new(1), reason });
        let message = Message::Goodbye(Departure { reason });
        assert!(message.encode(world).len() <= MAX_FRAME_BYTES);
    }

    #[test]
    fn a_rank_outside_the_world_is_refused() {
        let message = Message::Dead { rank: Rank::new(11), cause: DeathCause::Closed };
        assert_eq!(
            Message::decode(&message.encode(world()), world()),
            Err(MessageError::Meaningless { field: "rank", value: 11 })
        );
    }

    #[test]
    fn random_bytes_never_panic() {
        let seed = 7;
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        for _ in 0..100_000 {
            let mut bytes = vec![0; random.random_range(0..80)];
            random.fill(&mut bytes[..]);
            if let Some(kind) = bytes.first_mut() {
                *kind %= 9;
            }
            if let Ok(message) = Message::decode(&bytes, world()) {
                assert_eq!(message.encode(world()), bytes);
            }
        }
    }
}
