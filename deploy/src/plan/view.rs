//! The plan as plain data: what `--format json` writes and the other forms are made from.

use std::collections::BTreeMap;

use serde::Serialize;

use onepath_topology::cluster::{ClusterId, Network, NetworkKind, Nic, Pool};
use onepath_topology::groups::{Carrier, SurveyedGroup};
use onepath_topology::pipeline::search::Degrees;
use onepath_topology::{Bytes, Rank};

use super::{Plan, seconds};

/// Names the form, so that readers can refuse another.
const FORMAT: &str = "onepath-placement/1";

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView<'a> {
    pub(crate) format: &'static str,
    pub(crate) name: &'a str,
    pub(crate) degrees: Degrees,
    pub(crate) order: String,
    pub(crate) micro_batches: u64,
    pub(crate) global_batch: u64,
    pub(crate) iteration_s: f64,
    pub(crate) lower_bound_s: f64,
    pub(crate) gap: f64,
    pub(crate) samples_per_s: f64,
    pub(crate) tflops_per_gpu: f64,
    pub(crate) bubble: f64,
    pub(crate) bubble_by: &'static str,
    pub(crate) candidates: usize,
    pub(crate) evaluated: usize,
    pub(crate) stages: Vec<StageView<'a>>,
    pub(crate) nodes: Vec<NodeView<'a>>,
    pub(crate) networks: Vec<NetworkView<'a>>,
    pub(crate) groups: Vec<GroupView<'a>>,
    pub(crate) traffic: Vec<TrafficView>,
    pub(crate) links: Vec<LinkView<'a>>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) warnings: Vec<String>,
}

/// One stage of the pipeline.
#[derive(Debug, Serialize)]
pub(crate) struct StageView<'a> {
    pub(crate) stage: usize,
    pub(crate) cluster: &'a str,
    pub(crate) gpu: &'a str,
    pub(crate) hosts: Vec<&'a str>,
    pub(crate) first_rank: usize,
    pub(crate) ranks: usize,
    /// Layers as numbered by the search: 0 is the embedding, the last is the head.
    pub(crate) first_layer: usize,
    pub(crate) layers: usize,
    /// Transformer blocks among them.
    pub(crate) blocks: usize,
    pub(crate) memory_bytes: Bytes,
    pub(crate) memory_of_gpu_bytes: Bytes,
}

/// One node and what its processes must be told.
#[derive(Debug, Serialize)]
pub(crate) struct NodeView<'a> {
    pub(crate) host: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) first_rank: Rank,
    pub(crate) ranks: u32,
    /// For NCCL.
    pub(crate) environment: BTreeMap<&'static str, String>,
    /// Its first NIC for each kind of network: the interface, or the RDMA device without one.
    pub(crate) interfaces: BTreeMap<NetworkKind, String>,
}

/// What there is inside of a cluster, or between two.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkView<'a> {
    pub(crate) clusters: Vec<&'a str>,
    /// Rates in bytes a second: of a node, and of a line that all nodes share.
    #[serde(flatten)]
    pub(crate) network: Network,
}

/// One group and its network.
#[derive(Debug, Serialize)]
pub(crate) struct GroupView<'a> {
    #[serde(flatten)]
    pub(crate) group: &'a SurveyedGroup,
    /// What NCCL's communicator is to be told.
    pub(crate) net_name: Option<&'static str>,
    pub(crate) slowest_hosts: (&'a str, &'a str),
    pub(crate) explanation: String,
}

/// Bytes of an iteration.
#[derive(Debug, Serialize)]
pub(crate) struct TrafficView {
    pub(crate) kind: &'static str,
    pub(crate) carrier: String,
    pub(crate) bytes: Bytes,
}

/// Bytes between two clusters.
#[derive(Debug, Serialize)]
pub(crate) struct LinkView<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) kind: Option<NetworkKind>,
    pub(crate) bytes: Bytes,
}

/// What whoever places pods must keep: these ranks together, where there is such a network.
#[derive(Debug, Serialize)]
pub(crate) struct Constraint {
    pub(crate) stage: usize,
    pub(crate) first_rank: usize,
    pub(crate) ranks: usize,
    pub(crate) gpus_per_node: u32,
    pub(crate) gpu: String,
    pub(crate) memory_bytes: Bytes,
    /// All its ranks must be in one cluster with this network.
    pub(crate) network: NetworkKind,
}

impl Plan {
    /// The plan as plain data.
    pub(crate) fn view(&self) -> PlanView<'_> {
        let options = &self.job.options;
        let traffic = self.traffic.classes.iter();
        PlanView {
            format: FORMAT,
            name: &self.job.name,
            degrees: self.found.degrees,
            order: self.layout.order().to_string(),
            micro_batches: self.found.degrees.micro_batches(options.global_batch),
            global_batch: options.global_batch,
            iteration_s: seconds(self.found.iteration),
            lower_bound_s: seconds(self.found.bound),
            gap: self.found.gap(),
            samples_per_s: self.samples_per_s(),
            tflops_per_gpu: self.tflops_per_gpu(),
            bubble: self.bubble(),
            bubble_by: if self.timeline.is_some() { "timeline" } else { "formula" },
            candidates: self.found.candidates,
            evaluated: self.found.evaluated,
            stages: self.stages(),
            nodes: self.nodes(),
            networks: self.networks(),
            groups: self.groups.iter().map(|group| self.group(group)).collect(),
            traffic: traffic
                .map(|(&(kind, carrier), &bytes)| TrafficView {
                    kind: kind.name(),
                    carrier: carrier.to_string(),
                    bytes,
                })
                .collect(),
            links: self.links(),
            constraints: self.constraints(),
            warnings: self.warnings(),
        }
    }

    fn pool(&self, index: usize) -> &Pool {
        let mut pools = self.job.document.inventory.pools();
        pools.nth(index).expect("the search names pools of the inventory")
    }

    /// The stages, first to last.
    pub(crate) fn stages(&self) -> Vec<StageView<'_>> {
        let inventory = &self.job.document.inventory;
        let per_stage = (self.found.degrees.tensor * self.found.degrees.data) as usize;
        let stage = |(index, stage): (usize, &onepath_topology::pipeline::search::FoundStage)| {
            let ranks = index * per_stage..(index + 1) * per_stage;
            let members: Vec<Rank> = ranks.clone().map(Rank::from_index).collect();
            let nodes = self.placement.nodes_of(&members);
            let end = stage.first_layer + stage.layers;
            let last = self.job.shape.layers as usize + 1;
            let pool = self.pool(stage.pool);
            StageView {
                stage: index,
                cluster: inventory.cluster(pool.cluster()).name(),
                gpu: &pool.gpu().kind,
                hosts: nodes.into_iter().map(|node| inventory.host(node)).collect(),
                first_rank: ranks.start,
                ranks: per_stage,
                first_layer: stage.first_layer,
                layers: stage.layers,
                blocks: end.min(last).saturating_sub(stage.first_layer.max(1)),
                memory_bytes: stage.memory,
                memory_of_gpu_bytes: pool.gpu().memory,
            }
        };
        self.found.stages.iter().enumerate().map(stage).collect()
    }

    /// The nodes in order of their ranks.
    pub(crate) fn nodes(&self) -> Vec<NodeView<'_>> {
        let inventory = &self.job.document.inventory;
        let node = |(node, first_rank, ranks)| {
            let pool = inventory.pool_of(node);
            NodeView {
                host: inventory.host(node),
                cluster: inventory.cluster(pool.cluster()).name(),
                first_rank,
                ranks,
                environment: environment(pool),
                interfaces: interfaces(pool),
            }
        };
        self.placement.nodes().into_iter().map(node).collect()
    }

    fn networks(&self) -> Vec<NetworkView<'_>> {
        let inventory = &self.job.document.inventory;
        let clusters = inventory.clusters();
        let mut networks = Vec::new();
        for (a, cluster) in clusters.iter().enumerate() {
            let inside = cluster.inside();
            networks.extend(
                inside.map(|network| NetworkView { clusters: vec![cluster.name()], network }),
            );
            for (b, other) in clusters.iter().enumerate().skip(a + 1) {
                let between = inventory.between(ClusterId(a as u32), ClusterId(b as u32));
                let names = vec![cluster.name(), other.name()];
                networks.extend(between.map(|network| NetworkView { clusters: names, network }));
            }
        }
        networks
    }

    fn group<'a>(&'a self, group: &'a SurveyedGroup) -> GroupView<'a> {
        let (a, b) = group.selection.slowest;
        let host = |node| self.job.document.inventory.host(node);
        GroupView {
            group,
            net_name: net_name(group.selection.carrier),
            slowest_hosts: (host(a), host(b)),
            explanation: group.selection.reason.to_string(),
        }
    }

    fn links(&self) -> Vec<LinkView<'_>> {
        let inventory = &self.job.document.inventory;
        let clusters = inventory.clusters();
        let link = |load: &super::LinkLoad| {
            let (a, b) = (load.from as usize, load.to as usize);
            let ids = [load.from, load.to].map(onepath_topology::cluster::ClusterId);
            LinkView {
                from: clusters[a].name(),
                to: clusters[b].name(),
                kind: inventory.between(ids[0], ids[1]).map(|network| network.kind),
                bytes: load.bytes,
            }
        };
        self.traffic.links.iter().map(link).collect()
    }

    fn constraints(&self) -> Vec<Constraint> {
        let stages = self.stages().into_iter().zip(&self.found.stages);
        let constraint = |(stage, found): (StageView<'_>, &_)| {
            let found: &onepath_topology::pipeline::search::FoundStage = found;
            let pool = self.pool(found.pool);
            Constraint {
                stage: stage.stage,
                first_rank: stage.first_rank,
                ranks: stage.ranks,
                gpus_per_node: pool.gpu().per_node,
                gpu: pool.gpu().kind.clone(),
                memory_bytes: found.memory,
                network: pool.inside().kind,
            }
        };
        stages.map(constraint).collect()
    }
}

/// The name of NCCL's built-in network (`ncclConfig_t`, `netName`); none inside of a node.
pub(crate) const fn net_name(carrier: Carrier) -> Option<&'static str> {
    match carrier {
        Carrier::Node => None,
        Carrier::Network(NetworkKind::InfiniBand | NetworkKind::Roce) => Some("IB"),
        Carrier::Network(NetworkKind::Ethernet) => Some("Socket"),
    }
}

/// The name of the first NIC of each kind.
fn interfaces(pool: &Pool) -> BTreeMap<NetworkKind, String> {
    let first = |kind| {
        let nic = pool.nics_for(kind).into_iter().next()?;
        Some((kind, nic.interface.clone().or_else(|| nic.hca.clone())?))
    };
    NetworkKind::ALL.into_iter().filter_map(first).collect()
}

/// NCCL's variables on the nodes of a pool. Names are exact matches (`=`), since `mlx5_1` would
/// mean `mlx5_10` too.
fn environment(pool: &Pool) -> BTreeMap<&'static str, String> {
    let mut environment = BTreeMap::new();
    let best = pool.inside().kind;
    let names = |name: fn(&Nic) -> Option<&String>, kind| {
        let names: Vec<&str> =
            pool.nics_for(kind).into_iter().filter_map(name).map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("={}", names.join(",")))
    };
    if best != NetworkKind::Ethernet {
        environment.extend(names(|nic| nic.hca.as_ref(), best).map(|names| ("NCCL_IB_HCA", names)));
        let index = pool.nics_for(best).into_iter().find_map(|nic| nic.gid_index);
        environment.extend(index.map(|index| ("NCCL_IB_GID_INDEX", index.to_string())));
    }
    let sockets = names(|nic| nic.interface.as_ref(), NetworkKind::Ethernet)
        .or_else(|| names(|nic| nic.interface.as_ref(), best));
    environment.extend(sockets.map(|names| ("NCCL_SOCKET_IFNAME", names)));
    environment
}
