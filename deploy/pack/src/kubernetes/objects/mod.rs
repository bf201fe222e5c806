//! The parts of Kubernetes objects that matter here. Fields that are not named are ignored.

mod node;
mod others;
mod pod;
mod selector;
mod workload;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

pub use node::{Node, NodeSpec, NodeStatus, Taint};
pub use others::{
    BudgetSpec, BudgetStatus, ClaimSpec, IntOrPercent, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeSpec, PodDisruptionBudget, PodGroup, PodGroupSpec, PriorityClass,
};
pub use pod::{
    Affinity, Condition, Container, ContainerPort, ContainerStatus, Gate, NodeAffinity,
    NodeSelector, NodeSelectorTerm, Pod, PodAffinity, PodAffinityTerm, PodSpec, PodStatus,
    Resources, Spread, Toleration, Volume,
};
pub use selector::{Expression, LabelSelector, Operator};
pub use workload::{MAX_PODS_OF_ONE, Template, Workload, WorkloadSpec, WorkloadStatus};

use super::quantity::Quantity;

/// Amounts by resource, as a container or node names them.
pub type Quantities = BTreeMap<String, Quantity>;

/// An object that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// A field of another type or with a wrong value.
    #[error("{object}: {field}: {problem}")]
    Field {
        /// Kind, namespace and name.
        object: String,
        /// The way to the field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No `kind`.
    #[error("{object}: kind is missing: Pod, Node, List or another kind would be right")]
    NoKind {
        /// What stands in its place.
        object: String,
    },
    /// No `metadata.name`.
    #[error("{kind} {number}: metadata.name is missing")]
    NoName {
        /// The kind.
        kind: String,
        /// Which of them, counted from 1.
        number: usize,
    },
    /// The same object a second time.
    #[error("{object}: is there twice")]
    Twice {
        /// Kind, namespace and name.
        object: String,
    },
}

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace; empty is `default`.
    pub namespace: String,
    /// Changes when an object of the same name is made anew.
    pub uid: String,
    /// Changes with every change of the object.
    pub resource_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who made it.
    pub owner_references: Vec<OwnerReference>,
    /// Set when it is on its way out.
    pub deletion_timestamp: Option<String>,
}

impl Metadata {
    /// The owner that keeps it in being.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }

    /// The namespace, also where none is written.
    pub fn namespace(&self) -> &str {
        if self.namespace.is_empty() { "default" } else { &self.namespace }
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace(), self.name)
    }

    /// The value of an annotation or, without one, of a label.
    pub fn mark(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).or_else(|| self.labels.get(key)).map(String::as_str)
    }
}

/// An owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it keeps the object in being.
    pub controller: bool,
}

/// An object from plain data.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, ObjectError> {
    let object = described(&value);
    serde_path_to_error::deserialize(without_nulls(value)).map_err(|error| {
        let problem = super::one_line(&error.inner().to_string());
        ObjectError::Field { object, field: super::one_line(&error.path().to_string()), problem }
    })
}

/// Kind, namespace and name of an object, as far as they are there.
pub(super) fn described(value: &Value) -> String {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or("without a name");
    let kind = text("/kind").unwrap_or("object");
    let full = match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    };
    super::one_line(&full)
}

/// A field that is `null` is as good as one that is not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
