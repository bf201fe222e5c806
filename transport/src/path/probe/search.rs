//! The search of the paths to one destination.
//!
//! Ports are asked about many at once, but counted in their seeded order: what is found depends on
//! the fabric and the seed, not on which answer comes first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use core::net::{IpAddr, SocketAddr};

use super::order::PortOrder;
use super::stopping::{answers_to_exclude, answers_to_fill};
use super::trace::{End, Trace};
use super::{Outcome, Purpose};
use crate::path::ProbeConfig;
use crate::path::config::MAX_PATHS;
use crate::path::leaves::{Found, Mark};
use crate::path::table::{PathId, PinnedPort, Refusal, Rejection, UnpinnedReason};

/// How many ports are begun while nothing is known: a destination in the rack gets all of these
/// probes.
const FIRST_PORTS: u32 = 4;

/// A probe that a search wants: purpose, port, hop.
pub(super) type Wish = (Purpose, u16, u8);

/// Why a search of paths is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Complete,
    Near,
    NoAnswers,
    OutOfPorts,
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    answered: u32,
    silent: u32,
    busy: u32,
    rejected: Option<Rejection>,
}

/// What came of one search.
#[derive(Clone, Debug)]
pub(super) enum Finding {
    Paths(Found),
    Near,
    Unpinned(UnpinnedReason),
}

#[derive(Debug)]
pub(super) struct Search {
    address: SocketAddr,
    order: PortOrder,
    started: u32,
    counted: u32,
    /// Ports begun and not counted, by their place in the order.
    open: BTreeMap<u32, Trace>,
    wishes: VecDeque<Wish>,
    tally: Tally,
    paths: BTreeMap<PathId, Vec<PinnedPort>>,
    verdict: Option<Verdict>,
    last_hops: BTreeSet<IpAddr>,
    /// Probes of the last hop without an outcome, by path: the hop.
    leaf_open: BTreeMap<u32, u8>,
}

impl Search {
    pub(super) fn new(config: &ProbeConfig, address: SocketAddr) -> Self {
        Self {
            address,
            order: PortOrder::new(config.seed, &config.local_ports, address),
            started: 0,
            counted: 0,
            open: BTreeMap::new(),
            wishes: VecDeque::new(),
            tally: Tally::default(),
            paths: BTreeMap::new(),
            verdict: None,
            last_hops: BTreeSet::new(),
            leaf_open: BTreeMap::new(),
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.verdict.is_some() && self.leaf_open.is_empty()
    }

    pub(super) fn wants(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Name(place) => self.open.contains_key(&place),
            Purpose::Leaf(path) => self.leaf_open.contains_key(&path),
        }
    }

    /// The next probe, if one is worth while now.
    pub(super) fn next(&mut self, config: &ProbeConfig) -> Option<Wish> {
        if let Some(wish) = self.wishes.pop_front() {
            return Some(wish);
        }
        let ahead = self.started - self.counted;
        let spent = self.started >= config.port_budget;
        if self.verdict.is_some() || spent || ahead >= self.worthwhile(config) {
            return None;
        }
        let port = self.order.next()?;
        let place = self.started;
        self.started += 1;
        self.open.insert(place, Trace::new(port));
        Some((Purpose::Name(place), port, config.hops.first()))
    }

    /// How many further answers it takes at least, so far as is known.
    fn worthwhile(&self, config: &ProbeConfig) -> u32 {
        if self.paths.is_empty() {
            let left = u32::from(config.silent_limit).saturating_sub(self.tally.silent);
            return if self.tally.silent > 0 { left } else { left.min(FIRST_PORTS) };
        }
        let paths = self.distinct().count() as u32;
        let unseen = match config.expected_paths {
            Some(expected) if paths < u32::from(expected) => u32::from(expected),
            Some(_) => 0,
            None => answers_to_exclude(paths, config.miss_probability)
                .saturating_sub(self.tally.answered),
        };
        let wanted = usize::from(config.ports_per_path);
        let short = self.distinct().filter(|ports| ports.len() < wanted);
        let (count, missing) = short.fold((0, 0), |(count, missing), ports| {
            (count + 1, missing + (wanted - ports.len()) as u32)
        });
        // Silent ports, which count for nothing, keep the same share.
        let probed = self.tally.answered + self.tally.silent;
        let needed = unseen.max(answers_to_fill(missing, count, paths));
        (needed * probed).div_ceil(self.tally.answered.max(1))
    }

    /// The ports of each identity that is surely another path.
    fn distinct(&self) -> impl Iterator<Item = &Vec<PinnedPort>> {
        self.paths.iter().filter(|(id, _)| self.is_distinct(id)).map(|(_, ports)| ports)
    }

    fn is_distinct(&self, id: &PathId) -> bool {
        !self.paths.keys().any(|other| other.says_more_than(id))
    }

    pub(super) fn outcome(&mut self, config: &ProbeConfig, wish: Wish, outcome: Outcome) {
        let (purpose, port, hop) = wish;
        match purpose {
            Purpose::Leaf(path) => self.leaf_outcome(config, path, port, hop, outcome),
            Purpose::Name(place) => {
                let Some(trace) = self.open.get_mut(&place) else { return };
                if let Some(hop) = trace.outcome(config.hops, outcome) {
                    self.wishes.push_back((purpose, port, hop));
                }
                self.count(config);
            }
        }
    }

    /// Counts the ports that are known, in order, up to the first that is not.
    fn count(&mut self, config: &ProbeConfig) {
        while self.verdict.is_none() {
            let Some(trace) = self.open.get(&self.counted) else { break };
            let Some(end) = trace.end().cloned() else { break };
            let port = trace.port();
            self.open.remove(&self.counted);
            self.counted += 1;
            self.verdict = self.count_one(config, port, end).or_else(|| self.judge(config));
        }
        if self.verdict.is_some() {
            self.open.clear();
            self.wishes.clear();
            self.settle();
            self.ask_for_leaf(config);
        }
    }

    fn count_one(&mut self, config: &ProbeConfig, port: u16, end: End) -> Option<Verdict> {
        match end {
            End::Path(id, round_trip) => {
                self.tally.answered += 1;
                if self.paths.len() < MAX_PATHS || self.paths.contains_key(&id) {
                    let ports = self.paths.entry(id).or_default();
                    if ports.len() < usize::from(config.ports_per_path) {
                        ports.push(PinnedPort { port, round_trip: Some(round_trip) });
                    }
                }
            }
            End::Near => return Some(Verdict::Near),
            End::Silent => self.tally.silent += 1,
            End::Busy => self.tally.busy += 1,
            End::Rejected(rejection) => {
                self.tally.silent += 1;
                self.tally.rejected.get_or_insert(rejection);
            }
            End::Refused(refusal) => return Some(Verdict::Refused(refusal)),
        }
        None
    }

    /// Whether the ports counted so far are enough.
    fn judge(&self, config: &ProbeConfig) -> Option<Verdict> {
        let paths = self.distinct().count() as u32;
        let wanted = usize::from(config.ports_per_path);
        let all = match config.expected_paths {
            Some(expected) => paths >= u32::from(expected),
            None => {
                paths > 0
                    && self.tally.answered >= answers_to_exclude(paths, config.miss_probability)
            }
        };
        if all && self.distinct().all(|ports| ports.len() >= wanted) {
            return Some(Verdict::Complete);
        }
        if self.tally.answered == 0 && self.tally.silent >= u32::from(config.silent_limit) {
            return Some(Verdict::NoAnswers);
        }
        let ports = &config.local_ports;
        let range = u32::from(*ports.end()) - u32::from(*ports.start()) + 1;
        (self.counted >= config.port_budget.min(range)).then_some(Verdict::OutOfPorts)
    }

    /// Leaves out the ports whose path is not known for sure, as a hop was silent for them alone.
    fn settle(&mut self) {
        let unsure: Vec<PathId> =
            self.paths.keys().filter(|id| !self.is_distinct(id)).cloned().collect();
        for id in unsure {
            self.paths.remove(&id);
        }
    }

    /// Asks, over each path, for the last router before the destination.
    fn ask_for_leaf(&mut self, config: &ProbeConfig) {
        let over = matches!(self.verdict, Some(Verdict::Complete | Verdict::OutOfPorts));
        if !config.find_leaves || !over {
            return;
        }
        let hop = config.hops.leaf_hop();
        for (path, (id, ports)) in self.paths.iter().enumerate() {
            if hop <= config.hops.last() {
                self.last_hops.extend(last_hop(id));
            } else if let Some(first) = ports.first() {
                self.leaf_open.insert(path as u32, hop);
                self.wishes.push_back((Purpose::Leaf(path as u32), first.port, hop));
            }
        }
    }

    fn leaf_outcome(
        &mut self,
        config: &ProbeConfig,
        path: u32,
        port: u16,
        hop: u8,
        outcome: Outcome,
    ) {
        if self.leaf_open.remove(&path).is_none() {
            return;
        }
        match outcome {
            Outcome::Hop(address, _) => {
                self.last_hops.insert(address);
            }
            Outcome::Reached if hop - 1 > config.hops.last() => {
                self.leaf_open.insert(path, hop - 1);
                self.wishes.push_back((Purpose::Leaf(path), port, hop - 1));
            }
            Outcome::Reached => {
                let id = self.paths.keys().nth(path as usize);
                self.last_hops.extend(id.and_then(last_hop));
            }
            // The leaf stays unknown over this path; another may tell.
            _ => {}
        }
    }

    /// What was found until now.
    pub(super) fn finding(&self) -> Finding {
        if self.verdict == Some(Verdict::Near) {
            return Finding::Near;
        }
        if !self.paths.is_empty() {
            return Finding::Paths(Found {
                address: self.address,
                paths: self.paths.clone(),
                marks: self.last_hops.iter().map(|&router| Mark::Router(router)).collect(),
                probed_ports: self.counted,
                silent_ports: self.tally.silent,
                complete: self.verdict == Some(Verdict::Complete),
            });
        }
        Finding::Unpinned(self.reason())
    }

    fn reason(&self) -> UnpinnedReason {
        match (self.verdict, self.tally.rejected) {
            (Some(Verdict::Refused(refusal)), _) => UnpinnedReason::Refused(refusal),
            (_, Some(rejection)) => UnpinnedReason::Rejected(rejection),
            (None, _) => UnpinnedReason::OutOfTime { ports: self.started },
            _ if self.tally.silent == 0 => UnpinnedReason::NoFreePorts { ports: self.tally.busy },
            _ => UnpinnedReason::NoAnswers { ports: self.tally.silent },
        }
    }
}

/// Who answered at the last hop of an identity.
fn last_hop(id: &PathId) -> Option<IpAddr> {
    match id {
        PathId::Hops(hops) => *hops.last()?,
        PathId::Named(_) => None,
    }
}
