//! The control plane, a namespace of its own for each test, nodes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::run::{command, file, folder, texts};

/// What is awaited comes within this time, or the test fails.
const LIMIT: Duration = Duration::from_mins(3);

/// Tests share the cluster, but for those that are about all of it.
static TURN: RwLock<()> = RwLock::new(());

/// A namespace of a control plane, and a kubelet for the nodes of a test.
pub(super) struct Plane {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) folder: PathBuf,
    nodes: Vec<String>,
    kubelet: Child,
}

/// A node of 10 CPUs: its name, its leaf if it has one, its GPUs.
pub(super) type NodeSpec<'a> = (&'a str, &'a str, u32);

/// An object from JSON.
pub(super) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of its kind")
}

/// Waits for something, and fails when it does not come.
pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {} s", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs the command to its end; exit code, standard output and error.
pub(super) async fn onepath(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::from(command(words));
    let ended = timeout(LIMIT, command.kill_on_drop(true).output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{words:?}: no end within {} s", LIMIT.as_secs()));
    let output = output.expect("the command starts");
    let (out, errors) = texts(&output);
    (output.status.code(), out, errors)
}

impl Plane {
    /// Runs a test on a control plane, or says why not. Nodes have the test's name before theirs,
    /// so that tests do not take each other's.
    pub(super) fn run<F>(test: &str, nodes: &[NodeSpec<'_>], body: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Self>,
    {
        let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        Self::on_a_plane(test, nodes, body);
    }

    /// The same for a test that is about all nodes and pods of the cluster.
    pub(super) fn run_alone<F>(test: &str, nodes: &[NodeSpec<'_>], body: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Self>,
    {
        let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
        Self::on_a_plane(test, nodes, body);
    }

    fn on_a_plane<F>(test: &str, nodes: &[NodeSpec<'_>], body: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Self>,
    {
        if std::env::var_os("ONEPATH_KUBE_PLANE").is_none() {
            return drop(writeln!(
                std::io::stderr(),
                "skipped: no control plane; tests/kube/run -- COMMAND brings one up"
            ));
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
        eventually("without its service account no pod is admitted", async || {
            accounts.get_opt("default").await.expect("an answer").is_some()
        })
        .await;
        let folder = folder(test);
        let entries: Vec<Value> = nodes.iter().map(|spec| node(test, spec)).collect();
        let file = file(&folder, "nodes.yaml", &json!(entries).to_string());
        let kubelet = start_kubelet(&file, &folder).await;
        let nodes = nodes.iter().map(|(name, ..)| format!("{test}-{name}")).collect();
        Self { client, namespace: test.to_owned(), folder, nodes, kubelet }
    }

    /// Ends all pods and takes the nodes away.
    async fn end(mut self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let how = DeleteParams::default();
        namespaces.delete(&self.namespace, &how).await.expect("our own namespace");
        eventually("the namespace goes", async || {
            namespaces.get_opt(&self.namespace).await.expect("an answer").is_none()
        })
        .await;
        let id = self.kubelet.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        kill_process(id, Signal::TERM).expect("it runs");
        let ended = timeout(LIMIT, self.kubelet.wait()).await.expect("the kubelet ends in time");
        assert!(ended.expect("its status").success(), "the kubelet failed");
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

    /// Starts a job on the nodes of this test; it has to succeed. What it says.
    pub(super) async fn launch(&self, plan: &str, options: &str, ranks: &[&str]) -> String {
        let pool = format!("pool={}", self.namespace);
        let mut words = vec!["launch", "--kubernetes", "--plan", plan, "--image", "none:1"];
        words.extend(["--node-selector", &pool]);
        words.extend(options.split_whitespace());
        words.push("--");
        words.extend(ranks);
        let (code, out, errors) = self.onepath(&words).await;
        assert_eq!((code, &*errors), (Some(0), ""), "{out}");
        out
    }

    /// Runs the command with this namespace; exit code, standard output and error.
    pub(super) async fn onepath(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut words = words.to_vec();
        let place = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        words.splice(place..place, ["--namespace", &self.namespace]);
        onepath(&words).await
    }
}

/// A node as the kubelet makes it.
fn node(pool: &str, (name, leaf, gpus): &NodeSpec<'_>) -> Value {
    let mut labels = json!({ "pool": pool });
    if !leaf.is_empty() {
        labels["network.topology.nvidia.com/leaf"] = json!(leaf);
    }
    json!({ "name": format!("{pool}-{name}"), "labels": labels, "allocatable": {
        "cpu": "10", "memory": "16Gi", "pods": "20", "nvidia.com/gpu": gpus.to_string(),
    } })
}

/// Starts the kubelet of tests/kube for these nodes, and waits until they are there.
async fn start_kubelet(nodes: &str, folder: &Path) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_onepath")).with_file_name("examples");
    let program = program.join("onepath-fake-kubelet");
    let mut kubelet = Command::new(&program)
        .args(["--nodes", nodes, "--only-these", "--run-processes"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}: cargo build --examples makes it", program.display())
        });
    let mut lines = BufReader::new(kubelet.stdout.take().expect("a pipe")).lines();
    let line = timeout(LIMIT, lines.next_line()).await.expect("the kubelet is ready in time");
    assert_eq!(line.expect("text").as_deref(), Some("ready"));
    kubelet
}
