//! The objects of `deploy/manifests`, and the API of any object.

use std::path::Path;

use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Api, Client};
use serde_json::Value;

/// The objects of a file of `deploy/manifests`.
pub(crate) fn objects(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(file);
    let text = std::fs::read_to_string(&path).expect("a manifest");
    let objects = text.split("\n---\n");
    objects.map(|text| serde_saphyr::from_str(text).expect("an object")).collect()
}

/// Where objects of the kind and namespace of this one are.
pub(crate) fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |key: &str| object[key].as_str().expect("it says what it is");
    let types = TypeMeta { api_version: text("apiVersion").into(), kind: text("kind").into() };
    let kind = GroupVersionKind::try_from(&types).expect("a version");
    let resource = ApiResource::from_gvk(&kind);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
