//! Which cluster comes after which along the pipeline.
//!
//! Clusters are the cities of an open path; the cost of `a` before `b` is what their boundary adds
//! to an iteration. Few clusters: all orders, priced in full by the caller. Up to 15: Held-Karp,
//! exact. More: nearest neighbours from every start, improved by reversals, beside a lower bound
//! (a minimum spanning tree: no path through all cities is cheaper).

use crate::units::Nanos;

/// All orders are tried up to this many clusters.
pub const MAX_ENUMERATED: usize = 8;
/// Held-Karp up to this many.
pub const MAX_HELD_KARP: usize = 15;
/// More than this are refused.
const MAX_CLUSTERS: usize = 1_024;

/// How an order was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderMethod {
    /// All orders were priced.
    Enumerated,
    /// Exact.
    HeldKarp,
    /// A good one.
    Heuristic,
}

/// An order of clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Clusters from first to last stage.
    pub clusters: Vec<usize>,
    /// What its boundaries add (or, when enumerated, what the caller's price is).
    pub cost: Nanos,
    /// No order costs less; equal to `cost` unless the method is a heuristic.
    pub bound: Nanos,
    /// How it was found.
    pub method: OrderMethod,
}

/// Why there is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// None or too many.
    #[error("{0} clusters: there must be from 1 to {MAX_CLUSTERS}")]
    Clusters(usize),
    /// A row of the matrix is too short or too long.
    #[error("row {row} of the costs has {found} entries: it must have {clusters}")]
    Row {
        /// Which row.
        row: usize,
        /// Its length.
        found: usize,
        /// How many clusters there are.
        clusters: usize,
    },
}

/// The order of least cost; `between[a][b]` is what the boundary from `a` to `b` costs.
pub fn order(between: &[Vec<Nanos>]) -> Result<Order, OrderError> {
    let clusters = between.len();
    if clusters == 0 || clusters > MAX_CLUSTERS {
        return Err(OrderError::Clusters(clusters));
    }
    if let Some(row) = between.iter().position(|row| row.len() != clusters) {
        return Err(OrderError::Row { row, found: between[row].len(), clusters });
    }
    if clusters <= MAX_HELD_KARP {
        return Ok(held_karp(between));
    }
    let clusters = heuristic(between);
    let cost = path_cost(between, &clusters);
    let bound = spanning_tree(between);
    Ok(Order { clusters, cost, bound, method: OrderMethod::Heuristic })
}

/// The order that `price` likes best of all orders of at most [`MAX_ENUMERATED`] clusters, the
/// first in lexicographic order of equal ones; `None` if it refuses all.
pub fn order_by_price(
    clusters: usize,
    mut price: impl FnMut(&[usize]) -> Option<Nanos>,
) -> Option<Order> {
    if clusters == 0 || clusters > MAX_ENUMERATED {
        return None;
    }
    let mut order: Vec<usize> = (0..clusters).collect();
    let mut best: Option<(Nanos, Vec<usize>)> = None;
    loop {
        if let Some(cost) = price(&order)
            && best.as_ref().is_none_or(|(least, _)| cost < *least)
        {
            best = Some((cost, order.clone()));
        }
        if !next_permutation(&mut order) {
            break;
        }
    }
    let (cost, clusters) = best?;
    Some(Order { clusters, cost, bound: cost, method: OrderMethod::Enumerated })
}

fn next_permutation(items: &mut [usize]) -> bool {
    let Some(pivot) = (1..items.len()).rev().find(|&i| items[i - 1] < items[i]) else {
        return false;
    };
    let larger = (pivot..items.len()).rev().find(|&i| items[i] > items[pivot - 1]);
    items.swap(pivot - 1, larger.unwrap_or(pivot));
    items[pivot..].reverse();
    true
}

fn path_cost(between: &[Vec<Nanos>], clusters: &[usize]) -> Nanos {
    clusters.windows(2).fold(Nanos(0), |sum, pair| sum + between[pair[0]][pair[1]])
}

/// Held and Karp 1962: the least cost of a path through a set that ends at a city.
fn held_karp(between: &[Vec<Nanos>]) -> Order {
    let count = between.len();
    let sets = 1_usize << count;
    let mut least = vec![u64::MAX; sets * count];
    let mut parent = vec![usize::MAX; sets * count];
    for city in 0..count {
        least[(1 << city) * count + city] = 0;
    }
    for set in 1..sets {
        for last in (0..count).filter(|last| set & (1 << last) != 0) {
            let cost = least[set * count + last];
            if cost == u64::MAX {
                continue;
            }
            for next in (0..count).filter(|next| set & (1 << next) == 0) {
                let with = (set | 1 << next) * count + next;
                let sum = cost.saturating_add(between[last][next].0);
                if sum < least[with] {
                    (least[with], parent[with]) = (sum, last);
                }
            }
        }
    }
    let (mut set, mut city) = (sets - 1, 0);
    for last in 1..count {
        if least[set * count + last] < least[set * count + city] {
            city = last;
        }
    }
    let cost = Nanos(least[set * count + city]);
    let mut clusters = vec![city];
    while parent[set * count + city] != usize::MAX {
        let before = parent[set * count + city];
        set &= !(1 << city);
        city = before;
        clusters.push(city);
    }
    clusters.reverse();
    Order { clusters, cost, bound: cost, method: OrderMethod::HeldKarp }
}

fn heuristic(between: &[Vec<Nanos>]) -> Vec<usize> {
    let count = between.len();
    let starts = (0..count.min(32)).map(|start| {
        let mut path = nearest(between, start);
        improve(between, &mut path);
        (path_cost(between, &path), path)
    });
    starts.min().map(|(_, path)| path).unwrap_or_default()
}

fn nearest(between: &[Vec<Nanos>], start: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..between.len()).filter(|&city| city != start).collect();
    let mut path = vec![start];
    while !left.is_empty() {
        let last = path[path.len() - 1];
        let best = (0..left.len()).min_by_key(|&index| (between[last][left[index]], left[index]));
        path.push(left.remove(best.unwrap_or(0)));
    }
    path
}

/// Reverses parts of the path (2-opt) while that helps, a bounded number of times.
fn improve(between: &[Vec<Nanos>], path: &mut [usize]) {
    const ROUNDS: usize = 16;
    let mut cost = path_cost(between, path);
    for _ in 0..ROUNDS {
        let before = cost;
        for from in 0..path.len() {
            for to in from + 1..path.len() {
                // Only the ends of the part change when costs are the same both ways.
                let gain = ends(between, path, from, to);
                path[from..=to].reverse();
                if gain < ends(between, path, from, to) {
                    path[from..=to].reverse();
                }
            }
        }
        cost = path_cost(between, path);
        if cost >= before {
            break;
        }
    }
}

fn ends(between: &[Vec<Nanos>], path: &[usize], from: usize, to: usize) -> Nanos {
    let before = if from > 0 { between[path[from - 1]][path[from]] } else { Nanos(0) };
    let after = path.get(to + 1).map_or(Nanos(0), |&next| between[path[to]][next]);
    before + after
}

/// Prim's minimum spanning tree over the cheaper direction of each pair.
fn spanning_tree(between: &[Vec<Nanos>]) -> Nanos {
    let edge = |a: usize, b: usize| between[a][b].min(between[b][a]);
    let mut nearest: Vec<Option<Nanos>> =
        (0..between.len()).map(|city| (city > 0).then(|| edge(0, city))).collect();
    let mut sum = Nanos(0);
    for _ in 1..between.len() {
        let open = (0..nearest.len()).filter_map(|city| nearest[city].map(|cost| (cost, city)));
        let (cost, city) = open.min().expect("a city is left in each round");
        sum = sum + cost;
        nearest[city] = None;
        for (other, cost) in nearest.iter_mut().enumerate() {
            *cost = cost.map(|cost| cost.min(edge(city, other)));
        }
    }
    sum
}
