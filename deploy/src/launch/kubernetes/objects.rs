//! The objects of a job: a Secret, a headless Service, one Indexed Job for each stage.
//!
//! A pod is a node's share of a stage: one container whose shell (`wrapper.sh`) starts the ranks,
//! since ranks of one node share its GPUs and its memory, which separate pods would keep apart.

use onepath_pack::kubernetes::marks;
use serde_json::{Map, Value, json};

use super::labels;
use super::spec::{JobSpec, Part};
use crate::launch::environment::{FOREIGN, SECRET_FILE};
use crate::launch::secret::Secret;

const WRAPPER: &str = include_str!("wrapper.sh");

/// Where a pod finds the secret.
const SECRET_FOLDER: &str = "/var/run/onepath";

/// Whom the secret's file belongs to besides root: a container that runs as nobody in particular
/// reads it as a member of this group.
const GROUP: u32 = 10_001;

/// What a pod gets on top of the grace time to end by itself.
const LAST_SECONDS: u32 = 5;

/// The job's objects in the order in which they are made.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    /// The mark of this run, which all of them have.
    pub(super) launch: String,
    pub(super) secret: Value,
    pub(super) service: Value,
    pub(super) jobs: Vec<Value>,
}

impl Objects {
    /// All objects of a job, with the mark of a run.
    pub(super) fn new(spec: &JobSpec<'_>, secret: &Secret, launch: String) -> Self {
        let marked = |mut object: Value| {
            object["metadata"]["annotations"] = json!({ labels::LAUNCH: launch });
            object
        };
        Self {
            secret: marked(secret_object(spec, secret)),
            service: marked(service(spec)),
            jobs: spec.parts.iter().map(|part| marked(job(spec, part))).collect(),
            launch,
        }
    }

    /// All, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        [&self.secret, &self.service].into_iter().chain(&self.jobs)
    }
}

fn metadata(spec: &JobSpec<'_>, name: &str) -> Value {
    let mut metadata = json!({ "name": name, "labels": { marks::JOB: spec.name } });
    if let Some(namespace) = &spec.options.cluster.namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn secret_object(spec: &JobSpec<'_>, secret: &Secret) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(spec, &spec.name),
        "type": "Opaque",
        "immutable": true,
        "stringData": { "secret": secret.digits() },
    })
}

/// Gives pods names in the DNS, before they are ready: ranks look for rank 0 while it starts.
fn service(spec: &JobSpec<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(spec, &spec.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": { marks::JOB: spec.name },
            "ports": [{ "name": "rendezvous", "port": spec.port }],
        },
    })
}

fn job(spec: &JobSpec<'_>, part: &Part) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(spec, &part.job_name(&spec.name)),
        "spec": {
            "completionMode": "Indexed",
            "completions": part.pods,
            "parallelism": part.pods,
            "backoffLimit": spec.options.restarts.saturating_mul(part.pods),
            "podReplacementPolicy": "Failed",
            // Pods that a scheduler evicts or a node loses are made anew, however often.
            "podFailurePolicy": { "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
                },
            ] },
            "template": template(spec, part),
        },
    });
    job["metadata"]["labels"][labels::STAGE] = json!(part.stage.to_string());
    job
}

fn template(spec: &JobSpec<'_>, part: &Part) -> Value {
    let mut labels = json!({
        marks::JOB: spec.name,
        marks::GANG: spec.name,
        labels::STAGE: part.stage.to_string(),
    });
    let mut annotations = json!({
        marks::GANG_SIZE: spec.pods().to_string(),
        marks::GANG_MINIMUM: spec.pods().to_string(),
        labels::FIRST_RANK: part.first_rank.to_string(),
        labels::STAGE_RANKS: part.ranks.to_string(),
        labels::RANKS_PER_POD: part.per_pod.to_string(),
    });
    if let Some(rule) = &spec.rule {
        labels[marks::PART] = json!(format!("stage-{}", part.stage));
        annotations[marks::PART_RULE] = json!(rule.to_string());
    }
    if spec.options.gate {
        labels[marks::MOVABLE] = json!("true");
    }
    json!({
        "metadata": { "labels": labels, "annotations": annotations },
        "spec": pod(spec, part),
    })
}

fn pod(spec: &JobSpec<'_>, part: &Part) -> Value {
    let mut volumes = vec![json!({
        "name": "secret",
        "secret": { "secretName": spec.name, "defaultMode": 0o440 },
    })];
    if let Some(size) = &spec.options.shm {
        volumes
            .push(json!({ "name": "shm", "emptyDir": { "medium": "Memory", "sizeLimit": size } }));
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "subdomain": spec.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": spec.grace_s + LAST_SECONDS,
        "securityContext": { "fsGroup": GROUP },
        "volumes": volumes,
        "containers": [container(spec, part)],
    });
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            pod[field] = value;
        }
    };
    put("schedulerName", spec.scheduler().map(Value::from));
    put("priorityClassName", spec.options.priority_class.clone().map(Value::from));
    put("nodeSelector", node_selector(spec, part));
    put("schedulingGates", spec.options.gate.then(|| json!([{ "name": labels::GATE }])));
    put("hostNetwork", spec.options.host_network.then_some(Value::Bool(true)));
    put("dnsPolicy", spec.options.host_network.then(|| json!("ClusterFirstWithHostNet")));
    pod
}

fn node_selector(spec: &JobSpec<'_>, part: &Part) -> Option<Value> {
    let chosen = spec.options.node_selector.iter().map(|own| (&own.name, &own.value));
    let kind = spec.options.gpu_label.as_ref().map(|label| (label, &part.gpu));
    let all: Map<String, Value> =
        chosen.chain(kind).map(|(label, value)| (label.clone(), json!(value))).collect();
    (!all.is_empty()).then_some(Value::Object(all))
}

fn container(spec: &JobSpec<'_>, part: &Part) -> Value {
    let mut mounts =
        vec![json!({ "name": "secret", "mountPath": SECRET_FOLDER, "readOnly": true })];
    if spec.options.shm.is_some() {
        mounts.push(json!({ "name": "shm", "mountPath": "/dev/shm" }));
    }
    let script = format!("unset {}\n{WRAPPER}", FOREIGN.join(" "));
    let arguments: Vec<String> = spec.command.iter().map(|word| literal(word)).collect();
    let mut container = json!({
        "name": "ranks",
        "image": spec.image,
        "command": ["/bin/sh", "-c", literal(&script), "onepath"],
        "args": arguments,
        "env": variables(spec, part),
        "ports": [{ "name": "rendezvous", "containerPort": spec.port }],
        "resources": resources(spec, part),
        "securityContext": { "allowPrivilegeEscalation": false },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    });
    if let Some(folder) = spec.workdir {
        container["workingDir"] = json!(folder);
    }
    container
}

fn variables(spec: &JobSpec<'_>, part: &Part) -> Vec<Value> {
    let ours = [
        ("WORLD_SIZE", spec.world.to_string()),
        ("MASTER_ADDR", spec.master()),
        ("MASTER_PORT", spec.port.to_string()),
        (SECRET_FILE, format!("{SECRET_FOLDER}/secret")),
        ("ONEPATH_STAGE_FIRST_RANK", part.first_rank.to_string()),
        ("ONEPATH_STAGE_RANKS", part.ranks.to_string()),
        ("ONEPATH_RANKS_PER_POD", part.per_pod.to_string()),
        ("ONEPATH_GRACE", spec.grace_s.to_string()),
    ];
    let own = spec.variables.iter().map(|own| (&*own.name, &*own.value));
    let own_names: Vec<&str> = own.clone().map(|(name, _)| name).collect();
    let planned = part.environment.iter().map(|(name, value)| (&**name, &**value));
    let planned = planned.filter(|(name, _)| !own_names.contains(name));
    let ours = ours.iter().map(|(name, value)| (*name, &**value));
    let variable = |(name, value): (&str, &str)| json!({ "name": name, "value": literal(value) });
    planned.chain(own).chain(ours).map(variable).collect()
}

/// Requests and limits; the CPU has no limit, since a rank that is throttled holds up all others.
fn resources(spec: &JobSpec<'_>, part: &Part) -> Value {
    let own = spec.options.resource.iter().map(|own| (&*own.name, own.value.clone()));
    let gpus = spec.gpu_resource().map(|name| (name, part.per_pod.to_string()));
    let memory = spec.options.memory.clone().map(|memory| ("memory", memory));
    let cpu = spec.options.cpu.clone().map(|cpu| ("cpu", cpu));
    let limits: Map<String, Value> = own
        .chain(gpus)
        .chain(memory)
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let mut requests = limits.clone();
    requests.extend(cpu.map(|(name, value)| (name.to_owned(), json!(value))));
    json!({ "limits": limits, "requests": requests })
}

/// A text that Kubernetes hands on as it is: it takes `$(NAME)` for a variable and `$$` for a `$`.
fn literal(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        result.push(c);
        if c == '$' && matches!(rest.peek(), Some('$' | '(')) {
            result.push('$');
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_doubled_where_kubernetes_would_read_them() {
        for (text, expected) in [
            ("plain $x ${y}", "plain $x ${y}"),
            ("kill $$", "kill $$$"),
            ("$((a + b))", "$$((a + b))"),
            ("$$(x)", "$$$$(x)"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }
}
