//! An answer that others can check without the solver.

use std::collections::HashMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::{Answer, StageReport, Status};
use crate::placement::Placement;
use crate::problem::{NodeId, PodId, Problem};
use crate::score::{Objective, Score};

/// What documents of this kind begin with.
pub const FORMAT: &str = "onepath-certificate/1";

/// Where one pod is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    /// The pod's name.
    pub pod: String,
    /// The node's name, or none.
    pub node: Option<String>,
}

/// A placement, its worth, and for each stage why it cannot be better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// In which order values count.
    pub objective: Objective,
    /// SHA-256 of the problem, in hexadecimal: see [`digest`].
    pub problem: String,
    /// By pod, in the problem's order.
    pub placement: Vec<Seat>,
    /// What it is worth.
    pub score: Score,
    /// By stage.
    pub stages: Vec<StageReport>,
    /// All in all.
    pub status: Status,
    /// The back end that was asked for.
    pub back_end: String,
    /// Of whatever was random.
    pub seed: u64,
}

/// Why a placement cannot be read from a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeatError {
    /// A pod that there is not, or twice.
    #[error("placement: pod {pod} is not of the problem, or named twice")]
    Pod {
        /// Its name.
        pod: String,
    },
    /// A node that there is not.
    #[error("placement: pod {pod} on node {node}, which there is not")]
    Node {
        /// The pod's name.
        pod: String,
        /// The node's.
        node: String,
    },
    /// A pod of which nothing is said.
    #[error("placement: says nothing of pod {pod}")]
    Missing {
        /// Its name.
        pod: String,
    },
}

impl Certificate {
    /// Of an answer.
    pub fn new(problem: &Problem, objective: Objective, answer: &Answer) -> Self {
        let seat = |(pod, node): (&crate::problem::Pod, &Option<NodeId>)| Seat {
            pod: pod.name.clone(),
            node: node.map(|node| problem.nodes()[node.index()].name.clone()),
        };
        Self {
            format: FORMAT.to_owned(),
            objective,
            problem: digest(problem),
            placement: problem.pods().iter().zip(answer.placement.nodes()).map(seat).collect(),
            score: answer.score.clone(),
            stages: answer.stages.clone(),
            status: answer.status,
            back_end: answer.back_end.clone(),
            seed: answer.seed,
        }
    }

    /// The placement by numbers.
    pub fn seats(&self, problem: &Problem) -> Result<Placement, SeatError> {
        let names = |(id, pod): (PodId, &'_ crate::problem::Pod)| (pod.name.clone(), id);
        let mut pods: HashMap<String, PodId> = problem.numbered_pods().map(names).collect();
        let nodes: HashMap<&str, NodeId> =
            problem.nodes().iter().map(|node| node.name.as_str()).zip((0..).map(NodeId)).collect();
        let mut placement = Placement::from_nodes(vec![None; problem.pods().len()]);
        for Seat { pod, node } in &self.placement {
            let id = pods.remove(pod).ok_or_else(|| SeatError::Pod { pod: pod.clone() })?;
            if let Some(node) = node {
                let unknown = || SeatError::Node { pod: pod.clone(), node: node.clone() };
                let node = nodes.get(node.as_str()).ok_or_else(unknown)?;
                placement.put(id, Some(*node));
            }
        }
        match pods.into_keys().min() {
            Some(pod) => Err(SeatError::Missing { pod }),
            None => Ok(placement),
        }
    }
}

/// SHA-256 of everything a problem says, one line for each resource, level, node, class, gang, part
/// and pod.
pub fn digest(problem: &Problem) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    for resource in problem.resources() {
        line(format!("resource {:?} {:?}", resource.name, resource.unit));
    }
    for level in problem.levels() {
        line(format!("level {:?} {:?}", level.label, level.domains));
    }
    for node in problem.nodes() {
        line(format!("node {:?} {:?} {:?}", node.name, node.capacity, node.domains));
    }
    for class in problem.classes() {
        let bits: String = class.suits.iter().map(|suits| if *suits { '1' } else { '0' }).collect();
        line(format!("class {bits}"));
    }
    for gang in problem.gangs() {
        line(format!("gang {:?} {}", gang.name, gang.minimum));
    }
    for part in problem.parts() {
        line(format!("part {:?} {} {:?}", part.name, part.gang.0, part.rule));
    }
    for pod in problem.pods() {
        let priority = problem.priorities()[pod.tier.index()];
        let of = (pod.class.0, pod.runs_on.map(|node| node.0), pod.mobility, pod.set.0);
        let (gang, part) = (pod.gang.map(|gang| gang.0), pod.part.map(|part| part.0));
        line(format!("pod {:?} {priority} {:?} {of:?} {gang:?} {part:?}", pod.name, pod.request));
    }
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
