//! Training under a plan against one process without pipeline.

#[path = "../../../transport/tests/support/counting.rs"]
mod counting;

mod allocation;
mod faults;
mod losses;
mod wrong;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use onepath_collectives::pipeline::perceptron::Perceptron;
use onepath_collectives::pipeline::{Links, Optimizer, Overlap, Pipeline, Settings};
use onepath_collectives::{Builder, Communicator, TransportKind, TuningSource};
use onepath_topology::pipeline::schedule::{Schedule, ScheduleKind};
use onepath_topology::{Bytes, Rank, WorldSize};

/// Iterations of each test.
const STEPS: u64 = 5;

/// What is trained, on how many ranks, how.
#[derive(Clone, Debug)]
struct Case {
    kind: ScheduleKind,
    stages: usize,
    virtual_stages: usize,
    overlap: Overlap,
    bucket: Bytes,
    transport: TransportKind,
    model: Perceptron,
}

impl Case {
    fn new(kind: ScheduleKind, stages: usize, virtual_stages: usize, replicas: u32) -> Self {
        let model = Perceptron {
            layers: 9,
            width: 24,
            samples: 3,
            micro_batches: 8,
            replicas,
            seed: 20_311,
        };
        Self {
            kind,
            stages,
            virtual_stages,
            overlap: Overlap::Both,
            bucket: Bytes(4_000),
            transport: TransportKind::Tcp,
            model,
        }
    }

    fn schedule(&self) -> Schedule {
        let (ranks, virtual_stages) = (self.stages as u32, self.virtual_stages as u32);
        Schedule::new(self.kind, ranks, self.model.micro_batches, virtual_stages).expect("it fits")
    }

    /// Layers of a stage of the model: nearly equal parts.
    fn layers(&self, stage: usize) -> std::ops::Range<usize> {
        let (all, layers) = (self.stages * self.virtual_stages, self.model.layers);
        stage * layers / all..(stage + 1) * layers / all
    }

    /// A rank's pipeline.
    fn pipeline<O: Optimizer>(
        &self,
        schedule: &Schedule,
        links: Links,
        optimizer: O,
    ) -> Pipeline<onepath_collectives::pipeline::perceptron::PerceptronStage, O> {
        let (overlap, bucket) = (self.overlap, self.bucket);
        let settings = Settings { overlap, bucket, ..Settings::new(schedule) };
        let rank = links.pipeline.rank().index();
        let stages = (0..self.virtual_stages)
            .map(|chunk| self.model.stage(self.layers(chunk * self.stages + rank)))
            .collect();
        Pipeline::new(&settings, links, stages, optimizer).expect("it fits")
    }

    /// Runs `body` on each rank, by replica and stage; what each returned.
    fn run<R: Send>(&self, body: impl Fn(Links) -> R + Sync) -> Vec<Vec<R>> {
        let replicas = self.model.replicas as usize;
        let ports: Vec<u16> = free_ports(replicas + self.stages);
        let (body, ports) = (&body, &ports);
        std::thread::scope(|scope| {
            let rank = |replica: usize, stage: usize| {
                scope.spawn(move || {
                    let pipeline = self.join(stage, self.stages, ports[replica]);
                    let data = self.join(replica, replicas, ports[replicas + stage]);
                    body(Links { pipeline, data })
                })
            };
            let all: Vec<Vec<_>> = (0..replicas)
                .map(|replica| (0..self.stages).map(|stage| rank(replica, stage)).collect())
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, R>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            all.into_iter().map(|row| row.into_iter().map(join).collect()).collect()
        })
    }

    fn join(&self, rank: usize, ranks: usize, port: u16) -> Communicator {
        if ranks == 1 {
            return Communicator::alone();
        }
        Builder::new()
            .rank(Rank::from_index(rank))
            .world_size(WorldSize::new(ranks as u64).expect("a size"))
            .rendezvous(&format!("127.0.0.1:{port}"))
            .expect("an address")
            .transport(self.transport)
            .tuning(TuningSource::Model)
            .operation_timeout(Duration::from_mins(1))
            .build()
            .expect("all ranks join")
    }
}

/// Ports of the loopback address that nobody listens on. They lie below the range from which
/// systems take automatic ports, so that no outgoing connection takes one meanwhile.
fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u32 = 18_000;
    const PORTS: u32 = 14_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = std::process::id().wrapping_mul(97);
    let all = (0..PORTS).map(|_| base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports: Vec<u16> = all.map(|at| (FIRST + at) as u16).filter(free).take(count).collect();
    assert_eq!(ports.len(), count, "ports from {FIRST} to {} are free", FIRST + PORTS);
    ports
}
