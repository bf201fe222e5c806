//! Lower bounds.

use std::collections::BTreeMap;

use super::problem::Problem;
use crate::fabric::{HostId, LeafId, Link, RailId};

/// A set of links that all traffic of one end must share; the rail where it is on one rail only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    HostUp(HostId, Option<RailId>),
    HostDown(HostId, Option<RailId>),
    LeafUp(LeafId, Option<RailId>),
    LeafDown(LeafId, Option<RailId>),
}

/// The best of the bounds that price alike all links of one side of a leaf or host, over all rails
/// or one: what must pass there over the sum of the rates there. Links that are dead, or that no
/// demand can use, are not counted. Linear in the size of the problem.
pub(super) fn sides(problem: &Problem) -> f64 {
    let mut load: BTreeMap<Side, f64> = BTreeMap::new();
    let mut rate: BTreeMap<Side, f64> = BTreeMap::new();
    for (number, link) in problem.link.iter().enumerate() {
        for side in sides_of(*link) {
            *rate.entry(side).or_default() += problem.rate[number];
            *load.entry(side).or_default() += problem.fixed[number];
        }
    }
    for (demand, bytes) in problem.demand.iter().enumerate() {
        let columns = problem.columns_of(demand);
        // A path uses at most one link of a side; what all paths use must be passed.
        let mut uses: BTreeMap<Side, usize> = BTreeMap::new();
        for column in columns.clone() {
            for &link in problem.links_of(column) {
                for side in sides_of(problem.link[link as usize]) {
                    *uses.entry(side).or_default() += 1;
                }
            }
        }
        for (side, _) in uses.into_iter().filter(|(_, uses)| *uses == columns.len()) {
            *load.entry(side).or_default() += bytes;
        }
    }
    load.iter().map(|(side, load)| load / rate[side]).fold(0.0, f64::max)
}

fn sides_of(link: Link) -> [Side; 2] {
    match link {
        Link::HostUp(host, rail) => [None, Some(rail)].map(|rail| Side::HostUp(host, rail)),
        Link::HostDown(host, rail) => [None, Some(rail)].map(|rail| Side::HostDown(host, rail)),
        Link::Up(leaf, _, rail) => [None, Some(rail)].map(|rail| Side::LeafUp(leaf, rail)),
        Link::Down(_, leaf, rail) => [None, Some(rail)].map(|rail| Side::LeafDown(leaf, rail)),
    }
}

/// The bound of any prices, one a link: negative ones count as 0, and they are scaled so that
/// `sum r_l y_l = 1` (weak duality: see the module above).
pub(super) fn of_prices(problem: &Problem, prices: &[f64]) -> f64 {
    let price = |link: usize| prices[link].max(0.0);
    let links = 0..problem.rate.len();
    let scale: f64 = links.clone().map(|link| problem.rate[link] * price(link)).sum();
    if scale <= 0.0 {
        return 0.0;
    }
    let fixed: f64 = links.map(|link| problem.fixed[link] * price(link)).sum();
    let of_path =
        |column| -> f64 { problem.links_of(column).iter().map(|&link| price(link as usize)).sum() };
    let cheapest = |demand| problem.columns_of(demand).map(of_path).fold(f64::INFINITY, f64::min);
    let demands = problem.demand.iter().enumerate();
    (fixed + demands.map(|(demand, bytes)| bytes * cheapest(demand)).sum::<f64>()) / scale
}
