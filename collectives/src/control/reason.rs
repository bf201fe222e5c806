//! Why a rank aborts a session, told to the others so that they can say it too.
//!
//! | kind | reason | content |
//! |---|---|---|
//! | 0 | requested | |
//! | 1 | mismatch | number `u64`, then twice: rank `u32`, signature (2 words) |
//! | 2 | timed out | signature (2 words), nanoseconds `u64`, bitmap of the late ranks |
//! | 3, 4, 5 | left, misfit, unreachable | rank `u32` |

use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut};
use onepath_topology::{Rank, WorldSize};
use onepath_transport::wire::Signature;

use super::message::{MessageError, get_rank, meaningless};
use super::rank_set::RankSet;
use crate::call::{CallDescription, CallMismatch};

/// Why a rank aborts a session. What it found alone is found on all ranks by this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// Its caller wants it.
    Requested,
    /// Two ranks make different calls.
    Mismatch(CallMismatch),
    /// A call took too long.
    TimedOut {
        /// The call.
        call: CallDescription,
        /// How long it was waited for.
        after: Duration,
        /// The ranks that were waited for, ascending.
        late: Vec<Rank>,
    },
    /// A rank left in good order while a call still needed it.
    Left {
        /// The rank that left.
        rank: Rank,
    },
    /// A rank sent what does not belong to the call on which both agree.
    Misfit {
        /// The rank that sent it.
        rank: Rank,
    },
    /// The data connection with a rank broke although that is alive.
    Unreachable {
        /// The rank at the other end.
        rank: Rank,
    },
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("its caller wants it"),
            Self::Mismatch(mismatch) => mismatch.fmt(f),
            Self::TimedOut { call, after, .. } => write!(f, "{call} did not end within {after:?}"),
            Self::Left { rank } => write!(f, "rank {rank} has left"),
            Self::Misfit { rank } => write!(f, "rank {rank} sent what does not fit"),
            Self::Unreachable { rank } => write!(f, "its data connection with rank {rank} broke"),
        }
    }
}

impl AbortReason {
    /// Adds it to a message in a session of `world`.
    pub(super) fn put(&self, out: &mut Vec<u8>, world: WorldSize) {
        match self {
            Self::Requested => out.put_u8(0),
            Self::Mismatch(mismatch) => {
                out.put_u8(1);
                out.put_u64_le(mismatch.number());
                for (rank, call) in mismatch.calls() {
                    out.put_u32_le(rank.number());
                    put_call(out, &call);
                }
            }
            Self::TimedOut { call, after, late } => {
                out.put_u8(2);
                put_call(out, call);
                out.put_u64_le(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
                let mut ranks = RankSet::empty(world);
                for &rank in late.iter().filter(|&&rank| world.contains(rank)) {
                    ranks.insert(rank);
                }
                out.extend_from_slice(&ranks.to_bytes());
            }
            Self::Left { rank } => {
                out.put_u8(3);
                out.put_u32_le(rank.number());
            }
            Self::Misfit { rank } => {
                out.put_u8(4);
                out.put_u32_le(rank.number());
            }
            Self::Unreachable { rank } => {
                out.put_u8(5);
                out.put_u32_le(rank.number());
            }
        }
    }

    /// Reads it, as the last part of a message in a session of `world`.
    pub(super) fn get(bytes: &mut &[u8], world: WorldSize) -> Result<Self, MessageError> {
        match bytes.try_get_u8()? {
            0 => Ok(Self::Requested),
            1 => get_mismatch(bytes, world).map(Self::Mismatch),
            2 => {
                let call = get_call(bytes)?;
                let after = Duration::from_nanos(bytes.try_get_u64_le()?);
                let late = RankSet::from_bytes(world, bytes).ok_or(MessageError::Bitmap)?;
                bytes.advance(bytes.len());
                Ok(Self::TimedOut { call, after, late: late.iter().collect() })
            }
            3 => Ok(Self::Left { rank: get_rank(bytes, world)? }),
            4 => Ok(Self::Misfit { rank: get_rank(bytes, world)? }),
            5 => Ok(Self::Unreachable { rank: get_rank(bytes, world)? }),
            reason => Err(meaningless("abort reason", u64::from(reason))),
        }
    }
}

fn put_call(out: &mut Vec<u8>, call: &CallDescription) {
    let Signature([low, high]) = call.signature();
    out.put_u64_le(low);
    out.put_u64_le(high);
}

fn get_call(bytes: &mut &[u8]) -> Result<CallDescription, MessageError> {
    let words = [bytes.try_get_u64_le()?, bytes.try_get_u64_le()?];
    CallDescription::from_signature(Signature(words)).ok_or(meaningless("call", words[0]))
}

fn get_mismatch(bytes: &mut &[u8], world: WorldSize) -> Result<CallMismatch, MessageError> {
    let number = bytes.try_get_u64_le()?;
    let first = (get_rank(bytes, world)?, get_call(bytes)?);
    let second = (get_rank(bytes, world)?, get_call(bytes)?);
    if first.0 >= second.0 {
        // They are written in order; this keeps one form for each mismatch.
        return Err(meaningless("second rank", u64::from(second.0.number())));
    }
    CallMismatch::new(number, first, second).ok_or(meaningless("call", second.1.count))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::call::tests::call;

    /// One of each kind, for a world of more than ten ranks.
    pub(in super::super) fn reasons() -> Vec<AbortReason> {
        let (low, high) = (Rank::new(2), Rank::new(10));
        let (one, other) = (call(Algorithm::Ring, 1), call(Algorithm::Tree, u64::MAX));
        let mismatch = CallMismatch::new(u64::MAX, (high, one), (low, other));
        vec![
            AbortReason::Requested,
            AbortReason::Mismatch(mismatch.expect("they differ")),
            AbortReason::TimedOut {
                call: one,
                after: Duration::from_millis(1_500),
                late: vec![low, high],
            },
            AbortReason::Left { rank: high },
            AbortReason::Misfit { rank: low },
            AbortReason::Unreachable { rank: high },
        ]
    }

    #[test]
    fn a_mismatch_in_another_order_or_of_equal_calls_is_refused() {
        let world = WorldSize::new(11).expect("a world size");
        let mut bytes = Vec::new();
        reasons()[1].put(&mut bytes, world);
        let (head, [first, second]) = (&bytes[..9], [&bytes[9..29], &bytes[29..]]);
        let read = |calls: [&[u8]; 2]| {
            AbortReason::get(&mut &[head, calls[0], calls[1]].concat()[..], world)
        };
        assert_eq!(read([first, second]), Ok(reasons()[1].clone()));
        assert_eq!(read([second, first]), Err(meaningless("second rank", 2)));
        let same_call = [&second[..4], &first[4..]].concat();
        let refused = read([first, &same_call]);
        assert!(
            matches!(refused, Err(MessageError::Meaningless { field: "call", .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_call_that_means_nothing_is_refused() {
        let world = WorldSize::new(11).expect("a world size");
        for reason in [1, 2] {
            let mut bytes = Vec::new();
            reasons()[reason].put(&mut bytes, world);
            let call = if reason == 1 { 13 } else { 1 };
            bytes[call] = 0xFF;
            let refused = AbortReason::get(&mut &bytes[..], world);
            assert!(
                matches!(refused, Err(MessageError::Meaningless { field: "call", .. })),
                "{refused:?}"
            );
        }
    }
}
