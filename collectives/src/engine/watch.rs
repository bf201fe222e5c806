//! Dead ranks, late ranks, time-outs: what no connection shows.

use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank, WorldSize};
use onepath_transport::wire::OperationId;

use crate::call::CallDescription;
use crate::control::{Control, DeathCause, Departure, Failure, OldestOperation, Progress};
use crate::error::CollectiveError;

use super::EngineConfig;

/// How long a closed data connection may wait for the control plane to say who died.
const VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// How old an operation is before its call is compared with what peers say of theirs. Different
/// calls that exchange bytes are found at once; this finds those that wait for each other.
const COMPARE_AFTER: Nanos = Nanos::secs(1);

/// The oldest operation in flight: number, call and age.
pub(super) type Oldest = (OperationId, CallDescription, Nanos);

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

    pub(crate) fn abort(&self) {
        if let Some(control) = &self.control {
            control.abort();
        }
    }

    /// What a closed data connection to `rank` means: the control plane knows who died first.
    pub(super) fn verdict(&self, rank: Rank, call: Option<CallDescription>) -> CollectiveError {
        let closed =
            CollectiveError::RankDead { rank, cause: crate::error::DeathCause::Closed, call };
        let Some(control) = &self.control else { return closed };
        control.report_suspect(rank);
        let start = Instant::now();
        while start.elapsed() < VERDICT_LIMIT {
            if let Some(failure) = control.failure() {
                return describe(failure, call);
            }
            if let Some(departure) = control.departed(rank) {
                return gone(rank, departure, call);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        closed
    }

    /// Whether something has happened that ends the communicator.
    pub(super) fn check(
        &mut self,
        config: &EngineConfig,
        oldest: Option<Oldest>,
        waiting_for: impl Iterator<Item = Rank>,
    ) -> Option<CollectiveError> {
        let call = oldest.map(|(_, call, _)| call);
        let control = self.control.as_ref();
        if let Some(failure) = control.filter(|c| c.failure_flag()).and_then(Control::failure) {
            return Some(describe(failure, call));
        }
        let (id, call, age) = oldest?;
        if age < COMPARE_AFTER {
            return None;
        }
        let missing = unique(waiting_for);
        if let Some(error) = self.left(&missing, call) {
            return Some(error);
        }
        if let Some(error) = self.compare(config.world, id, call) {
            return Some(error);
        }
        let late = || self.late(config.world, id).unwrap_or_else(|| missing.clone());
        if age > Nanos::from(config.operation_timeout) {
            return Some(CollectiveError::TimedOut { call, after: age.into(), late: late() });
        }
        if age > Nanos::from(config.late_warning) && self.warned != Some(id) {
            let late = late();
            self.warned = Some(id);
            let me = config.me;
            eprintln!("onepath: rank {me} has waited {age} in {call}; late: {}", names(&late));
        }
        None
    }

    /// A rank that said goodbye sends nothing any more.
    fn left(&self, missing: &[Rank], call: CallDescription) -> Option<CollectiveError> {
        let control = self.control.as_ref()?;
        missing.iter().find_map(|&rank| {
            let departure = control.departed(rank)?;
            Some(gone(rank, departure, Some(call)))
        })
    }

    /// Calls that wait for each other never exchange a byte; heartbeats say what peers are in.
    fn compare(
        &self,
        world: WorldSize,
        id: OperationId,
        ours: CallDescription,
    ) -> Option<CollectiveError> {
        if id.is_point_to_point() {
            return None;
        }
        let control = self.control.as_ref()?;
        world.ranks().find_map(|rank| {
            let oldest = control.progress(rank)?.progress.oldest?;
            let theirs = CallDescription::from_signature(oldest.signature)?;
            let number = id.number();
            (oldest.number == number && theirs != ours).then_some(CollectiveError::Mismatch {
                rank,
                number,
                ours,
                theirs,
            })
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

/// A rank that gave up because of another's death is not the one to be named.
fn gone(rank: Rank, departure: Departure, call: Option<CallDescription>) -> CollectiveError {
    match departure.reason {
        Some(failure) => describe(failure, call),
        None => CollectiveError::RankLeft { rank, call },
    }
}

fn describe(failure: Failure, call: Option<CallDescription>) -> CollectiveError {
    use crate::error::DeathCause as Found;
    match failure {
        Failure::Dead { cause: DeathCause::Excluded, .. } => CollectiveError::Excluded,
        Failure::Dead { rank, cause: DeathCause::Closed } => {
            CollectiveError::RankDead { rank, cause: Found::Closed, call }
        }
        Failure::Dead { rank, cause: DeathCause::Silent { span } } => {
            CollectiveError::RankDead { rank, cause: Found::Silent { span }, call }
        }
        Failure::Aborted { by } => CollectiveError::Aborted { by },
        Failure::Stopped => CollectiveError::ControlStopped,
    }
}

fn names(ranks: &[Rank]) -> String {
    let names: Vec<String> = ranks.iter().map(|rank| format!("rank {rank}")).collect();
    names.join(", ")
}

fn unique(ranks: impl Iterator<Item = Rank>) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = ranks.collect();
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}
