//! A plan as `onepath plan --emit json` writes it: what the lab needs of it, checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use onepath_topology::cluster::{Network, NetworkKind};
use onepath_topology::pipeline::schedule::{Schedule, ScheduleError, ScheduleKind};
use onepath_topology::{Bandwidth, Nanos};
use serde::Deserialize;

/// The form that is understood.
const FORMAT: &str = "onepath-placement/1";

/// The longest file that is read, bytes.
const LONGEST_FILE: u64 = 16 << 20;

/// The most ranks: each is a process here.
const MOST_RANKS: usize = 64;

/// Hosts that a network of the lab may have.
const MOST_HOSTS: usize = 64;

/// Degrees of parallelism, as far as the lab knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Degrees {
    pub(super) tensor: u32,
    pub(super) data: u32,
    pub(super) pipeline: u32,
    pub(super) virtual_stages: u32,
}

/// A stage of the pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct StageOfPlan {
    pub(super) first_layer: usize,
    pub(super) layers: usize,
    pub(super) first_rank: usize,
    pub(super) ranks: usize,
}

/// A node in the order of ranks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct NodeOfPlan {
    pub(super) host: String,
    pub(super) cluster: String,
    pub(super) first_rank: usize,
    pub(super) ranks: usize,
    pub(super) interfaces: BTreeMap<NetworkKind, String>,
}

/// What there is inside of a cluster, or between two.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct NetworkOfPlan {
    pub(super) clusters: Vec<String>,
    pub(super) kind: NetworkKind,
    /// Of a node, bytes a second.
    pub(super) rate: f64,
    /// Of all nodes together, if a line limits them.
    pub(super) total: Option<f64>,
    /// Nanoseconds.
    pub(super) latency: u64,
}

/// A group and its network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct GroupOfPlan {
    pub(super) kind: String,
    pub(super) index: usize,
    pub(super) ranks: Vec<usize>,
    pub(super) carrier: String,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct PlanOfJob {
    format: String,
    pub(super) name: String,
    pub(super) degrees: Degrees,
    pub(super) order: String,
    pub(super) micro_batches: u32,
    pub(super) stages: Vec<StageOfPlan>,
    pub(super) nodes: Vec<NodeOfPlan>,
    pub(super) networks: Vec<NetworkOfPlan>,
    pub(super) groups: Vec<GroupOfPlan>,
}

/// A plan that cannot be run here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanFileError {
    /// It cannot be read.
    #[error("the plan {file} cannot be read: {cause}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is too long to be one.
    #[error("the plan {file} has {bytes} bytes: at most {LONGEST_FILE} are accepted")]
    Long {
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
    },
    /// It is no plan.
    #[error("the plan {file} is wrong: {problem}")]
    Parse {
        /// The file.
        file: String,
        /// Where and why, in one line.
        problem: String,
    },
    /// A field.
    #[error("the plan {file}: {field}: {value}: {expected} would be right")]
    Field {
        /// The file.
        file: String,
        /// Which.
        field: &'static str,
        /// As it is there.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// No schedule fits.
    #[error("the plan {file}: {problem}")]
    Schedule {
        /// The file.
        file: String,
        /// Why.
        problem: ScheduleError,
    },
}

/// Refuses a field: its name, its value, what would be right.
type Wrong<'a> = &'a dyn Fn(&'static str, &dyn ToString, &str) -> Result<(), PlanFileError>;

/// Whether a file holds a plan of `onepath plan`, not one of the lab: it is JSON.
pub(crate) fn is_plan_of_job(path: &Path) -> bool {
    use std::io::Read;
    let mut begin = [0; 256];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut begin));
    let begin = &begin[..read.unwrap_or(0)];
    begin.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

impl PlanOfJob {
    /// Reads a plan.
    pub(crate) fn read(path: &Path) -> Result<Self, PlanFileError> {
        let file = path.display().to_string();
        let failed = |cause| PlanFileError::Read { file: file.clone(), cause };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > LONGEST_FILE {
            return Err(PlanFileError::Long { file, bytes });
        }
        Self::parse(&file, &std::fs::read_to_string(path).map_err(failed)?)
    }

    fn parse(file: &str, text: &str) -> Result<Self, PlanFileError> {
        let parsed: Result<Self, serde_json::Error> = serde_json::from_str(text);
        let plan = parsed.map_err(|error| {
            let said = error.to_string();
            let problem = said.chars().filter(|c| !c.is_control()).take(300).collect();
            PlanFileError::Parse { file: file.to_owned(), problem }
        })?;
        plan.check(file)?;
        Ok(plan)
    }

    /// Ranks of all stages.
    pub(super) fn ranks(&self) -> usize {
        self.degrees.data as usize * self.degrees.pipeline as usize
    }

    /// Layers of all stages.
    pub(super) fn layers(&self) -> usize {
        self.stages.iter().map(|stage| stage.layers).sum()
    }

    /// What every rank does.
    pub(super) fn schedule(&self) -> Result<Schedule, ScheduleError> {
        let Degrees { pipeline, virtual_stages, .. } = self.degrees;
        let kind = match virtual_stages {
            1 => ScheduleKind::OneForwardOneBackward,
            _ => ScheduleKind::Interleaved,
        };
        Schedule::new(kind, pipeline, self.micro_batches, virtual_stages)
    }

    /// The network inside of a cluster, or between two.
    pub(super) fn network(&self, a: &str, b: &str) -> Option<Network> {
        let is = |network: &&NetworkOfPlan| match network.clusters.as_slice() {
            [one] => one == a && one == b,
            [one, other] => (one == a && other == b) || (one == b && other == a),
            _ => false,
        };
        let found = self.networks.iter().find(is)?;
        Some(Network {
            kind: found.kind,
            rate: Bandwidth(found.rate),
            latency: Nanos(found.latency),
            total: found.total.map(Bandwidth),
        })
    }

    fn check(&self, file: &str) -> Result<(), PlanFileError> {
        let wrong = |field, value: &dyn ToString, expected: &str| {
            let value = value.to_string().chars().filter(|c| !c.is_control()).take(80).collect();
            let (file, expected) = (file.to_owned(), expected.to_owned());
            Err(PlanFileError::Field { file, field, value, expected })
        };
        let Degrees { tensor, data, pipeline, virtual_stages, .. } = self.degrees;
        if self.format != FORMAT {
            return wrong("format", &self.format, FORMAT);
        }
        if tensor != 1 {
            let expected =
                "1 (the lab's training step cuts no layer; max_tensor = 1 in [training])";
            return wrong("degrees.tensor", &tensor, expected);
        }
        let ranks = u64::from(data) * u64::from(pipeline);
        if !(1..=MOST_RANKS as u64).contains(&ranks) {
            return wrong("ranks", &ranks, "from 1 to 64, each of which is a process here,");
        }
        if self.order != "tp-cp-ep-dp-pp" {
            return wrong("order", &self.order, "tp-cp-ep-dp-pp");
        }
        if self.stages.len() != pipeline as usize {
            return wrong("stages", &self.stages.len(), &format!("{pipeline}"));
        }
        let (mut layer, mut rank) = (0, 0);
        for stage in &self.stages {
            let parts = (virtual_stages as usize)..=4096;
            if stage.first_layer != layer || stage.first_rank != rank {
                return wrong("stages", &stage.first_layer, "stages one after the other");
            }
            if stage.ranks != data as usize || !parts.contains(&stage.layers) {
                let expected = "a rank for each replica, and a layer for each virtual stage,";
                return wrong("stages", &format!("{stage:?}"), expected);
            }
            (layer, rank) = (layer + stage.layers, rank + stage.ranks);
        }
        let problem = self.schedule().err();
        if let Some(problem) = problem {
            return Err(PlanFileError::Schedule { file: file.to_owned(), problem });
        }
        self.check_nodes(&wrong)
    }

    fn check_nodes(&self, wrong: Wrong<'_>) -> Result<(), PlanFileError> {
        let mut rank = 0;
        let mut hosts = BTreeSet::new();
        for node in &self.nodes {
            if node.first_rank != rank || node.ranks == 0 || !hosts.insert(&node.host) {
                return wrong("nodes", &node.host, "different nodes with ranks in order");
            }
            rank = rank.saturating_add(node.ranks);
        }
        if rank != self.ranks() || self.nodes.len() > MOST_HOSTS {
            return wrong("nodes", &rank, &format!("{} ranks on at most 64 nodes", self.ranks()));
        }
        let clusters: BTreeSet<&str> = self.nodes.iter().map(|n| n.cluster.as_str()).collect();
        for a in &clusters {
            for b in &clusters {
                let pair = format!("{a} - {b}");
                let Some(network) = self.network(a, b) else {
                    return wrong(
                        "networks",
                        &pair,
                        "a network inside of each cluster and between",
                    );
                };
                let rates = [Some(network.rate), network.total];
                if rates.into_iter().flatten().any(|rate| !(1.0..1e15).contains(&rate.0)) {
                    return wrong("networks", &pair, "rates of 1 to 1e15 bytes a second");
                }
                let of = self.nodes.iter().filter(|node| node.cluster == **a);
                for node in of {
                    let name = node.interfaces.get(&network.kind).map_or("", String::as_str);
                    if !crate::lab::fabric::clusters::is_device_name(name) {
                        let expected = "a name of up to 15 letters for each kind of network";
                        return wrong("nodes.interfaces", &node.host, expected);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
