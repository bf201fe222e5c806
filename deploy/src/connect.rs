//! Reaching a Kubernetes cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which cluster is asked.
#[derive(Debug, Args)]
pub(crate) struct ClusterArguments {
    /// How to reach the cluster [default: KUBECONFIG, ~/.kube/config, or the pod's own account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Namespace [default: the kubeconfig's]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// A cluster and the namespace that is meant.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Why there is no way to a cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The file is wrong.
    #[error("--kubeconfig {}: {}", .path.display(), one_line(.problem))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KubeconfigError,
    },
    /// Nothing says where a cluster is.
    #[error("no cluster is known: --kubeconfig FILE would be right ({})", one_line(.0))]
    Unknown(#[source] InferConfigError),
    /// The client cannot be made.
    #[error("no client of the cluster can be made: {}", one_line(.0))]
    Client(#[source] kube::Error),
}

/// Makes a client; nothing is asked yet.
pub(crate) async fn connect(arguments: &ClusterArguments) -> Result<Cluster, ConnectError> {
    let mut config = match &arguments.kubeconfig {
        Some(path) => {
            let wrong = |problem| ConnectError::File { path: path.clone(), problem };
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(wrong)?
        }
        None => Config::infer().await.map_err(ConnectError::Unknown)?,
    };
    config.connect_timeout = Some(PATIENCE);
    // Of one read: a watch that is quiet is asked anew.
    config.read_timeout = Some(PATIENCE * 10);
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(ConnectError::Client)?;
    Ok(Cluster { client, namespace })
}

/// What went wrong in one line: the server's words where it has some, else the cause of causes.
pub(crate) fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return one_line(&status.message);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    one_line(&cause)
}

/// A message without line breaks and of bounded length.
pub(crate) fn one_line(message: &impl ToString) -> String {
    const MOST: usize = 600;
    let text = message.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MOST).collect()
}
