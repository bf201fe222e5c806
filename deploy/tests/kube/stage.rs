//! The programs, and what each test begins with.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::objects::{self, FORBIDDEN, NAMESPACE, OF_TESTS, TIERS, node_of, policy};
use super::watchman::Watchman;
use crate::manifests::{self, api_of};

/// What is awaited comes within this time, or the test fails.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// So long for one look at it.
const TRY: Duration = Duration::from_secs(3);

/// The taint of reserved nodes.
pub(crate) const RESERVED: &str = "onepath.io/reserved";

/// The cluster is one: tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// One test's cluster and programs.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) watchman: Watchman,
    kubelet: Child,
    scheduler: Option<Child>,
    kubeconfig: PathBuf,
}

/// Runs a test on the control plane that is there, or says that there is none.
pub(crate) fn on_a_plane<T, F: Future<Output = T>>(test: impl FnOnce(Stage) -> F) -> Option<T> {
    let (Some(plane), Some(_)) = (plane(), std::env::var_os("KUBECONFIG")) else {
        drop(writeln!(std::io::stderr(), "skipped: needs a control plane: tests/kube/run"));
        return None;
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    Some(runtime.block_on(async { test(Stage::begin(&plane).await).await }))
}

/// The folder of the control plane.
pub(crate) fn plane() -> Option<PathBuf> {
    std::env::var_os("ONEPATH_KUBE_PLANE").map(PathBuf::from)
}

impl Stage {
    async fn begin(plane: &Path) -> Self {
        let client = Client::try_default().await.expect("a client");
        clear(&client).await;
        for manifest in ["namespace.yaml", "scheduler-rights.yaml", "scheduler-limits.yaml"] {
            for object in manifests::objects(manifest) {
                make_new(&client, &object).await;
            }
        }
        for tier in 0..TIERS {
            make_new(&client, &objects::priority_class(tier)).await;
        }
        let kubeconfig = plane.join("onepath-scheduler.kubeconfig");
        std::fs::write(&kubeconfig, service_account_kubeconfig().await).expect("a file");
        let kubelet = start_kubelet(500);
        let watchman = Watchman::begin(&client);
        Self { client, watchman, kubelet, scheduler: None, kubeconfig }
    }

    /// A client with the rights of the scheduler.
    pub(crate) async fn scheduler_client(&self) -> Client {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await;
        Client::try_from(config.expect("a configuration")).expect("a client")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onepath"));
        command.arg("scheduler").args(arguments).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Pods take so long to end from now on: whoever looks finds one on its way out.
    pub(crate) fn pods_end_after(&mut self, end_ms: u32) {
        self.kubelet.kill().expect("it runs");
        self.kubelet.wait().expect("its status");
        self.kubelet = start_kubelet(end_ms);
    }

    /// Starts the scheduler in the background.
    pub(crate) fn start_scheduler(&mut self, arguments: &[&str]) {
        assert!(self.scheduler.is_none(), "one runs already");
        self.scheduler = Some(self.command(arguments).spawn().expect("the scheduler starts"));
    }

    /// Runs it to its end.
    pub(crate) async fn run_scheduler(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        let run = tokio::task::spawn_blocking(move || command.output());
        run.await.expect("no panic").expect("the scheduler runs")
    }

    /// Ends it as an operator does, and waits for that.
    pub(crate) async fn end_scheduler(&mut self) {
        let Some(mut child) = self.scheduler.take() else { return };
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        let ended = tokio::task::spawn_blocking(move || child.wait()).await.expect("no panic");
        assert!(ended.expect("its status").success(), "the scheduler failed at its end");
    }

    /// Kills it without warning.
    pub(crate) fn kill_scheduler(&mut self) {
        if let Some(mut child) = self.scheduler.take() {
            child.kill().expect("it runs");
            child.wait().expect("its status");
        }
    }

    pub(crate) async fn make(&self, object: &Value) {
        make_new(&self.client, object).await;
    }

    pub(crate) async fn pods(&self) -> Vec<Pod> {
        self.list(NAMESPACE).await
    }

    async fn list(&self, namespace: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // The API server may be away for a moment in some tests.
        pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
    }

    /// The pods of an app.
    pub(crate) async fn pods_of(&self, app: &str) -> Vec<Pod> {
        let mut pods = self.pods().await;
        pods.retain(|pod| pod.labels().get("app").is_some_and(|name| name == app));
        pods
    }

    /// The nodes of an app's pods that have one and do not leave.
    pub(crate) async fn nodes_of(&self, app: &str) -> Vec<String> {
        let pods = self.pods_of(app).await;
        let stay = pods.iter().filter(|pod| !objects::leaves(pod));
        stay.filter_map(|pod| node_of(pod).map(str::to_owned)).collect()
    }

    /// Nodes that are reserved; none while the API server is away.
    pub(crate) async fn reserved(&self) -> Option<Vec<String>> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default()).await.ok()?.items;
        let taints = |node: &Node| node.spec.clone().and_then(|spec| spec.taints);
        let reserved = nodes.iter().filter(|node| {
            taints(node).unwrap_or_default().iter().any(|taint| taint.key == RESERVED)
        });
        Some(reserved.map(ResourceExt::name_any).collect())
    }

    /// Until a plan has reserved nodes.
    pub(crate) async fn until_reserved(&self) {
        eventually("nodes are reserved", async || {
            self.reserved().await.is_some_and(|nodes| !nodes.is_empty())
        })
        .await;
    }

    pub(crate) async fn until_released(&self) {
        eventually("no node is reserved", async || {
            self.reserved().await.is_some_and(|nodes| nodes.is_empty())
        })
        .await;
    }

    /// Reasons and notes of events of a pod by our scheduler.
    pub(crate) async fn events_of(&self, pod: &str) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let selector = format!("involvedObject.name={pod}");
        let events = events.list(&ListParams::default().fields(&selector)).await;
        let ours =
            |event: &Event| event.reporting_component.as_deref() == Some("onepath.io/scheduler");
        let events = events.map(|list| list.items).unwrap_or_default().into_iter().filter(ours);
        events
            .map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect()
    }

    /// Uids of pods of an app that the default scheduler has preempted, by its own word.
    pub(crate) async fn preempted_of(&self, app: &str) -> BTreeSet<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let preempted = ListParams::default().fields("reason=Preempted");
        let events = events.list(&preempted).await.expect("events").items.into_iter();
        let of_app = events.filter(|event| {
            let name = event.involved_object.name.as_deref().unwrap_or_default();
            let of_app = name.strip_prefix(app).is_some_and(|rest| rest.starts_with('-'));
            of_app && event.reporting_component.as_deref() == Some("default-scheduler")
        });
        of_app.filter_map(|event| event.involved_object.uid).collect()
    }

    /// Until a pod has an event for this reason; gives what it says.
    pub(crate) async fn until_event(&self, pod: &str, reason: &str) -> String {
        eventually(&format!("{pod} has an event {reason}"), async || {
            self.events_of(pod).await.iter().any(|(given, _)| given == reason)
        })
        .await;
        let events = self.events_of(pod).await.into_iter();
        events
            .filter(|(given, _)| given == reason)
            .map(|(_, note)| note)
            .next_back()
            .unwrap_or_default()
    }

    /// Binds a pod by hand.
    pub(crate) async fn bind(&self, pod: &str, node: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let params = PostParams::default();
        let bound: kube::Result<Value> =
            pods.create_subresource("binding", pod, &params, &binding).await;
        bound.expect("the pod is bound");
    }

    /// Denies to make such a subresource of pods unless an expression holds; waits until `denied`
    /// cannot be made any more, which is only tried.
    pub(crate) async fn deny(&self, subresource: &str, unless: &str, by: &Client, denied: &Value) {
        for object in policy(&format!("pods/{subresource}"), unless) {
            self.make(&object).await;
        }
        let pods: Api<Pod> = Api::namespaced(by.clone(), NAMESPACE);
        let pod = denied["metadata"]["name"].as_str().expect("a name");
        let tried = PostParams { dry_run: true, ..PostParams::default() };
        eventually("the policy is heeded", async || {
            let answer: kube::Result<Value> =
                pods.create_subresource(subresource, pod, &tried, denied).await;
            answer.is_err_and(|error| error.to_string().contains(FORBIDDEN))
        })
        .await;
    }

    /// Runs one of the plane's programs, `restart-apiserver` for instance.
    pub(crate) async fn plane_does(&self, what: &str) {
        let program = plane().expect("there is a plane").join(what);
        let run = tokio::task::spawn_blocking(move || Command::new(program).status());
        let status = run.await.expect("no panic").expect("it runs");
        assert!(status.success(), "{what}: {status}");
    }
}

/// A kubelet under which pods take so long to end.
fn start_kubelet(end_ms: u32) -> Child {
    let onepath = Path::new(env!("CARGO_BIN_EXE_onepath"));
    let kubelet = onepath.with_file_name("examples").join("onepath-fake-kubelet");
    Command::new(&kubelet)
        .args(["--end-ms", &end_ms.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}: cargo build --examples makes it", kubelet.display())
        })
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill_scheduler();
        // Nothing more can be done about a child that is gone.
        let _ = self.kubelet.kill();
        let _ = self.kubelet.wait();
    }
}

/// Waits for something, and fails when it does not come.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    // A request that hangs is asked for anew: what is awaited may not stay for long.
    while !tokio::time::timeout(TRY, is_so()).await.unwrap_or(false) {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {} s", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn service_account_kubeconfig() -> String {
    let ctl = std::env::var_os("ONEPATH_KUBE_CTL").expect("ONEPATH_KUBE_CTL");
    let run = tokio::task::spawn_blocking(move || {
        Command::new(ctl).args(["kubeconfig", "onepath-system", "onepath-scheduler"]).output()
    });
    let output = run.await.expect("no panic").expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a kubeconfig")
}

/// Makes it, unless it is there.
async fn make_new(client: &Client, object: &Value) {
    let api = api_of(client, object);
    let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
        Err(error) => panic!("{}: {error}", object.name_any()),
    }
}

/// Takes away what the test before has left.
async fn clear(client: &Client) {
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    let all = ListParams::default();
    let api = |version: &str, kind: &str| {
        let of = json!({
            "apiVersion": version, "kind": kind, "metadata": {"namespace": NAMESPACE}
        });
        api_of(client, &of)
    };
    let of_tests = ListParams::default().labels(OF_TESTS);
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {}
        });
        api_of(client, &policy).delete_collection(&now, &of_tests).await.expect("they can go");
    }
    for (version, kind) in [("policy/v1", "PodDisruptionBudget"), ("v1", "Event")] {
        api(version, kind).delete_collection(&now, &all).await.expect("they can go");
    }
    // A set that is going makes no pods; its pods go before it.
    let (sets, pods) = (api("apps/v1", "ReplicaSet"), api("v1", "Pod"));
    sets.delete_collection(&DeleteParams::foreground(), &all).await.expect("they can go");
    eventually("the pods of the test before are gone", async || {
        // Tried again until nothing is left.
        let _ = pods.delete_collection(&now, &all).await;
        let empty = async |of: &Api<DynamicObject>| {
            of.list(&all).await.is_ok_and(|list| list.items.is_empty())
        };
        empty(&sets).await && empty(&pods).await
    })
    .await;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.delete_collection(&now, &all).await.expect("they can go");
    let leases: Api<Lease> = Api::namespaced(client.clone(), "onepath-system");
    // The namespace is not there before the first test.
    let _ = leases.delete_collection(&now, &all).await;
}
