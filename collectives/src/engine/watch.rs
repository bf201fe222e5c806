//! Dead ranks, late ranks, time-outs: what no connection shows.

use std::io::Write as _;
use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank, WorldSize};
use onepath_transport::wire::OperationId;

use crate::call::{CallDescription, CallMismatch};
use crate::control::{AbortReason, Control, OldestOperation, Progress};
use crate::error::CollectiveError;

use super::EngineConfig;
use super::reason::{departed, describe};

/// How long a closed data connection may wait for the control plane to say who died.
const VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// How old an operation is before its call is compared with what peers say of theirs. Different
/// calls that exchange bytes are found at once; this finds those that wait for each other.
const COMPARE_AFTER: Nanos = Nanos::secs(1);

/// The oldest operation in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    pub(super) id: OperationId,
    pub(super) call: CallDescription,
    /// For how long it has been in flight.
    pub(super) age: Nanos,
}

/// Looks at the control plane on behalf of the engine.
#[derive(Debug)]
pub(crate) struct Watch {
    control: Option<Control>,
    /// The operation that was last reported late.
    warned: Option<OperationId>,
}

impl Watch {
    pub(crate) fn new(control: Control) -> Self {
        Self { control: Some(control), warned: None }
    }

    /// For a communicator without a control plane.
    pub(crate) fn alone() -> Self {
        Self { control: None, warned: None }
    }

    pub(crate) fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// Tells the peers how far this rank has come: `posted` collectives, of which `oldest` is the
    /// first that is not complete.
    pub(super) fn publish(&self, posted: u64, oldest: Option<(u64, CallDescription)>) {
        let Some(control) = &self.control else { return };
        let oldest =
            oldest.map(|(number, call)| OldestOperation { number, signature: call.signature() });
        control.publish(Progress { posted, oldest, waiting: oldest.is_some() });
    }

    /// Ends the session on all ranks; only the first reason counts.
    pub(crate) fn abort(&self, reason: AbortReason) {
        if let Some(control) = &self.control {
            control.abort(reason);
        }
    }

    /// What a closed data connection to `rank` means: the control plane knows who died first.
    /// This rank is in `call`.
    pub(super) fn verdict(&self, rank: Rank, call: Option<CallDescription>) -> CollectiveError {
        let closed =
            CollectiveError::RankDead { rank, cause: crate::error::DeathCause::Closed, call };
        let Some(control) = &self.control else { return closed };
        control.report_suspect(rank);
        let start = Instant::now();
        while start.elapsed() < VERDICT_LIMIT {
            if let Some(error) = self.failed(call) {
                return error;
            }
            if let Some(departure) = control.departed(rank) {
                return departed(rank, departure, call);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        closed
    }

    /// Whether something has happened that ends the communicator. `missing` are the ranks from
    /// which the oldest operation awaits something.
    pub(super) fn check(
        &mut self,
        config: &EngineConfig,
        oldest: Option<Oldest>,
        missing: impl FnOnce() -> Vec<Rank>,
    ) -> Option<CollectiveError> {
        if let Some(error) = self.failed(oldest.map(|oldest| oldest.call)) {
            return Some(error);
        }
        let oldest = oldest?;
        if oldest.age < COMPARE_AFTER {
            return None;
        }
        let missing = missing();
        if let Some(error) = self.find(config, oldest, &missing) {
            return Some(error);
        }
        let Oldest { id, call, age } = oldest;
        if age > Nanos::from(config.late_warning) && self.warned != Some(id) {
            let late = self.late(config.world, id).unwrap_or(missing);
            self.warned = Some(id);
            let me = config.me;
            let late = names(&late);
            let text = format_args!("onepath: rank {me} has waited {age} in {call}; late: {late}");
            // Nobody may be reading any more, which is no reason to panic.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        None
    }

    /// What the control plane says has failed.
    fn failed(&self, call: Option<CallDescription>) -> Option<CollectiveError> {
        let control = self.control.as_ref().filter(|control| control.failure_flag())?;
        Some(describe(control.failure()?, call))
    }

    /// What this rank finds by itself: ranks that left, calls that differ, a call that takes too
    /// long.
    fn find(
        &self,
        config: &EngineConfig,
        Oldest { id, call, age }: Oldest,
        missing: &[Rank],
    ) -> Option<CollectiveError> {
        let found = self.left(missing, call).or_else(|| self.compare(config, id, call));
        if found.is_some() || age <= Nanos::from(config.operation_timeout) {
            return found;
        }
        let late = self.late(config.world, id).unwrap_or_else(|| missing.to_vec());
        Some(CollectiveError::TimedOut { call, after: age.into(), late })
    }

    /// Ranks that left without a failure: what they were sent, they have.
    pub(super) fn gone_in_good_order(&self, world: WorldSize) -> impl Iterator<Item = Rank> + '_ {
        let control = self.control.as_ref().filter(|control| control.departures() > 0);
        let left = move |rank: &Rank| {
            control.and_then(|control| control.departed(*rank)).is_some_and(|d| d.reason.is_none())
        };
        control.into_iter().flat_map(move |_| world.ranks()).filter(left)
    }

    /// A rank that said goodbye sends nothing any more.
    fn left(&self, missing: &[Rank], call: CallDescription) -> Option<CollectiveError> {
        let control = self.control.as_ref()?;
        missing.iter().find_map(|&rank| {
            let departure = control.departed(rank)?;
            Some(departed(rank, departure, Some(call)))
        })
    }

    /// Calls that wait for each other never exchange a byte; heartbeats say what peers are in.
    fn compare(
        &self,
        config: &EngineConfig,
        id: OperationId,
        ours: CallDescription,
    ) -> Option<CollectiveError> {
        if id.is_point_to_point() {
            return None;
        }
        let (control, number) = (self.control.as_ref()?, id.number());
        config.world.ranks().find_map(|rank| {
            let oldest = control.progress(rank)?.progress.oldest?;
            let theirs = CallDescription::from_signature(oldest.signature)?;
            let same = oldest.number == number;
            let mismatch = CallMismatch::new(number, (config.me, ours), (rank, theirs));
            mismatch.filter(|_| same).map(CollectiveError::Mismatch)
        })
    }

    /// Ranks that have not made the call at all, if there are such.
    fn late(&self, world: WorldSize, id: OperationId) -> Option<Vec<Rank>> {
        if id.is_point_to_point() {
            return None;
        }
        let control = self.control.as_ref()?;
        let behind = |rank: &Rank| {
            control.progress(*rank).is_some_and(|peer| peer.progress.posted <= id.number())
        };
        let late: Vec<Rank> = world.ranks().filter(behind).collect();
        (!late.is_empty()).then_some(late)
    }
}

fn names(ranks: &[Rank]) -> String {
    let names: Vec<String> = ranks.iter().map(|rank| format!("rank {rank}")).collect();
    names.join(", ")
}
