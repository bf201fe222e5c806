//! A kubelet for tests: makes nodes, sets pods running once they are bound, finishes deletions, and
//! with `--run-processes` runs the command of each pod as a process of this computer.
//!
//! | module | what it holds |
//! |---|---|
//! | `nodes` | the file of nodes |
//! | `pods` | the life of one pod |
//! | `process` | a pod's command, from its start to its end |
//! | `environment` | its variables, and texts with variables in them |
//! | `volumes` | what is mounted, as folders |
//! | `status` | what the API server is told of a pod |
//!
//! ```sh
//! onepath-fake-kubelet --nodes nodes.yaml --run-processes /tmp/pods
//! ```

mod environment;
mod nodes;
mod pods;
mod process;
mod status;
mod volumes;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use tokio::signal::unix::{SignalKind, signal};

/// Acts as the kubelet of the nodes of a test's control plane
#[derive(Debug, Parser)]
struct Arguments {
    /// YAML list of nodes to make: name, labels, allocatable
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// Acts for the nodes of the file alone, not for all
    #[arg(long, requires = "nodes")]
    only_these: bool,
    /// Runs each pod's first container as a process of this computer; a folder in this one, by the
    /// pod's uid, takes its file `log` and its volumes
    #[arg(long, value_name = "DIR")]
    run_processes: Option<PathBuf>,
    /// Milliseconds that a pod without a process takes to end
    #[arg(long, value_name = "MS", default_value_t = 100)]
    end_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("onepath-fake-kubelet: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let client = Client::try_default().await.map_err(|error| error.to_string())?;
    let nodes = match &arguments.nodes {
        Some(file) => nodes::make(&client, file).await?,
        None => BTreeSet::new(),
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut kubelet = pods::Kubelet::new(pods::How {
        client: client.clone(),
        nodes: arguments.only_these.then_some(nodes),
        processes: arguments.run_processes,
        end: Duration::from_millis(arguments.end_ms),
    });
    let pods: Api<Pod> = Api::all(client);
    let mut events = watcher(pods, Config::default()).default_backoff().boxed();
    println!("ready");
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => kubelet.see(pod),
                Some(Ok(Event::Delete(pod))) => kubelet.gone(&pod),
                Some(Ok(Event::Init | Event::InitDone)) => {}
                Some(Err(error)) => eprintln!("onepath-fake-kubelet: watch: {error}"),
                None => return Err("the watch has ended".to_owned()),
            },
            _ = terminate.recv() => break,
        }
    }
    kubelet.end().await;
    Ok(())
}
