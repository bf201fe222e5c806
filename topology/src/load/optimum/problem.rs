//! The program as sparse data.

use std::collections::BTreeMap;

use super::OptimumError;
use crate::assign::StepSet;
use crate::fabric::{HostId, LeafId, LeafSpine, Link, PathId, RailId};
use crate::load::links::{check, rails_of};

/// What is sent from one place to another by the same paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    /// Between leaves, where the rail is given or the only one: host links are no choice.
    Leaves(LeafId, LeafId, Option<RailId>),
    /// Between hosts by any rail: which host link is used is a choice too.
    Hosts(HostId, HostId),
}

/// Demands, the links of each of their paths, rates and fixed loads.
#[derive(Debug, Default)]
pub(super) struct Problem {
    /// Bytes of each demand.
    pub(super) demand: Vec<f64>,
    /// Column (path) numbers of demand `c`: `first[c]..first[c + 1]`.
    pub(super) first: Vec<usize>,
    /// The links of column `j`: `links[ends[j]..ends[j + 1]]`, numbers of the problem.
    links: Vec<u32>,
    ends: Vec<usize>,
    /// Rate of each link that can carry something.
    pub(super) rate: Vec<f64>,
    /// Load that no choice changes.
    pub(super) fixed: Vec<f64>,
    /// The fabric's link of each number.
    pub(super) link: Vec<Link>,
    numbers: BTreeMap<Link, u32>,
}

impl Problem {
    pub(super) fn new(fabric: &LeafSpine, sets: &[StepSet]) -> Result<Self, OptimumError> {
        let mut problem = Self { first: vec![0], ends: vec![0], ..Self::default() };
        let mut demands: BTreeMap<Demand, f64> = BTreeMap::new();
        for set in sets {
            check(fabric, set)?;
            let flows = set.flows.iter().filter(|flow| flow.bytes.0 > 0);
            for flow in flows.filter(|flow| flow.destination != set.source) {
                let bytes = flow.bytes.0 as f64;
                let rails = rails_of(fabric, flow);
                let demand = if rails.len() == 1 {
                    let rail = RailId(rails.start);
                    problem.fix(fabric, Link::HostUp(set.source, rail), bytes);
                    problem.fix(fabric, Link::HostDown(flow.destination, rail), bytes);
                    if set.is_local(flow) {
                        continue;
                    }
                    Demand::Leaves(set.leaf, flow.leaf, Some(rail))
                } else {
                    Demand::Hosts(set.source, flow.destination)
                };
                *demands.entry(demand).or_default() += bytes;
            }
        }
        for (demand, bytes) in demands {
            problem.add(fabric, demand, bytes)?;
        }
        Ok(problem)
    }

    fn add(&mut self, fabric: &LeafSpine, demand: Demand, bytes: f64) -> Result<(), OptimumError> {
        let ends = match demand {
            Demand::Leaves(from, to, _) => (from, to),
            Demand::Hosts(source, destination) => {
                (fabric.leaf_of(source), fabric.leaf_of(destination))
            }
        };
        let columns = if ends.0 == ends.1 {
            (0..fabric.shape().rails).map(|rail| (RailId(rail), None)).collect()
        } else {
            live_paths(fabric, ends, demand)
        };
        if columns.is_empty() {
            let rail = if let Demand::Leaves(_, _, rail) = demand { rail } else { None };
            return Err(OptimumError::NoLivePath { from: ends.0, to: ends.1, rail });
        }
        for (rail, path) in columns {
            if let Demand::Hosts(source, destination) = demand {
                self.push(fabric, Link::HostUp(source, rail));
                self.push(fabric, Link::HostDown(destination, rail));
            }
            if let Some(path) = path {
                let (spine, rail) = fabric.spine_of(path);
                self.push(fabric, Link::Up(ends.0, spine, rail));
                self.push(fabric, Link::Down(spine, ends.1, rail));
            }
            self.ends.push(self.links.len());
        }
        self.first.push(self.ends.len() - 1);
        self.demand.push(bytes);
        Ok(())
    }

    fn push(&mut self, fabric: &LeafSpine, link: Link) {
        let number = self.number(fabric, link);
        self.links.push(number);
    }

    fn fix(&mut self, fabric: &LeafSpine, link: Link, bytes: f64) {
        let number = self.number(fabric, link);
        self.fixed[number as usize] += bytes;
    }

    fn number(&mut self, fabric: &LeafSpine, link: Link) -> u32 {
        if let Some(&number) = self.numbers.get(&link) {
            return number;
        }
        let number = self.link.len() as u32;
        let rate = fabric.rate(link).expect("dead links are on no live path");
        self.numbers.insert(link, number);
        self.link.push(link);
        self.rate.push(rate.0);
        self.fixed.push(0.0);
        number
    }

    /// How many paths all demands have.
    pub(super) fn columns(&self) -> usize {
        self.ends.len() - 1
    }

    /// The links of a path.
    pub(super) fn links_of(&self, column: usize) -> &[u32] {
        &self.links[self.ends[column]..self.ends[column + 1]]
    }

    /// The paths of a demand.
    pub(super) fn columns_of(&self, demand: usize) -> std::ops::Range<usize> {
        self.first[demand]..self.first[demand + 1]
    }

    /// The ideal spray: each demand in proportion to the slowest link of each path.
    pub(super) fn spray(&self) -> Vec<f64> {
        let mut routing = vec![0.0; self.columns()];
        let slowest = |column| {
            let rates = self.links_of(column).iter().map(|&link| self.rate[link as usize]);
            rates.fold(f64::INFINITY, f64::min)
        };
        for (demand, bytes) in self.demand.iter().enumerate() {
            let total: f64 = self.columns_of(demand).map(slowest).sum();
            for column in self.columns_of(demand) {
                routing[column] = bytes * slowest(column) / total;
            }
        }
        routing
    }

    /// The time of the busiest link under a routing (bytes by column). Where a routing is not
    /// exact, each demand is scaled to its bytes first, so the result is always reachable.
    pub(super) fn time_of(&self, routing: &[f64]) -> f64 {
        let mut loads = self.fixed.clone();
        for (demand, bytes) in self.demand.iter().enumerate() {
            let share = |column: usize| routing[column].max(0.0);
            let total: f64 = self.columns_of(demand).map(share).sum();
            if total <= 0.0 {
                return f64::INFINITY;
            }
            for column in self.columns_of(demand) {
                for &link in self.links_of(column) {
                    loads[link as usize] += share(column) * (bytes / total);
                }
            }
        }
        loads.iter().zip(&self.rate).map(|(load, rate)| load / rate).fold(0.0, f64::max)
    }
}

fn live_paths(
    fabric: &LeafSpine,
    (from, to): (LeafId, LeafId),
    demand: Demand,
) -> Vec<(RailId, Option<PathId>)> {
    let rail = if let Demand::Leaves(_, _, rail) = demand { rail } else { None };
    let paths = fabric.paths(from, to);
    paths.live(rail).map(|path| (path.rail, Some(path.id))).collect()
}
