//! Making the objects of a job in a cluster, all or none.
//!
//! The server first checks all of them, and a pod of each Job, without making any. When one is
//! refused all the same, those that were made are taken away.

use std::fmt::{Debug, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::KubernetesError;
use super::objects::Objects;
use crate::connect::{self, Cluster, ClusterArguments, said};

/// Who makes objects, in their `managedFields`.
const MANAGER: &str = "onepath-launch";

/// What the server says to who lacks the right, rather than to a pod that cannot be.
const MAY_NOT: &str = "cannot create resource \"pods\"";

/// Why objects were not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// The name is taken.
    #[error(
        "{object} is there already in namespace {namespace}: another --name would be right, or \
         'kubectl -n {namespace} delete job,service,secret -l onepath.io/job={job}' before{left}"
    )]
    Exists {
        /// Kind and name.
        object: String,
        /// Where.
        namespace: String,
        /// The job.
        job: String,
        /// What could not be taken away again.
        left: Left,
    },
    /// The server refuses an object.
    #[error("{object} in namespace {namespace}: {problem}{left}")]
    Refused {
        /// Kind and name.
        object: String,
        /// Where.
        namespace: String,
        /// The server's words.
        problem: String,
        /// What could not be taken away again.
        left: Left,
    },
    /// A signal came before all was made.
    #[error("interrupted: no job was made{left}")]
    Interrupted {
        /// What could not be taken away again.
        left: Left,
    },
    /// Not an object of its kind, which is our own bug or signals' handlers are refused.
    #[error("{0}")]
    System(#[source] std::io::Error),
}

/// Objects that were made and could not be taken away.
#[derive(Debug, Default)]
pub(crate) struct Left(Vec<String>);

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "; these were made and could not be deleted: {}", self.0.join(", "))
    }
}

/// One object with its kind.
enum Typed {
    Secret(Box<Secret>),
    Service(Box<Service>),
    Job(Box<Job>),
}

/// Makes all objects, or has them checked; what was done, a line each.
pub(super) async fn run(
    job: &str,
    objects: &Objects,
    arguments: &ClusterArguments,
    dry_run: bool,
) -> Result<String, KubernetesError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(CreateError::System)?;
    }
    let cluster = connect::connect(arguments).await?;
    let typed = typed(objects);
    let creation = Creation { job, cluster, stop, typed };
    creation.all(true).await?;
    creation.pods().await?;
    if !dry_run {
        creation.all(false).await?;
    }
    let mut text = String::new();
    for object in &creation.typed {
        let done = if dry_run { "would be created (the server checked it)" } else { "created" };
        writeln!(text, "{} {done}", object.name()).expect("a string takes all");
    }
    Ok(text)
}

fn typed(objects: &Objects) -> Vec<Typed> {
    fn read<K: DeserializeOwned>(value: &Value) -> K {
        serde_json::from_value(value.clone()).expect("our objects are of their kinds")
    }
    let jobs = objects.jobs.iter().map(|job| Typed::Job(Box::new(read(job))));
    let (secret, service) = (Box::new(read(&objects.secret)), Box::new(read(&objects.service)));
    [Typed::Secret(secret), Typed::Service(service)].into_iter().chain(jobs).collect()
}

impl Typed {
    /// Kind and name, as kubectl writes it.
    fn name(&self) -> String {
        let (kind, metadata) = match self {
            Self::Secret(object) => ("secret", &object.metadata),
            Self::Service(object) => ("service", &object.metadata),
            Self::Job(object) => ("job.batch", &object.metadata),
        };
        format!("{kind}/{}", metadata.name.as_deref().unwrap_or_default())
    }
}

struct Creation<'a> {
    job: &'a str,
    cluster: Cluster,
    stop: Arc<AtomicBool>,
    typed: Vec<Typed>,
}

impl Creation<'_> {
    /// One object after the other; takes those away again that were made before one was refused.
    async fn all(&self, dry_run: bool) -> Result<(), CreateError> {
        for (number, object) in self.typed.iter().enumerate() {
            let refused = if self.stop.load(Ordering::Relaxed) {
                None
            } else {
                match self.one(object, dry_run).await {
                    Ok(()) => continue,
                    Err(error) => Some(error),
                }
            };
            let made = if dry_run { &[] } else { &self.typed[..number] };
            let left = self.take_away(made).await;
            return Err(self.problem(object, refused, left));
        }
        Ok(())
    }

    /// Has a pod of each Job checked: a Job is made whether its pods would be or not.
    async fn pods(&self) -> Result<(), CreateError> {
        let how = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        let jobs = self.typed.iter().filter_map(|object| match object {
            Typed::Job(job) => Some((object, job)),
            Typed::Secret(_) | Typed::Service(_) => None,
        });
        for (object, job) in jobs {
            let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
            let mut metadata = template.metadata.unwrap_or_default();
            metadata.generate_name = job.metadata.name.as_ref().map(|name| format!("{name}-"));
            let pod = Pod { metadata, spec: template.spec, status: None };
            match self.api().create(&how, &pod).await {
                // Who makes Jobs need not be allowed to make pods.
                Err(kube::Error::Api(status)) if status.message.contains(MAY_NOT) => return Ok(()),
                Err(error) => {
                    let problem = format!("its pods: {}", said(&error));
                    let (object, left) = (object.name(), Left::default());
                    let namespace = self.cluster.namespace.clone();
                    return Err(CreateError::Refused { object, namespace, problem, left });
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn problem(&self, object: &Typed, refused: Option<kube::Error>, left: Left) -> CreateError {
        let namespace = self.cluster.namespace.clone();
        let (object, job) = (object.name(), self.job.to_owned());
        match refused {
            None => CreateError::Interrupted { left },
            Some(kube::Error::Api(status)) if status.is_already_exists() => {
                CreateError::Exists { object, namespace, job, left }
            }
            Some(error) => CreateError::Refused { object, namespace, problem: said(&error), left },
        }
    }

    async fn one(&self, object: &Typed, dry_run: bool) -> Result<(), kube::Error> {
        let how = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
        match object {
            Typed::Secret(object) => self.api().create(&how, &**object).await.map(drop),
            Typed::Service(object) => self.api().create(&how, &**object).await.map(drop),
            Typed::Job(object) => self.api().create(&how, &**object).await.map(drop),
        }
    }

    async fn take_away(&self, made: &[Typed]) -> Left {
        let mut left = Left::default();
        for object in made.iter().rev() {
            let deleted = match object {
                Typed::Secret(object) => self.delete(&**object).await,
                Typed::Service(object) => self.delete(&**object).await,
                Typed::Job(object) => self.delete(&**object).await,
            };
            if deleted.is_err() {
                left.0.push(object.name());
            }
        }
        left
    }

    async fn delete<K>(&self, object: &K) -> Result<(), kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let name = object.meta().name.as_deref().unwrap_or_default();
        self.api::<K>().delete(name, &DeleteParams::background()).await.map(drop)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace)
    }
}
