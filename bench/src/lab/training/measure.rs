//! One placement: its ranks train with overlap, then without.

use std::time::{Duration, Instant};

use super::message::{Command, Event, GroupTask, Task};
use super::placement::{Carrier, Group, Placement};
use super::plan::PlanOfJob;
use super::{TrainingError, Work};
use crate::arguments::STAGE_COMMAND;
use crate::lab::compare::world::{Heard, World};
use crate::lab::cpu::CpuTimes;
use crate::lab::fabric::clusters::Clusters;
use crate::lab::talk::line;

/// Where groups meet; each has a port of its own behind this one.
const RENDEZVOUS_PORT: usize = 29_400;

/// Ports for pipelines; those of stages come behind.
const PIPELINES: usize = 64;

/// How long ranks may take to do what comes next.
const LIMIT: Duration = Duration::from_mins(2);

/// Of the gradients of a rank, so that there is something to overlap.
const BUCKETS: u64 = 4;

/// What came of it.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) overlap: bool,
    /// Of one iteration, from when the first rank began to when the last one ended.
    pub(super) iteration_s: f64,
    /// Over all links between clusters in one iteration, headers included.
    pub(super) between_bytes: f64,
    /// By iteration: micro-batches of the first replica, then of the next.
    pub(super) losses: Vec<Vec<f32>>,
    /// The part of the time in which processors had nothing to do.
    pub(super) idle: f64,
}

/// Trains under a placement with overlap and without.
pub(super) fn measure(
    plan: &PlanOfJob,
    clusters: &Clusters,
    placement: &Placement,
    work: &Work,
) -> Result<Vec<Trained>, TrainingError> {
    let name = placement.kind.name();
    let seat = |rank| {
        let task = task(plan, clusters, placement, work, rank);
        (clusters.host(placement.nodes[rank]), line(&task))
    };
    let world = World::of_seats(STAGE_COMMAND, (0..plan.ranks()).map(seat));
    let mut run = Run { world: world.map_err(|cause| failed(name, cause))?, name };
    run.gather("connected", |event| matches!(event, Event::Joined).then_some(()).ok_or(event))?;
    let mut all = Vec::new();
    for overlap in [true, false] {
        all.push(run.train(clusters, work.iterations, overlap)?);
    }
    run.tell(Command::Leave);
    Ok(all)
}

fn failed(placement: &'static str, cause: crate::lab::compare::RunError) -> TrainingError {
    TrainingError::Run { placement, cause }
}

struct Run {
    world: World<Event>,
    name: &'static str,
}

impl Run {
    fn train(
        &mut self,
        clusters: &Clusters,
        iterations: u64,
        overlap: bool,
    ) -> Result<Trained, TrainingError> {
        self.tell(Command::Train { overlap });
        self.gather("warm", |event| matches!(event, Event::Warm).then_some(()).ok_or(event))?;
        let (bytes, cpu) = (clusters.between()?, CpuTimes::now());
        self.tell(Command::Go);
        let ranks = self.gather("done", |event| match event {
            Event::Trained { start_ns, end_ns, losses } => Ok((start_ns, end_ns, losses)),
            other => Err(other),
        })?;
        let (bytes, after) = (clusters.between()? - bytes, CpuTimes::now());
        let start = ranks.iter().map(|(start, _, _)| *start).min().unwrap_or(0);
        let end = ranks.iter().map(|(_, end, _)| *end).max().unwrap_or(0);
        let of_step = |step: usize| {
            let of_ranks = ranks.iter().filter_map(move |(_, _, losses)| losses.get(step));
            of_ranks.flatten().map(|bits| f32::from_bits(*bits)).collect()
        };
        let idle = cpu.and_then(|cpu| Ok(after?.idle_since(cpu)));
        Ok(Trained {
            overlap,
            iteration_s: end.saturating_sub(start) as f64 / 1e9 / iterations as f64,
            between_bytes: bytes as f64 / iterations as f64,
            losses: (0..=iterations as usize).map(of_step).collect(),
            idle: idle.map_err(|cause| failed(self.name, cause.into()))?,
        })
    }

    fn tell(&mut self, command: Command) {
        self.world.tell_each(&line(&command));
    }

    /// What every rank tells next, by rank.
    fn gather<T>(
        &mut self,
        what: &'static str,
        expected: impl Fn(Event) -> Result<T, Event>,
    ) -> Result<Vec<T>, TrainingError> {
        let deadline = Instant::now() + LIMIT;
        let mut told: Vec<Option<T>> = (0..self.world.size()).map(|_| None).collect();
        for done in 0..told.len() {
            match self.world.hear(deadline).map_err(|cause| failed(self.name, cause))? {
                Heard::Event(rank, event) => match expected(event) {
                    Ok(value) if told[rank].is_none() => told[rank] = Some(value),
                    Ok(_) => return Err(TrainingError::Unexpected { rank, said: what.to_owned() }),
                    Err(event) => {
                        let said = format!("{event:?}").chars().take(80).collect();
                        return Err(TrainingError::Unexpected { rank, said });
                    }
                },
                Heard::Nothing => {
                    let (placement, of, limit_s) = (self.name, told.len(), LIMIT.as_secs());
                    return Err(TrainingError::Late { placement, done, of, what, limit_s });
                }
            }
        }
        Ok(told.into_iter().flatten().collect())
    }
}

fn task(
    plan: &PlanOfJob,
    clusters: &Clusters,
    placement: &Placement,
    work: &Work,
    rank: usize,
) -> Task {
    let data = plan.degrees.data as usize;
    let (stage, replica) = (rank / data, rank % data);
    let groups = [
        (placement.pipeline_group(plan, replica), replica),
        (placement.data_group(plan, stage), PIPELINES + stage),
    ];
    let [pipeline, data] =
        groups.map(|(group, port)| group_task(plan, clusters, placement, &group, (rank, port)));
    let own = &plan.stages[stage];
    let parts = plan.degrees.virtual_stages as usize;
    let bytes = 4 * (work.model.width * (work.model.width + 1)) as u64 * own.layers as u64;
    Task {
        model: work.model,
        virtual_stages: plan.degrees.virtual_stages,
        stages: plan.degrees.pipeline,
        layers: parts_of(plan, stage, parts),
        pipeline,
        data,
        bucket: (bytes / BUCKETS).max(1),
        iterations: work.iterations,
        timeout_s: LIMIT.as_secs(),
    }
}

/// Layers of each virtual stage of a rank. A plan gives a rank contiguous layers; interleaved,
/// those of virtual stage c come behind those of all ranks' virtual stages before it.
fn parts_of(plan: &PlanOfJob, stage: usize, parts: usize) -> Vec<(usize, usize)> {
    let size = |stage: usize, part: usize| {
        let layers = plan.stages[stage].layers;
        layers * (part + 1) / parts - layers * part / parts
    };
    let stages = plan.stages.len();
    let before = |part: usize| -> usize {
        let earlier: usize = (0..part).flat_map(|p| (0..stages).map(move |s| size(s, p))).sum();
        earlier + (0..stage).map(|s| size(s, part)).sum::<usize>()
    };
    (0..parts).map(|part| (before(part), before(part) + size(stage, part))).collect()
}

fn group_task(
    plan: &PlanOfJob,
    clusters: &Clusters,
    placement: &Placement,
    group: &Group,
    (rank, port): (usize, usize),
) -> GroupTask {
    let at = |rank: usize| {
        let host = placement.nodes[rank];
        let node = &plan.nodes[host];
        let kind = match group.carrier {
            Carrier::Network(kind) => kind,
            // Inside of one host any of its addresses leads to it.
            Carrier::Node => {
                let inside = plan.network(&node.cluster, &node.cluster);
                inside.expect("a checked plan has all networks").kind
            }
        };
        (host, node.interfaces[&kind].clone())
    };
    let (host, device) = at(group.ranks[0]);
    let spec = clusters.spec();
    let is_there = |switch: &usize| spec.switches[*switch].hosts.contains(&(host, device.clone()));
    let switch = (0..spec.switches.len()).find(is_there);
    let address = switch.and_then(|switch| spec.address(switch, host));
    let address = address.expect("the fabric was made of the plan's networks");
    GroupTask {
        rank: group.ranks.iter().position(|member| *member == rank).expect("a member"),
        ranks: group.ranks.len(),
        rendezvous: format!("{address}:{}", RENDEZVOUS_PORT + port),
        interface: at(rank).1,
    }
}
