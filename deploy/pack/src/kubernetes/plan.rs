//! What a plan of a training job says of its worker pods: those of one pipeline stage lie together.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use super::gangs::RuleOf;
use super::marks;
use super::objects::{Metadata, Pod};
use super::request::{self, Counted};
use super::snapshot::Snapshot;

/// The form of a plan as `onepath plan --emit json` writes it.
const FORMAT: &str = "onepath-placement/1";
/// Labels of nodes from near to far; the nearest whose domains have room for each stage is taken.
const LEVELS: &[&str] = &[
    "network.topology.nvidia.com/leaf",
    "onepath.io/cluster",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// A file that is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No JSON, or other fields.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Another form.
    #[error("format is {0:?}: {FORMAT:?} would be right (onepath plan --emit json)")]
    Format(String),
    /// Stages that do not follow each other.
    #[error("constraints: stage {stage} has ranks from {first}, {expected} would be right")]
    Ranks {
        /// The stage.
        stage: usize,
        /// Its first rank.
        first: usize,
        /// What follows the stage before.
        expected: usize,
    },
    /// Nothing to keep.
    #[error("constraints: no stage")]
    Empty,
}

/// What a plan asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRules {
    /// The name of the job, as in the label `onepath.io/job`.
    pub job: String,
    /// The label of nodes by which a stage lies together; none chooses.
    pub level: Option<String>,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Stage {
    #[serde(rename = "stage")]
    number: usize,
    first_rank: usize,
    ranks: usize,
}

#[derive(Deserialize)]
struct File {
    format: String,
    name: String,
    constraints: Vec<Stage>,
}

impl PlanRules {
    /// From what `onepath plan --emit json` writes.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            let text = error.to_string();
            let problem = super::one_line(text.split(" at line ").next().unwrap_or_default());
            PlanError::Syntax { line: error.line(), problem }
        })?;
        if file.format != FORMAT {
            return Err(PlanError::Format(super::one_line(&file.format)));
        }
        let mut expected = 0_usize;
        for Stage { number, first_rank, ranks } in &file.constraints {
            if *first_rank != expected || *ranks == 0 {
                let (stage, first) = (*number, *first_rank);
                return Err(PlanError::Ranks { stage, first, expected });
            }
            expected = expected.saturating_add(*ranks);
        }
        if expected == 0 {
            return Err(PlanError::Empty);
        }
        Ok(Self { job: file.name, level: None, stages: file.constraints })
    }

    /// Whether a pod is a worker of the job.
    pub(super) fn is_worker(&self, metadata: &Metadata) -> bool {
        metadata.mark(marks::JOB) == Some(self.job.as_str())
    }

    /// How many pods the job has, as this one is one of them.
    pub(super) fn pods(&self, pod: &Pod) -> u32 {
        let ranks = self.stages.iter().fold(0, |sum: usize, one| sum.saturating_add(one.ranks));
        u32::try_from(ranks.div_ceil(ranks_of(pod))).unwrap_or(u32::MAX)
    }

    /// The part of a worker pod: its stage; the mark that is wrong, and why.
    pub(super) fn part(&self, pod: &Pod) -> Result<String, (String, String)> {
        let (key, scale) = match pod.metadata.mark(marks::RANK) {
            Some(_) => (marks::RANK, 1),
            None => (marks::COMPLETION_INDEX, ranks_of(pod)),
        };
        let text = pod.metadata.mark(key).unwrap_or_default();
        let rank = text.parse::<usize>().ok().and_then(|number| number.checked_mul(scale));
        let holds = |stage: &&Stage| {
            let inside = |rank: usize| Some(rank.checked_sub(stage.first_rank)? < stage.ranks);
            rank.and_then(inside) == Some(true)
        };
        let found = self.stages.iter().find(holds).map(|stage| format!("stage {}", stage.number));
        found.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            (key.to_owned(), format!("is {shown:?}: a rank of the plan would be right"))
        })
    }

    /// The rule of all stages: the nearest level at which the largest stage fits empty nodes.
    pub(super) fn rule(&self, snapshot: &Snapshot, pod: &Pod) -> Option<RuleOf> {
        if let Some(level) = &self.level {
            return Some(RuleOf::Together(level.clone()));
        }
        let request = request::of(pod).ok()?;
        let largest = self.stages.iter().map(|stage| stage.ranks).max()?;
        let wanted = largest.div_ceil(ranks_of(pod)) as i64;
        let fits = |level: &&&str| {
            let mut slots: BTreeMap<&String, i64> = BTreeMap::new();
            for node in &snapshot.nodes {
                if let Some(domain) = node.metadata.labels.get(**level) {
                    let offer = request::counted(node.status.offer()).unwrap_or_default();
                    *slots.entry(domain).or_default() += times(&offer, &request);
                }
            }
            slots.values().any(|slots| *slots >= wanted)
        };
        LEVELS.iter().find(fits).map(|level| RuleOf::Together((*level).to_owned()))
    }
}

/// How many of a request fit an empty node.
fn times(offer: &Counted, request: &Counted) -> i64 {
    let asked = request.iter().filter(|(_, amount)| **amount > 0);
    let times = asked.map(|(name, amount)| offer.get(name).copied().unwrap_or(0) / amount);
    times.min().unwrap_or(0)
}

/// Ranks in a worker pod: one for each GPU, or one.
fn ranks_of(pod: &Pod) -> usize {
    let request = request::of(pod).unwrap_or_default();
    let gpus = request.iter().filter(|(name, _)| name.ends_with("/gpu"));
    gpus.map(|(_, amount)| *amount as usize).sum::<usize>().max(1)
}
