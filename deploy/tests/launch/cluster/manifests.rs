//! `deploy/manifests` are taken by the API server, and what they start works.

use std::path::Path;
use std::process::Stdio;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::process::Command;

use super::plane::{Plane, eventually};
use crate::manifests::{api_of, objects};
use crate::run::file;

/// Where the manifests put the scheduler.
const NAMESPACE: &str = "onepath-system";

/// As `kubectl apply --server-side` does it.
async fn apply(client: &Client, object: &Value, dry_run: bool) {
    let how = PatchParams { dry_run, ..PatchParams::apply("test") };
    let name = object["metadata"]["name"].as_str().expect("a name");
    let applied = api_of(client, object).patch(name, &how, &Patch::Apply(object)).await;
    applied.unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]));
}

/// Applies the manifests; the scheduler's pods run on the nodes of the test as processes.
pub(super) async fn install(plane: &Plane) {
    let client = &plane.client;
    for namespace in objects("namespace.yaml") {
        apply(client, &namespace, false).await;
    }
    let scheduler = objects("scheduler.yaml");
    let rights = ["scheduler-rights.yaml", "scheduler-limits.yaml"].map(objects).concat();
    for object in rights.iter().chain(&scheduler) {
        apply(client, object, true).await;
    }
    for object in &rights {
        apply(client, object, false).await;
    }
    let ctl = std::env::var_os("ONEPATH_KUBE_CTL").expect("ONEPATH_KUBE_CTL");
    let account = ["kubeconfig", NAMESPACE, "onepath-scheduler"];
    let output = Command::new(ctl).args(account).stdin(Stdio::null()).output().await;
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = String::from_utf8(output.stdout).expect("a kubeconfig");
    let config = file(&plane.folder, "scheduler.kubeconfig", &config);
    for mut object in scheduler {
        // A process of this machine is in no image, and has no account in a cluster around it.
        let programs = Path::new(env!("CARGO_BIN_EXE_onepath")).parent().expect("a folder");
        let pod = &mut object["spec"]["template"]["spec"];
        pod["nodeSelector"] = json!({ "pool": plane.namespace });
        let variables = pod["containers"][0]["env"].as_array_mut().expect("variables");
        variables.push(json!({ "name": "PATH", "value": programs }));
        variables.push(json!({ "name": "KUBECONFIG", "value": config }));
        apply(client, &object, false).await;
    }
}

/// Takes everything away again.
pub(super) async fn remove(plane: &Plane) {
    let how = DeleteParams::background();
    let rights = objects("scheduler-rights.yaml");
    let wide = rights.iter().filter(|object| object["metadata"]["namespace"].is_null());
    let namespaces = objects("namespace.yaml");
    for object in wide.chain(&namespaces) {
        let name = object["metadata"]["name"].as_str().expect("a name");
        api_of(&plane.client, object).delete(name, &how).await.expect("it goes");
    }
    eventually("the scheduler's namespace goes", async || {
        let namespace = api_of(&plane.client, &namespaces[0]).get_opt(NAMESPACE).await;
        namespace.expect("an answer").is_none()
    })
    .await;
}

/// The scheduler's pods.
async fn pods(plane: &Plane) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(plane.client.clone(), NAMESPACE);
    pods.list(&ListParams::default()).await.expect("an answer").items
}

fn runs(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

#[test]
fn the_manifests_are_taken_and_one_of_two_instances_holds_the_lease() {
    Plane::run_alone("manifests", &[("a", "", 0), ("b", "", 0)], async |plane| {
        install(&plane).await;
        eventually("both instances run", async || {
            let pods = pods(&plane).await;
            pods.len() == 2 && pods.iter().all(runs)
        })
        .await;
        for pod in pods(&plane).await {
            let spec = pod.spec.expect("a spec");
            assert_eq!(spec.priority, Some(2_000_000_000));
            assert_eq!(spec.service_account_name.as_deref(), Some("onepath-scheduler"));
            let security = spec.security_context.expect("a security context");
            assert_eq!(
                (security.run_as_non_root, security.run_as_user),
                (Some(true), Some(65_532))
            );
            let command = spec.containers[0].command.clone();
            assert_eq!(command, Some(vec!["onepath".to_owned(), "scheduler".to_owned()]));
        }
        let leases: Api<Lease> = Api::namespaced(plane.client.clone(), NAMESPACE);
        let mut holder = None;
        eventually("one of them holds the lease", async || {
            let lease = leases.get_opt("onepath-scheduler").await.expect("an answer");
            holder = lease.and_then(|lease| lease.spec?.holder_identity);
            holder.is_some()
        })
        .await;
        // With a wrong command line or too few rights a process ends, and so does its pod.
        let pods = pods(&plane).await;
        assert!(pods.iter().all(runs), "{pods:?}");
        assert!(pods.iter().any(|pod| holder == Some(pod.name_any())), "{holder:?}");
        remove(&plane).await;
        plane
    });
}
