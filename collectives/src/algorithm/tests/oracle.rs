//! What calls should give.

use super::super::{Call, Collective};

/// How the elements of a test are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Exact, whatever the order: wrong, missing and doubled operands show.
    Sum,
    /// `f32`: the bits depend on the order.
    Float,
    /// `31·local + incoming`: neither commutative nor associative.
    Mixed,
}

impl Kernel {
    pub(super) fn element_bytes(self) -> usize {
        if self == Self::Float { 4 } else { 8 }
    }

    /// `local ⊕ incoming`, element by element.
    pub(super) fn combine(self, local: &[u8], incoming: &[u8]) -> Vec<u8> {
        let width = self.element_bytes();
        let pairs = local.chunks_exact(width).zip(incoming.chunks_exact(width));
        pairs.flat_map(|(a, b)| self.combine_one(a, b)).collect()
    }

    fn combine_one(self, a: &[u8], b: &[u8]) -> Vec<u8> {
        match self {
            Self::Sum => integer(a).wrapping_add(integer(b)).to_le_bytes().to_vec(),
            Self::Mixed => {
                integer(a).wrapping_mul(31).wrapping_add(integer(b)).to_le_bytes().to_vec()
            }
            Self::Float => (float(a) + float(b)).to_le_bytes().to_vec(),
        }
    }

    /// The finish, which shows when it is left out or done twice.
    pub(super) fn finish(self, bytes: &mut [u8]) {
        for element in bytes.chunks_exact_mut(self.element_bytes()) {
            if self == Self::Float {
                let value = float(element) * 0.5;
                element.copy_from_slice(&value.to_le_bytes());
            } else {
                let value = integer(element).wrapping_mul(3).wrapping_add(1);
                element.copy_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// `elements` values of one rank, none like another.
    pub(super) fn values(self, rank: usize, elements: usize, seed: u64) -> Vec<u8> {
        let one = |element: usize| {
            let bits = mix(seed ^ mix((rank as u64) << 32 | element as u64));
            match self {
                Self::Float => ((bits >> 40) as f32 / 1_000.0 - 8_000.0).to_le_bytes().to_vec(),
                _ => bits.to_le_bytes().to_vec(),
            }
        };
        (0..elements).flat_map(one).collect()
    }
}

fn integer(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn float(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// The finaliser of `SplitMix64`.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)).wrapping_add(0x9E37_79B9_7F4A_7C15)
}

/// Elements of a rank's contribution and of its result.
pub(super) fn elements(call: &Call, n: usize) -> (usize, usize) {
    match call.collective {
        Collective::ReduceScatter => (n * call.count, call.count),
        Collective::AllGather => (call.count, n * call.count),
        Collective::AllToAll => (n * call.count, n * call.count),
        Collective::Barrier => (0, 0),
        _ => (call.count, call.count),
    }
}

/// What rank `rank` should have as its result; nothing where it gets none.
pub(super) fn expected(
    call: &Call,
    kernel: Kernel,
    inputs: &[Vec<u8>],
    rank: usize,
) -> Option<Vec<u8>> {
    let bytes = call.count * call.element_bytes;
    let segment = rank * bytes..(rank + 1) * bytes;
    match call.collective {
        Collective::AllReduce => Some(sum(call, kernel, inputs)),
        Collective::Reduce { root } => (root.index() == rank).then(|| sum(call, kernel, inputs)),
        Collective::ReduceScatter => Some(sum(call, kernel, inputs)[segment].to_vec()),
        Collective::AllGather => Some(inputs.concat()),
        Collective::Broadcast { root } => Some(inputs[root.index()].clone()),
        Collective::AllToAll => {
            Some(inputs.iter().flat_map(|input| input[segment.clone()].to_vec()).collect())
        }
        Collective::Barrier => None,
    }
}

fn sum(call: &Call, kernel: Kernel, inputs: &[Vec<u8>]) -> Vec<u8> {
    let (first, others) = inputs.split_first().expect("at least one rank");
    let add = |sum: Vec<u8>, other: &Vec<u8>| kernel.combine(&sum, other);
    let mut sum = others.iter().fold(first.clone(), add);
    if call.finish {
        kernel.finish(&mut sum);
    }
    sum
}

/// Whether two results are equal up to the rounding of sums in different orders.
pub(super) fn is_near(kernel: Kernel, a: &[u8], b: &[u8]) -> bool {
    match kernel {
        Kernel::Float => {
            let pairs = a.chunks_exact(4).zip(b.chunks_exact(4));
            a.len() == b.len() && pairs.into_iter().all(|(a, b)| (float(a) - float(b)).abs() < 0.5)
        }
        _ => a == b,
    }
}
