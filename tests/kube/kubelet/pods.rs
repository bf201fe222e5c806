//! The life of one pod.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::process::{Process, told};
use super::status::{PAUSE, Phase, TRIES, set};

/// For which nodes, and how.
#[derive(Clone)]
pub(crate) struct How {
    pub(crate) client: Client,
    /// None: for all.
    pub(crate) nodes: Option<BTreeSet<String>>,
    /// Where the files of processes are; none: there are no processes.
    pub(crate) processes: Option<PathBuf>,
    /// How long a pod without a process takes to end.
    pub(crate) end: Duration,
}

/// All pods that are bound to a node.
pub(crate) struct Kubelet {
    how: How,
    /// By uid, what tells a pod to go; dropped, its process ends and the object stays.
    known: HashMap<String, watch::Sender<bool>>,
    lives: JoinSet<()>,
}

impl Kubelet {
    pub(crate) fn new(how: How) -> Self {
        Self { how, known: HashMap::new(), lives: JoinSet::new() }
    }

    /// A pod as it is now.
    pub(crate) fn see(&mut self, pod: Pod) {
        while self.lives.try_join_next().is_some() {}
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let ours = |name: &String| self.how.nodes.as_ref().is_none_or(|all| all.contains(name));
        if !node.is_some_and(ours) {
            return;
        }
        let going = pod.metadata.deletion_timestamp.is_some();
        let uid = pod.uid().unwrap_or_default();
        let (how, lives) = (&self.how, &mut self.lives);
        let end = self.known.entry(uid).or_insert_with(|| {
            let (end, ended) = watch::channel(false);
            lives.spawn(live(how.clone(), pod, ended));
            end
        });
        if going {
            end.send_replace(true);
        }
    }

    /// A pod is there no more.
    pub(crate) fn gone(&mut self, pod: &Pod) {
        self.known.remove(&pod.uid().unwrap_or_default());
    }

    /// Ends all processes.
    pub(crate) async fn end(mut self) {
        self.known.clear();
        while self.lives.join_next().await.is_some() {}
    }
}

async fn live(how: How, pod: Pod, mut end: watch::Receiver<bool>) {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    // One that ran before this kubelet did has lost its process.
    if phase == Some("Pending") && pod.metadata.deletion_timestamp.is_none() {
        match &how.processes {
            None => set(&how.client, &pod, &Phase::running()).await,
            Some(folder) => {
                let folder = folder.join(pod.uid().unwrap_or_default());
                run(&how.client, &pod, folder, &mut end).await;
            }
        }
    }
    if !told(&mut end).await {
        return;
    }
    if how.processes.is_none() {
        tokio::time::sleep(how.end).await;
    }
    let_go(how.client, &pod).await;
}

/// Runs a pod's command to its end, or until the pod is to go.
async fn run(client: &Client, pod: &Pod, folder: PathBuf, end: &mut watch::Receiver<bool>) {
    let mut process = match Process::start(client, pod, folder).await {
        Ok(process) => process,
        Err(why) => {
            eprintln!("onepath-fake-kubelet: {}: {why}", pod.name_any());
            return set(client, pod, &Phase::cannot_run(why)).await;
        }
    };
    let running = Phase::running();
    set(client, pod, &running).await;
    let (code, last_words) = process.until(end).await;
    set(client, pod, &running.ended(code, last_words)).await;
}

/// Lets the object go.
async fn let_go(client: Client, pod: &Pod) {
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
