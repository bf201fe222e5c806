//! A job as it is wished for: options and plan together, checked.

use std::collections::BTreeMap;
use std::path::Path;

use onepath_pack::kubernetes::marks;

use super::KubernetesError;
use super::names;
use super::rule::{self, Rule};
use crate::launch::arguments::{KubernetesArguments, LaunchArguments, Scheduler, Variable};
use crate::launch::environment::DEFAULT_PORT;
use crate::launch::plan::{Plan, Stage};

/// Everything that objects are made of.
#[derive(Debug)]
pub(super) struct JobSpec<'a> {
    pub(super) name: String,
    pub(super) image: &'a str,
    pub(super) command: &'a [String],
    pub(super) variables: &'a [Variable],
    pub(super) world: u32,
    pub(super) port: u16,
    pub(super) grace_s: u32,
    pub(super) rule: Option<Rule>,
    pub(super) parts: Vec<Part>,
    pub(super) options: &'a KubernetesArguments,
    pub(super) workdir: Option<&'a str>,
}

/// The pods of one stage.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stage: u32,
    pub(super) first_rank: u32,
    pub(super) ranks: u32,
    /// Ranks of each pod but perhaps the last one.
    pub(super) per_pod: u32,
    pub(super) pods: u32,
    pub(super) gpu: String,
    /// What the plan tells processes of its nodes.
    pub(super) environment: BTreeMap<String, String>,
}

/// Puts options and plan together.
pub(super) fn read<'a>(
    arguments: &'a LaunchArguments,
    path: &Path,
    plan: &Plan,
) -> Result<JobSpec<'a>, KubernetesError> {
    let options = &arguments.kubernetes;
    if plan.stages.is_empty() {
        return Err(KubernetesError::NoConstraints { path: path.to_owned() });
    }
    let image = options.image.as_deref().ok_or(KubernetesError::NoImage)?;
    let whole = !image.is_empty() && !image.contains(|c: char| c.is_whitespace() || c.is_control());
    check("--image", image, whole, "an image, as in registry/name:tag,")?;
    let (field, name) = match &options.name {
        Some(name) => ("--name", name),
        None => ("the plan's name", &plan.name),
    };
    let expected = "lower-case letters, digits and - (RFC 1123), with a letter first, as --name";
    check(field, name, names::is_service_name(name), expected)?;
    check_options(options)?;
    let rule = match options.stage_rule.as_deref() {
        None => Some(rule::by_default()),
        Some("none") => None,
        Some(text) => Some(text.parse().map_err(|()| {
            wrong("--stage-rule", text, "together:LABEL, at-most:PODS:LABEL or none")
        })?),
    };
    let part = |stage: &Stage| part(stage, options, plan);
    let parts: Vec<Part> = plan.stages.iter().map(part).collect();
    for part in &parts {
        let length = part.host_name(name, part.pods - 1).len();
        if length > names::LONGEST_LABEL {
            let most = name.len() - (length - names::LONGEST_LABEL).min(name.len());
            return Err(KubernetesError::LongName { name: name.clone(), most });
        }
    }
    Ok(JobSpec {
        name: name.clone(),
        image,
        command: &arguments.command,
        variables: &arguments.variables,
        world: plan.world,
        port: arguments.port.unwrap_or(DEFAULT_PORT),
        grace_s: arguments.grace,
        rule,
        parts,
        options,
        workdir: arguments.workdir.as_deref(),
    })
}

fn part(stage: &Stage, options: &KubernetesArguments, plan: &Plan) -> Part {
    let per_pod = options.ranks_per_pod.unwrap_or(stage.gpus_per_node).min(stage.ranks);
    let holds = |first: u32, ranks: u32| (first..first + ranks).contains(&stage.first_rank);
    let node = plan.nodes.iter().find(|node| holds(node.first_rank, node.ranks));
    let mut environment = node.map(|node| node.environment.clone()).unwrap_or_default();
    if !options.host_network {
        // Interfaces of the node are not there in the pod's own network.
        environment.remove("NCCL_SOCKET_IFNAME");
    }
    Part {
        stage: stage.number,
        first_rank: stage.first_rank,
        ranks: stage.ranks,
        per_pod,
        pods: stage.ranks.div_ceil(per_pod),
        gpu: stage.gpu.clone(),
        environment,
    }
}

impl Part {
    /// The name of its Job.
    pub(super) fn job_name(&self, job: &str) -> String {
        format!("{job}-s{}", self.stage)
    }

    /// The host name that an Indexed Job gives a pod.
    pub(super) fn host_name(&self, job: &str, index: u32) -> String {
        format!("{}-{index}", self.job_name(job))
    }
}

impl JobSpec<'_> {
    /// Pods in all.
    pub(super) fn pods(&self) -> u32 {
        self.parts.iter().map(|part| part.pods).sum()
    }

    /// Where rank 0 is found: a pod of the headless service, in the same namespace.
    pub(super) fn master(&self) -> String {
        format!("{}.{}", self.parts[0].host_name(&self.name, 0), self.name)
    }

    /// The resource that each rank takes one of.
    pub(super) fn gpu_resource(&self) -> Option<&str> {
        Some(self.options.gpu_resource.as_str()).filter(|name| *name != "none")
    }

    /// The scheduler's name, where it is not the default one.
    pub(super) fn scheduler(&self) -> Option<&'static str> {
        (self.options.scheduler == Scheduler::Onepath).then_some(marks::SCHEDULER)
    }
}

fn wrong(field: &'static str, value: &str, expected: &'static str) -> KubernetesError {
    let value = value.chars().take(80).flat_map(char::escape_debug).collect();
    KubernetesError::Value { field, value, expected }
}

fn check(
    field: &'static str,
    value: &str,
    right: bool,
    expected: &'static str,
) -> Result<(), KubernetesError> {
    if right { Ok(()) } else { Err(wrong(field, value, expected)) }
}

fn check_options(options: &KubernetesArguments) -> Result<(), KubernetesError> {
    const QUANTITY: &str = "a quantity, as in 2, 500m or 64Gi,";
    const NAME: &str = "lower-case letters, digits, - and . (RFC 1123)";
    const LABEL: &str = "the key of a label, as in example.com/name,";
    for (field, quantity) in
        [("--cpu", &options.cpu), ("--memory", &options.memory), ("--shm", &options.shm)]
    {
        if let Some(text) = quantity {
            check(field, text, names::is_quantity(text), QUANTITY)?;
        }
    }
    for Variable { name, value } in &options.resource {
        check("--resource", name, names::is_label_key(name), LABEL)?;
        check("--resource", value, names::is_quantity(value), QUANTITY)?;
    }
    for Variable { name, value } in &options.node_selector {
        check("--node-selector", name, names::is_label_key(name), LABEL)?;
        let right = names::is_label_value(value);
        check("--node-selector", value, right, "a label's value: letters, digits, - _ .")?;
    }
    for (field, label) in [
        ("--gpu-label", options.gpu_label.as_ref()),
        ("--gpu-resource", Some(&options.gpu_resource)),
    ] {
        if let Some(text) = label {
            check(field, text, names::is_label_key(text), LABEL)?;
        }
    }
    for (field, name) in
        [("--priority-class", &options.priority_class), ("--namespace", &options.cluster.namespace)]
    {
        if let Some(text) = name {
            check(field, text, names::is_subdomain(text), NAME)?;
        }
    }
    Ok(())
}
