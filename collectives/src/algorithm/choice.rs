//! Which algorithm can run which call.

use onepath_topology::WorldSize;

use super::{Algorithm, Call, Class, Collective, halving, one_shot};

/// Whether a collective has this algorithm.
///
/// | collective | ring | halving-doubling | direct | tree | one-shot |
/// |---|---|---|---|---|---|
/// | all_reduce | yes | yes | yes | yes | yes |
/// | reduce_scatter | yes | yes | yes | | |
/// | all_gather | yes | yes | yes | | |
/// | broadcast | pipeline along the ring | | root to all | yes | |
/// | reduce | pipeline along the ring | | all to root | yes | |
/// | all_to_all | | | yes | | |
/// | barrier | | dissemination | | | |
pub const fn supports(class: Class, algorithm: Algorithm) -> bool {
    use Algorithm::{Direct, HalvingDoubling, Ring, Tree};
    match class {
        Class::AllReduce => true,
        Class::ReduceScatter | Class::AllGather => {
            matches!(algorithm, Ring | HalvingDoubling | Direct)
        }
        Class::Broadcast | Class::Reduce => matches!(algorithm, Ring | Direct | Tree),
        Class::AllToAll => matches!(algorithm, Direct),
        Class::Barrier => matches!(algorithm, HalvingDoubling),
    }
}

/// The algorithm that really runs when `algorithm` is asked for. It depends only on what all ranks
/// share, and asking for its result gives it again.
///
/// - A collective that does not have the algorithm runs by `Tree` (broadcast, reduce),
///   `HalvingDoubling` (barrier) or `Direct` (all others).
/// - `OneShot` that needs more than `scratch_limit` bytes (`n − 1` buffers) runs as `Direct`.
/// - Reduce-scatter by `HalvingDoubling` that needs more than `scratch_limit` bytes
///   (`⌊n/2⌋ − 1` segments) runs as `Direct`.
/// - Reduce-scatter and reduce by `Ring`, and reduce by `Tree`, that need scratch run as `Direct`
///   when `scratch_limit` is below two elements.
pub fn effective(
    call: &Call,
    algorithm: Algorithm,
    ranks: WorldSize,
    scratch_limit: usize,
) -> Algorithm {
    let class = call.collective.class();
    let wanted = if supports(class, algorithm) { algorithm } else { substitute(class) };
    let n = ranks.get();
    let two = call.element_bytes * 2;
    let needed = match (class, wanted) {
        (Class::AllReduce, Algorithm::OneShot) => one_shot::scratch_bytes(call, ranks),
        (Class::ReduceScatter, Algorithm::HalvingDoubling) => halving::scratch_bytes(call, ranks),
        (Class::ReduceScatter | Class::Reduce, Algorithm::Ring) if n > 2 => two,
        (Class::Reduce, Algorithm::Tree) if n > 3 => two,
        _ => 0,
    };
    if needed > scratch_limit { Algorithm::Direct } else { wanted }
}

const fn substitute(class: Class) -> Algorithm {
    match class {
        Class::Broadcast | Class::Reduce => Algorithm::Tree,
        Class::Barrier => Algorithm::HalvingDoubling,
        _ => Algorithm::Direct,
    }
}

/// Whether a call can be planned within `scratch_limit` bytes of scratch. Only all-to-all in place
/// may not: it saves the `n − 1` segments that others are to get before they are overwritten.
/// (NCCL does not offer it at all.) A barrier takes no buffers, and its few bytes of scratch,
/// at most 17, are not counted against the limit.
pub fn fits(call: &Call, ranks: WorldSize, scratch_limit: usize) -> bool {
    match call.collective {
        Collective::AllToAll if call.in_place => {
            call.bytes().saturating_mul(ranks.get() - 1) <= scratch_limit
        }
        _ => true,
    }
}
