//! Making the objects of a job in a cluster, all or none.
//!
//! The server first checks all of them, and a pod of each Job, without making any. When one is
//! refused all the same, those that were made are taken away. Where no answer comes an object may
//! have been made or not: each has a mark of this run, so it is looked up.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::time::{Instant, sleep, timeout};

use super::KubernetesError;
use super::labels;
use super::objects::Objects;
use super::refusal::{CreateError, Left, Refusal, may_change};
use super::spec::JobSpec;
use crate::connect::Cluster;

/// Who makes objects, in their `managedFields`.
const MANAGER: &str = "onepath-launch";

/// What the server says to who lacks the right, rather than to a pod that cannot be.
const MAY_NOT: &str = "cannot create resource \"pods\"";

/// Between two looks for an object.
const PAUSE: Duration = Duration::from_millis(250);

/// One object with its kind.
struct Object {
    /// Kind and name, as kubectl writes it.
    name: String,
    resource: ApiResource,
    value: DynamicObject,
}

/// What a look for an object that may have been made has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Ours,
    Others,
    Absent,
    Unknown,
}

/// Makes all objects, or has them checked; what was done, a line each.
pub(super) async fn run(
    spec: &JobSpec<'_>,
    objects: &Objects,
    cluster: Cluster,
) -> Result<String, KubernetesError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(CreateError::System)?;
    }
    let creation = Creation {
        job: &spec.name,
        launch: &objects.launch,
        patience: Duration::from_secs(spec.options.request_timeout.into()),
        cluster,
        stop,
        objects: objects.all().map(Object::new).collect(),
    };
    creation.all(true).await?;
    creation.pods().await?;
    let dry_run = spec.options.dry_run;
    if !dry_run {
        creation.all(false).await?;
    }
    let mut text = String::new();
    for object in &creation.objects {
        let done = if dry_run { "would be created (the server checked it)" } else { "created" };
        writeln!(text, "{} {done}", object.name).expect("a string takes all");
    }
    Ok(text)
}

impl Object {
    fn new(value: &Value) -> Self {
        let (group, version, kind, shown) = match value["kind"].as_str() {
            Some("Secret") => ("", "v1", "Secret", "secret"),
            Some("Service") => ("", "v1", "Service", "service"),
            Some("Job") => ("batch", "v1", "Job", "job.batch"),
            Some("Pod") => ("", "v1", "Pod", "pod"),
            other => unreachable!("no object of a job is a {other:?}"),
        };
        let value: DynamicObject =
            serde_json::from_value(value.clone()).expect("our objects are objects");
        Self {
            name: format!("{shown}/{}", value.metadata.name.as_deref().unwrap_or_default()),
            resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
            value,
        }
    }

    fn own_name(&self) -> &str {
        self.value.metadata.name.as_deref().unwrap_or_default()
    }
}

struct Creation<'a> {
    job: &'a str,
    /// The mark of this run.
    launch: &'a str,
    /// How long an answer may take.
    patience: Duration,
    cluster: Cluster,
    stop: Arc<AtomicBool>,
    objects: Vec<Object>,
}

impl Creation<'_> {
    /// One object after the other; takes those away again that were made before one was refused.
    async fn all(&self, dry_run: bool) -> Result<(), CreateError> {
        for (number, object) in self.objects.iter().enumerate() {
            let refusal = match self.one(object, dry_run).await {
                Ok(()) => continue,
                Err(refusal) => refusal,
            };
            let made = if dry_run { &[] } else { &self.objects[..number] };
            let doubtful = refusal.is_doubtful.then(|| object.name.as_str().into());
            let left = Left { made: self.take_away(made).await, doubtful };
            return Err(self.problem(&object.name, refusal, left));
        }
        Ok(())
    }

    /// Has a pod of each Job checked: a Job is made whether its pods would be or not.
    async fn pods(&self) -> Result<(), CreateError> {
        let jobs = self.objects.iter().filter(|object| object.resource.kind == "Job");
        for job in jobs {
            let template = &job.value.data["spec"]["template"];
            let mut pod = json!({ "apiVersion": "v1", "kind": "Pod" });
            pod["spec"] = template["spec"].clone();
            pod["metadata"] = template["metadata"].clone();
            pod["metadata"]["generateName"] = json!(format!("{}-", job.own_name()));
            match self.create(&Object::new(&pod), true).await {
                // Who makes Jobs need not be allowed to make pods.
                Err(refusal) if refusal.says(MAY_NOT) => return Ok(()),
                Err(refusal) => {
                    let refusal = refusal.about("its pods: ");
                    return Err(self.problem(&job.name, refusal, Left::default()));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn problem(&self, object: &str, refusal: Refusal, left: Left) -> CreateError {
        let namespace = self.cluster.namespace.clone();
        refusal.of(object.to_owned(), namespace, self.job.to_owned(), left)
    }

    /// Makes an object, or has it checked.
    async fn one(&self, object: &Object, dry_run: bool) -> Result<(), Refusal> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Refusal::interrupted());
        }
        let Err(mut refusal) = self.create(object, dry_run).await else { return Ok(()) };
        if dry_run || refusal.is_final() {
            return Err(refusal);
        }
        match self.look_for(object, refusal.is_answer()).await {
            Found::Ours => return Ok(()),
            // The client tries some requests again by itself: then the second one finds the first.
            Found::Others | Found::Absent => {}
            Found::Unknown => refusal.is_doubtful = !refusal.is_exists(),
        }
        Err(refusal)
    }

    async fn create(&self, object: &Object, dry_run: bool) -> Result<(), Refusal> {
        let how = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
        let api = self.api(object);
        match timeout(self.patience, api.create(&how, &object.value)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Refusal::new(error)),
            Err(_) => Err(Refusal::late(self.patience)),
        }
    }

    /// Whether an object was made. Where the server has answered one look is enough; else it may
    /// be at it still, for as long as an answer may take.
    async fn look_for(&self, object: &Object, answered: bool) -> Found {
        let begun = Instant::now();
        let api = self.api(object);
        while !self.stop.load(Ordering::Relaxed) {
            match timeout(self.patience, api.get_metadata_opt(object.own_name())).await {
                Ok(Ok(Some(found))) => {
                    let marks = found.metadata.annotations.unwrap_or_default();
                    let ours = marks.get(labels::LAUNCH).is_some_and(|mark| mark == self.launch);
                    return if ours { Found::Ours } else { Found::Others };
                }
                Ok(Ok(None)) if answered => return Found::Absent,
                Ok(Err(error)) if !may_change(&error) => return Found::Unknown,
                _ => {}
            }
            if begun.elapsed() >= self.patience {
                break;
            }
            sleep(PAUSE).await;
        }
        Found::Unknown
    }

    /// Deletes what was made; the names of what could not be.
    async fn take_away(&self, made: &[Object]) -> Vec<String> {
        let mut left = Vec::new();
        for object in made.iter().rev() {
            let api = self.api(object);
            let how = DeleteParams::background();
            match timeout(self.patience, api.delete(object.own_name(), &how)).await {
                Ok(Ok(_)) => {}
                Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {}
                _ => left.push(object.name.clone()),
            }
        }
        left
    }

    fn api(&self, object: &Object) -> Api<DynamicObject> {
        let Cluster { client, namespace } = &self.cluster;
        Api::namespaced_with(client.clone(), namespace, &object.resource)
    }
}
