//! What is to be placed where.
//!
//! Everything that a filter of kube-scheduler says of one pod and one node alone (taints,
//! selectors, affinity to nodes, cordons) is in [`Class`]; what pods use up on a node, host ports
//! and anti-affinity by host included, is an amount of a resource (of capacity 1 for those). So a
//! solver knows sums and sets, and nothing of Kubernetes.
//!
//! A waiting pod with `preemptionPolicy: Never` may be the reason for no eviction. Here that means:
//! on each node, such pods that are placed there and all pods that run there now have room beside
//! each other. Then all that runs could stay where it is for their sake, and whatever is moved or
//! evicted is so for the sake of others. Moves count as evictions in this, since Kubernetes moves a
//! pod by evicting it. Room that is left where others evict is theirs only once it is free.

mod build;
mod free;

use std::collections::BTreeSet;
use std::fmt;

pub(crate) use build::LARGEST_AMOUNT;
pub use build::{BuildError, Builder, PodSpec};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index of the list that it counts.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(
    /// A node, by its place in [`Problem::nodes`].
    NodeId
);
index!(
    /// A pod, by its place in [`Problem::pods`].
    PodId
);
index!(
    /// A gang, by its place in [`Problem::gangs`].
    GangId
);
index!(
    /// A class, by its place in [`Problem::classes`].
    ClassId
);
index!(
    /// A set of equal pods, by its place in [`Problem::sets`].
    SetId
);
index!(
    /// A part of a gang with a rule of its own, by its place in [`Problem::parts`].
    PartId
);
index!(
    /// A priority tier: 0 the most urgent.
    Tier
);

/// What a pod asks for, or a node has, of each of [`Problem::resources`], in their units.
pub type Amounts = Box<[i64]>;

/// One kind of resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// As Kubernetes spells it (`cpu`, `memory`, `nvidia.com/gpu`, `pods`), or a made name for a
    /// host port or an anti-affinity.
    pub name: String,
    /// What one unit is: `m` for millicores, `B` for bytes, empty for a count.
    pub unit: &'static str,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it offers to the pods of this problem: allocatable, less what pods use that are not in
    /// it.
    pub capacity: Amounts,
    /// For each of [`Problem::levels`] the domain that it lies in, or none.
    pub domains: Box<[Option<u32>]>,
}

/// What may be done with a running pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mobility {
    /// Nothing: it stays where it is.
    Fixed,
    /// It may be evicted, but whoever makes it anew decides where it goes. A placement may leave it
    /// out for more pods of its own tier too: [`evictions`](crate::evictions) says where.
    Evictable,
    /// It may also be moved: its re-creation is under our control.
    Movable,
}

/// One pod, running or pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `namespace/name`.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// What it asks for.
    pub request: Amounts,
    /// Which nodes suit it.
    pub class: ClassId,
    /// Where it runs; none when it is pending.
    pub runs_on: Option<NodeId>,
    /// What may be done with it while it runs; a pending pod is [`Mobility::Movable`].
    pub mobility: Mobility,
    /// The pods that are equal to it but for where they run.
    pub set: SetId,
    /// The gang that it belongs to.
    pub gang: Option<GangId>,
    /// The part of the gang with a rule of its own.
    pub part: Option<PartId>,
}

/// Which nodes suit a pod, whatever else is on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// One entry for each node.
    pub suits: Box<[bool]>,
}

/// Pods that are equal but for where they run: same owner, tier, request, class, gang and part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its pods, in order.
    pub pods: Vec<PodId>,
}

/// Pods that are placed all or not at all.
///
/// In a placement a gang has no pod placed, or at least `minimum`, and at least as many as were
/// running: it is evicted as a whole or not at all. When one of its running pods is moved or
/// evicted all of its running pods are disturbed, since they restart together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gang {
    /// Its name.
    pub name: String,
    /// How many of its pods are of use without the others.
    pub minimum: u32,
    /// Its pods, in order.
    pub pods: Vec<PodId>,
}

/// A part of a gang that is to be laid close together or far apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, as the plan says it.
    pub name: String,
    /// Its gang.
    pub gang: GangId,
    /// Its rule.
    pub rule: Rule,
    /// Its pods, in order.
    pub pods: Vec<PodId>,
}

/// How the placed pods of a part lie. A node outside of all domains of the level takes none of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All in one domain of this level (an index of [`Problem::levels`]).
    Together(usize),
    /// At most so many in a domain of this level.
    AtMost {
        /// An index of [`Problem::levels`].
        level: usize,
        /// Pods of the part in one domain.
        pods: u32,
    },
}

impl Rule {
    /// The level that it is about.
    pub const fn level(self) -> usize {
        let (Self::Together(level) | Self::AtMost { level, .. }) = self;
        level
    }
}

/// A level of the topology: `kubernetes.io/hostname`, `network.topology.nvidia.com/leaf`, ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The label of nodes.
    pub label: String,
    /// The label's values, by domain.
    pub domains: Vec<String>,
}

/// Everything. Made by a [`Builder`], so that indices, lengths and sums are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) resources: Vec<Resource>,
    pub(crate) own_resources: usize,
    pub(crate) levels: Vec<Level>,
    pub(crate) priorities: Vec<i64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) classes: Vec<Class>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) sets: Vec<Set>,
    pub(crate) gangs: Vec<Gang>,
    pub(crate) parts: Vec<Part>,
    pub(crate) polite: BTreeSet<PodId>,
}

impl Problem {
    /// Kinds of resources: first what nodes have, then what of it is free now, for pods that never
    /// preempt.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// How many of [`resources`](Self::resources) are what nodes have.
    pub fn own_resources(&self) -> usize {
        self.own_resources
    }

    /// Levels of the topology.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The priority of each tier, falling.
    pub fn priorities(&self) -> &[i64] {
        &self.priorities
    }

    /// All tiers, the most urgent first.
    pub fn tiers(&self) -> impl DoubleEndedIterator<Item = Tier> + use<> {
        (0..self.priorities.len() as u32).map(Tier)
    }

    /// Nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Classes of pods by the nodes that suit them.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Pods.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Sets of equal pods.
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// Gangs.
    pub fn gangs(&self) -> &[Gang] {
        &self.gangs
    }

    /// Parts of gangs.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All pods with their numbers.
    pub fn numbered_pods(&self) -> impl Iterator<Item = (PodId, &Pod)> {
        (0..).map(PodId).zip(&self.pods)
    }

    /// Whether a node suits a pod, whatever else is on it.
    pub fn suits(&self, pod: PodId, node: NodeId) -> bool {
        self.classes[self.pods[pod.index()].class.index()].suits[node.index()]
    }

    /// Whether a pod may be on this node in a placement: it suits, and the pod runs there already
    /// or may come there.
    pub fn allows(&self, pod: PodId, node: NodeId) -> bool {
        let Pod { runs_on, mobility, .. } = &self.pods[pod.index()];
        match runs_on {
            // What runs stays allowed even where a label was taken away since: filters are for
            // binding.
            Some(at) if *at == node => true,
            Some(_) => *mobility == Mobility::Movable && self.suits(pod, node),
            None => self.suits(pod, node),
        }
    }

    /// Whether running pods that are less urgent may give way to a pod.
    pub fn preempts(&self, pod: PodId) -> bool {
        !self.polite.contains(&pod)
    }

    /// From now on a running pod stays where it is, and with it those of its gang.
    pub fn hold(&mut self, pod: PodId) {
        let Some(gang) = self.pods[pod.index()].gang else {
            self.pods[pod.index()].mobility = Mobility::Fixed;
            return;
        };
        for pod in &self.gangs[gang.index()].pods {
            let pod = &mut self.pods[pod.index()];
            if pod.runs_on.is_some() {
                pod.mobility = Mobility::Fixed;
            }
        }
    }

    /// Whether a pod may be left without a node.
    pub fn may_be_left_out(&self, pod: PodId) -> bool {
        let Pod { runs_on, mobility, .. } = &self.pods[pod.index()];
        runs_on.is_none() || *mobility != Mobility::Fixed
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
