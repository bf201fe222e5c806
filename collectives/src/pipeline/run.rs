//! Executes the schedule.

use std::collections::VecDeque;

use onepath_topology::Bytes;
use onepath_topology::pipeline::schedule::Schedule;

use super::chunk::{Chunk, Common, Counts};
use super::error::PipelineError;
use super::links::{Group, Links};
use super::optimizer::Optimizer;
use super::program::{Program, Step};
use super::stage::{Batch, Stage};
use crate::{Algorithm, CollectiveError};

/// Activations that are sent at once at most. Of gradients there are two for each virtual stage;
/// the communicator's limit is 128 in all.
const MOST_SENDS: usize = 32;

/// Buckets that may be in flight at once.
const MOST_BUCKETS: usize = 100;

/// What goes on while passes are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// Gradients are reduced during the backward passes, parameters gathered during the next
    /// forward passes.
    #[default]
    Both,
    /// Nothing: reduced after all passes, gathered before the next iteration begins.
    None,
}

/// How a pipeline runs; the same on all its ranks.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Who does what when.
    pub schedule: &'a Schedule,
    /// Whether reductions and gathers run beside passes.
    pub overlap: Overlap,
    /// What is reduced and gathered at once, at least; whole layers.
    pub bucket: Bytes,
    /// How the replicas reduce and gather. `Direct` needs their progress once only, `Ring` loads a
    /// network of many replicas more evenly.
    pub algorithm: Algorithm,
}

impl<'a> Settings<'a> {
    /// Overlapped, in buckets of 25 MiB, directly.
    pub const fn new(schedule: &'a Schedule) -> Self {
        let (overlap, bucket) = (Overlap::Both, Bytes::mib(25));
        Self { schedule, overlap, bucket, algorithm: Algorithm::Direct }
    }
}

/// One rank of a pipeline.
#[derive(Debug)]
pub struct Pipeline<S, O> {
    links: Links,
    optimizer: O,
    program: Program,
    overlap: Overlap,
    chunks: Vec<Chunk<S>>,
    /// Virtual stage and slot of activations that are sent, the oldest first.
    sends: VecDeque<(usize, usize)>,
    /// By micro-batch; of the last stage.
    losses: Vec<f32>,
    step: u64,
    /// Why a step did not end; there is none after it.
    failure: Option<CollectiveError>,
}

impl<S: Stage, O: Optimizer> Pipeline<S, O> {
    /// A rank with its `stages`, the virtual ones in order. Nothing is sent.
    pub fn new(
        settings: &Settings<'_>,
        links: Links,
        stages: Vec<S>,
        optimizer: O,
    ) -> Result<Self, PipelineError> {
        let schedule = settings.schedule;
        let (ranks, wanted) = (links.pipeline.world_size().get(), schedule.virtual_stages());
        if schedule.ranks().len() != ranks {
            return Err(PipelineError::Ranks { schedule: schedule.ranks().len(), ranks });
        }
        if stages.len() != wanted as usize {
            return Err(PipelineError::Stages { given: stages.len(), wanted: wanted as usize });
        }
        let program = Program::new(schedule, links.pipeline.rank().index())?;
        let common = Common {
            bucket_bytes: settings.bucket.get(),
            replica: links.data.rank().index(),
            replicas: links.data.world_size().get(),
            state: optimizer.state(),
        };
        let chunk = |(chunk, stage)| {
            let counts = Counts {
                slots: program.slots[chunk],
                gradients: program.gradients[chunk],
                receives: program.receives[chunk],
            };
            Chunk::new(stage, chunk, counts, common)
        };
        let chunks: Result<Vec<_>, _> = stages.into_iter().enumerate().map(chunk).collect();
        let chunks = chunks?;
        let buckets = chunks.iter().map(|chunk| chunk.buckets.len()).sum();
        if buckets > MOST_BUCKETS {
            let bytes = settings.bucket.get();
            return Err(PipelineError::Buckets { bytes, buckets, most: MOST_BUCKETS });
        }
        links.data.set_algorithm(Some(settings.algorithm));
        let micro_batches = schedule.micro_batches() as usize;
        let losses = if chunks.iter().any(|chunk| chunk.is_last) { micro_batches } else { 0 };
        Ok(Self {
            overlap: settings.overlap,
            sends: VecDeque::with_capacity(MOST_SENDS + 1),
            losses: vec![0.0; losses],
            step: 0,
            failure: None,
            links,
            optimizer,
            program,
            chunks,
        })
    }

    /// One iteration. Returns the loss of each micro-batch of this replica on the rank with the
    /// last stage, nothing on the others.
    ///
    /// With [`Overlap::Both`] parameters may still be gathered afterwards, which other ranks need
    /// this one for: [`finish`](Self::finish) comes after the last step.
    ///
    /// After a failure the pipeline is in the middle of a step: this and `finish` then return the
    /// same error for ever.
    pub fn step(&mut self) -> Result<&[f32], PipelineError> {
        self.unless_failed(|pipeline| {
            for at in 0..pipeline.program.steps.len() {
                pipeline.run(pipeline.program.steps[at])?;
            }
            Ok(())
        })?;
        self.step += 1;
        Ok(&self.losses)
    }

    /// Waits until the parameters of all layers are there.
    pub fn finish(&mut self) -> Result<(), PipelineError> {
        self.unless_failed(|pipeline| {
            pipeline.chunks.iter_mut().try_for_each(|chunk| chunk.settle(&pipeline.links))?;
            pipeline.sends.clear();
            Ok(())
        })
    }

    fn unless_failed(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), CollectiveError>,
    ) -> Result<(), PipelineError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        work(self).map_err(|error| {
            self.failure = Some(error.clone());
            error.into()
        })
    }

    /// The parameters of a layer of one of this rank's stages; nothing where there is none, and
    /// before [`finish`](Self::finish).
    pub fn parameters(&self, stage: usize, layer: usize) -> Option<&[f32]> {
        let chunk = self.chunks.get(stage)?;
        let gathered = chunk.buckets.iter().all(|bucket| !bucket.parameters.is_in_flight());
        if gathered { chunk.parameters(layer) } else { None }
    }

    /// Ends the pipeline and gives back what it was made from.
    pub fn into_parts(mut self) -> Result<(Links, Vec<S>), PipelineError> {
        self.finish()?;
        Ok((self.links, self.chunks.into_iter().map(|chunk| chunk.stage).collect()))
    }

    fn run(&mut self, step: Step) -> Result<(), CollectiveError> {
        let Self { links, chunks, .. } = self;
        match step {
            Step::PostActivation { chunk, slot, from } => {
                chunks[chunk].slots[slot].input.receive(&links.pipeline, from)
            }
            Step::PostGradient { chunk, slot, from } => {
                chunks[chunk].incoming[slot].receive(&links.pipeline, from)
            }
            Step::AwaitActivation { chunk, slot } => {
                links.settle(Group::Pipeline, &mut chunks[chunk].slots[slot].input)
            }
            Step::AwaitGradient { chunk, slot } => {
                links.settle(Group::Pipeline, &mut chunks[chunk].incoming[slot])
            }
            Step::Forward { micro_batch, chunk, slot } => {
                let batch = self.batch(micro_batch);
                self.chunks[chunk].forward(batch, slot, &self.links)
            }
            Step::Backward { micro_batch, chunk, slot, gradient, last } => {
                self.backward(micro_batch, chunk, (slot, gradient), last)
            }
            Step::SendActivation { chunk, slot, to } => {
                self.make_room()?;
                self.sends.push_back((chunk, slot));
                self.chunks[chunk].slots[slot].output.send(&self.links.pipeline, to)
            }
            Step::SendGradient { chunk, to } => {
                self.chunks[chunk].outgoing().send(&self.links.pipeline, to)
            }
            // Layers wait for their own parameters; without overlap they are there.
            Step::Gather => Ok(()),
            Step::Reduce => self.reduce(),
            Step::Update => self.update(),
        }
    }

    fn batch(&self, micro_batch: u32) -> Batch {
        Batch { step: self.step, replica: self.links.data.rank().number(), micro_batch }
    }

    fn backward(
        &mut self,
        micro_batch: u32,
        chunk: usize,
        buffers: (usize, Option<usize>),
        last: bool,
    ) -> Result<(), CollectiveError> {
        let batch = self.batch(micro_batch);
        let chunk = &mut self.chunks[chunk];
        if chunk.is_last {
            self.losses[micro_batch as usize] = chunk.loss(batch, buffers.0);
        }
        let (links, overlap) = (&self.links, last && self.overlap == Overlap::Both);
        chunk.backward(
            batch,
            buffers,
            links,
            |bucket| {
                if overlap { bucket.reduce(links) } else { Ok(()) }
            },
        )
    }

    /// Waits for the oldest activation that is sent if there are many.
    fn make_room(&mut self) -> Result<(), CollectiveError> {
        if self.sends.len() < MOST_SENDS {
            return Ok(());
        }
        let Some((chunk, slot)) = self.sends.pop_front() else { return Ok(()) };
        self.links.settle(Group::Pipeline, &mut self.chunks[chunk].slots[slot].output)
    }

    fn reduce(&mut self) -> Result<(), CollectiveError> {
        let links = &self.links;
        if self.overlap == Overlap::None {
            for bucket in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.buckets) {
                bucket.reduce(links)?;
            }
        }
        for bucket in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.buckets) {
            bucket.reduced(links)?;
        }
        Ok(())
    }

    fn update(&mut self) -> Result<(), CollectiveError> {
        let links = &self.links;
        // In the order in which the next forward passes need them.
        for bucket in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.buckets) {
            bucket.update(self.step, &self.optimizer, links)?;
        }
        if self.overlap == Overlap::None {
            for bucket in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.buckets) {
                bucket.gathered(links)?;
            }
        }
        Ok(())
    }
}
