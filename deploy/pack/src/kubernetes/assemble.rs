//! The problem from what was found of each pod.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::apart;
use super::filter::{self, Conditions};
use super::gangs::{self, Group, RuleOf};
use super::objects::{Node as Object, NodeSelector, Pod, PriorityClass};
use super::rooms::Rooms;
use super::snapshot::{BudgetUse, Mapping, Reach, Snapshot, SnapshotError, SnapshotOptions};
use super::survey::{Role, Survey};
use crate::problem::{
    Builder, ClassId, GangId, Level, Mobility, Node, NodeId, PartId, PodId, PodSpec, Problem, Rule,
};

pub(super) fn problem(
    snapshot: &Snapshot,
    options: &SnapshotOptions,
) -> Result<(Problem, Mapping), SnapshotError> {
    let mut survey = Survey::new(snapshot, options);
    apart::demote(&mut survey);
    let groups = gangs::find(&mut survey, options.plan.as_ref());
    let rooms = Rooms::new(&survey)?;
    let in_gangs = groups.iter().flat_map(|group| &group.pods).copied().collect();
    rooms.freeze(&mut survey, &in_gangs);
    let levels = levels(snapshot, &groups);
    let mut builder = Builder::new(rooms.resources(), levels.clone());
    for (node, capacity) in snapshot.nodes.iter().zip(rooms.capacities(&survey)) {
        let domains = levels.iter().map(|level| domain(level, node)).collect();
        builder.node(Node { name: node.metadata.name.clone(), capacity, domains });
    }
    let members = number_gangs(&mut builder, &groups, &levels);
    let pods = add_pods(&mut builder, &survey, &rooms, &members);
    let problem = builder.finish()?;
    Ok((problem, mapping(survey, rooms, pods)))
}

/// Labels that rules are about, with the values that nodes have.
fn levels(snapshot: &Snapshot, groups: &[Group]) -> Vec<Level> {
    let parts = groups.iter().flat_map(|group| &group.parts);
    let labels: BTreeSet<&str> = parts.map(|part| part.rule.label()).collect();
    let level = |label: &str| {
        let values = snapshot.nodes.iter().filter_map(|node| node.metadata.labels.get(label));
        let domains: BTreeSet<&String> = values.collect();
        Level { label: label.to_owned(), domains: domains.into_iter().cloned().collect() }
    };
    labels.into_iter().map(level).collect()
}

fn domain(level: &Level, node: &Object) -> Option<u32> {
    let value = node.metadata.labels.get(&level.label)?;
    level.domains.binary_search(value).ok().map(|index| index as u32)
}

type Members = HashMap<usize, (GangId, Option<PartId>)>;

fn number_gangs(builder: &mut Builder, groups: &[Group], levels: &[Level]) -> Members {
    let mut members = Members::new();
    for group in groups {
        let gang = builder.gang(group.name.clone(), group.minimum);
        members.extend(group.pods.iter().map(|pod| (*pod, (gang, None))));
        for part in &group.parts {
            let at = |label: &str| levels.iter().position(|level| level.label == label);
            let level = at(part.rule.label()).expect("levels are made of all rules");
            let rule = match part.rule {
                RuleOf::Together(_) => Rule::Together(level),
                RuleOf::AtMost(pods, _) => Rule::AtMost { level, pods },
            };
            let id = builder.part(part.name.clone(), gang, rule);
            members.extend(part.pods.iter().map(|pod| (*pod, (gang, Some(id)))));
        }
    }
    members
}

/// The pods that are decided on, in the snapshot's order; their places there.
fn add_pods(
    builder: &mut Builder,
    survey: &Survey<'_>,
    rooms: &Rooms,
    members: &Members,
) -> Vec<usize> {
    let snapshot = survey.snapshot;
    let mut classes =
        Classes { snapshot, unsuited: apart::unsuited(survey), known: BTreeMap::new() };
    let mut pods = Vec::new();
    for (index, role) in survey.roles.iter().enumerate() {
        let (runs_on, mobility) = match role {
            Role::Running(node, mobility) => (Some(NodeId(*node as u32)), *mobility),
            Role::Pending => (None, Mobility::Movable),
            Role::Gone | Role::Held(..) | Role::Left(_) => continue,
        };
        let metadata = &snapshot.pods[index].metadata;
        let owner = metadata.controller().map_or_else(
            || metadata.full_name(),
            |owner| format!("{}/{}/{}", metadata.namespace(), owner.kind, owner.name),
        );
        let member = members.get(&index);
        let class = classes.of(builder, index);
        let id = builder.pod(PodSpec {
            name: metadata.full_name(),
            owner,
            priority: survey.priorities[index],
            request: rooms.request(survey, index),
            class,
            runs_on,
            mobility,
            gang: member.map(|(gang, _)| *gang),
            part: member.and_then(|(_, part)| *part),
        });
        if never_preempts(snapshot, &snapshot.pods[index]) {
            builder.never_preempts(id);
        }
        pods.push(index);
    }
    pods
}

/// Whether nobody gives way to a pod: by its own word, or by that of its class where no API server
/// has filled it in.
fn never_preempts(snapshot: &Snapshot, pod: &Pod) -> bool {
    let policy = pod.spec.preemption_policy.as_str();
    if !policy.is_empty() {
        return policy == "Never";
    }
    let of_pod = |class: &&PriorityClass| match pod.spec.priority_class_name.as_str() {
        "" => class.global_default && pod.spec.priority.is_none(),
        name => class.metadata.name == name,
    };
    snapshot.priorities.iter().find(of_pod).is_some_and(|class| class.preemption_policy == "Never")
}

/// All that decides which nodes suit a pod.
type Key<'a> = (Conditions<'a>, Vec<&'a NodeSelector>, Option<BTreeSet<usize>>);

/// Filters are run once for pods that are equal to them.
struct Classes<'a> {
    snapshot: &'a Snapshot,
    unsuited: BTreeMap<usize, BTreeSet<usize>>,
    known: BTreeMap<Key<'a>, ClassId>,
}

impl Classes<'_> {
    fn of(&mut self, builder: &mut Builder, index: usize) -> ClassId {
        let pod = &self.snapshot.pods[index];
        let reach =
            pod.spec.volumes.iter().filter_map(|volume| match self.snapshot.reach(pod, volume) {
                Reach::Nodes(selector) => Some(selector),
                Reach::Everywhere | Reach::Unknown => None,
            });
        let unsuited = self.unsuited.get(&index).cloned();
        let key = (Conditions::of(&pod.spec), reach.collect::<Vec<_>>(), unsuited);
        if let Some(class) = self.known.get(&key) {
            return *class;
        }
        let (conditions, volumes, unsuited) = &key;
        let suits = |(index, node): (usize, &Object)| {
            conditions.suits(node)
                && volumes.iter().all(|selector| filter::selected(selector, node))
                && !unsuited.as_ref().is_some_and(|nodes| nodes.contains(&index))
        };
        let class = builder.class(self.snapshot.nodes.iter().enumerate().map(suits).collect());
        self.known.insert(key, class);
        class
    }
}

fn mapping(survey: Survey<'_>, rooms: Rooms, pods: Vec<usize>) -> Mapping {
    let ids: HashMap<usize, PodId> = pods.iter().copied().zip((0..).map(PodId)).collect();
    let mut mapping = Mapping { pods, allocatable: rooms.offers, ..Mapping::default() };
    for (index, role) in survey.roles.into_iter().enumerate() {
        match role {
            Role::Held(node, reason) => mapping.held.push((index, NodeId(node as u32), reason)),
            Role::Left(reason) => mapping.left.push((index, reason)),
            Role::Gone | Role::Running(..) | Role::Pending => {}
        }
    }
    let budgets = survey.budgets.into_iter().map(|budget| BudgetUse {
        name: budget.name,
        allowed: budget.allowed,
        pods: budget.pods.iter().filter_map(|pod| ids.get(pod).copied()).collect(),
    });
    let binding = |budget: &BudgetUse| (budget.pods.len() as i64) > budget.allowed.max(0);
    mapping.budgets = budgets.filter(binding).collect();
    mapping.notes = survey.notes;
    mapping
}
