//! The file of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::json;

/// One node of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// As Kubernetes writes quantities; `pods` is 110 if it is not said.
    allocatable: BTreeMap<String, String>,
}

/// Makes the nodes that are not there yet; the names of all.
pub(crate) async fn make(client: &Client, file: &Path) -> Result<BTreeSet<String>, String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| said(&error))?;
    let entries: Vec<Entry> = serde_saphyr::from_str(&text).map_err(|error| said(&error))?;
    let nodes: Api<Node> = Api::all(client.clone());
    let mut names = BTreeSet::new();
    for entry in entries {
        names.insert(entry.name.clone());
        match nodes.create(&PostParams::default(), &node(entry)?).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(names)
}

fn node(entry: Entry) -> Result<Node, String> {
    let Entry { name, mut labels, mut allocatable } = entry;
    labels.entry("kubernetes.io/hostname".to_owned()).or_insert_with(|| name.clone());
    allocatable.entry("pods".to_owned()).or_insert_with(|| "110".to_owned());
    let node = json!({
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": allocatable,
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        },
    });
    serde_json::from_value(node).map_err(|error| error.to_string())
}
