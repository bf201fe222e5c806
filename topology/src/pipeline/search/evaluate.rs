//! The stages of one combination of degrees, cut exactly.

use super::candidates::{Book, Degrees, slots};
use super::{SearchOptions, Sites};
use crate::pipeline::partition::{ChainCosts, ChainStage, Partition, exact, order};
use crate::units::Nanos;

/// Stages by pool, and how they are cut.
pub(super) struct Solved {
    pub(super) pools: Vec<usize>,
    pub(super) partition: Partition,
    pub(super) costs: ChainCosts,
}

/// The best cut of these degrees, in either direction of the pools' order; `None` if nothing fits
/// or pools have no network between.
pub(super) fn solve(
    sites: &Sites,
    options: &SearchOptions,
    book: &mut Book<'_>,
    degrees: Degrees,
) -> Option<Solved> {
    let pools = pools(sites, book, degrees)?;
    let forward = cut(sites, options, book, degrees, &pools);
    if pools.first() == pools.last() {
        return forward;
    }
    let reversed: Vec<usize> = pools.iter().rev().copied().collect();
    let backward = cut(sites, options, book, degrees, &reversed);
    let both = [forward, backward].into_iter().flatten();
    both.min_by_key(|solved| solved.partition.iteration)
}

/// The pool of each stage: the fastest pools that have room, each with its stages side by side.
fn pools(sites: &Sites, book: &mut Book<'_>, degrees: Degrees) -> Option<Vec<usize>> {
    let slots = slots(sites, degrees.tensor, degrees.data);
    let layers = book.layers(degrees.tensor, degrees.micro_batch, degrees.data);
    let mut by_speed: Vec<usize> = (0..slots.len()).filter(|&pool| slots[pool] > 0).collect();
    let block = |pool: usize| layers[pool][1].forward.0 + layers[pool][1].backward.0;
    by_speed.sort_by_key(|&pool| (block(pool), pool));
    let mut left = degrees.pipeline;
    let mut used: Vec<(usize, u32)> = Vec::new();
    for pool in by_speed {
        let take = slots[pool].min(left);
        if take > 0 {
            used.push((pool, take));
            left -= take;
        }
    }
    if left > 0 {
        return None;
    }
    let gpus = degrees.tensor * degrees.data;
    let output = layers[used[0].0][1].output;
    // Half of all times is more than any boundary between pools that have no network.
    let apart = Nanos(u64::MAX >> 8);
    let cost = |a: usize, b: usize| sites.hop(a, b, gpus).map_or(apart, |hop| hop.time(output));
    let between: Vec<Vec<Nanos>> =
        used.iter().map(|&(a, _)| used.iter().map(|&(b, _)| cost(a, b)).collect()).collect();
    let order = order(&between).ok()?;
    if order.cost >= apart {
        return None;
    }
    let stages = order.clusters.iter().flat_map(|&index| {
        let (pool, count) = used[index];
        (0..count).map(move |_| pool)
    });
    Some(stages.collect())
}

fn cut(
    sites: &Sites,
    options: &SearchOptions,
    book: &mut Book<'_>,
    degrees: Degrees,
    pools: &[usize],
) -> Option<Solved> {
    let stages = chain(sites, book, degrees, pools)?;
    let costs = ChainCosts::interleaved(
        &stages,
        degrees.micro_batches(options.global_batch),
        u64::from(degrees.virtual_stages),
        options.bucket,
        options.transfers,
    );
    let partition = exact(&costs).ok()?;
    Some(Solved { pools: pools.to_vec(), partition, costs })
}

/// The hardware of each stage; `None` where two neighbours have no network between.
pub(super) fn chain(
    sites: &Sites,
    book: &mut Book<'_>,
    degrees: Degrees,
    pools: &[usize],
) -> Option<Vec<ChainStage>> {
    let layers = book.layers(degrees.tensor, degrees.micro_batch, degrees.data);
    let gpus = degrees.tensor * degrees.data;
    let mut stages = Vec::with_capacity(pools.len());
    for (index, &pool) in pools.iter().enumerate() {
        // Interleaved, the last sends to the first: of one pool, as all are.
        let next = pools.get(index + 1).copied().unwrap_or(pool);
        stages.push(ChainStage {
            layers: layers[pool].clone(),
            memory: Some(sites.sites()[pool].device.memory),
            next: sites.hop(pool, next, gpus)?,
            reduction: sites.sites()[pool].ring(degrees.tensor, degrees.data),
        });
    }
    Some(stages)
}
