//! Choices of algorithms and plans made before, by shape, so that a training step's calls are
//! planned once.

use onepath_topology::{Rank, WorldSize};
use onepath_transport::plan::Plan;

use crate::algorithm::{self, Algorithm, Call, Shape};

use super::request::{Request, Target};

/// Shapes that are kept; the least recently used one makes room.
const KEPT: usize = 64;

#[derive(Debug)]
struct Entry {
    call: Call,
    /// The algorithm that the owner insisted on.
    wanted: Option<Algorithm>,
    algorithm: Algorithm,
    used: u64,
    plan: Plan,
}

/// Plans by shape.
#[derive(Debug)]
pub(super) struct PlanCache {
    entries: Vec<Entry>,
    /// Of transfers: to receive and to send.
    singles: [Plan; 2],
    clock: u64,
    /// The entry that was used last.
    last: usize,
}

/// A plan with the algorithm that it follows.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) algorithm: Algorithm,
    /// May be changed only in its shares.
    pub(super) plan: &'a mut Plan,
}

impl PlanCache {
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(KEPT), singles: Default::default(), clock: 0, last: 0 }
    }

    /// Forgets every choice, because the tables behind them have changed.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The plan for a request, by the algorithm `wanted` or by the one that `choose` gives for it;
    /// `choose` gives the same for the same call and wish until `clear`.
    pub(super) fn get(
        &mut self,
        request: &Request,
        wanted: Option<Algorithm>,
        choose: impl FnOnce(&Call) -> Algorithm,
        (rank, ranks): (Rank, WorldSize),
        scratch_limit: usize,
    ) -> Planned<'_> {
        let Some(call) = request.call() else {
            let plan = &mut self.singles[usize::from(matches!(request.target, Target::Send(_)))];
            request.point_to_point(plan);
            return Planned { algorithm: Algorithm::Direct, plan };
        };
        self.clock += 1;
        let is_it = |entry: &Entry| entry.call == call && entry.wanted == wanted;
        let again = self.entries.get(self.last).is_some_and(is_it);
        let found = if again { Some(self.last) } else { self.entries.iter().position(is_it) };
        let at = found.unwrap_or_else(|| {
            let at = self.vacate();
            let entry = &mut self.entries[at];
            let algorithm = choose(&call);
            (entry.call, entry.wanted, entry.algorithm) = (call, wanted, algorithm);
            let shape = Shape { rank, ranks };
            algorithm::plan(&call, algorithm, shape, scratch_limit, &mut entry.plan);
            at
        });
        self.last = at;
        let entry = &mut self.entries[at];
        entry.used = self.clock;
        Planned { algorithm: entry.algorithm, plan: &mut entry.plan }
    }

    /// An entry to be filled: a new one, or the least recently used with its capacity.
    fn vacate(&mut self) -> usize {
        if self.entries.len() < KEPT {
            self.entries.push(Entry {
                call: Call::nothing(),
                wanted: None,
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
