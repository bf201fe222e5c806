//! Why an exchange ended without result: what the store tells the members.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::message::{self, Malformed};

/// The most missing ranks that are named.
pub const MAX_NAMED: usize = 64;

/// Why an exchange ended for all its members. "Rank" is a member's index in the exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A parameter is not the same on all ranks.
    #[error(
        "parameter '{name}' differs: rank {first_rank} has {first_value}, \
         rank {other_rank} has {other_value}"
    )]
    ParameterDiffers {
        /// The parameter.
        name: String,
        /// A rank.
        first_rank: u32,
        /// Its value, `(nothing)` if it has none.
        first_value: String,
        /// Another rank.
        other_rank: u32,
        /// Its value, `(nothing)` if it has none.
        other_value: String,
    },
    /// The members do not agree on how many they are.
    #[error(
        "the number of members differs: rank {first_rank} says {first_count}, \
         rank {other_rank} says {other_count}"
    )]
    CountDiffers {
        /// A rank.
        first_rank: u32,
        /// Its count.
        first_count: u32,
        /// Another rank.
        other_rank: u32,
        /// Its count.
        other_count: u32,
    },
    /// A rank has another version of onepath than the store.
    #[error(
        "the protocol version differs: rank {rank} has {theirs}, the store has {ours}; \
         use the same version of onepath on all ranks"
    )]
    VersionDiffers {
        /// The rank.
        rank: u32,
        /// Its version.
        theirs: u16,
        /// The store's.
        ours: u16,
    },
    /// Two processes claim the same rank.
    #[error("two processes came as rank {rank}: from {first} and from {second}")]
    DuplicateRank {
        /// The rank.
        rank: u32,
        /// Address of the first.
        first: String,
        /// Address of the second.
        second: String,
    },
    /// Not all ranks came in time.
    #[error("{}", missing_text(*waited, ranks, *missing, *refused))]
    Missing {
        /// How long the most impatient rank waited.
        waited: Duration,
        /// The first [`MAX_NAMED`] of the missing ranks.
        ranks: Vec<u32>,
        /// How many are missing in all.
        missing: u32,
        /// Connections that were refused for a wrong secret or version.
        refused: u32,
    },
    /// A rank's connection ended before all had come.
    #[error("rank {rank} left the rendezvous before all ranks had come")]
    Left {
        /// The rank.
        rank: u32,
    },
    /// A rank came to an exchange that had ended well without it.
    #[error("the exchange '{key}' has ended already: start all ranks anew")]
    Ended {
        /// The exchange.
        key: String,
    },
    /// The store holds as much as it may.
    #[error("the rendezvous store is full: it holds at most {limit} {what}")]
    Full {
        /// What there is too much of.
        what: String,
        /// How much is allowed.
        limit: u64,
    },
    /// The store was stopped.
    #[error("the rendezvous store was stopped")]
    Stopped,
    /// The request makes no sense.
    #[error("the rendezvous store refused the request: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

fn missing_text(waited: Duration, ranks: &[u32], missing: u32, refused: u32) -> String {
    let noun = if missing == 1 { "rank" } else { "ranks" };
    let names = ranks.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let more = match (missing as usize).saturating_sub(ranks.len()) {
        0 => String::new(),
        unnamed => format!(" and {unnamed} more"),
    };
    let hint = match refused {
        0 => String::new(),
        1 => " (1 connection was refused: wrong secret or version)".to_owned(),
        _ => format!(" ({refused} connections were refused: wrong secret or version)"),
    };
    let waited = seconds(waited);
    format!("rendezvous timed out after {waited}: {noun} {names}{more} did not come{hint}")
}

/// Whole or tenth seconds: `60 s`, `0.3 s`.
pub(super) fn seconds(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths.is_multiple_of(10) {
        format!("{} s", tenths / 10)
    } else {
        format!("{}.{} s", tenths / 10, tenths % 10)
    }
}

impl Failure {
    /// First byte of the wire form, never [`message::GOOD`].
    fn kind(&self) -> u8 {
        match self {
            Self::ParameterDiffers { .. } => 1,
            Self::CountDiffers { .. } => 2,
            Self::VersionDiffers { .. } => 3,
            Self::DuplicateRank { .. } => 4,
            Self::Missing { .. } => 5,
            Self::Left { .. } => 6,
            Self::Ended { .. } => 7,
            Self::Full { .. } => 8,
            Self::Stopped => 9,
            Self::Malformed { .. } => 10,
        }
    }

    /// Appends the wire form: the kind, then the facts in their order.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.kind());
        match self {
            Self::ParameterDiffers { name, first_rank, first_value, other_rank, other_value } => {
                message::put_text(out, name);
                out.put_u32_le(*first_rank);
                message::put_text(out, first_value);
                out.put_u32_le(*other_rank);
                message::put_text(out, other_value);
            }
            Self::CountDiffers { first_rank, first_count, other_rank, other_count } => {
                for number in [first_rank, first_count, other_rank, other_count] {
                    out.put_u32_le(*number);
                }
            }
            Self::VersionDiffers { rank, theirs, ours } => {
                out.put_u32_le(*rank);
                out.put_u16_le(*theirs);
                out.put_u16_le(*ours);
            }
            Self::DuplicateRank { rank, first, second } => {
                out.put_u32_le(*rank);
                message::put_text(out, first);
                message::put_text(out, second);
            }
            Self::Missing { waited, ranks, missing, refused } => {
                out.put_u64_le(waited.as_millis() as u64);
                out.put_u16_le(ranks.len().min(MAX_NAMED) as u16);
                ranks.iter().take(MAX_NAMED).for_each(|rank| out.put_u32_le(*rank));
                out.put_u32_le(*missing);
                out.put_u32_le(*refused);
            }
            Self::Left { rank } => out.put_u32_le(*rank),
            Self::Full { what, limit } => {
                message::put_text(out, what);
                out.put_u64_le(*limit);
            }
            Self::Stopped => {}
            Self::Ended { key: text } | Self::Malformed { reason: text } => {
                message::put_text(out, text);
            }
        }
    }

    /// Reads what [`Self::encode`] wrote, whose first byte is `kind`.
    pub(super) fn decode(kind: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        let text = |input: &mut Bytes| message::take_text(input, "text", message::MAX_TEXT_BYTES);
        Ok(match kind {
            1 => Self::ParameterDiffers {
                name: text(input)?,
                first_rank: input.try_get_u32_le()?,
                first_value: text(input)?,
                other_rank: input.try_get_u32_le()?,
                other_value: text(input)?,
            },
            2 => Self::CountDiffers {
                first_rank: input.try_get_u32_le()?,
                first_count: input.try_get_u32_le()?,
                other_rank: input.try_get_u32_le()?,
                other_count: input.try_get_u32_le()?,
            },
            3 => Self::VersionDiffers {
                rank: input.try_get_u32_le()?,
                theirs: input.try_get_u16_le()?,
                ours: input.try_get_u16_le()?,
            },
            4 => Self::DuplicateRank {
                rank: input.try_get_u32_le()?,
                first: text(input)?,
                second: text(input)?,
            },
            5 => Self::decode_missing(input)?,
            6 => Self::Left { rank: input.try_get_u32_le()? },
            7 => Self::Ended { key: text(input)? },
            8 => Self::Full { what: text(input)?, limit: input.try_get_u64_le()? },
            9 => Self::Stopped,
            10 => Self::Malformed { reason: text(input)? },
            _ => return Err(Malformed::Kind { kind }),
        })
    }

    fn decode_missing(input: &mut Bytes) -> Result<Self, Malformed> {
        let waited = Duration::from_millis(input.try_get_u64_le()?);
        let named = usize::from(input.try_get_u16_le()?);
        if named > MAX_NAMED {
            return Err(Malformed::TooLong {
                what: "list of ranks",
                length: named,
                maximum: MAX_NAMED,
            });
        }
        let ranks = (0..named).map(|_| input.try_get_u32_le()).collect::<Result<_, _>>()?;
        let missing = input.try_get_u32_le()?;
        Ok(Self::Missing { waited, ranks, missing, refused: input.try_get_u32_le()? })
    }
}
