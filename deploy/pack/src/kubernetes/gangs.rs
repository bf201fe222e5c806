//! Which pods are one gang, and the rules of its parts.
//!
//! A gang is named by `onepath.io/gang`, or in the words of others: the pod group of the
//! coscheduling plugin or of Volcano (its `minMember`), or of Kueue (its total count).

use std::collections::BTreeMap;

use super::marks;
use super::objects::{Metadata, Pod};
use super::plan::PlanRules;
use super::reason::{Held, Left};
use super::snapshot::Snapshot;
use super::survey::{Role, Survey};
use crate::problem::Mobility;

const COSCHEDULING: &[&str] =
    &["scheduling.x-k8s.io/pod-group", "pod-group.scheduling.sigs.k8s.io"];
const VOLCANO: &str = "scheduling.k8s.io/group-name";
const KUEUE: &str = "kueue.x-k8s.io/pod-group-name";
const KUEUE_SIZE: &str = "kueue.x-k8s.io/pod-group-total-count";

/// A gang that is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) minimum: u32,
    /// By their places in the snapshot.
    pub(super) pods: Vec<usize>,
    pub(super) parts: Vec<PartOf>,
}

/// A part of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartOf {
    pub(super) name: String,
    pub(super) rule: RuleOf,
    pub(super) pods: Vec<usize>,
}

/// A rule by the label of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleOf {
    Together(String),
    AtMost(u32, String),
}

impl RuleOf {
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Together(label) | Self::AtMost(_, label) => label,
        }
    }
}

/// A field, label or annotation, and what is wrong with it.
type Wrong = (String, String);

/// What a pod says of its gang.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    minimum: Option<u32>,
    size: Option<u32>,
    part: Option<(String, RuleOf)>,
}

/// Reads marks of pods.
#[derive(Clone, Copy)]
struct Marks<'a> {
    snapshot: &'a Snapshot,
    plan: Option<&'a PlanRules>,
    /// How the plan's stages lie.
    rule: Option<&'a RuleOf>,
}

impl<'a> Marks<'a> {
    /// The plan, if a pod is a worker of its job.
    fn plan(self, metadata: &Metadata) -> Option<&'a PlanRules> {
        self.plan.filter(|plan| plan.is_worker(metadata))
    }

    /// The name of a pod's gang.
    fn name(self, metadata: &'a Metadata) -> Option<&'a str> {
        let theirs = || COSCHEDULING.iter().find_map(|key| metadata.mark(key));
        let ours = metadata.mark(marks::GANG).or_else(theirs);
        let others = ours.or_else(|| metadata.mark(VOLCANO)).or_else(|| metadata.mark(KUEUE));
        others.or_else(|| self.plan(metadata).map(|plan| plan.job.as_str()))
    }

    /// What all its pods say; the field that is wrong where they say different things or nonsense.
    fn agreed(self, survey: &Survey<'_>, members: &[usize]) -> Result<Mark, Wrong> {
        let mut all = Mark::default();
        let pod = |index: usize| &survey.snapshot.pods[index];
        for &index in members {
            let own = self.of(pod(index))?;
            agree(&mut all.minimum, own.minimum, marks::GANG_MINIMUM)?;
            agree(&mut all.size, own.size, marks::GANG_SIZE)?;
        }
        if let (Some(minimum), Some(size)) = (all.minimum, all.size)
            && minimum > size
        {
            let problem = format!("is {minimum}, above the gang's size {size}");
            return Err((marks::GANG_MINIMUM.to_owned(), problem));
        }
        let live = members.iter().filter(|index| survey.roles[**index] != Role::Gone);
        let mut priorities: Vec<i64> = live.map(|index| survey.priorities[*index]).collect();
        priorities.sort_unstable();
        priorities.dedup();
        match priorities[..] {
            [low, .., high] => {
                let problem = format!("pods of one gang have {low} and {high}: one would be right");
                Err(("priority".to_owned(), problem))
            }
            _ => Ok(all),
        }
    }

    /// What a pod says of its gang.
    fn of(self, pod: &Pod) -> Result<Mark, Wrong> {
        let metadata = &pod.metadata;
        let plan = self.plan(metadata);
        let part = match (metadata.mark(marks::PART), metadata.mark(marks::PART_RULE), plan) {
            (None, None, None) => None,
            (None, None, Some(plan)) => {
                let part = plan.part(pod)?;
                self.rule.map(|rule| (part, rule.clone()))
            }
            (Some(part), Some(text), _) => Some((super::one_line(part), rule(text)?)),
            (Some(_), None, _) => return Err(missing(marks::PART_RULE, marks::PART)),
            (None, Some(_), _) => return Err(missing(marks::PART, marks::PART_RULE)),
        };
        let size = match number(metadata, marks::GANG_SIZE)? {
            None => number(metadata, KUEUE_SIZE)?.or_else(|| plan.map(|plan| plan.pods(pod))),
            size => size,
        };
        let minimum = number(metadata, marks::GANG_MINIMUM)?.or_else(|| self.group(metadata));
        if let (None, None, Some(key)) = (minimum, size, group_key(metadata)) {
            let name = shown(metadata.mark(key).unwrap_or_default());
            let problem = format!(
                "is {name:?}, and no PodGroup of that name is known: {} beside it would be right",
                marks::GANG_MINIMUM
            );
            return Err((key.to_owned(), problem));
        }
        Ok(Mark { minimum, size, part })
    }

    /// The least size that another scheduler's group gives.
    fn group(self, metadata: &Metadata) -> Option<u32> {
        if metadata.mark(marks::GANG).is_some() {
            return None;
        }
        let name = self.name(metadata)?;
        let of_name = |group: &&super::objects::PodGroup| {
            group.metadata.name == name && group.metadata.namespace() == metadata.namespace()
        };
        self.snapshot.groups.iter().find(of_name).map(|group| group.spec.min_member.max(1))
    }
}

/// The mark by which a pod belongs to a `PodGroup`, whose `minMember` is how many it needs.
fn group_key(metadata: &Metadata) -> Option<&'static str> {
    if metadata.mark(marks::GANG).is_some() {
        return None;
    }
    let mut keys = COSCHEDULING.iter().copied().chain([VOLCANO]);
    keys.find(|key| metadata.mark(key).is_some())
}

/// The gangs; pods of those that cannot be decided on are left, or stay.
pub(super) fn find(survey: &mut Survey<'_>, plan: Option<&PlanRules>) -> Vec<Group> {
    let rule = stage_rule(survey, plan);
    let marks = Marks { snapshot: survey.snapshot, plan, rule: rule.as_ref() };
    let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for index in 0..survey.roles.len() {
        let pod = &survey.snapshot.pods[index];
        match marks.name(&pod.metadata) {
            Some(name) => {
                let gang = format!("{}/{}", pod.metadata.namespace(), super::one_line(name));
                members.entry(gang).or_default().push(index);
            }
            None => check_lone(survey, index),
        }
    }
    members.into_iter().filter_map(|(name, pods)| gang(survey, marks, name, &pods)).collect()
}

/// How the plan's stages lie, as its first worker pod asks for room.
fn stage_rule(survey: &mut Survey<'_>, plan: Option<&PlanRules>) -> Option<RuleOf> {
    let plan = plan?;
    let mut workers = survey.snapshot.pods.iter().filter(|pod| plan.is_worker(&pod.metadata));
    let job = super::one_line(&plan.job);
    let Some(worker) = workers.next() else {
        survey.notes.push(format!("no pod has the label {}: {job}", marks::JOB));
        return None;
    };
    let rule = plan.rule(survey.snapshot, worker);
    survey.notes.push(match &rule {
        Some(rule) => format!("each stage of {job} lies within one {}", rule.label()),
        None => format!("no label of nodes has room for a stage of {job}: stages may be scattered"),
    });
    rule
}

/// Without a gang there are no parts.
fn check_lone(survey: &mut Survey<'_>, index: usize) {
    let metadata = &survey.snapshot.pods[index].metadata;
    let keys = [marks::GANG_MINIMUM, marks::GANG_SIZE, marks::PART, marks::PART_RULE];
    if let Some(key) = keys.into_iter().find(|key| metadata.mark(key).is_some()) {
        let problem = format!("is there without {}: both or none would be right", marks::GANG);
        refuse(survey, &[index], &(key.to_owned(), problem));
    }
}

/// Pending pods are left, running ones stay.
fn refuse(survey: &mut Survey<'_>, pods: &[usize], (field, problem): &Wrong) {
    for &index in pods {
        let (field, problem) = (field.clone(), problem.clone());
        survey.roles[index] = match survey.roles[index].clone() {
            Role::Pending => Role::Left(Left::Wrong { field, problem }),
            Role::Running(node, _) => Role::Held(node, Held::Wrong { field, problem }),
            other => other,
        };
    }
}

fn gang(
    survey: &mut Survey<'_>,
    marks: Marks<'_>,
    name: String,
    members: &[usize],
) -> Option<Group> {
    let mark = match marks.agreed(survey, members) {
        Ok(mark) => mark,
        Err(wrong) => {
            refuse(survey, members, &wrong);
            return None;
        }
    };
    leave(survey, &name, members, &mark);
    join(survey, members);
    let open = |index: &usize| survey.roles[*index].is_open();
    let pods: Vec<usize> = members.iter().copied().filter(open).collect();
    let running = pods.iter().filter(|pod| survey.roles[**pod].node().is_some()).count() as u32;
    let all = pods.len() as u32;
    if all == 0 {
        return None;
    }
    let wanted = mark.minimum.or(mark.size).unwrap_or(members.len() as u32);
    let mut minimum = wanted.min(all);
    if (1..minimum).contains(&running) {
        survey.notes.push(format!("gang {name} runs in part: {running} of {wanted} pods"));
        minimum = running;
        keep_from_moving(survey, &pods);
    }
    let parts = parts(survey, marks, &name, &pods);
    Some(Group { name, minimum, pods, parts })
}

fn agree(all: &mut Option<u32>, own: Option<u32>, key: &str) -> Result<(), Wrong> {
    match (*all, own) {
        (Some(first), Some(second)) if first != second => {
            let problem = format!("pods of one gang say {first} and {second}: one would be right");
            Err((key.to_owned(), problem))
        }
        (_, own) => {
            *all = all.or(own);
            Ok(())
        }
    }
}

fn missing(key: &str, beside: &str) -> Wrong {
    (key.to_owned(), format!("is missing beside {beside}"))
}

fn number(metadata: &Metadata, key: &str) -> Result<Option<u32>, Wrong> {
    let Some(text) = metadata.mark(key) else { return Ok(None) };
    match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => {
            let problem = format!("is {:?}: a whole number from 1 on would be right", shown(text));
            Err((key.to_owned(), problem))
        }
    }
}

/// `together:LABEL` or `at-most:N:LABEL`.
fn rule(text: &str) -> Result<RuleOf, Wrong> {
    let parsed = match text.split_once(':') {
        Some(("together", label)) => Some(RuleOf::Together(label.to_owned())),
        Some(("at-most", rest)) => rest.split_once(':').and_then(|(count, label)| {
            let count: u32 = count.parse().ok()?;
            (count > 0).then(|| RuleOf::AtMost(count, label.to_owned()))
        }),
        _ => None,
    };
    parsed.filter(|rule| is_label(rule.label())).ok_or_else(|| {
        let right = "together:LABEL or at-most:N:LABEL would be right";
        (marks::PART_RULE.to_owned(), format!("is {:?}: {right}", shown(text)))
    })
}

/// Whether a text can be the name of a label: a prefix, a slash and 63 letters at most.
fn is_label(text: &str) -> bool {
    (1..=317).contains(&text.len()) && !text.contains(char::is_control)
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Pending pods of a gang that is not complete, or of which another pod is left, are left.
fn leave(survey: &mut Survey<'_>, name: &str, members: &[usize], mark: &Mark) {
    // A pod that goes is of no use to the others; what replaces it will count.
    let stays = |index: &&usize| {
        !matches!(survey.roles[**index], Role::Gone | Role::Held(_, Held::Terminating))
    };
    let created = members.iter().filter(stays).count();
    let size = mark.size.unwrap_or(0).max(mark.minimum.unwrap_or(0)) as usize;
    let gang = name.to_owned();
    let other = members.iter().find(|index| matches!(survey.roles[**index], Role::Left(_)));
    let reason = match other {
        _ if created < size => Left::Incomplete { gang, created, size },
        Some(index) => Left::Gang { gang, pod: survey.name(*index) },
        None => return,
    };
    for &index in members {
        if survey.roles[index] == Role::Pending {
            survey.roles[index] = Role::Left(reason.clone());
        }
    }
}

/// Running pods of a gang that must stay are in the problem still: the gang stands or falls as one.
fn join(survey: &mut Survey<'_>, members: &[usize]) {
    for &index in members {
        if let Role::Held(node, reason) = &survey.roles[index]
            && *reason != Held::Terminating
        {
            survey.roles[index] = Role::Running(*node, Mobility::Fixed);
        }
    }
}

/// A gang that runs in part may be completed or leave, but is not moved: made anew, its pods would
/// wait until they are complete.
fn keep_from_moving(survey: &mut Survey<'_>, pods: &[usize]) {
    for &index in pods {
        if let Role::Running(node, Mobility::Movable) = survey.roles[index] {
            survey.roles[index] = Role::Running(node, Mobility::Evictable);
        }
    }
}

/// The parts of a gang; a rule that running pods break already is dropped.
fn parts(survey: &mut Survey<'_>, marks: Marks<'_>, gang: &str, pods: &[usize]) -> Vec<PartOf> {
    let mut parts: Vec<PartOf> = Vec::new();
    for &index in pods {
        // What is wrong with a mark was found before.
        let Ok(Mark { part: Some((name, rule)), .. }) = marks.of(&survey.snapshot.pods[index])
        else {
            continue;
        };
        match parts.iter_mut().find(|part| part.name == name && part.rule == rule) {
            Some(part) => part.pods.push(index),
            None => parts.push(PartOf { name, rule, pods: vec![index] }),
        }
    }
    parts.retain(|part| {
        let broken = is_broken(survey, part);
        if broken {
            let (name, label) = (&part.name, part.rule.label());
            let note = format!("part {name} of gang {gang} breaks its rule by {label} already");
            survey.notes.push(note);
        }
        !broken
    });
    parts
}

fn is_broken(survey: &Survey<'_>, part: &PartOf) -> bool {
    let mut inside: BTreeMap<Option<&String>, u32> = BTreeMap::new();
    for node in part.pods.iter().filter_map(|pod| survey.roles[*pod].node()) {
        let labels = &survey.snapshot.nodes[node].metadata.labels;
        *inside.entry(labels.get(part.rule.label())).or_default() += 1;
    }
    let outside = inside.contains_key(&None);
    outside
        || match part.rule {
            RuleOf::Together(_) => inside.len() > 1,
            RuleOf::AtMost(most, _) => inside.values().any(|pods| *pods > most),
        }
}
