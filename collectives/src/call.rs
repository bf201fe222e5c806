//! What a caller asked for, in the two words that travel in every chunk header.

use std::fmt;

use onepath_topology::Rank;
use onepath_transport::wire::Signature;

use crate::algorithm::{Algorithm, Class, Collective};
use crate::types::{DataType, ReduceOp};

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
    /// What is called; nothing for a transfer from one rank to another.
    pub collective: Option<Collective>,
    /// Type of the elements.
    pub data_type: DataType,
    /// How they are combined, where they are.
    pub op: Option<ReduceOp>,
    /// How it is done.
    pub algorithm: Algorithm,
    /// Elements, as the call counts them.
    pub count: u64,
}

/// The class of a transfer, after those of the collectives.
const TRANSFER: u8 = Class::ALL.len() as u8;
const NOTHING: u8 = 0xFF;
const NO_ROOT: u32 = u32::MAX;

impl CallDescription {
    /// Packs the description: class, type, reduction and algorithm a byte each, then the root; and
    /// the count.
    pub fn signature(&self) -> Signature {
        let bytes = [
            self.collective.map_or(TRANSFER, |collective| collective.class() as u8),
            self.data_type as u8,
            self.op.map_or(NOTHING, |op| op as u8),
            self.algorithm.wire(),
        ];
        let root = self.collective.and_then(Collective::root).map_or(NO_ROOT, Rank::number);
        let low = u64::from(u32::from_le_bytes(bytes));
        Signature([low | u64::from(root) << 32, self.count])
    }

    /// Reads a packed description; nothing if a peer sent bytes that name no call.
    pub fn from_signature(signature: Signature) -> Option<Self> {
        let [class, data_type, op, algorithm] = (signature.0[0] as u32).to_le_bytes();
        let root = (signature.0[0] >> 32) as u32;
        let root = (root != NO_ROOT).then_some(Rank::new(root));
        Some(Self {
            collective: match Class::ALL.get(usize::from(class)) {
                Some(class) => Some(class.with_root(root)?),
                None if class == TRANSFER && root.is_none() => None,
                None => return None,
            },
            data_type: DataType::from_wire(data_type)?,
            op: if op == NOTHING { None } else { Some(ReduceOp::from_wire(op)?) },
            algorithm: Algorithm::from_wire(algorithm)?,
            count: signature.0[1],
        })
    }
}

impl fmt::Display for CallDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.collective.map_or("send/recv", |collective| collective.class().name());
        write!(f, "{name} of {} {}", self.count, self.data_type)?;
        if let Some(op) = self.op {
            write!(f, ", {op}")?;
        }
        if let Some(root) = self.collective.and_then(Collective::root) {
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
            collective: Some(Collective::AllReduce),
            data_type: DataType::U32,
            op: Some(ReduceOp::Sum),
            algorithm,
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
        let root = Rank::new(3);
        let classes = Class::ALL.into_iter();
        let collectives =
            classes.filter_map(|class| class.with_root(None).or(class.with_root(Some(root))));
        for collective in collectives.map(Some).chain([None]) {
            for op in [None, Some(ReduceOp::Avg)] {
                let call = CallDescription {
                    collective,
                    op,
                    data_type: DataType::Bf16,
                    ..call(Algorithm::Tree, 1 << 40)
                };
                assert_eq!(CallDescription::from_signature(call.signature()), Some(call));
            }
        }
    }

    #[test]
    fn a_root_where_there_is_none_and_none_where_there_is_one_are_no_call() {
        let rootless = call(Algorithm::Ring, 1).signature().0;
        let root = CallDescription {
            collective: Some(Collective::Broadcast { root: Rank::new(3) }),
            ..call(Algorithm::Ring, 1)
        };
        let rooted = root.signature().0;
        let low = u64::from(u32::MAX);
        for (class, root) in [(rootless, rooted), (rooted, rootless)] {
            let words = [class[0] & low | root[0] & !low, 1];
            assert_eq!(CallDescription::from_signature(Signature(words)), None);
        }
    }

    #[test]
    fn random_words_never_panic() {
        assert_eq!(CallDescription::from_signature(Signature([u64::MAX, 1])), None);
    }
}
