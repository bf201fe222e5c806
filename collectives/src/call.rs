//! What a caller asked for, in the two words that travel in every chunk header.

use std::fmt;

use onepath_topology::Rank;
use onepath_transport::wire::Signature;

use crate::algorithm::Algorithm;
use crate::types::{DataType, ReduceOp};

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CallKind {
    /// Every rank gets the reduction of all buffers.
    AllReduce = 0,
    /// Every rank gets its segment of the reduction.
    ReduceScatter = 1,
    /// Every rank gets all buffers, in rank order.
    AllGather = 2,
    /// Every rank gets the root's buffer.
    Broadcast = 3,
    /// The root gets the reduction of all buffers.
    Reduce = 4,
    /// Every rank gets its segment of every buffer.
    AllToAll = 5,
    /// No rank returns before all have called.
    Barrier = 6,
    /// One rank sends to another.
    PointToPoint = 7,
}

impl CallKind {
    const ALL: [Self; 8] = [
        Self::AllReduce,
        Self::ReduceScatter,
        Self::AllGather,
        Self::Broadcast,
        Self::Reduce,
        Self::AllToAll,
        Self::Barrier,
        Self::PointToPoint,
    ];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::ReduceScatter => "reduce_scatter",
            Self::AllGather => "all_gather",
            Self::Broadcast => "broadcast",
            Self::Reduce => "reduce",
            Self::AllToAll => "all_to_all",
            Self::Barrier => "barrier",
            Self::PointToPoint => "send/recv",
        }
    }
}

/// Two ranks' calls that should be the same and are not. All ranks tell it in the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallMismatch {
    number: u64,
    calls: [(Rank, CallDescription); 2],
}

impl CallMismatch {
    /// Call `number` of two ranks; nothing if the ranks or their calls are the same.
    pub fn new(
        number: u64,
        one: (Rank, CallDescription),
        other: (Rank, CallDescription),
    ) -> Option<Self> {
        if one.0 == other.0 || one.1 == other.1 {
            return None;
        }
        let calls = if one.0 < other.0 { [one, other] } else { [other, one] };
        Some(Self { number, calls })
    }

    /// Which call it is, from 0: among the collectives of the communicator, or among the transfers
    /// from one of the two ranks to the other.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The two ranks and their calls, the lower rank first.
    pub const fn calls(&self) -> [(Rank, CallDescription); 2] {
        self.calls
    }
}

impl fmt::Display for CallMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(one, this), (other, that)] = &self.calls;
        write!(
            f,
            "call {} differs: rank {one} calls {this}, rank {other} calls {that}",
            self.number
        )
    }
}

/// One call as all its ranks must make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallDescription {
    /// What is called.
    pub kind: CallKind,
    /// Type of the elements.
    pub data_type: DataType,
    /// How they are combined, where they are.
    pub op: Option<ReduceOp>,
    /// How it is done.
    pub algorithm: Algorithm,
    /// The root, where there is one.
    pub root: Option<Rank>,
    /// Elements, as the call counts them.
    pub count: u64,
}

const NOTHING: u8 = 0xFF;
const NO_ROOT: u32 = u32::MAX;

impl CallDescription {
    /// Packs the description: kind, type, reduction and algorithm a byte each, then the root; and
    /// the count.
    pub fn signature(&self) -> Signature {
        let bytes = [
            self.kind as u8,
            self.data_type as u8,
            self.op.map_or(NOTHING, |op| op as u8),
            self.algorithm.wire(),
        ];
        let root = self.root.map_or(NO_ROOT, Rank::number);
        let low = u64::from(u32::from_le_bytes(bytes));
        Signature([low | u64::from(root) << 32, self.count])
    }

    /// Reads a packed description; nothing if a peer sent bytes that name no call.
    pub fn from_signature(signature: Signature) -> Option<Self> {
        let [kind, data_type, op, algorithm] = (signature.0[0] as u32).to_le_bytes();
        let root = (signature.0[0] >> 32) as u32;
        Some(Self {
            kind: CallKind::ALL.get(usize::from(kind)).copied()?,
            data_type: DataType::from_wire(data_type)?,
            op: if op == NOTHING { None } else { Some(ReduceOp::from_wire(op)?) },
            algorithm: Algorithm::from_wire(algorithm)?,
            root: (root != NO_ROOT).then_some(Rank::new(root)),
            count: signature.0[1],
        })
    }
}

impl fmt::Display for CallDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} {}", self.kind.name(), self.count, self.data_type)?;
        if let Some(op) = self.op {
            write!(f, ", {op}")?;
        }
        if let Some(root) = self.root {
            write!(f, ", root {root}")?;
        }
        write!(f, ", {}", self.algorithm)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some call of `count` elements.
    pub(crate) fn call(algorithm: Algorithm, count: u64) -> CallDescription {
        CallDescription {
            kind: CallKind::AllReduce,
            data_type: DataType::U32,
            op: Some(ReduceOp::Sum),
            algorithm,
            root: None,
            count,
        }
    }

    #[test]
    fn a_mismatch_is_the_same_whichever_rank_finds_it_and_needs_two_ranks_and_two_calls() {
        let one = (Rank::new(4), call(Algorithm::Ring, 1));
        let other = (Rank::new(2), call(Algorithm::Ring, 9));
        let found = CallMismatch::new(3, one, other).expect("they differ");
        assert_eq!(CallMismatch::new(3, other, one), Some(found));
        assert_eq!(
            found.to_string(),
            "call 3 differs: rank 2 calls all_reduce of 9 u32, sum, ring, \
             rank 4 calls all_reduce of 1 u32, sum, ring"
        );
        assert_eq!(CallMismatch::new(3, one, (other.0, one.1)), None);
        assert_eq!(CallMismatch::new(3, one, (one.0, other.1)), None);
    }

    #[test]
    fn a_description_survives_packing() {
        for op in [None, Some(ReduceOp::Avg)] {
            for root in [None, Some(Rank::new(3))] {
                let call = CallDescription {
                    kind: CallKind::Reduce,
                    data_type: DataType::Bf16,
                    op,
                    algorithm: Algorithm::Tree,
                    root,
                    count: 1 << 40,
                };
                assert_eq!(CallDescription::from_signature(call.signature()), Some(call));
            }
        }
    }

    #[test]
    fn random_words_never_panic() {
        assert_eq!(CallDescription::from_signature(Signature([u64::MAX, 1])), None);
    }
}
