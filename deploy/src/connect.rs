//! Reaching a Kubernetes cluster.

use std::path::{Path, PathBuf};
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
    /// Which context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
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
    /// The file of KUBECONFIG or the home folder is wrong, or has no such context.
    #[error("--context: the kubeconfig: {}", one_line(.0))]
    Context(#[source] KubeconfigError),
    /// Nothing says where a cluster is.
    #[error("no cluster is known: --kubeconfig FILE would be right ({})", one_line(.0))]
    Unknown(#[source] InferConfigError),
    /// The client cannot be made.
    #[error("no client of the cluster can be made: {}", one_line(.0))]
    Client(#[source] kube::Error),
}

/// Makes a client; nothing is asked yet.
pub(crate) async fn connect(arguments: &ClusterArguments) -> Result<Cluster, ConnectError> {
    let mut config = config(arguments.kubeconfig.as_deref(), arguments.context.as_deref()).await?;
    // Of one read: a watch may be quiet for minutes before it is asked anew.
    config.read_timeout = Some(PATIENCE * 10);
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok(Cluster { client: client(config)?, namespace })
}

/// How to reach the cluster of a kubeconfig and a context in it, or else of what is found.
pub(crate) async fn config(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Config, ConnectError> {
    let mut config = match (kubeconfig, context) {
        (None, None) => Config::infer().await.map_err(ConnectError::Unknown)?,
        (path, context) => {
            let wrong = |problem| match path {
                Some(path) => ConnectError::File { path: path.to_owned(), problem },
                None => ConnectError::Context(problem),
            };
            let file = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from).map_err(wrong)?;
            let context = context.map(str::to_owned);
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
        }
    };
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    Ok(config)
}

/// A client of a configuration.
pub(crate) fn client(config: Config) -> Result<Client, ConnectError> {
    Client::try_from(config).map_err(ConnectError::Client)
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
