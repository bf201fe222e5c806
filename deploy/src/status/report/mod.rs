//! What there is to say of each pod of a job.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use onepath_pack::kubernetes::marks;
use serde::Serialize;

use super::collect::Collected;
use crate::connect::one_line;
use crate::launch::labels;

/// The most events that are shown.
const MOST_EVENTS: usize = 10;

/// What a job does as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Some rank does not run yet.
    Pending,
    /// All ranks run, or ended well.
    Running,
    /// All ranks ended well.
    Succeeded,
    /// Given up.
    Failed,
}

/// A job at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) job: String,
    pub(super) state: State,
    pub(super) pods: Vec<Row>,
    pub(super) events: Vec<Line>,
}

/// A pod, or one that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) first_rank: u32,
    pub(super) last_rank: u32,
    pub(super) stage: String,
    pub(super) pod: Option<String>,
    /// The pod's, or `None`, or `Terminating`.
    pub(super) phase: String,
    pub(super) node: Option<String>,
    /// When it was made, started or ended, by its phase.
    pub(super) since: Option<Timestamp>,
    /// Pods of the same place before it, and restarts of its container.
    pub(super) restarts: u32,
    /// Why it does not run.
    pub(super) why: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) time: Option<Timestamp>,
    pub(super) object: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) count: i32,
}

impl Report {
    /// The state of a job from what the cluster knows.
    pub(super) fn new(all: &Collected) -> Self {
        let job = label(&all.jobs[0].metadata, marks::JOB).unwrap_or_default().to_owned();
        let mut pods: Vec<Row> = all.jobs.iter().flat_map(|job| rows(job, &all.pods)).collect();
        pods.sort_by_key(|row| row.first_rank);
        let state = state(&all.jobs, &pods);
        Self { job, state, pods, events: events(all) }
    }
}

fn state(jobs: &[Job], rows: &[Row]) -> State {
    if jobs.iter().any(|job| has_condition(job, "Failed") || has_condition(job, "FailureTarget")) {
        return State::Failed;
    }
    if jobs.iter().all(|job| has_condition(job, "Complete")) {
        return State::Succeeded;
    }
    let runs = |row: &Row| matches!(row.phase.as_str(), "Running" | "Succeeded");
    if rows.iter().all(runs) { State::Running } else { State::Pending }
}

fn has_condition(job: &Job, kind: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

/// A row for each place of a Job.
fn rows(job: &Job, pods: &[Pod]) -> Vec<Row> {
    let spec = job.spec.as_ref();
    let template = spec.and_then(|spec| spec.template.metadata.as_ref());
    let number = |name: &str| -> u32 {
        let annotations = template.and_then(|template| template.annotations.as_ref());
        annotations.and_then(|all| all.get(name)?.parse().ok()).unwrap_or(0)
    };
    let (first, ranks, per_pod) = (
        number(labels::FIRST_RANK),
        number(labels::STAGE_RANKS),
        number(labels::RANKS_PER_POD).max(1),
    );
    let stage = label(&job.metadata, labels::STAGE).unwrap_or_default();
    let places = spec.and_then(|spec| spec.completions).unwrap_or(0).max(0) as u32;
    let mut by_place: BTreeMap<u32, Vec<&Pod>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_of(pod, job)) {
        if let Some(place) = place(pod) {
            by_place.entry(place).or_default().push(pod);
        }
    }
    let row = |place: u32| {
        let first_rank = first + place * per_pod;
        let last_rank = (first_rank + per_pod).min(first + ranks).saturating_sub(1);
        let pods = by_place.get(&place).map_or(&[][..], Vec::as_slice);
        describe(
            pods,
            Row {
                first_rank,
                last_rank,
                stage: stage.to_owned(),
                pod: None,
                phase: "None".to_owned(),
                node: None,
                since: job.metadata.creation_timestamp.as_ref().map(|time| time.0),
                restarts: 0,
                why: why_no_pod(job),
            },
        )
    };
    (0..places).map(row).collect()
}

fn is_of(pod: &Pod, job: &Job) -> bool {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}

fn place(pod: &Pod) -> Option<u32> {
    let annotations = pod.metadata.annotations.as_ref();
    let text = annotations.and_then(|all| all.get(marks::COMPLETION_INDEX));
    text.map(String::as_str).or_else(|| label(&pod.metadata, marks::COMPLETION_INDEX))?.parse().ok()
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    Some(metadata.labels.as_ref()?.get(name)?.as_str())
}

fn why_no_pod(job: &Job) -> String {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let failed = conditions.into_iter().flatten().find(|condition| condition.type_ == "Failed");
    let said = failed.and_then(|condition| condition.message.as_deref());
    said.map_or_else(|| "no pod has been made yet".to_owned(), |text| one_line(&text))
}

/// The row of a place, of which the newest pod counts.
fn describe(pods: &[&Pod], row: Row) -> Row {
    let made = |pod: &&&Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let Some(pod) = pods.iter().max_by_key(made) else { return row };
    let status = pod.status.clone().unwrap_or_default();
    let container = status.container_statuses.as_ref().and_then(|all| all.first());
    let phase = status.phase.clone().unwrap_or_else(|| "Unknown".to_owned());
    let going = pod.metadata.deletion_timestamp.is_some();
    let again = container.map_or(0, |container| container.restart_count.max(0) as u32);
    Row {
        pod: pod.metadata.name.clone(),
        phase: if going { "Terminating".to_owned() } else { phase.clone() },
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        since: since(pod, container, &phase),
        restarts: pods.len() as u32 - 1 + again,
        why: why(pod, container, &phase),
        ..row
    }
}

fn since(pod: &Pod, container: Option<&ContainerStatus>, phase: &str) -> Option<Timestamp> {
    let state = container.and_then(|container| container.state.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref()?.finished_at.as_ref());
    let runs = state.and_then(|state| state.running.as_ref()?.started_at.as_ref());
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let made = pod.metadata.creation_timestamp.as_ref();
    let time = match phase {
        "Succeeded" | "Failed" => ended.or(started),
        "Running" => runs.or(started),
        _ => None,
    };
    time.or(made).map(|time| time.0)
}

/// Why a pod does not run, in one line; empty when it does or has ended well.
fn why(pod: &Pod, container: Option<&ContainerStatus>, phase: &str) -> String {
    let Some(status) = &pod.status else { return String::new() };
    let joined = |reason: Option<&String>, message: Option<&String>| {
        let parts: Vec<String> = [reason, message]
            .into_iter()
            .flatten()
            .filter(|t| !t.is_empty())
            .map(one_line)
            .collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    };
    let conditions = status.conditions.iter().flatten();
    let scheduled = conditions.clone().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let disrupted =
        conditions.clone().find(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let state = container.and_then(|container| container.state.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref()).map(|ended| {
        let said = ended.message.as_deref().unwrap_or_default();
        let code = format!("exit status {}", ended.exit_code);
        if said.is_empty() { code } else { format!("{code}: {}", one_line(&said)) }
    });
    let waiting = state.and_then(|state| state.waiting.as_ref());
    match phase {
        "Pending" => scheduled
            .and_then(|c| joined(c.reason.as_ref(), c.message.as_ref()))
            .or_else(|| waiting.and_then(|w| joined(w.reason.as_ref(), w.message.as_ref()))),
        "Failed" => disrupted
            .and_then(|c| joined(c.reason.as_ref(), c.message.as_ref()))
            .or_else(|| joined(status.reason.as_ref(), status.message.as_ref()))
            .or(ended),
        _ => None,
    }
    .unwrap_or_default()
}

/// The last events of the job's pods and Jobs, in order.
fn events(all: &Collected) -> Vec<Line> {
    let uid = |metadata: &ObjectMeta| metadata.uid.clone();
    let pods = all.pods.iter().filter_map(|pod| uid(&pod.metadata));
    let uids: Vec<String> =
        pods.chain(all.jobs.iter().filter_map(|job| uid(&job.metadata))).collect();
    let ours = |event: &&Event| {
        let of = event.involved_object.uid.as_ref();
        of.is_some_and(|of| uids.contains(of))
    };
    let mut lines: Vec<Line> = all.events.iter().filter(ours).map(line).collect();
    lines.sort_by(|a, b| (a.time, &a.object, &a.reason).cmp(&(b.time, &b.object, &b.reason)));
    let surplus = lines.len().saturating_sub(MOST_EVENTS);
    lines.split_off(surplus)
}

fn line(event: &Event) -> Line {
    let object = &event.involved_object;
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let newer = series.or(event.event_time.as_ref()).map(|time| time.0);
    let made = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let kind = object.kind.as_deref().unwrap_or_default().to_lowercase();
    Line {
        time: last.or(newer).or(made),
        object: format!("{kind}/{}", object.name.as_deref().unwrap_or_default()),
        reason: event.reason.clone().unwrap_or_default(),
        message: one_line(&event.message.as_deref().unwrap_or_default()),
        count: event.count.unwrap_or(1),
    }
}

#[cfg(test)]
mod tests;
