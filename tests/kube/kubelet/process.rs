//! A pod's command with its environment, as a process of this computer.

use std::collections::BTreeMap;
use std::process::Stdio;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Secret};
use kube::{Api, Client, ResourceExt};
use tokio::process::Command;

/// What a container says that cannot be run, in the words of shells.
const CANNOT_RUN: i32 = 127;

/// Runs the first container and gives its exit code; dropped, it kills it. What it says goes to
/// this program's own output.
pub(crate) async fn run(client: &Client, pod: &Pod) -> i32 {
    let Some(container) = pod.spec.as_ref().and_then(|spec| spec.containers.first()) else {
        return CANNOT_RUN;
    };
    let environment = match environment(client, pod, container).await {
        Ok(environment) => environment,
        Err(why) => {
            eprintln!("onepath-fake-kubelet: {}: {why}", pod.name_any());
            return CANNOT_RUN;
        }
    };
    let words = container.command.iter().flatten().chain(container.args.iter().flatten());
    let mut words = words.map(|word| expand(word, &environment));
    let Some(program) = words.next() else { return CANNOT_RUN };
    let mut command = Command::new(program);
    command.args(words).envs(&environment).stdin(Stdio::null()).kill_on_drop(true);
    match command.status().await {
        Ok(status) => status.code().unwrap_or(128),
        Err(error) => {
            eprintln!("onepath-fake-kubelet: {}: {error}", pod.name_any());
            CANNOT_RUN
        }
    }
}

async fn environment(
    client: &Client,
    pod: &Pod,
    container: &Container,
) -> Result<BTreeMap<String, String>, String> {
    let mut environment = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        let value = value(client, pod, variable).await?;
        let value = expand(&value, &environment);
        environment.insert(variable.name.clone(), value);
    }
    Ok(environment)
}

async fn value(client: &Client, pod: &Pod, variable: &EnvVar) -> Result<String, String> {
    let Some(source) = &variable.value_from else {
        return Ok(variable.value.clone().unwrap_or_default());
    };
    if let Some(field) = &source.field_ref {
        return field_of(pod, &field.field_path)
            .ok_or_else(|| format!("{}: no field {}", variable.name, field.field_path));
    }
    let Some(key) = &source.secret_key_ref else {
        return Err(format!("{}: its source is not known here", variable.name));
    };
    let secrets: Api<Secret> =
        Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let secret = secrets.get(&key.name).await.map_err(|error| error.to_string())?;
    let bytes = secret.data.and_then(|mut data| data.remove(&key.key));
    let bytes = bytes.ok_or_else(|| format!("secret {}: no key {}", key.name, key.key))?;
    String::from_utf8(bytes.0).map_err(|error| error.to_string())
}

/// Fields of the downward API; an annotation or label that is not there is empty.
fn field_of(pod: &Pod, path: &str) -> Option<String> {
    let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']").map(str::to_owned);
    if let Some(key) = key("metadata.annotations['") {
        return Some(pod.annotations().get(&key).cloned().unwrap_or_default());
    }
    if let Some(key) = key("metadata.labels['") {
        return Some(pod.labels().get(&key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => pod.spec.as_ref()?.node_name.clone(),
        "status.podIP" | "status.hostIP" => Some("127.0.0.1".to_owned()),
        _ => None,
    }
}

/// `$(NAME)` of variables that are known; others stay as they are.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = text.to_owned();
    for (name, value) in environment {
        expanded = expanded.replace(&format!("$({name})"), value);
    }
    expanded
}
