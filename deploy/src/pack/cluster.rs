//! Objects of a running cluster. Nothing is changed there.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Api, ListParams};
use kube::{Client, Resource};
use onepath_pack::kubernetes::Snapshot;
use onepath_pack::kubernetes::objects::ObjectError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::PackArguments;
use crate::connect::{self, ConnectError, one_line, said};

/// Objects of one answer.
const PAGE: u32 = 1_000;

/// A cluster that is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// There is no way to it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not say what it has.
    #[error("cluster {url}: list {kind}: {problem}")]
    List {
        /// The cluster.
        url: String,
        /// What was asked for.
        kind: String,
        /// What is wrong.
        problem: String,
    },
    /// Something else that is no object.
    #[error("cluster: {0}")]
    Object(#[from] ObjectError),
    /// No threads.
    #[error("no runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Everything that matters of a cluster. What belongs to pods may be forbidden to read: that is
/// said on standard error, and the placement is made without it.
pub(crate) fn read(arguments: &PackArguments) -> Result<Snapshot, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (kubeconfig, context) = (arguments.kubeconfig.as_deref(), arguments.context.as_deref());
        let config = connect::config(kubeconfig, context).await?;
        let url = config.cluster_url.to_string();
        let client = connect::client(config)?;
        let mut snapshot = Snapshot::default();
        list::<Node>(&client, &url, &mut snapshot).await?;
        list::<Pod>(&client, &url, &mut snapshot).await?;
        for result in [
            list::<PodDisruptionBudget>(&client, &url, &mut snapshot).await,
            list::<PriorityClass>(&client, &url, &mut snapshot).await,
            list::<PersistentVolumeClaim>(&client, &url, &mut snapshot).await,
            list::<PersistentVolume>(&client, &url, &mut snapshot).await,
        ] {
            if let Err(error) = result {
                eprintln!("onepath: warning: {error}");
            }
        }
        Ok(snapshot)
    })
}

/// All objects of a kind, page by page.
async fn list<K>(client: &Client, url: &str, snapshot: &mut Snapshot) -> Result<(), ClusterError>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let kind = K::plural(&()).into_owned();
    let wrong =
        |problem: String| ClusterError::List { url: url.to_owned(), kind: kind.clone(), problem };
    let api: Api<K> = Api::all(client.clone());
    let mut next = None;
    loop {
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.continue_token = next;
        let page = api.list(&parameters).await.map_err(|error| wrong(said(&error)))?;
        for object in page.items {
            let value = serde_json::to_value(object).map_err(|error| wrong(one_line(&error)))?;
            snapshot.add(value)?;
        }
        next = page.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(());
        }
    }
}
