//! What the API server is told of a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

/// A request is tried again this often: the API server may be started anew meanwhile.
pub(crate) const TRIES: usize = 120;
/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// What a container says that cannot be run, in the words of shells.
const CANNOT_RUN: i32 = 127;

/// How far a pod is.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    since: String,
    /// How its container has ended, and the last that it said.
    ended: Option<(i32, String)>,
}

impl Phase {
    /// It runs from now on, and is ready.
    pub(crate) fn running() -> Self {
        Self { since: now(), ended: None }
    }

    /// It has run, and ended so.
    pub(crate) fn ended(self, code: i32, last_words: String) -> Self {
        Self { ended: Some((code, last_words)), ..self }
    }

    /// It never ran.
    pub(crate) fn cannot_run(why: String) -> Self {
        Self::running().ended(CANNOT_RUN, why)
    }

    fn name(&self) -> &'static str {
        match &self.ended {
            None => "Running",
            Some((0, _)) => "Succeeded",
            Some(_) => "Failed",
        }
    }

    fn state(&self) -> Value {
        let started = &self.since;
        match &self.ended {
            None => json!({"running": {"startedAt": started}}),
            Some((code, last_words)) => json!({"running": null, "terminated": {
                "exitCode": code,
                "reason": if *code == 0 { "Completed" } else { "Error" },
                // What FallbackToLogsOnError does.
                "message": if *code == 0 { "" } else { last_words.as_str() },
                "startedAt": started,
                "finishedAt": now(),
            }}),
        }
    }
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Tells the API server; running pods are ready.
pub(crate) async fn set(client: &Client, pod: &Pod, phase: &Phase) {
    let is_ready = phase.ended.is_none();
    let ready = if is_ready { "True" } else { "False" };
    let state = phase.state();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "none",
                "ready": is_ready, "restartCount": 0, "state": state,
            })
        })
        .collect();
    let conditions: Vec<Value> = ["Initialized", "ContainersReady", "Ready"]
        .map(|name| json!({"type": name, "status": ready, "lastTransitionTime": now()}))
        .into();
    let patch = json!({
        "metadata": {"uid": pod.uid()},
        "status": {
            "phase": phase.name(), "startTime": phase.since, "conditions": conditions,
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
