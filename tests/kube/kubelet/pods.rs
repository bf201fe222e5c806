//! The life of one pod.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::process;

/// A request is tried again this often: the API server may be started anew meanwhile.
const TRIES: usize = 120;
const PAUSE: Duration = Duration::from_millis(250);

/// All pods that are bound to a node.
pub(crate) struct Kubelet {
    client: Client,
    run_processes: bool,
    end: Duration,
    running: HashMap<String, JoinHandle<()>>,
    ending: HashMap<String, JoinHandle<()>>,
}

impl Kubelet {
    pub(crate) fn new(client: Client, run_processes: bool, end: Duration) -> Self {
        Self { client, run_processes, end, running: HashMap::new(), ending: HashMap::new() }
    }

    /// A pod as it is now.
    pub(crate) fn see(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if !bound {
            return;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            if !self.ending.contains_key(&uid) {
                // Its process ends with the task that waits for it.
                let running = self.running.remove(&uid);
                let task = end(self.client.clone(), pod, running, self.end);
                self.ending.insert(uid, tokio::spawn(task));
            }
            return;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        if phase.as_deref() == Some("Pending") && !self.running.contains_key(&uid) {
            let task = live(self.client.clone(), pod, self.run_processes);
            self.running.insert(uid, tokio::spawn(task));
        }
    }

    /// A pod is there no more.
    pub(crate) fn gone(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        if let Some(running) = self.running.remove(&uid) {
            running.abort();
        }
        self.ending.remove(&uid);
    }
}

async fn live(client: Client, pod: Pod, run_processes: bool) {
    set_status(&client, &pod, "Running", None).await;
    if run_processes {
        let code = process::run(&client, &pod).await;
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        set_status(&client, &pod, phase, Some(code)).await;
    }
}

/// Running pods are ready; `code`: how the container has ended.
async fn set_status(client: &Client, pod: &Pod, phase: &str, code: Option<i32>) {
    let ready = if code.is_none() { "True" } else { "False" };
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let state = match code {
        None => json!({"running": {"startedAt": now}}),
        Some(code) => {
            json!({"running": null, "terminated": {"exitCode": code, "finishedAt": now}})
        }
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "none",
                "ready": code.is_none(), "restartCount": 0, "state": state,
            })
        })
        .collect();
    let conditions: Vec<Value> = ["Initialized", "ContainersReady", "Ready"]
        .map(|name| json!({"type": name, "status": ready, "lastTransitionTime": now}))
        .into();
    let patch = json!({
        "metadata": {"uid": pod.uid()},
        "status": {
            "phase": phase, "startTime": now, "conditions": conditions,
            "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
            "containerStatuses": statuses,
        },
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    for _ in 0..TRIES {
        let patch = Patch::Strategic(&patch);
        match pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => return,
            // It is gone, or another one by that name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => return,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Ends the process, then lets the pod go.
async fn end(client: Client, pod: Pod, running: Option<JoinHandle<()>>, after: Duration) {
    tokio::time::sleep(after).await;
    if let Some(running) = running {
        running.abort();
        // Aborted, or ended before: both are right.
        let _ = running.await;
    }
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    for _ in 0..TRIES {
        match pods.delete(&pod.name_any(), &params).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
