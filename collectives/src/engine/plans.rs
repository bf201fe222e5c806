//! Plans computed before, by shape, so that a training step's calls are planned once.

use onepath_topology::{Rank, WorldSize};
use onepath_transport::plan::Plan;

use crate::algorithm::{self, Algorithm, Call, Shape};

use super::request::Request;

/// Shapes that are kept; the least recently used one makes room.
const KEPT: usize = 64;

#[derive(Debug)]
struct Entry {
    call: Call,
    algorithm: Algorithm,
    used: u64,
    plan: Plan,
}

/// Plans by shape.
#[derive(Debug)]
pub(super) struct PlanCache {
    entries: Vec<Entry>,
    single: Plan,
    clock: u64,
}

impl PlanCache {
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(KEPT), single: Plan::default(), clock: 0 }
    }

    /// The plan for a request.
    pub(super) fn get(
        &mut self,
        request: &Request,
        algorithm: Algorithm,
        (rank, ranks): (Rank, WorldSize),
        scratch_limit: usize,
    ) -> &Plan {
        let Some(call) = request.call() else {
            request.point_to_point(&mut self.single);
            return &self.single;
        };
        self.clock += 1;
        let found = self.entries.iter().position(|e| e.call == call && e.algorithm == algorithm);
        let at = found.unwrap_or_else(|| {
            let at = self.vacate();
            let entry = &mut self.entries[at];
            (entry.call, entry.algorithm) = (call, algorithm);
            let shape = Shape { rank, ranks };
            algorithm::plan(&call, algorithm, shape, scratch_limit, &mut entry.plan);
            at
        });
        self.entries[at].used = self.clock;
        &self.entries[at].plan
    }

    /// An entry to be filled: a new one, or the least recently used with its capacity.
    fn vacate(&mut self) -> usize {
        if self.entries.len() < KEPT {
            self.entries.push(Entry {
                call: Call::nothing(),
                algorithm: Algorithm::Ring,
                used: 0,
                plan: Plan::default(),
            });
            return self.entries.len() - 1;
        }
        let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used);
        oldest.map_or(0, |(at, _)| at)
    }
}
