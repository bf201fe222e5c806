//! The prediction.

use std::collections::BTreeSet;

use super::place::{Node, Places};
use super::{
    Constants, NetworkError, NetworkTable, Plan, PlanSchedule, Profiles, Replica, Scope, Stage,
    expected_largest,
};
use crate::cluster::shown;
use crate::pipeline::model::Profile;
use crate::units::{Bandwidth, Bytes};

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A profile is missing.
    #[error(
        "no profile of {gpu} at micro-batch {micro_batch} and tensor degree {tensor}: one of \
         {known} would be right"
    )]
    Profile {
        /// Which GPU.
        gpu: String,
        /// Which micro-batch.
        micro_batch: u32,
        /// Which tensor degree.
        tensor: u32,
        /// Which there are: GPU or `any`, micro-batch, tensor degree.
        known: String,
    },
    /// A layer that the profile does not have.
    #[error("layer {layer} is not in the profile of {gpu}: it has layers 0 to {last}")]
    Layer {
        /// What the plan names.
        layer: u32,
        /// Whose profile.
        gpu: String,
        /// The last that there is.
        last: usize,
    },
    /// The network table has no answer.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// One stage of a prediction: of its slowest or fullest replica.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StagePrediction {
    /// Computing of one micro-batch, in seconds.
    pub compute_s: f64,
    /// Its transfers to and from both neighbours, in seconds a micro-batch.
    pub transfers_s: f64,
    /// Reduction of its gradients without waiting, in seconds.
    pub reduction_s: f64,
    /// Its optimizer step, in seconds.
    pub update_s: f64,
    /// Memory of its fullest GPU.
    pub memory: Bytes,
}

/// What a plan should show when it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// One iteration, in seconds.
    pub iteration_s: f64,
    /// Reduction of gradients as a rank of mean speed sees it: its own and waiting for the
    /// slowest replica; in seconds.
    pub reduction_s: f64,
    /// Of the fullest GPU.
    pub max_memory: Bytes,
    /// By pipeline, then stage.
    pub stages: Vec<Vec<StagePrediction>>,
}

/// Predicts one iteration:
/// `((m − 1) · slowest stage + Σ stages + Σ boundaries) · spread + reduction + update`, the
/// largest over all pipelines of GPUs, where a stage's time holds the transfers it waits for.
pub fn predict(
    plan: &Plan,
    profiles: &Profiles,
    network: &NetworkTable,
    constants: &Constants,
) -> Result<Prediction, PredictError> {
    let model = Model::new(plan, profiles, network, constants);
    let micro_batches = plan.micro_batches() as f64;
    let mut stages = Vec::with_capacity(plan.pipelines.len());
    let mut base: f64 = 0.0;
    for (number, pipeline) in plan.pipelines.iter().enumerate() {
        let mut shown = vec![StagePrediction::default(); pipeline.stages.len()];
        for replica in 0..pipeline.stages[0].replicas.len() {
            let chain = model.chain(number, replica)?;
            let period = chain.iter().map(Link::period).fold(0.0, f64::max);
            let fill: f64 = chain.iter().map(|link| link.compute + link.after).sum();
            base = base.max((micro_batches - 1.0) * period + fill);
            for (shown, link) in shown.iter_mut().zip(&chain) {
                shown.compute_s = shown.compute_s.max(link.compute);
                shown.transfers_s = shown.transfers_s.max(link.before + link.after);
                shown.update_s = shown.update_s.max(link.update);
                shown.memory = shown.memory.max(link.memory);
            }
        }
        for (index, shown) in shown.iter_mut().enumerate() {
            shown.reduction_s = model.reduction(number, index)?;
        }
        stages.push(shown);
    }
    let all = || stages.iter().flatten();
    let own = all().map(|stage| stage.reduction_s).fold(0.0, f64::max);
    let update = all().map(|stage| stage.update_s).fold(0.0, f64::max);
    let slowest = constants.gpu_spread * expected_largest(plan.gpus());
    let per_replica = plan.gpus() / plan.replicas() as u64;
    let usual = constants.gpu_spread * expected_largest(per_replica);
    Ok(Prediction {
        iteration_s: base * (1.0 + slowest) + own + update,
        reduction_s: own + base * (slowest - usual).max(0.0),
        max_memory: all().map(|stage| stage.memory).max().unwrap_or_default(),
        stages,
    })
}

/// One stage in one pipeline of GPUs; seconds.
struct Link {
    compute: f64,
    /// Both transfers of the boundary before and after.
    before: f64,
    after: f64,
    update: f64,
    memory: Bytes,
}

impl Link {
    fn period(&self) -> f64 {
        self.compute + self.before + self.after
    }
}

struct Model<'a> {
    plan: &'a Plan,
    profiles: &'a Profiles,
    network: &'a NetworkTable,
    constants: &'a Constants,
    places: Places<'a>,
    one_kind: bool,
}

impl<'a> Model<'a> {
    fn new(
        plan: &'a Plan,
        profiles: &'a Profiles,
        network: &'a NetworkTable,
        constants: &'a Constants,
    ) -> Self {
        let stages = plan.pipelines.iter().flat_map(|pipeline| &pipeline.stages);
        let kinds: BTreeSet<&str> = stages
            .flat_map(|stage| stage.replicas.iter().map(|replica| replica.gpu.as_str()))
            .collect();
        let one_kind = kinds.len() == 1;
        Self { plan, profiles, network, constants, places: Places::new(plan), one_kind }
    }

    fn profile(&self, replica: &Replica) -> Result<&'a Profile, PredictError> {
        let (gpu, tensor) = (&replica.gpu, replica.tensor_parallel);
        let found = self.profiles.get(gpu, self.plan.micro_batch, tensor, self.one_kind);
        found.ok_or_else(|| PredictError::Profile {
            gpu: shown(gpu),
            micro_batch: self.plan.micro_batch,
            tensor,
            known: self.profiles.known(gpu),
        })
    }

    /// The profile of a replica, if it has all layers of its stage.
    fn checked(&self, stage: &Stage, replica: &Replica) -> Result<&'a Profile, PredictError> {
        let profile = self.profile(replica)?;
        let last = profile.layers.len() - 1;
        match stage.layers.iter().find(|layer| **layer as usize > last) {
            Some(&layer) => Err(PredictError::Layer { layer, gpu: shown(&replica.gpu), last }),
            None => Ok(profile),
        }
    }

    /// The stages of the `replica`-th pipeline of GPUs.
    fn chain(&self, pipeline: usize, replica: usize) -> Result<Vec<Link>, PredictError> {
        let stages = &self.plan.pipelines[pipeline].stages;
        let mut chain: Vec<Link> = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            let here = &stage.replicas[replica];
            let profile = self.checked(stage, here)?;
            let before = chain.last().map_or(0.0, |link| link.after);
            let after = match stages.get(index + 1) {
                Some(_) => self.boundary(pipeline, index, replica, profile)?,
                None => 0.0,
            };
            let micro_batches = self.plan.micro_batches();
            let in_flight = match self.plan.schedule {
                PlanSchedule::OneForwardOneBackward => (stages.len() - index) as u64,
                PlanSchedule::GPipe => micro_batches,
            };
            let in_flight = in_flight.min(micro_batches);
            chain.push(Link { before, after, ..self.alone(stage, profile, in_flight) });
        }
        Ok(chain)
    }

    /// A stage without its neighbours.
    fn alone(&self, stage: &Stage, profile: &Profile, in_flight: u64) -> Link {
        let layers = || stage.layers.iter().map(|layer| &profile.layers[*layer as usize]);
        let parameters: u64 = layers().map(|layer| layer.parameters.0).sum();
        let activations: u64 = layers().map(|layer| layer.activation.0).sum();
        let time: f64 = layers().map(|layer| layer.time.0 as f64 / 1e9).sum();
        let update = profile.optimizer.0 as f64 / 1e9 * parameters as f64
            / profile.parameters().0.max(1) as f64;
        let accumulate = self.passes(profile, self.constants.accumulation_passes, parameters);
        let accumulate = if self.plan.micro_batches() > 1 { accumulate } else { 0.0 };
        // As the profile counts it: parameters, gradients, two moments, one copy.
        let tensors = 5.0 * parameters as f64 + in_flight as f64 * activations as f64;
        let memory = (tensors * (1.0 + self.constants.allocator_slack)).min(1e18);
        Link {
            compute: time + accumulate,
            before: 0.0,
            after: 0.0,
            update,
            memory: Bytes(memory as u64) + self.constants.runtime_memory,
        }
    }

    /// Seconds to move `bytes` through memory `passes` times, at the bandwidth that the
    /// profile's optimizer step shows.
    fn passes(&self, profile: &Profile, passes: f64, bytes: u64) -> f64 {
        let whole = self.constants.optimizer_passes * profile.parameters().0.max(1) as f64;
        profile.optimizer.0 as f64 / 1e9 * passes * bytes as f64 / whole
    }

    /// Both transfers between a stage and the next, in seconds.
    fn boundary(
        &self,
        pipeline: usize,
        stage: usize,
        replica: usize,
        profile: &Profile,
    ) -> Result<f64, PredictError> {
        let stages = &self.plan.pipelines[pipeline].stages;
        let ends = [stage, stage + 1];
        let [from, to] = ends.map(|stage| &stages[stage].replicas[replica]);
        let last = stages[stage].layers[stages[stage].layers.len() - 1];
        let bytes = profile.layers[last as usize].output;
        let [here, there] = ends.map(|stage| self.places.node(pipeline, stage, replica));
        let rate = if here == there {
            let both = from.tensor_parallel.min(to.tensor_parallel);
            let share = Bytes(bytes.0.div_ceil(u64::from(both)));
            let curve = self.network.curve(Scope::Intra, &from.gpu, 2)?;
            curve.bandwidth(share).0 * f64::from(both)
        } else {
            let rate = |end: usize, replica: &Replica, node| {
                let sharing = self.sharing(pipeline, ends, end, node);
                self.nic_share(replica, bytes, sharing)
            };
            rate(0, from, here)?.min(rate(1, to, there)?)
        };
        let overhead = self.constants.transfer_overhead.0 as f64 / 1e9;
        let gathers = self.gather(from, bytes)? + self.gather(to, bytes)?;
        Ok(2.0 * (overhead + bytes.0 as f64 / rate) + gathers)
    }

    /// GPUs on `node`, at one end of a boundary, that send over the node's NICs at the same time.
    fn sharing(&self, pipeline: usize, ends: [usize; 2], end: usize, node: Node<'_>) -> u32 {
        let replicas = &self.plan.pipelines[pipeline].stages[ends[end]].replicas;
        let near = self.places.stage(pipeline, ends[end]);
        let far = self.places.stage(pipeline, ends[1 - end]);
        let crossing = (0..replicas.len()).filter(|&r| near[r] == node && far[r] != node);
        let gpus: u32 = crossing.map(|r| replicas[r].tensor_parallel).sum();
        gpus.max(1)
    }

    /// What a replica gets of its nodes' NICs while `sharing` GPUs of a node send, in bytes a
    /// second.
    fn nic_share(
        &self,
        replica: &Replica,
        bytes: Bytes,
        sharing: u32,
    ) -> Result<f64, NetworkError> {
        let active = sharing.min(replica.gpus_per_node);
        let share = Bytes(bytes.0.div_ceil(u64::from(replica.tensor_parallel)));
        let curve = self.network.curve(Scope::Inter, &replica.gpu, active)?;
        let one = curve.bandwidth(share).0 / f64::from(active);
        Ok(one * f64::from(replica.tensor_parallel))
    }

    /// The all-gather that puts a received tensor together on every GPU of a replica, in seconds.
    fn gather(&self, replica: &Replica, bytes: Bytes) -> Result<f64, NetworkError> {
        let tensor = replica.tensor_parallel;
        if tensor < 2 {
            return Ok(0.0);
        }
        let rate = self.network.curve(Scope::Intra, &replica.gpu, tensor)?.bandwidth(bytes);
        let share = bytes.0 as f64 * f64::from(tensor - 1) / f64::from(tensor);
        Ok(share / rate.0)
    }

    /// The reduction of one stage's gradients over all replicas, in seconds. Every ring joins one
    /// GPU of each replica; where tensor degrees differ there are as many as the largest.
    fn reduction(&self, pipeline: usize, index: usize) -> Result<f64, PredictError> {
        let stage = &self.plan.pipelines[pipeline].stages[index];
        let members = self.plan.replicas() as u64;
        let rings = stage.replicas.iter().map(|replica| replica.tensor_parallel).max();
        let rings = rings.unwrap_or(1);
        let nodes: BTreeSet<Node<'_>> =
            self.places.stage(pipeline, index).iter().copied().collect();
        let crosses = nodes.len() > 1 || members > stage.replicas.len() as u64;
        let mut slowest: f64 = 0.0;
        for replica in &stage.replicas {
            let profile = self.checked(stage, replica)?;
            let layers = stage.layers.iter().map(|layer| &profile.layers[*layer as usize]);
            let own: u64 = layers.map(|layer| layer.parameters.0).sum();
            let ring = own as f64 * f64::from(replica.tensor_parallel) / f64::from(rings);
            let tensors = stage.layers.len() as f64 * f64::from(self.constants.tensors_per_layer);
            let launches = 2.0 * tensors * self.constants.kernel_launch.0 as f64 / 1e9;
            let copies = self.passes(profile, self.constants.reduction_passes, own);
            let mut time = launches + copies;
            if members > 1 {
                let chunk = Bytes((ring / members as f64).ceil() as u64);
                let rate = self.ring_rate(replica, rings, members, crosses, chunk)?;
                let steps = 2.0 * (members - 1) as f64;
                let latency = self.constants.hop_latency.0 as f64 / 1e9;
                time += steps * (latency + ring / members as f64 / rate.0);
            }
            slowest = slowest.max(time);
        }
        Ok(slowest)
    }

    /// What one of `rings` rings through a replica gets on its way to the next node.
    fn ring_rate(
        &self,
        replica: &Replica,
        rings: u32,
        members: u64,
        crosses: bool,
        chunk: Bytes,
    ) -> Result<Bandwidth, NetworkError> {
        if !crosses {
            let members = u32::try_from(members).unwrap_or(u32::MAX);
            let curve = self.network.curve(Scope::Intra, &replica.gpu, members)?;
            return Ok(curve.bandwidth(chunk));
        }
        let active = replica.tensor_parallel.min(replica.gpus_per_node);
        let curve = self.network.curve(Scope::Inter, &replica.gpu, active)?;
        let on_node = f64::from(rings) * f64::from(active) / f64::from(replica.tensor_parallel);
        Ok(Bandwidth(curve.bandwidth(chunk).0 / on_node))
    }
}
