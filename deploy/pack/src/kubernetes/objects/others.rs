//! Objects that say something of pods: disruption budgets, priority classes, groups.

use serde::Deserialize;

use super::{LabelSelector, Metadata, NodeAffinity};

/// How many pods of a kind may be away at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudget {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: BudgetSpec,
    /// How it is; not there in a file by hand.
    pub status: Option<BudgetStatus>,
}

/// What a budget asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetSpec {
    /// Which pods; none without it.
    pub selector: Option<LabelSelector>,
    /// So many must be there.
    pub min_available: Option<IntOrPercent>,
    /// So many may be away.
    pub max_unavailable: Option<IntOrPercent>,
}

/// How a budget is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    /// How many more may be evicted now.
    pub disruptions_allowed: i64,
}

/// A number, or a share of all pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    /// A number.
    Number(u32),
    /// A share, as `50%`.
    Percent(String),
}

impl IntOrPercent {
    /// How many of so many, rounded up as the disruption controller does; none when it is no share.
    pub fn of(&self, pods: usize) -> Option<usize> {
        match self {
            Self::Number(number) => Some(*number as usize),
            Self::Percent(text) => {
                let percent: u32 = text.strip_suffix('%')?.parse().ok()?;
                (percent <= 100).then(|| (pods * percent as usize).div_ceil(100))
            }
        }
    }
}

/// A named priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PriorityClass {
    /// Its name.
    pub metadata: Metadata,
    /// The priority.
    pub value: i64,
    /// Whether it is that of pods that name none.
    pub global_default: bool,
    /// `Never` when pods of it must not push others out.
    pub preemption_policy: String,
}

/// A gang of the coscheduling plugin or of Volcano.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGroup {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: PodGroupSpec,
}

/// What a group asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGroupSpec {
    /// How many pods are of use without the others.
    pub min_member: u32,
}

/// A claim of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaim {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: ClaimSpec,
}

/// What a claim asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// The volume that it has; empty while it has none.
    pub volume_name: String,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolume {
    /// Its name.
    pub metadata: Metadata,
    /// How it is.
    pub spec: PersistentVolumeSpec,
}

/// How a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    /// Which nodes reach it; all without it.
    pub node_affinity: NodeAffinity,
}
