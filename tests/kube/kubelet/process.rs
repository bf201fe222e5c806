//! A pod's first container as processes of this computer.
//!
//! The command runs here and not in its image. What a container would find elsewhere is said by
//! variables, which are overridden: `MASTER_ADDR` is 127.0.0.1, since names of a headless service
//! are in the DNS of a cluster alone, and paths below a mounted volume lead to the pod's folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{environment, volumes};

/// The file with what a container writes, in the folder of its pod.
const LOG: &str = "log";

/// What a pod gets to end by itself, if it does not say.
const USUAL_GRACE_S: i64 = 30;

/// The processes of a container.
pub(crate) struct Process {
    child: Child,
    group: Pid,
    grace: Duration,
    log: PathBuf,
}

impl Process {
    /// Starts a pod's first container, with its files in a folder.
    pub(crate) async fn start(client: &Client, pod: &Pod, folder: PathBuf) -> Result<Self, String> {
        let spec = pod.spec.as_ref().ok_or("it has no spec")?;
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let log = folder.join(LOG);
        let command = command(client, pod, &folder, &log).await?;
        let child = Command::from(command).spawn().map_err(|error| error.to_string())?;
        let group = child.id().and_then(|id| Pid::from_raw(id as i32)).ok_or("it has no number")?;
        let grace_s = spec.termination_grace_period_seconds.unwrap_or(USUAL_GRACE_S).max(0);
        Ok(Self { child, group, grace: Duration::from_secs(grace_s as u64), log })
    }

    /// Waits for its end, which is asked for when the pod is to go; its exit code and last line.
    pub(crate) async fn until(&mut self, end: &mut watch::Receiver<bool>) -> (i32, String) {
        let status = tokio::select! {
            status = self.child.wait() => status,
            // A kubelet that ends takes its pods with it.
            _ = told(end) => self.asked_to_end().await,
        };
        // As a container's processes end with its first one.
        let _ = kill_process_group(self.group, Signal::KILL);
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        (status.map_or(1, code), log.lines().last().unwrap_or_default().to_owned())
    }

    /// Asks a container to end, and after its grace period makes it.
    async fn asked_to_end(&mut self) -> io::Result<ExitStatus> {
        // The kubelet asks the first process of a container alone.
        let _ = kill_process(self.group, Signal::TERM);
        if let Ok(status) = timeout(self.grace, self.child.wait()).await {
            return status;
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        self.child.wait().await
    }
}

/// Until a pod is to go, or the kubelet ends; whether it is the former.
pub(crate) async fn told(end: &mut watch::Receiver<bool>) -> bool {
    end.wait_for(|end| *end).await.is_ok()
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
}

async fn command(
    client: &Client,
    pod: &Pod,
    folder: &Path,
    log: &Path,
) -> Result<std::process::Command, String> {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let container = container.ok_or("it has no container")?;
    let mounts = volumes::make(client, pod, folder).await?;
    let mut variables = environment::of(client, pod, container).await?;
    let words = container.command.iter().chain(&container.args).flatten();
    let words: Vec<String> = words.map(|word| environment::expanded(word, &variables)).collect();
    let (program, words) = words.split_first().ok_or("its image's own command is not known")?;
    if let Some(address) = variables.get_mut("MASTER_ADDR") {
        "127.0.0.1".clone_into(address);
    }
    for value in variables.values_mut() {
        *value = volumes::here(&mounts, value);
    }
    let failed = |error: io::Error| format!("{}: {error}", log.display());
    let log = File::create(log).map_err(failed)?;
    let mut command = std::process::Command::new(program);
    command.args(words).envs(variables).stdin(Stdio::null());
    command.stderr(log.try_clone().map_err(failed)?).stdout(log).process_group(0);
    Ok(command)
}
