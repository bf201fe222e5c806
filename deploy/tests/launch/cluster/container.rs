//! One container as processes of this machine.
//!
//! The command runs here and not in its image. What a container would find elsewhere is said by
//! variables, which are overridden: `MASTER_ADDR` is 127.0.0.1, since names of a headless service
//! are in the DNS of a cluster alone, and paths below a mounted volume lead to a folder of the
//! test.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// The file with what a container writes, in the folder of its pod.
pub(super) const LOG: &str = "log";

/// Runs a pod to its end, or until it is to end; then takes it away.
pub(super) async fn run(client: Client, folder: PathBuf, pod: Pod, mut end: watch::Receiver<bool>) {
    let namespace = pod.metadata.namespace.clone().expect("a pod has a namespace");
    let name = pod.metadata.name.clone().expect("a pod has a name");
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let finished = matches!(
        pod.status.as_ref().and_then(|status| status.phase.as_deref()),
        Some("Succeeded" | "Failed")
    );
    if !finished && !*end.borrow() {
        let secrets: Api<Secret> = Api::namespaced(client, &namespace);
        let spec = pod.spec.as_ref().expect("a pod has a spec");
        let mounts = mounts(&secrets, &folder, spec).await;
        let started = Timestamp::now();
        let mut child = command(&pod, spec, &mounts, &folder).spawn().expect("the command starts");
        let state = json!({ "running": { "startedAt": started.to_string() } });
        set_status(&pods, &name, "Running", started, state, spec).await;
        let group = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        let status = tokio::select! {
            status = child.wait() => status,
            () = told(&mut end) => asked_to_end(&mut child, group, spec).await,
        };
        // As a container's processes end with its first one.
        let _ = kill_process_group(group, Signal::KILL);
        let status = status.expect("a child");
        let state = ended(status, started, &folder);
        let phase = if status.success() { "Succeeded" } else { "Failed" };
        set_status(&pods, &name, phase, started, state, spec).await;
    }
    told(&mut end).await;
    // The test may have taken it away itself.
    let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
}

/// Asks a container to end, and after its grace period makes it.
async fn asked_to_end(child: &mut Child, group: Pid, spec: &PodSpec) -> io::Result<ExitStatus> {
    // The kubelet asks the first process of a container alone.
    let _ = kill_process(group, Signal::TERM);
    let grace = spec.termination_grace_period_seconds.unwrap_or(30).max(0) as u64;
    if let Ok(status) = timeout(Duration::from_secs(grace), child.wait()).await {
        return status;
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().await
}

/// Until the pod is to end.
async fn told(end: &mut watch::Receiver<bool>) {
    // A kubelet that is gone ends all pods too.
    let _ = end.wait_for(|end| *end).await;
}

/// Where each mounted path is here; secrets are written there.
async fn mounts(secrets: &Api<Secret>, folder: &Path, spec: &PodSpec) -> BTreeMap<String, PathBuf> {
    let mut mounts = BTreeMap::new();
    for mount in spec.containers[0].volume_mounts.iter().flatten() {
        let here = folder.join(&mount.name);
        fs::create_dir_all(&here).expect("a folder");
        mounts.insert(mount.mount_path.clone(), here.clone());
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let Some(source) = volume.and_then(|volume| volume.secret.as_ref()) else { continue };
        let mode = source.default_mode.unwrap_or(0o644) as u32;
        let secret = secrets.get(source.secret_name.as_deref().expect("a name")).await;
        for (name, value) in secret.expect("the secret is there").data.unwrap_or_default() {
            let open = OpenOptions::new().write(true).create(true).mode(mode).open(here.join(name));
            open.and_then(|mut file| file.write_all(&value.0)).expect("a file");
        }
    }
    mounts
}

fn command(
    pod: &Pod,
    spec: &PodSpec,
    mounts: &BTreeMap<String, PathBuf>,
    folder: &Path,
) -> Command {
    let container = &spec.containers[0];
    let mut variables = variables(pod, container);
    let words = container.command.iter().chain(&container.args).flatten();
    let words: Vec<String> = words.map(|word| expanded(word, &variables)).collect();
    variables.insert("MASTER_ADDR".to_owned(), "127.0.0.1".to_owned());
    for value in variables.values_mut() {
        for (path, here) in mounts {
            if value.starts_with(&format!("{path}/")) {
                *value = value.replacen(path, &here.display().to_string(), 1);
            }
        }
    }
    let log = File::create(folder.join(LOG)).expect("a file");
    let mut command = std::process::Command::new(&words[0]);
    command
        .args(&words[1..])
        .envs(variables)
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("the same file"))
        .stdout(log)
        .process_group(0);
    Command::from(command)
}

/// The container's variables: values, and fields of the pod.
fn variables(pod: &Pod, container: &Container) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let object = serde_json::to_value(pod).expect("plain data");
    for variable in container.env.iter().flatten() {
        let source = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
        let value = match (&variable.value, source) {
            (_, Some(field)) => field_of(&object, &field.field_path),
            (Some(value), None) => expanded(value, &variables),
            (None, None) => String::new(),
        };
        variables.insert(variable.name.clone(), value);
    }
    variables
}

/// `metadata.annotations['key']` of an object.
fn field_of(object: &Value, path: &str) -> String {
    let (fields, key) = path.split_once("['").expect("a key in brackets");
    let place = format!("/{}", fields.replace('.', "/"));
    let value = object.pointer(&place).and_then(|map| map.get(key.trim_end_matches("']")));
    value.and_then(Value::as_str).expect("a text").to_owned()
}

/// As Kubernetes does it: `$(NAME)` is a variable's value if there is such a one, `$$` is a `$`.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((value, after)) =
            name.and_then(|(name, after)| Some((variables.get(name)?, after)))
        {
            result.push_str(value);
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

fn ended(status: ExitStatus, started: Timestamp, folder: &Path) -> Value {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    let log = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let last = log.lines().last().unwrap_or_default();
    json!({ "terminated": {
        "exitCode": code,
        "reason": if code == 0 { "Completed" } else { "Error" },
        // What FallbackToLogsOnError does.
        "message": if code == 0 { "" } else { last },
        "startedAt": started.to_string(),
        "finishedAt": Timestamp::now().to_string(),
    } })
}

async fn set_status(
    pods: &Api<Pod>,
    name: &str,
    phase: &str,
    started: Timestamp,
    state: Value,
    spec: &PodSpec,
) {
    let container = &spec.containers[0];
    let status = json!({ "status": {
        "phase": phase,
        "startTime": started.to_string(),
        "podIP": "127.0.0.1",
        "podIPs": [{ "ip": "127.0.0.1" }],
        "containerStatuses": [{
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": phase == "Running",
            "restartCount": 0,
            "state": state,
        }],
    } });
    // A pod that was deleted meanwhile has no status.
    let _ = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
}

#[test]
fn texts_are_expanded_as_kubernetes_does_it() {
    let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    for (text, expected) in [
        ("$(A) $(B) $$(A) $A", "1 $(B) $(A) $A"),
        ("$$$(A) $$$$ $", "$1 $$ $"),
        ("$((A))", "$((A))"),
    ] {
        assert_eq!(expanded(text, &variables), expected);
    }
}
