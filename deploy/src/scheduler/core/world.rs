//! What is known of pods and nodes, and the questions to the checker.

use std::collections::BTreeSet;

/// Which pod: a name may be used again, a uid never.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PodName {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One pod as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodState {
    pub(crate) name: PodName,
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    /// Its deletion is under way.
    pub(crate) leaving: bool,
}

/// One node as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeState {
    pub(crate) uid: String,
    /// The plan that it is reserved for.
    pub(crate) reserved_for: Option<String>,
}

/// A placement as a difference from what is: is it allowed?
///
/// Pods that leave use their room until they are gone, unless they are in `without`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// Uids of pods that are taken as gone.
    pub(crate) without: Vec<String>,
    /// Evicted pods whose successor is not there yet, by uid, on the node that it is meant for, or
    /// waiting: a gang is not complete without them.
    pub(crate) ghosts: Vec<(String, Option<String>)>,
    /// Uids of waiting pods, each on a node.
    pub(crate) put: Vec<(String, String)>,
}

/// The newest state that is known.
pub(crate) trait World {
    /// Another number when anything has changed.
    fn version(&self) -> u64;
    /// A pod by its uid; none when it is gone or has finished.
    fn pod(&self, uid: &str) -> Option<PodState>;
    /// A node; none when it is gone or takes no pods.
    fn node(&self, name: &str) -> Option<NodeState>;
    /// Uids of the pods that are bound to a node and have not finished.
    fn pods_on(&self, node: &str) -> BTreeSet<String>;
    /// Waiting pods that are ours to bind and were made by this owner.
    fn waiting_of(&self, owner: &str) -> Vec<PodName>;
    /// The priority of the most urgent pod that waits and has been refused by all nodes, those with
    /// a uid in `known` aside.
    fn most_urgent_waiting(&self, known: &BTreeSet<String>) -> Option<i64>;
    /// What the independent checker says, all bound pods counted.
    fn check(&self, question: &Question) -> Result<(), String>;
}
