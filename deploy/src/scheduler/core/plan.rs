//! Who is evicted, who is put where, which nodes are concerned.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;

use super::world::PodName;

/// A waiting pod that gets a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) pod: PodName,
    pub(crate) node: String,
    pub(crate) priority: i64,
    pub(crate) gang: Option<String>,
}

/// A running pod that is evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) pod: PodName,
    /// Where it runs.
    pub(crate) node: String,
    /// Where its successor is put; none when it only makes room.
    pub(crate) to: Option<String>,
    pub(crate) priority: i64,
    /// Uid of what makes its successor.
    pub(crate) owner: Option<String>,
    /// How long it may take to end.
    pub(crate) grace: Duration,
}

/// A node that is reserved while the plan is carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) id: String,
    /// The most urgent first.
    pub(crate) targets: Vec<Target>,
    /// The least urgent first.
    pub(crate) victims: Vec<Victim>,
    pub(crate) places: Vec<Place>,
}

/// Why something is no plan. Solvers keep to this; whatever they do, it is not carried out else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PlanError {
    #[error("no pod gets a node: nothing is to be done")]
    Empty,
    #[error("{pod}: evicted at priority {priority}, all pods that get a node have at most {most}")]
    TooUrgent { pod: String, priority: i64, most: i64 },
    #[error("{pod}: moved, but nothing makes it again")]
    NoOwner { pod: String },
    #[error("{pod}: on node {node}, which the plan does not reserve")]
    NotReserved { pod: String, node: String },
}

impl Plan {
    /// A plan in the order in which it is carried out.
    pub(crate) fn new(
        id: String,
        mut targets: Vec<Target>,
        mut victims: Vec<Victim>,
        places: Vec<Place>,
    ) -> Result<Self, PlanError> {
        let most = targets.iter().map(|target| target.priority).max().ok_or(PlanError::Empty)?;
        let names: BTreeSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
        let reserved = |pod: &PodName, node: &str| {
            if names.contains(node) {
                return Ok(());
            }
            Err(PlanError::NotReserved { pod: pod.to_string(), node: node.to_owned() })
        };
        for target in &targets {
            reserved(&target.pod, &target.node)?;
        }
        for victim in &victims {
            let pod = || victim.pod.to_string();
            reserved(&victim.pod, &victim.node)?;
            match &victim.to {
                None if victim.priority >= most => {
                    let priority = victim.priority;
                    return Err(PlanError::TooUrgent { pod: pod(), priority, most });
                }
                Some(_) if victim.owner.is_none() => {
                    return Err(PlanError::NoOwner { pod: pod() });
                }
                Some(node) => reserved(&victim.pod, node)?,
                None => {}
            }
        }
        targets.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.gang.cmp(&b.gang)));
        victims.sort_by_key(|victim| victim.priority);
        Ok(Self { id, targets, victims, places })
    }

    /// The priority of its most urgent target.
    pub(crate) fn urgency(&self) -> i64 {
        self.targets.first().map_or(i64::MIN, |target| target.priority)
    }
}

impl std::fmt::Display for PodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
