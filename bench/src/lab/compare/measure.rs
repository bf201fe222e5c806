//! One run: the condition, the ranks, the call, the counters.

use std::time::{Duration, Instant};

use onepath_topology::WorldSize;

use super::cell::Cell;
use super::ideal::{OddSpine, ideal_s};
use super::kernel::TcpCounts;
use super::message::{Command, Event, Tally};
use super::places::Places;
use super::row::Row;
use super::world::{Heard, World};
use super::{RunError, Shared};
use crate::lab::cpu::{self, CpuTimes};
use crate::lab::fabric::{Fabric, FabricSpec, Snapshot, Spine, Traffic};

/// How long ranks may take to come together.
const JOIN: Duration = Duration::from_secs(90);

/// How long the check of the data may take.
const CHECK: Duration = Duration::from_mins(2);

/// Between two looks at the counters while a run goes on.
const SAMPLE: Duration = Duration::from_millis(200);

/// By so much no look is late on a machine that is merely busy.
const HELD_UP: Duration = Duration::from_secs(2);

/// A spine dies at this part of the ideal time of a healthy fabric.
const DEATH_AT: f64 = 0.5;

/// Seconds by which ranks give up later than the lab: it says why.
const RANKS_LATER: u64 = 5;

/// A run with what was seen on the links.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) row: Row,
    /// At the beginning of the call, every now and then, at its end; empty if ranks failed.
    pub(super) samples: Vec<Snapshot>,
}

/// What came of the call.
#[derive(Debug)]
struct Called {
    /// Of the slowest rank, from when the first one began; nothing if time was up.
    completion: Option<Duration>,
    traffic: Traffic,
    samples: Vec<Snapshot>,
    counts: TcpCounts,
    idle: f64,
}

/// Makes one run on a fabric that is healthy before and after.
pub(super) fn measure(fabric: &mut Fabric, cell: &Cell) -> Result<Measured, RunError> {
    fabric.set_seed(cell.seed)?;
    fabric.set_spray(cell.scheme.spray())?;
    let odd = cell.odd_spine(fabric.spec());
    if let Some((spine, rate)) = odd.and_then(|odd| Some((odd.spine, odd.rate?))) {
        fabric.set_spine_rate(spine, rate)?;
    }
    let result = run(fabric, cell);
    // The next run begins with a healthy fabric, whatever came of this one.
    if let Some(odd) = odd {
        fabric.heal(odd.spine)?;
        fabric.set_spine_rate(odd.spine, fabric.spec().uplink_rate())?;
    }
    result
}

/// A run that has not begun.
struct Setup {
    row: Row,
    places: Places,
    task: Shared,
    limit: Duration,
    odd: Option<OddSpine>,
}

impl Setup {
    fn new(spec: &FabricSpec, cell: &Cell) -> Result<Self, RunError> {
        let ranks = spec.host_count();
        let world = WorldSize::new(ranks as u64).map_err(|_| RunError::World { ranks })?;
        let places = Places::new(spec, cell.order, cell.seed);
        let Cell { collective, scheme, seed, .. } = *cell;
        let count = collective.count(cell.bytes, world);
        let sent = collective.sent(count, world, &places.targets);
        let odd = cell.odd_spine(spec);
        let healthy_s = ideal_s(spec, None, &places, &sent, scheme)?;
        let dies = odd.is_some_and(|odd| odd.rate.is_none());
        let ideal_s = ideal_s(spec, odd, &places, &sent, scheme)?;
        let limit = Duration::from_secs_f64(ideal_s * cell.condition.patience())
            + cell.condition.least_limit();
        let timeout_s = limit.as_secs() + RANKS_LATER;
        let row = Row {
            cell: *cell,
            spec: spec.clone(),
            payload_bytes: sent.iter().map(|sent| sent.bytes).sum(),
            completion_s: None,
            limit_s: limit.as_secs_f64(),
            ideal_s,
            death_s: dies.then_some(healthy_s * DEATH_AT),
            max_over_mean: None,
            counts: TcpCounts::default(),
            idle: 1.0,
            cpu_bound: false,
            unpinned: 0,
            tally: None,
            problem: None,
        };
        Ok(Self {
            row,
            places,
            task: Shared { scheme, collective, count, seed, timeout_s },
            limit,
            odd,
        })
    }
}

fn run(fabric: &mut Fabric, cell: &Cell) -> Result<Measured, RunError> {
    let setup = Setup::new(fabric.spec(), cell)?;
    let mut row = setup.row.clone();
    match with_ranks(fabric, &setup, &mut row) {
        Ok(samples) => Ok(Measured { row, samples }),
        Err(error) if error.is_of_the_ranks() => {
            row.problem = Some(error.to_string());
            Ok(Measured { row, samples: Vec::new() })
        }
        Err(error) => Err(error),
    }
}

fn with_ranks(
    fabric: &mut Fabric,
    setup: &Setup,
    row: &mut Row,
) -> Result<Vec<Snapshot>, RunError> {
    let mut world = World::start(fabric, &setup.places, &setup.task)?;
    row.unpinned = await_joined(&mut world)?.len();
    for call in 1..=row.cell.warm_ups {
        warm_up(&mut world, setup.limit, call)?;
    }
    let swallowing = setup.odd.filter(|odd| odd.rate.is_none()).map(|odd| odd.spine);
    let death = swallowing.zip(row.death_s.map(Duration::from_secs_f64));
    let called = call(fabric, &mut world, setup.limit, death)?;
    let living: Vec<Spine> =
        fabric.spec().spines().filter(|spine| Some(*spine) != swallowing).collect();
    row.completion_s = called.completion.map(|time| time.as_secs_f64());
    row.max_over_mean = called.traffic.max_over_mean(&living).map(|worst| worst.max_over_mean);
    row.counts = called.counts;
    row.idle = called.idle;
    row.cpu_bound = cpu::is_bound(called.idle);
    if called.completion.is_some() {
        row.tally = Some(check(world)?);
    }
    Ok(called.samples)
}

/// Until all ranks are connected; what they say of paths that were not found.
fn await_joined(world: &mut World) -> Result<Vec<String>, RunError> {
    let deadline = Instant::now() + JOIN;
    let (mut joined, mut all) = (0, Vec::new());
    while joined < world.size() {
        match world.hear(deadline)? {
            Heard::Event(_, Event::Joined { unpinned }) => {
                joined += 1;
                all.extend(unpinned);
            }
            Heard::Event(rank, event) => return Err(RunError::Unexpected { rank, event }),
            Heard::Nothing => return Err(RunError::Join { joined, of: world.size() }),
        }
    }
    Ok(all)
}

/// One call that is not timed.
fn warm_up(world: &mut World, limit: Duration, call: u32) -> Result<(), RunError> {
    let deadline = Instant::now() + limit;
    world.tell(Command::Go);
    let mut done = 0;
    while done < world.size() {
        match world.hear(deadline)? {
            Heard::Event(_, Event::Done { .. }) => done += 1,
            Heard::Event(rank, event) => return Err(RunError::Unexpected { rank, event }),
            Heard::Nothing => return Err(RunError::WarmUp { call, done, of: world.size(), limit }),
        }
    }
    Ok(())
}

/// From the order to begin until the last rank is done, or time is up.
fn call(
    fabric: &mut Fabric,
    world: &mut World,
    limit: Duration,
    mut death: Option<(Spine, Duration)>,
) -> Result<Called, RunError> {
    let counts = TcpCounts::now(fabric)?;
    let cpu = CpuTimes::now()?;
    let mut samples = vec![fabric.snapshot()?];
    let begin = Instant::now();
    world.tell(Command::Go);
    let (mut first_start, mut last_end, mut done) = (u64::MAX, 0, 0);
    while done < world.size() && begin.elapsed() < limit {
        if let Some((spine, _)) = death.take_if(|(_, at)| begin.elapsed() >= *at) {
            fabric.black_hole(spine)?;
        }
        let next = begin + SAMPLE * samples.len() as u32;
        let heard = world.hear(next);
        let held_up = next.elapsed();
        if held_up > HELD_UP {
            return Err(RunError::HeldUp { held_up });
        }
        match heard? {
            Heard::Event(_, Event::Done { start_ns, end_ns }) => {
                done += 1;
                first_start = first_start.min(start_ns);
                last_end = last_end.max(end_ns);
            }
            Heard::Event(rank, event) => return Err(RunError::Unexpected { rank, event }),
            Heard::Nothing => samples.push(fabric.snapshot()?),
        }
    }
    let idle = CpuTimes::now()?.idle_since(cpu);
    let end = fabric.snapshot()?;
    let traffic = end.since(&samples[0]);
    samples.push(end);
    let counts = TcpCounts::now(fabric)?.since(counts);
    let finished = done == world.size();
    let completion = finished.then(|| Duration::from_nanos(last_end.saturating_sub(first_start)));
    Ok(Called { completion, traffic, samples, counts, idle })
}

/// What all ranks found in their buffers and know of their subflows; lets them go.
fn check(mut world: World) -> Result<Tally, RunError> {
    world.tell(Command::Check);
    let deadline = Instant::now() + CHECK;
    let (mut checked, mut sum) = (0, Tally::default());
    while checked < world.size() {
        match world.hear(deadline)? {
            Heard::Event(_, Event::Checked(tally)) => {
                checked += 1;
                sum = sum.plus(tally);
            }
            Heard::Event(rank, event) => return Err(RunError::Unexpected { rank, event }),
            Heard::Nothing => return Err(RunError::Checked { checked, of: world.size() }),
        }
    }
    world.leave();
    Ok(sum)
}
