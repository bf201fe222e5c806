//! A plan: degrees and stages, where each rank is, groups with their networks, traffic, timeline.
//!
//! | file | what it holds |
//! |---|---|
//! | `traffic` | bytes of an iteration by what carries them |
//! | `view` | the plan as plain data for JSON and the explanation |
//! | `explain` | the explanation for people, and groups as CSV |

mod explain;
mod traffic;
mod view;

use onepath_topology::Nanos;
use onepath_topology::groups::{
    Degrees, DegreesError, GroupKind, Layout, Placement, PlacementError, RankOrder, SelectError,
    SurveyedGroup, survey,
};
use onepath_topology::pipeline::partition::Transfers;
use onepath_topology::pipeline::schedule::{Delivery, Schedule, ScheduleKind, Timeline, simulate};
use onepath_topology::pipeline::search::{Found, SearchError, search, timing_of};

use crate::job::Job;

pub(crate) use explain::{csv, ranks_text, text};
pub(crate) use traffic::{LinkLoad, Traffic};
pub(crate) use view::{PlanView, StageView, net_name};

/// The most passes whose timeline is made; beyond, the bubble is that of the formula.
const MAX_PASSES: u64 = 100_000;

/// A plan, with all that it was made from.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) job: Job,
    pub(crate) found: Found,
    pub(crate) layout: Layout,
    pub(crate) placement: Placement,
    pub(crate) groups: Vec<SurveyedGroup>,
    pub(crate) traffic: Traffic,
    /// None when it would have more than [`MAX_PASSES`] passes.
    pub(crate) timeline: Option<Timeline>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Degrees(#[from] DegreesError),
    #[error(transparent)]
    Placement(#[from] PlacementError),
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Makes the plan of a job.
pub(crate) fn make(job: Job) -> Result<Plan, PlanError> {
    let inventory = &job.document.inventory;
    let found = search(inventory, &job.shape, &job.options)?;
    let degrees = found.degrees;
    let per_stage = (degrees.tensor * degrees.data) as usize;
    let runs: Vec<(usize, usize)> =
        found.stages.iter().map(|stage| (stage.pool, per_stage)).collect();
    let placement = Placement::along(inventory, &runs)?;
    let dimensions =
        Degrees { tensor: degrees.tensor, pipeline: degrees.pipeline, ..Degrees::default() };
    // Stages must be contiguous, or clusters would not hold whole ones.
    let layout = Layout::new(placement.world(), &dimensions, RankOrder::default())?;
    let used: Vec<GroupKind> =
        GroupKind::ALL.into_iter().filter(|kind| kind.is_used(&layout)).collect();
    let groups = survey(inventory, &layout, &placement, &used)?;
    let traffic = traffic::of(&job, &found, &layout, &placement)?;
    let timeline = timeline(&job, &found);
    Ok(Plan { job, found, layout, placement, groups, traffic, timeline })
}

impl Plan {
    /// Idle over busy time; by the timeline, or else by the formula (p − 1) / (v · m).
    pub(crate) fn bubble(&self) -> f64 {
        let degrees = self.found.degrees;
        let micro_batches = degrees.micro_batches(self.job.options.global_batch);
        let formula = f64::from(degrees.pipeline - 1)
            / (f64::from(degrees.virtual_stages) * micro_batches as f64);
        self.timeline.as_ref().map_or(formula, Timeline::bubble)
    }

    /// Samples a second.
    pub(crate) fn samples_per_s(&self) -> f64 {
        self.job.options.global_batch as f64 * 1e9 / self.found.iteration.0.max(1) as f64
    }

    /// 10^12 operations a second of each GPU that takes part.
    pub(crate) fn tflops_per_gpu(&self) -> f64 {
        self.samples_per_s() * self.job.shape.flop_per_sample()
            / self.placement.world().get() as f64
            / 1e12
    }

    /// What somebody must know before he starts the job.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for kind in GroupKind::ALL {
            let bad = |group: &&SurveyedGroup| group.kind == kind && group.is_bad_fallback();
            let Some(first) = self.groups.iter().find(bad) else { continue };
            let count = self.groups.iter().filter(bad).count();
            let selection = &first.selection;
            let from = selection.fallback_from.map_or("", |kind| kind.name());
            warnings.push(format!(
                "{count} {} group(s) FALL BACK from {from} to {}: first {} {} with ranks {}: {}",
                kind.name(),
                selection.carrier,
                kind.name(),
                first.index,
                ranks_text(&first.ranks),
                selection.reason,
            ));
        }
        let (all, used) = (self.job.document.inventory.gpus(), self.placement.world().get());
        if used < all {
            warnings.push(format!("the best plan found leaves {} of {all} GPUs out", all - used));
        }
        warnings
    }
}

/// The timeline of one pipeline, if it is not too long.
fn timeline(job: &Job, found: &Found) -> Option<Timeline> {
    let degrees = found.degrees;
    let micro_batches = degrees.micro_batches(job.options.global_batch);
    let stages = u64::from(degrees.pipeline) * u64::from(degrees.virtual_stages);
    if micro_batches.saturating_mul(stages) > MAX_PASSES {
        return None;
    }
    let kind = match degrees.virtual_stages {
        1 => ScheduleKind::OneForwardOneBackward,
        _ => ScheduleKind::Interleaved,
    };
    let count = u32::try_from(micro_batches).ok()?;
    let schedule = Schedule::new(kind, degrees.pipeline, count, degrees.virtual_stages).ok()?;
    let timing = timing_of(&job.document.inventory, &job.shape, &job.options, found)?;
    let delivery = match job.options.transfers {
        Transfers::Overlapped => Delivery::Buffered,
        Transfers::Blocking => Delivery::Rendezvous,
    };
    simulate(&schedule, &timing, delivery).ok()
}

/// In seconds.
pub(crate) fn seconds(time: Nanos) -> f64 {
    time.0 as f64 / 1e9
}
