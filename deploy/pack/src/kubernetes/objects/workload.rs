//! Objects that make pods: Deployment, `ReplicaSet`, `StatefulSet`, Job.

use serde::Deserialize;

use super::{Metadata, ObjectError, OwnerReference, Pod, PodSpec};
use crate::kubernetes::marks;

/// The most pods that one object is taken for.
pub const MAX_PODS_OF_ONE: u32 = 100_000;

/// A maker of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// Name and owner.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: WorkloadSpec,
    /// How it is.
    pub status: WorkloadStatus,
}

/// What a maker of pods is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// So many pods (not of a Job).
    pub replicas: Option<u32>,
    /// So many pods of a Job at once.
    pub parallelism: Option<u32>,
    /// So many pods of a Job in all.
    pub completions: Option<u32>,
    /// `Indexed` when pods of a Job have numbers.
    pub completion_mode: String,
    /// A Job that waits.
    pub suspend: bool,
    /// What pods are like.
    pub template: Template,
}

/// What pods are like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Template {
    /// Labels and annotations.
    pub metadata: Metadata,
    /// The rest.
    pub spec: PodSpec,
}

/// How a maker of pods is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkloadStatus {
    /// Its pods (not of a Job).
    pub replicas: u32,
    /// A Job's pods that have not finished.
    pub active: u32,
    /// A Job's pods that have done their work.
    pub succeeded: u32,
}

impl Workload {
    /// The pods that it has still to make.
    pub fn missing(&self, kind: &str) -> Result<Vec<Pod>, ObjectError> {
        // What is owned makes its pods for its owner, and is counted there.
        if self.metadata.controller().is_some() || self.spec.suspend {
            return Ok(Vec::new());
        }
        let (first, end) = match kind {
            "Job" => {
                let all = self.spec.completions.unwrap_or(u32::MAX);
                let left = all.saturating_sub(self.status.succeeded);
                let parallel = self.spec.parallelism.unwrap_or(1).min(left);
                let first = self.status.succeeded.saturating_add(self.status.active);
                (first, self.status.succeeded.saturating_add(parallel))
            }
            _ => (self.status.replicas, self.spec.replicas.unwrap_or(1)),
        };
        if end.saturating_sub(first) > MAX_PODS_OF_ONE {
            return Err(ObjectError::Field {
                object: format!("{kind} {}", self.metadata.full_name()),
                field: "spec".to_owned(),
                problem: format!("asks for {end} pods: at most {MAX_PODS_OF_ONE} would be right"),
            });
        }
        Ok((first..end).map(|number| self.pod(kind, number)).collect())
    }

    fn pod(&self, kind: &str, number: u32) -> Pod {
        let owner = OwnerReference {
            kind: kind.to_owned(),
            name: self.metadata.name.clone(),
            uid: self.metadata.uid.clone(),
            controller: true,
        };
        let mut metadata = Metadata {
            name: format!("{}-{number}", self.metadata.name),
            namespace: self.metadata.namespace.clone(),
            labels: self.spec.template.metadata.labels.clone(),
            annotations: self.spec.template.metadata.annotations.clone(),
            owner_references: vec![owner],
            ..Metadata::default()
        };
        if self.spec.completion_mode == "Indexed" {
            metadata.labels.insert(marks::COMPLETION_INDEX.to_owned(), number.to_string());
        }
        Pod { metadata, spec: self.spec.template.spec.clone(), ..Pod::default() }
    }
}
