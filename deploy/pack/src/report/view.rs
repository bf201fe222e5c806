//! Everything as plain data.

use serde::Serialize;

use super::{Case, pending};
use crate::evictions::unjustified;
use crate::placement::Placement;
use crate::problem::{NodeId, Pod, PodId, Problem};
use crate::score::{Goal, Objective};
use crate::solve::report::Status;

/// Names the form, so that readers can refuse another.
const FORMAT: &str = "onepath-pack/1";

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The form.
    pub format: &'static str,
    /// What is better.
    pub objective: Objective,
    /// How sure it is.
    pub status: Status,
    /// Who solved it.
    pub back_end: String,
    /// Of whatever is random.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// By tier, the most urgent first.
    pub tiers: Vec<TierRow>,
    /// By stage, in their order.
    pub stages: Vec<StageRow>,
    /// Pods that are decided on.
    pub pods: Vec<PodRow>,
    /// Pending pods that are left to others.
    pub left: Vec<LeftRow>,
    /// Running pods that stay whatever happens.
    pub held: Vec<LeftRow>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// One tier.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TierRow {
    /// Its priority.
    pub priority: i64,
    /// Its pods.
    pub pods: u32,
    /// Those that run now.
    pub before: u32,
    /// Those that would have a node by the default scheduler.
    pub default: u32,
    /// Those of them that are of no use, as their gang is not whole.
    pub default_useless: u32,
    /// Those that have one here.
    pub placed: u32,
    /// Running ones that the default scheduler would evict.
    pub default_disturbed: u32,
    /// Running ones that are moved, evicted, or of a gang of which one is.
    pub disturbed: u32,
}

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    /// The tier's priority.
    pub priority: i64,
    /// What was to be good.
    pub goal: Goal,
    /// What was found.
    pub value: u32,
    /// What it cannot be better than.
    pub bound: u32,
    /// How sure it is.
    pub status: Status,
    /// Who solved it.
    pub back_end: Option<String>,
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It runs on.
    Stays,
    /// It gets a node.
    Placed,
    /// It runs on another node.
    Moved,
    /// It loses its node.
    Evicted,
    /// It has no node, as before.
    Pending,
}

/// One pod.
#[derive(Clone, Debug, Serialize)]
pub struct PodRow {
    /// `namespace/name`.
    pub pod: String,
    /// Its priority.
    pub priority: i64,
    /// Its gang.
    pub gang: Option<String>,
    /// Where it runs now.
    pub before: Option<String>,
    /// Where the default scheduler would leave it.
    pub default: Option<String>,
    /// Where it is to be.
    pub node: Option<String>,
    /// What happens to it.
    pub change: Change,
    /// Why it has no node.
    pub reason: Option<String>,
}

/// A pod that is not decided on.
#[derive(Clone, Debug, Serialize)]
pub struct LeftRow {
    /// `namespace/name`.
    pub pod: String,
    /// Where it runs.
    pub node: Option<String>,
    /// Why.
    pub reason: String,
}

impl Report {
    /// Of a case.
    pub fn new(case: &Case<'_>) -> Self {
        let Case { snapshot, problem, mapping, default, answer, objective } = case;
        let name = |index: usize| snapshot.pods[index].metadata.full_name();
        let node = |node: NodeId| problem.nodes()[node.index()].name.clone();
        let left = mapping.left.iter();
        let held = mapping.held.iter();
        let stages = answer.stages.iter().map(|stage| StageRow {
            priority: problem.priorities()[stage.tier as usize],
            goal: stage.goal,
            value: stage.value,
            bound: stage.bound,
            status: stage.status,
            back_end: stage.back_end.clone(),
        });
        let mut notes = mapping.notes.clone();
        notes.extend(budgets(case));
        notes.extend(for_equals(case));
        Self {
            format: FORMAT,
            objective: *objective,
            status: answer.status,
            back_end: answer.back_end.clone(),
            seed: answer.seed,
            nodes: problem.nodes().len(),
            tiers: tiers(problem, default, &answer.placement, case),
            stages: stages.collect(),
            pods: problem.numbered_pods().map(|(id, pod)| row(case, id, pod)).collect(),
            left: left
                .map(|(pod, why)| LeftRow { pod: name(*pod), node: None, reason: why.to_string() })
                .collect(),
            held: held
                .map(|(pod, at, why)| LeftRow {
                    pod: name(*pod),
                    node: Some(node(*at)),
                    reason: why.to_string(),
                })
                .collect(),
            notes,
        }
    }
}

fn row(case: &Case<'_>, id: PodId, pod: &Pod) -> PodRow {
    let problem = case.problem;
    let name = |node: NodeId| problem.nodes()[node.index()].name.clone();
    let ours = case.answer.placement.node(id);
    let change = match (pod.runs_on, ours) {
        (None, None) => Change::Pending,
        (None, Some(_)) => Change::Placed,
        (Some(_), None) => Change::Evicted,
        (Some(before), Some(after)) if before == after => Change::Stays,
        (Some(_), Some(_)) => Change::Moved,
    };
    PodRow {
        pod: pod.name.clone(),
        priority: problem.priorities()[pod.tier.index()],
        gang: pod.gang.map(|gang| problem.gangs()[gang.index()].name.clone()),
        before: pod.runs_on.map(name),
        default: case.default.node(id).map(name),
        node: ours.map(name),
        change,
        reason: ours.is_none().then(|| pending::reason(problem, case.answer, id)),
    }
}

fn tiers(
    problem: &Problem,
    default: &Placement,
    ours: &Placement,
    case: &Case<'_>,
) -> Vec<TierRow> {
    let row = |(index, priority): (usize, &i64)| {
        let score = case.answer.score.tiers[index];
        let pods = problem.numbered_pods().filter(|(_, pod)| pod.tier.index() == index);
        let mut row = TierRow {
            priority: *priority,
            pods: 0,
            before: 0,
            default: 0,
            default_useless: 0,
            placed: 0,
            default_disturbed: 0,
            disturbed: score.disturbed,
        };
        for (id, pod) in pods {
            let by_default = default.node(id);
            row.pods += 1;
            row.before += u32::from(pod.runs_on.is_some());
            row.default += u32::from(by_default.is_some());
            row.default_useless +=
                u32::from(by_default.is_some() && is_useless(problem, default, pod));
            row.placed += u32::from(ours.node(id).is_some());
            row.default_disturbed += u32::from(pod.runs_on.is_some() && by_default != pod.runs_on);
        }
        row
    };
    problem.priorities().iter().enumerate().map(row).collect()
}

/// Whether so few of a pod's gang are placed that they wait for the others.
fn is_useless(problem: &Problem, placement: &Placement, pod: &Pod) -> bool {
    pod.gang.is_some_and(|gang| {
        let gang = &problem.gangs()[gang.index()];
        let placed = gang.pods.iter().filter(|pod| placement.node(**pod).is_some()).count();
        placed < gang.minimum as usize
    })
}

/// Running pods that are left out for others of their priority, which nobody may evict them for.
fn for_equals(case: &Case<'_>) -> Option<String> {
    let count = unjustified(case.problem, &case.answer.placement).len();
    (count > 0).then(|| {
        format!(
            "running pods that are left out for nobody more urgent: {count}; it could be, but \
             onepath scheduler evicts for more urgent pods alone"
        )
    })
}

/// Budgets that let the changes happen only one after another.
fn budgets(case: &Case<'_>) -> impl Iterator<Item = String> {
    let moves = |id: &&PodId| {
        let before = case.problem.pods()[id.index()].runs_on;
        before.is_some() && case.answer.placement.node(**id) != before
    };
    case.mapping.budgets.iter().filter_map(move |budget| {
        let disrupted = budget.pods.iter().filter(moves).count();
        let name = &budget.name;
        let allowed = budget.allowed;
        (disrupted as i64 > allowed).then(|| {
            format!(
                "PodDisruptionBudget {name} allows {allowed} of {disrupted} disruptions at a time: \
                 one after another, as replacements become ready"
            )
        })
    })
}
