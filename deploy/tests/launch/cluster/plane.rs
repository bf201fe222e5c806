//! The control plane, a namespace of its own for each test, nodes.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kubelet::Kubelet;
use crate::run::{command, folder, texts};

/// A namespace of a control plane, and a kubelet for the nodes of a test.
pub(super) struct Plane {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) folder: PathBuf,
    nodes: Vec<String>,
    kubelet: Option<Kubelet>,
}

/// A node: its name, its leaf, its GPUs.
pub(super) type NodeSpec<'a> = (&'a str, &'a str, u32);

/// An object from JSON.
pub(super) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of its kind")
}

impl Plane {
    /// Runs a test on a control plane, or says why not. Nodes have the test's name before theirs,
    /// so that tests do not take each other's.
    pub(super) fn run<F>(test: &str, nodes: &[NodeSpec<'_>], body: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Self>,
    {
        if std::env::var_os("ONEPATH_KUBE_PLANE").is_none() {
            return println!("skipped: no control plane; tests/kube/run -- COMMAND brings one up");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let plane = Self::new(test, nodes).await;
            let plane = body(plane).await;
            plane.end().await;
        });
    }

    async fn new(test: &str, nodes: &[NodeSpec<'_>]) -> Self {
        let client = Client::try_default().await.expect("KUBECONFIG is set");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let name = json!({ "metadata": { "name": test } });
        namespaces.create(&PostParams::default(), &object(name)).await.expect("a namespace");
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), test);
        // Without it no pod is admitted.
        while accounts.get_opt("default").await.expect("an answer").is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let folder = folder(test);
        let mut names = Vec::new();
        for (name, leaf, gpus) in nodes {
            let name = format!("{test}-{name}");
            add_node(&client, &name, test, leaf, *gpus).await;
            names.push(name);
        }
        let kubelet = Kubelet::start(client.clone(), folder.clone(), names.clone());
        Self { client, namespace: test.to_owned(), folder, nodes: names, kubelet: Some(kubelet) }
    }

    /// Ends all pods and takes the nodes away.
    async fn end(mut self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let how = DeleteParams::default();
        namespaces.delete(&self.namespace, &how).await.expect("our own namespace");
        while namespaces.get_opt(&self.namespace).await.expect("an answer").is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        if let Some(kubelet) = self.kubelet.take() {
            kubelet.stop().await;
        }
        let all: Api<Node> = Api::all(self.client.clone());
        for name in &self.nodes {
            all.delete(name, &how).await.expect("our own node");
        }
    }

    /// Objects of the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes an object of the namespace.
    pub(super) async fn create<K>(&self, value: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        self.api().create(&PostParams::default(), &object(value)).await.expect("it is made")
    }

    /// Starts a job on the nodes of this test; it has to succeed.
    pub(super) async fn launch(&self, plan: &str, options: &str, ranks: &[&str]) {
        let pool = format!("pool={}", self.namespace);
        let mut words = vec!["launch", "--kubernetes", "--plan", plan, "--image", "none:1"];
        words.extend(["--node-selector", &pool]);
        words.extend(options.split_whitespace());
        words.push("--");
        words.extend(ranks);
        let (code, out, errors) = self.onepath(&words).await;
        assert_eq!((code, &*errors), (Some(0), ""), "{out}");
    }

    /// Runs the command with this namespace; exit code, standard output and error.
    pub(super) async fn onepath(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let options = ["--namespace".to_owned(), self.namespace.clone()];
        let place = words.iter().position(|word| word == "--").unwrap_or(words.len());
        words.splice(place..place, options);
        let run = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            command(&words).output().expect("the command starts")
        };
        let output = tokio::task::spawn_blocking(run).await.expect("it does not panic");
        let (out, errors) = texts(&output);
        (output.status.code(), out, errors)
    }
}

async fn add_node(client: &Client, name: &str, pool: &str, leaf: &str, gpus: u32) {
    let nodes: Api<Node> = Api::all(client.clone());
    let amounts =
        json!({ "cpu": "8", "memory": "16Gi", "pods": "20", "nvidia.com/gpu": gpus.to_string() });
    let node = json!({
        "metadata": { "name": name, "labels": {
            "pool": pool,
            "kubernetes.io/hostname": name,
            "network.topology.nvidia.com/leaf": leaf,
        } },
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
        },
    });
    nodes.create(&PostParams::default(), &object(node)).await.expect("a node");
}
