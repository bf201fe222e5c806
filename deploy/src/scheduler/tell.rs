//! Events and conditions of pods that say what was done and why.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

use super::cluster::CONDITION;
use super::core::execution::Reason;
use super::core::world::PodName;

/// Events that wait to be sent: when there are more, the newest are dropped, never the work held
/// up.
const WAITING: usize = 1024;

/// One thing to say.
#[derive(Clone, Debug)]
struct Word {
    pod: PodName,
    reason: &'static str,
    action: &'static str,
    warning: bool,
    note: String,
    /// The status of the condition; none leaves it as it is.
    placed: Option<bool>,
}

/// Says things in the background.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    words: mpsc::Sender<Word>,
}

impl Teller {
    /// Says them through this client as `instance`.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        let (words, mut waiting) = mpsc::channel::<Word>(WAITING);
        tokio::spawn(async move {
            let controller = "onepath.io/scheduler".to_owned();
            let reporter = Reporter { controller, instance: Some(instance) };
            let recorder = Recorder::new(client.clone(), reporter);
            while let Some(word) = waiting.recv().await {
                // An event that cannot be written must not stop a plan; the log has it.
                let said = publish(&recorder, &word).await;
                let set = set_condition(&client, &word).await;
                for error in [said, set].into_iter().filter_map(Result::err) {
                    if !matches!(&error, kube::Error::Api(status) if status.code == 404) {
                        eprintln!("onepath: scheduler: {}: not told: {error}", word.pod);
                    }
                }
            }
        });
        Self { words }
    }

    /// Something happened to a pod by a plan.
    pub(crate) fn happened(&self, pod: PodName, reason: Reason, note: String) {
        let (reason, action, warning, placed) = match reason {
            Reason::Planned => ("PlacementPlanned", "Plan", false, Some(false)),
            Reason::Evicted => ("EvictedByPlan", "Evict", true, None),
            Reason::Bound => ("BoundByPlan", "Bind", false, Some(true)),
            Reason::Abandoned => ("PlanAbandoned", "Abandon", true, Some(false)),
        };
        self.send(Word { pod, reason, action, warning, note, placed });
    }

    /// No node was found for a pod.
    pub(crate) fn left(&self, pod: PodName, note: String) {
        let (reason, action) = ("NoPlacement", "Plan");
        self.send(Word { pod, reason, action, warning: true, note, placed: Some(false) });
    }

    fn send(&self, word: Word) {
        // Full or closed: the log has it all the same.
        let _ = self.words.try_send(word);
    }
}

fn reference(pod: &PodName) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name.clone()),
        namespace: Some(pod.namespace.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// The API server takes notes of up to 1,024 bytes.
fn shortened(note: &str) -> String {
    const MOST: usize = 1_000;
    let end = (0..=MOST.min(note.len())).rev().find(|end| note.is_char_boundary(*end));
    note[..end.unwrap_or(0)].to_owned()
}

async fn publish(recorder: &Recorder, word: &Word) -> kube::Result<()> {
    let event = Event {
        type_: if word.warning { EventType::Warning } else { EventType::Normal },
        reason: word.reason.to_owned(),
        note: Some(shortened(&word.note)),
        action: word.action.to_owned(),
        secondary: None,
    };
    recorder.publish(&event, &reference(&word.pod)).await
}

async fn set_condition(client: &Client, word: &Word) -> kube::Result<()> {
    let Some(placed) = word.placed else { return Ok(()) };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &word.pod.namespace);
    let patch = json!({
        "metadata": {"uid": word.pod.uid},
        "status": {"conditions": [{
            "type": CONDITION,
            "status": if placed { "True" } else { "False" },
            "reason": word.reason,
            "message": shortened(&word.note),
            "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }]},
    });
    let params = PatchParams::default();
    pods.patch_status(&word.pod.name, &params, &Patch::Strategic(patch)).await.map(|_| ())
}
