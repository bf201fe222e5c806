//! What one rank does: a process of its own on its own host.

use std::io::{self, BufRead, Lines, StdinLock};
use std::process::ExitCode;
use std::time::Duration;

use onepath_collectives::bootstrap::InterfaceChoice;
use onepath_collectives::communicator::{
    BuildError, Builder, TransportKind, TuningSource, Waiting,
};
use onepath_collectives::pipeline::perceptron::{Perceptron, PerceptronStage};
use onepath_collectives::pipeline::{Adam, Links, Overlap, Pipeline, PipelineError, Settings};
use onepath_collectives::{CollectiveError, Communicator};
use onepath_topology::pipeline::schedule::{Schedule, ScheduleError, ScheduleKind};
use onepath_topology::{Bytes, Rank, WorldSize};

use super::message::{Command, Event, GroupTask, Task};
use crate::lab::talk::{end, now_ns, tell};

/// How long joining may take.
const JOIN: Duration = Duration::from_mins(1);

/// The optimizer of all runs.
pub(super) const OPTIMIZER: Adam = Adam::new(0.002);

/// Why a rank cannot do its part.
#[derive(Debug, thiserror::Error)]
enum RankError {
    /// Nobody tells it anything, or listens.
    #[error("talking to the lab: {0}")]
    Talk(#[from] io::Error),
    /// What it is told makes no sense.
    #[error("this is for the lab's own use: {0}")]
    Message(#[from] serde_json::Error),
    /// A group of no ranks.
    #[error("{0} ranks are no group")]
    World(usize),
    /// It does not come together with the others.
    #[error("joining: {0}")]
    Join(#[from] BuildError),
    /// No schedule.
    #[error("the schedule: {0}")]
    Schedule(#[from] ScheduleError),
    /// Training fails.
    #[error("training: {0}")]
    Train(#[from] PipelineError),
    /// Waiting for the others fails.
    #[error("waiting for the others: {0}")]
    Wait(#[from] CollectiveError),
    /// It is told something at the wrong time.
    #[error("told {0:?} out of turn")]
    Command(Command),
}

/// Does what the lab says on standard input, and tells it on standard output.
pub(crate) fn run() -> ExitCode {
    end(work(), |problem| Event::Failed { problem })
}

fn work() -> Result<(), RankError> {
    let mut commands = io::stdin().lock().lines();
    let task: Task = serde_json::from_str(&next(&mut commands)?)?;
    let limit = Duration::from_secs(task.timeout_s);
    let pipeline = join(&task.pipeline, limit)?;
    let data = join(&task.data, limit)?;
    let mut links = Links { pipeline, data };
    let kind = match task.virtual_stages {
        1 => ScheduleKind::OneForwardOneBackward,
        _ => ScheduleKind::Interleaved,
    };
    let micro_batches = task.model.micro_batches;
    let schedule = Schedule::new(kind, task.stages, micro_batches, task.virtual_stages)?;
    tell(&Event::Joined)?;
    loop {
        match serde_json::from_str(&next(&mut commands)?)? {
            Command::Train { overlap } => {
                links = train(&task, &schedule, links, overlap, &mut commands)?;
            }
            Command::Leave => return Ok(()),
            other @ Command::Go => return Err(RankError::Command(other)),
        }
    }
}

/// Trains from the beginning.
fn train(
    task: &Task,
    schedule: &Schedule,
    links: Links,
    overlap: bool,
    commands: &mut Lines<StdinLock<'static>>,
) -> Result<Links, RankError> {
    let model = Perceptron::from(task.model);
    let overlap = if overlap { Overlap::Both } else { Overlap::None };
    let bucket = Bytes(task.bucket);
    let settings = Settings { overlap, bucket, ..Settings::new(schedule) };
    let stages = task.layers.iter().map(|&(first, end)| model.stage(first..end)).collect();
    let mut pipeline: Pipeline<PerceptronStage, Adam> =
        Pipeline::new(&settings, links, stages, OPTIMIZER)?;
    let mut losses: Vec<Vec<f32>> = Vec::new();
    losses.push(pipeline.step()?.to_vec());
    pipeline.finish()?;
    tell(&Event::Warm)?;
    match serde_json::from_str(&next(commands)?)? {
        Command::Go => {}
        other => return Err(RankError::Command(other)),
    }
    let start_ns = now_ns();
    for _ in 0..task.iterations {
        losses.push(pipeline.step()?.to_vec());
    }
    pipeline.finish()?;
    let end_ns = now_ns();
    let bits = |losses: Vec<f32>| losses.into_iter().map(f32::to_bits).collect();
    let losses = losses.into_iter().map(bits).collect();
    let (links, _) = pipeline.into_parts()?;
    tell(&Event::Trained { start_ns, end_ns, losses })?;
    Ok(links)
}

fn join(group: &GroupTask, limit: Duration) -> Result<Communicator, RankError> {
    if group.ranks == 1 {
        return Ok(Communicator::alone());
    }
    let world = WorldSize::new(group.ranks as u64).map_err(|_| RankError::World(group.ranks))?;
    let filter = format!("={}", group.interface).parse().map_err(BuildError::from)?;
    let builder = Builder::new()
        .rank(Rank::from_index(group.rank))
        .world_size(world)
        .rendezvous(&group.rendezvous)?
        .interfaces(InterfaceChoice { filter: Some(filter), ..InterfaceChoice::default() })
        .transport(TransportKind::Tcp)
        // Nobody else is on this fabric.
        .insecure(true)
        // Ranks of all hosts share the cores of this machine.
        .waiting(Waiting::Sleep)
        .tuning(TuningSource::Model)
        .join_timeout(JOIN)
        .silence(limit)
        .operation_timeout(limit)
        .late_warning(limit);
    Ok(builder.build()?)
}

/// The next line; nothing but the lab's end closes the stream.
fn next(commands: &mut Lines<StdinLock<'static>>) -> io::Result<String> {
    commands.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
}
