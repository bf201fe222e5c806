//! Jobs, pods and events of a job, from the cluster.

use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use onepath_pack::kubernetes::marks;

use crate::connect::{Cluster, said};

/// The most events that are looked at.
const MAX_EVENTS: u32 = 5_000;

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// There is no such job.
    #[error(
        "namespace {namespace} has no Job with the label onepath.io/job={job}: the name of a job \
         that 'onepath launch --kubernetes' made would be right"
    )]
    NoJob {
        /// The name.
        job: String,
        /// Where.
        namespace: String,
    },
    /// No job has such a name.
    #[error("job {job:?}: letters, digits, - _ and . would be right")]
    Name {
        /// The name.
        job: String,
    },
    /// The server refuses.
    #[error("{what} of namespace {namespace}: {problem}")]
    List {
        /// What was asked for.
        what: &'static str,
        /// Where.
        namespace: String,
        /// The server's words.
        problem: String,
    },
}

/// All that the cluster knows of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    pub(super) jobs: Vec<Job>,
    pub(super) pods: Vec<Pod>,
    /// Those of the namespace, of other objects too.
    pub(super) events: Vec<Event>,
}

/// Where it is asked.
pub(super) struct Source {
    job: String,
    namespace: String,
    jobs: Api<Job>,
    pods: Api<Pod>,
    events: Api<Event>,
}

impl Source {
    pub(super) fn new(cluster: &Cluster, job: &str) -> Self {
        let (client, namespace) = (&cluster.client, cluster.namespace.as_str());
        Self {
            job: job.to_owned(),
            namespace: namespace.to_owned(),
            jobs: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
        }
    }

    fn selector(&self) -> String {
        format!("{}={}", marks::JOB, self.job)
    }

    /// All of it now.
    pub(super) async fn collect(&self) -> Result<Collected, CollectError> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.job.is_empty() || self.job.len() > 63 || !self.job.bytes().all(inner) {
            return Err(CollectError::Name { job: self.job.chars().take(80).collect() });
        }
        let failed = |what: &'static str| {
            move |error| CollectError::List {
                what,
                namespace: self.namespace.clone(),
                problem: said(&error),
            }
        };
        let ours = ListParams::default().labels(&self.selector());
        let jobs = self.jobs.list(&ours).await.map_err(failed("jobs"))?.items;
        if jobs.is_empty() {
            let (job, namespace) = (self.job.clone(), self.namespace.clone());
            return Err(CollectError::NoJob { job, namespace });
        }
        let pods = self.pods.list(&ours).await.map_err(failed("pods"))?.items;
        let some = ListParams::default().limit(MAX_EVENTS);
        let events = self.events.list(&some).await.map_err(failed("events"))?.items;
        Ok(Collected { jobs, pods, events })
    }

    /// A tick for each change of a Job or pod. A watch that fails is begun anew, and ticks too.
    pub(super) fn changes(&self) -> impl Stream<Item = ()> + use<> {
        let config = || watcher::Config::default().labels(&self.selector());
        let pods = watcher(self.pods.clone(), config()).default_backoff().map(drop);
        let jobs = watcher(self.jobs.clone(), config()).default_backoff().map(drop);
        futures::stream::select(pods, jobs)
    }
}
