//! Runs the pods of its nodes.

use std::collections::HashMap;
use std::path::PathBuf;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::container;

/// A kubelet that runs in the test's own process.
pub(super) struct Kubelet {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Kubelet {
    /// Begins to run what is bound to these nodes; logs and secrets go to the folder.
    pub(super) fn start(client: Client, folder: PathBuf, nodes: Vec<String>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(client, folder, nodes, stopped));
        Self { task, stop }
    }

    /// Ends all pods and waits for that.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("the kubelet does not panic");
    }
}

async fn run(client: Client, folder: PathBuf, nodes: Vec<String>, mut stop: watch::Receiver<bool>) {
    let all: Api<Pod> = Api::all(client.clone());
    let pods = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    let mut pods = std::pin::pin!(pods);
    // What ends a pod, by its uid.
    let mut known: HashMap<String, watch::Sender<bool>> = HashMap::new();
    let mut running = JoinSet::new();
    loop {
        let pod = tokio::select! {
            pod = pods.try_next() => pod,
            _ = stop.changed() => break,
        };
        // A watch that breaks is begun anew.
        let Ok(Some(pod)) = pod else { continue };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        if !node.is_some_and(|node| nodes.contains(node)) {
            continue;
        }
        let going = pod.metadata.deletion_timestamp.is_some();
        let uid = pod.metadata.uid.clone().expect("a pod has a uid");
        let end = known.entry(uid.clone()).or_insert_with(|| {
            let (end, ended) = watch::channel(false);
            running.spawn(container::run(client.clone(), folder.join(&uid), pod, ended));
            end
        });
        if going {
            end.send_replace(true);
        }
    }
    for end in known.values() {
        end.send_replace(true);
    }
    while running.join_next().await.is_some() {}
}
