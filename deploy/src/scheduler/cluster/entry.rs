//! What is kept of a node and a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;
use kube::ResourceExt;
use onepath_pack::kubernetes::marks;
use onepath_pack::kubernetes::objects::{self, ObjectError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RESERVED;
use crate::scheduler::core::patience::Waiting;
use crate::scheduler::core::world::PodName;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct NodeEntry {
    /// As the packer sees it: without our own taint.
    pub(crate) object: objects::Node,
    pub(crate) uid: String,
    pub(crate) reserved_for: Option<String>,
    /// It takes no new pods.
    pub(crate) closed: bool,
}

impl NodeEntry {
    pub(super) fn of(mut node: core::Node) -> Result<Self, ObjectError> {
        let uid = node.uid().unwrap_or_default();
        let leaving = node.metadata.deletion_timestamp.is_some();
        let spec = node.spec.get_or_insert_default();
        let closed = leaving || spec.unschedulable == Some(true);
        let mut reserved_for = None;
        if let Some(taints) = &mut spec.taints {
            let ours = taints.iter().find(|taint| taint.key == RESERVED);
            reserved_for = ours.map(|taint| taint.value.clone().unwrap_or_default());
            taints.retain(|taint| taint.key != RESERVED);
        }
        node.status.get_or_insert_default().images = None;
        Ok(Self { object: read(&node)?, uid, reserved_for, closed })
    }
}

/// A pod.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing that Kubernetes says apart")]
pub(crate) struct PodEntry {
    /// As the packer sees it.
    pub(crate) object: objects::Pod,
    pub(crate) name: PodName,
    pub(crate) node: Option<String>,
    pub(crate) priority: i64,
    pub(crate) finished: bool,
    pub(crate) leaving: bool,
    /// Nobody but us binds it: it names our scheduler, or waits for a gate of ours.
    pub(crate) ours: bool,
    /// It waits for a gate of somebody else.
    pub(crate) held: bool,
    /// It waits for gates of ours.
    pub(crate) gated: bool,
    pub(crate) refused: bool,
    pub(crate) nominated: bool,
    /// The uid of its controller.
    pub(crate) owner: Option<String>,
    pub(crate) grace: Duration,
    /// What our condition says now.
    pub(crate) condition: Option<(String, String)>,
}

/// The type of the condition that says what became of a waiting pod.
pub(crate) const CONDITION: &str = "onepath.io/Placement";

impl PodEntry {
    pub(super) fn of(mut pod: core::Pod, scheduler: &str) -> Result<Self, ObjectError> {
        pod.metadata.managed_fields = None;
        let object: objects::Pod = read(&pod)?;
        let name = PodName {
            uid: pod.uid().unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
        };
        let owners = pod.owner_references().iter();
        let owner = owners.filter(|owner| owner.controller == Some(true));
        let owner = owner.map(|owner| owner.uid.clone()).next();
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or_default();
        let gates = spec.scheduling_gates.unwrap_or_default().into_iter().map(|gate| gate.name);
        let gates: (Vec<_>, Vec<_>) = gates.partition(|gate| gate.starts_with(marks::GATE_PREFIX));
        let by_name = spec.scheduler_name.as_deref() == Some(scheduler);
        let default = matches!(spec.scheduler_name.as_deref(), None | Some("default-scheduler"));
        let conditions = status.conditions.unwrap_or_default();
        let refused = conditions.iter().any(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
        });
        let ours = conditions.iter().find(|condition| condition.type_ == CONDITION);
        let condition = ours.map(|condition| {
            (
                condition.reason.clone().unwrap_or_default(),
                condition.message.clone().unwrap_or_default(),
            )
        });
        Ok(Self {
            object,
            name,
            node: spec.node_name.filter(|node| !node.is_empty()),
            priority: i64::from(spec.priority.unwrap_or(0)),
            finished: matches!(phase, "Succeeded" | "Failed"),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            ours: by_name || (default && !gates.0.is_empty()),
            held: !gates.1.is_empty(),
            gated: !gates.0.is_empty(),
            refused: refused && default,
            nominated: status.nominated_node_name.is_some_and(|node| !node.is_empty()),
            owner,
            grace: Duration::from_secs(
                spec.termination_grace_period_seconds.unwrap_or(30).max(0) as u64
            ),
            condition,
        })
    }

    /// It has no node, and nobody keeps it from having one.
    pub(crate) fn waits(&self) -> bool {
        self.node.is_none() && !self.leaving && !self.finished && !self.held
    }

    pub(super) fn waiting(&self) -> Waiting {
        let (ours, refused, nominated) = (self.ours, self.refused, self.nominated);
        Waiting { uid: self.name.uid.clone(), ours, refused, nominated }
    }
}

pub(super) fn budget(
    budget: &policy::PodDisruptionBudget,
) -> Result<objects::PodDisruptionBudget, ObjectError> {
    read(budget)
}

fn read<T: DeserializeOwned>(object: &impl Serialize) -> Result<T, ObjectError> {
    let value = serde_json::to_value(object).unwrap_or_default();
    objects::read(value)
}
