//! Why a pod is not decided on.

use std::fmt;

use serde::Serialize;

/// A constraint that the model does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constraint {
    /// Neighbours that must be there.
    PodAffinity,
    /// Neighbours that must not be there, by this label of nodes.
    PodAntiAffinity(String),
    /// Spreading that must hold, by this label of nodes.
    TopologySpread(String),
    /// A volume that may tie the pod to nodes.
    Volume(String),
    /// Devices by dynamic resource allocation.
    ResourceClaims,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodAffinity => f.write_str("required podAffinity"),
            Self::PodAntiAffinity(key) => write!(f, "required podAntiAffinity by {key}"),
            Self::TopologySpread(key) => {
                write!(f, "topologySpreadConstraints by {key} with DoNotSchedule")
            }
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::ResourceClaims => f.write_str("resourceClaims"),
        }
    }
}

/// Why a pending pod is left to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// It waits for somebody else to take a gate away.
    Gated(String),
    /// It is for another scheduler.
    OtherScheduler(String),
    /// It has a constraint that the model does not have.
    Constraint(Constraint),
    /// Not all pods of its gang are there yet.
    Incomplete {
        /// The gang.
        gang: String,
        /// How many pods are there.
        created: usize,
        /// How many there are to be.
        size: usize,
    },
    /// Another pod of its gang is left.
    Gang {
        /// The gang.
        gang: String,
        /// The other pod.
        pod: String,
    },
    /// Something in it is wrong.
    Wrong {
        /// Which field, label or annotation.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gated(gate) => write!(f, "waits for the scheduling gate {gate}"),
            Self::OtherScheduler(name) => write!(f, "is for the scheduler {name}"),
            Self::Constraint(constraint) => write!(f, "{constraint} is not modelled"),
            Self::Incomplete { gang, created, size } => {
                write!(f, "gang {gang} has {created} of {size} pods")
            }
            Self::Gang { gang, pod } => write!(f, "pod {pod} of its gang {gang} is left"),
            Self::Wrong { field, problem } => write!(f, "{field}: {problem}"),
        }
    }
}

/// Why a running pod stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// It is being deleted and keeps its room until it is gone.
    Terminating,
    /// A daemon of its node.
    Daemon,
    /// The kubelet's own, from a file of its node.
    Static,
    /// Nobody would make it anew.
    Unowned,
    /// The cluster needs it.
    Critical,
    /// A disruption budget allows no disruption.
    Budget(String),
    /// Several disruption budgets are about it, these two among them.
    Budgets([String; 2]),
    /// It has a constraint that the model does not have.
    Constraint(Constraint),
    /// More runs on its node than it has room for.
    Overfull(String),
    /// Something in it is wrong.
    Wrong {
        /// Which field, label or annotation.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminating => f.write_str("is being deleted"),
            Self::Daemon => f.write_str("is a daemon of its node"),
            Self::Static => f.write_str("is a static pod of its node"),
            Self::Unowned => f.write_str("has no controller that would make it anew"),
            Self::Critical => f.write_str("is critical for the cluster"),
            Self::Budget(name) => write!(f, "PodDisruptionBudget {name} allows no disruption"),
            Self::Budgets([one, other]) => {
                write!(f, "PodDisruptionBudgets {one} and {other}: nobody may evict it")
            }
            Self::Constraint(constraint) => write!(f, "{constraint} is not modelled"),
            Self::Overfull(resource) => write!(f, "its node has too little {resource} already"),
            Self::Wrong { field, problem } => write!(f, "{field}: {problem}"),
        }
    }
}
