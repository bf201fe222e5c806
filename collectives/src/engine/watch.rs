//! Dead ranks, late ranks, time-outs: what no connection shows.

use onepath_topology::{Nanos, Rank};
use onepath_transport::wire::OperationId;

use crate::call::CallDescription;
use crate::error::{CollectiveError, DeathCause};

use super::EngineConfig;

/// Looks at the control plane on behalf of the engine.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The operation that was last reported late.
    warned: Option<OperationId>,
}

impl Watch {
    pub(crate) fn alone() -> Self {
        Self { warned: None }
    }

    pub(super) fn publish(&self, _number: u64, _call: CallDescription) {}

    pub(super) fn abort(&self) {}

    /// What a closed data connection to `rank` means.
    pub(super) fn verdict(&self, rank: Rank, call: Option<CallDescription>) -> CollectiveError {
        CollectiveError::RankDead { rank, cause: DeathCause::Closed, call }
    }

    /// Whether something has happened that ends the communicator.
    pub(super) fn check(
        &mut self,
        config: &EngineConfig,
        oldest: Option<(OperationId, CallDescription, Nanos)>,
        waiting_for: impl Iterator<Item = Rank>,
    ) -> Option<CollectiveError> {
        let (id, call, age) = oldest?;
        if age > Nanos::from(config.operation_timeout) {
            let late = unique(waiting_for);
            return Some(CollectiveError::TimedOut { call, after: age.into(), late });
        }
        if age > Nanos::from(config.late_warning) && self.warned != Some(id) {
            self.warned = Some(id);
            let late = unique(waiting_for);
            eprintln!("onepath: rank {} waits for {late:?} in {call}", config.me);
        }
        None
    }
}

fn unique(ranks: impl Iterator<Item = Rank>) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = ranks.collect();
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}
