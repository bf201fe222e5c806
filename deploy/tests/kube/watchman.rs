//! An independent witness: at each event, no node has more than it holds, and no eviction leaves a
//! set with fewer ready pods than its budget wants.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

use super::objects::{cpu_m, leaves, millis, node_of};

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    pods: HashMap<String, Pod>,
    /// Thousandths of processors of each node, also of those that are gone.
    room: HashMap<String, u64>,
    /// Ready pods that a set's budget wants at least.
    least_ready: BTreeMap<String, usize>,
    wrong: Vec<String>,
    events: usize,
    /// As they were when they began to leave.
    evicted: Vec<Pod>,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchman {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watchman {
    pub(crate) fn begin(client: &Client) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut nodes =
            watcher(Api::<Node>::all(client.clone()), Config::default()).default_backoff().boxed();
        let mut pods =
            watcher(Api::<Pod>::all(client.clone()), Config::default()).default_backoff().boxed();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(event) = nodes.next() => {
                        if let Ok(Event::Apply(node) | Event::InitApply(node)) = event {
                            shared.lock().expect("no panic").node(&node);
                        }
                    }
                    Some(event) = pods.next() => {
                        if let Ok(event) = event {
                            shared.lock().expect("no panic").pod(event);
                        }
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// A set of so many pods must keep so many ready, whoever evicts them.
    pub(crate) fn keep_ready(&self, app: &str, least: usize) {
        self.seen.lock().expect("no panic").least_ready.insert(app.to_owned(), least);
    }

    /// The first pod whose eviction was seen.
    pub(crate) fn first_evicted(&self) -> Option<Pod> {
        self.seen.lock().expect("no panic").evicted.first().cloned()
    }

    /// Evictions seen; panics if anything was wrong.
    pub(crate) fn report(&self) -> usize {
        let seen = self.seen.lock().expect("no panic");
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        assert!(seen.events > 0, "the witness has seen nothing");
        seen.evicted.len()
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn node(&mut self, node: &Node) {
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        if let Some(cpu) = allocatable.and_then(|has| has.get("cpu")) {
            self.room.insert(node.name_any(), millis(&cpu.0));
            // Its pods may have been seen before it.
            self.check_room(&node.name_any());
        }
    }

    fn pod(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.pods.clear(),
            Event::InitDone => {}
            Event::Delete(pod) => {
                self.pods.remove(&pod.uid().unwrap_or_default());
            }
            Event::Apply(pod) | Event::InitApply(pod) => self.change(pod),
        }
    }

    fn change(&mut self, pod: Pod) {
        self.events += 1;
        let uid = pod.uid().unwrap_or_default();
        let left_before = self.pods.get(&uid).is_some_and(leaves);
        let evicted = leaves(&pod) && !left_before && is_evicted(&pod);
        let node = node_of(&pod).map(str::to_owned);
        let app = pod.labels().get("app").cloned().unwrap_or_default();
        self.pods.insert(uid, pod.clone());
        if let Some(node) = node {
            self.check_room(&node);
        }
        if evicted {
            self.evicted.push(pod);
            self.check_ready(&app);
        }
    }

    fn check_room(&mut self, node: &str) {
        let on = |pod: &&Pod| node_of(pod) == Some(node) && !has_finished(pod);
        let used: u64 = self.pods.values().filter(on).map(cpu_m).sum();
        let Some(&room) = self.room.get(node) else { return };
        if used > room {
            let pods: Vec<String> =
                self.pods.values().filter(on).map(ResourceExt::name_any).collect();
            self.wrong.push(format!("{node}: {used}m of {room}m: {pods:?}"));
        }
    }

    fn check_ready(&mut self, app: &str) {
        let Some(&least) = self.least_ready.get(app) else { return };
        let of = |pod: &&Pod| pod.labels().get("app").is_some_and(|name| name == app);
        let ready = self.pods.values().filter(of).filter(|pod| is_ready(pod) && !leaves(pod));
        let ready = ready.count();
        if ready < least {
            self.wrong.push(format!("{app}: {ready} ready after an eviction, must be {least}"));
        }
    }
}

fn condition<'a>(pod: &'a Pod, name: &str) -> Option<(&'a str, Option<&'a str>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == name)?;
    Some((condition.status.as_str(), condition.reason.as_deref()))
}

/// By the eviction API; preemption by the default scheduler is its own affair.
fn is_evicted(pod: &Pod) -> bool {
    condition(pod, "DisruptionTarget").is_some_and(|(_, why)| why == Some("EvictionByEvictionAPI"))
}

fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

fn has_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
