//! Which pods are to be decided on.

use std::collections::HashMap;

use super::mobility::{self, Budget};
use super::objects::Pod;
use super::reason::{Constraint, Held, Left};
use super::request::{self, Counted};
use super::snapshot::{Snapshot, SnapshotOptions};
use crate::problem::Mobility;

/// What is done with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It has finished, or its node is gone: it uses nothing.
    Gone,
    /// It runs on this node and stays.
    Held(usize, Held),
    /// It runs on this node and is decided on.
    Running(usize, Mobility),
    /// It waits and is decided on.
    Pending,
    /// It waits and is left to others.
    Left(Left),
}

impl Role {
    /// Where it runs.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Self::Held(node, _) | Self::Running(node, _) => Some(*node),
            Self::Gone | Self::Pending | Self::Left(_) => None,
        }
    }

    /// Whether it is decided on.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Running(..) | Self::Pending)
    }
}

/// All pods with what is known of each.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) roles: Vec<Role>,
    pub(super) priorities: Vec<i64>,
    pub(super) requests: Vec<Counted>,
    pub(super) budgets: Vec<Budget>,
    pub(super) notes: Vec<String>,
}

impl<'a> Survey<'a> {
    /// Each pod by itself; gangs and neighbours are not looked at yet.
    pub(super) fn new(snapshot: &'a Snapshot, options: &SnapshotOptions) -> Self {
        let count = snapshot.pods.len();
        let mut survey = Self {
            snapshot,
            roles: Vec::with_capacity(count),
            priorities: Vec::with_capacity(count),
            requests: Vec::with_capacity(count),
            budgets: Vec::new(),
            notes: Vec::new(),
        };
        let nodes = snapshot.nodes.iter().enumerate();
        let nodes: HashMap<&str, usize> =
            nodes.map(|(index, node)| (node.metadata.name.as_str(), index)).collect();
        let classes = Classes::of(snapshot);
        for pod in &snapshot.pods {
            survey.add(pod, &nodes, &classes, options);
        }
        survey.keep_budgets();
        survey
    }

    fn add(
        &mut self,
        pod: &Pod,
        nodes: &HashMap<&str, usize>,
        classes: &Classes<'_>,
        options: &SnapshotOptions,
    ) {
        let request = request::of(pod).map_err(|error| {
            let field = format!("spec.containers: requests of {}", error.resource);
            (field, "are out of range: at most 2^53 units would be right".to_owned())
        });
        let priority = classes.priority(pod);
        let (request, priority, wrong) = match (request, priority) {
            (Ok(request), Ok(priority)) => (request, priority, None),
            (Ok(request), Err(wrong)) => (request, 0, Some(wrong)),
            (Err(wrong), priority) => (Counted::new(), priority.unwrap_or(0), Some(wrong)),
        };
        let node = nodes.get(pod.spec.node_name.as_str()).copied();
        let role = match (&pod.spec.node_name, node, wrong) {
            _ if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") => Role::Gone,
            (name, None, _) if !name.is_empty() => {
                let (pod, name) = (pod.metadata.full_name(), super::one_line(name));
                self.notes.push(format!("pod {pod} runs on {name}, which is not among the nodes"));
                Role::Gone
            }
            (_, Some(node), Some((field, problem))) => {
                Role::Held(node, Held::Wrong { field, problem })
            }
            (_, Some(node), None) => self.running(pod, node, priority, options),
            (_, None, _) if pod.metadata.deletion_timestamp.is_some() => Role::Gone,
            (_, None, Some((field, problem))) => Role::Left(Left::Wrong { field, problem }),
            (_, None, None) => self.pending(pod, options),
        };
        self.roles.push(role);
        self.priorities.push(priority);
        self.requests.push(request);
    }

    fn running(&self, pod: &Pod, node: usize, priority: i64, options: &SnapshotOptions) -> Role {
        match mobility::of(pod, priority, options) {
            Err(held) => Role::Held(node, held),
            Ok(mobility) => match mobility::unmodelled(self.snapshot, pod) {
                Some(constraint) => Role::Held(node, Held::Constraint(constraint)),
                None => Role::Running(node, mobility),
            },
        }
    }

    fn pending(&self, pod: &Pod, options: &SnapshotOptions) -> Role {
        let scheduler = pod.spec.scheduler_name.as_str();
        if !matches!(scheduler, "" | "default-scheduler") && scheduler != options.scheduler_name {
            return Role::Left(Left::OtherScheduler(super::one_line(scheduler)));
        }
        let foreign = |gate: &&super::objects::Gate| !mobility::is_ours(&gate.name);
        if let Some(gate) = pod.spec.scheduling_gates.iter().find(foreign) {
            return Role::Left(Left::Gated(super::one_line(&gate.name)));
        }
        match mobility::unmodelled(self.snapshot, pod) {
            Some(constraint) => Role::Left(Left::Constraint(constraint)),
            None => Role::Pending,
        }
    }

    /// Pods of a budget that allows no disruption stay, and those of several budgets: the eviction
    /// API refuses them (`pkg/registry/core/pod/storage/eviction.go`).
    fn keep_budgets(&mut self) {
        let running: Vec<usize> =
            (0..self.roles.len()).filter(|index| self.roles[*index].node().is_some()).collect();
        self.budgets = mobility::budgets(self.snapshot, &running);
        let mut first: HashMap<usize, &str> = HashMap::new();
        for budget in &self.budgets {
            for &index in &budget.pods {
                let other = *first.entry(index).or_insert(&budget.name);
                let held = match self.roles[index] {
                    Role::Running(..) if budget.allowed <= 0 => Held::Budget(budget.name.clone()),
                    Role::Running(..) if other != budget.name => {
                        Held::Budgets([other.to_owned(), budget.name.clone()])
                    }
                    _ => continue,
                };
                if let Role::Running(node, _) = self.roles[index] {
                    self.roles[index] = Role::Held(node, held);
                }
            }
        }
    }

    /// A pod has a constraint that the model does not have.
    pub(super) fn demote(&mut self, index: usize, constraint: Constraint) {
        self.roles[index] = match self.roles[index] {
            Role::Running(node, _) => Role::Held(node, Held::Constraint(constraint)),
            _ => Role::Left(Left::Constraint(constraint)),
        };
    }

    /// `namespace/name` of a pod.
    pub(super) fn name(&self, index: usize) -> String {
        self.snapshot.pods[index].metadata.full_name()
    }
}

/// Priorities by the names of their classes.
struct Classes<'a> {
    values: HashMap<&'a str, i64>,
    default: i64,
}

impl<'a> Classes<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut values = HashMap::from([
            ("system-cluster-critical", mobility::CRITICAL),
            ("system-node-critical", mobility::CRITICAL + 1_000),
        ]);
        let classes = &snapshot.priorities;
        values.extend(classes.iter().map(|class| (class.metadata.name.as_str(), class.value)));
        let default = classes.iter().filter(|class| class.global_default).map(|class| class.value);
        Self { values, default: default.min().unwrap_or(0) }
    }

    /// The priority of a pod, or the field that is wrong and why.
    fn priority(&self, pod: &Pod) -> Result<i64, (String, String)> {
        let name = pod.spec.priority_class_name.as_str();
        match pod.spec.priority {
            Some(priority) => Ok(priority),
            None if name.is_empty() => Ok(self.default),
            None => self.values.get(name).copied().ok_or_else(|| {
                let problem = format!(
                    "there is no PriorityClass {}: one in the files or spec.priority would be \
                     right",
                    super::one_line(name)
                );
                ("spec.priorityClassName".to_owned(), problem)
            }),
        }
    }
}
