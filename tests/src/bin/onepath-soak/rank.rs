//! One rank of the soak.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onepath_collectives::Communicator;
use onepath_tests::mixed::Mixed;
use onepath_tests::oracle::{Pools, Sample};
use onepath_tests::{with_type, world};
use onepath_topology::Rank;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::Arguments;

/// Elements of the largest call.
const LENGTH: usize = 300_000;

/// Steps between two looks at the clock by rank 0.
const STEPS: u64 = 100;

/// Such rounds of steps between two splits.
const ROUNDS: u64 = 20;

pub(super) fn run(arguments: &Arguments, rank: usize, port: u16) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    let builder = world::builder(rank, arguments.ranks, port).map_err(|error| error.to_string())?;
    let builder = builder.transport(arguments.transport.unwrap_or_default());
    let communicator = builder.build().map_err(|error| error.to_string())?;
    let pools = Arc::new(Pools::new(arguments.ranks, LENGTH, arguments.seed));
    // All data is made now, so that it does not count as growth.
    for data_type in onepath_collectives::DataType::ALL {
        with_type!(data_type, T, make::<T>(&pools));
    }
    communicator.barrier().map_err(|error| error.to_string())?;
    println!("ready");
    let end = Instant::now() + Duration::from_secs_f64(arguments.minutes * 60.0);
    let mut mixed = Mixed::new(arguments.seed, pools);
    let (steps, splits) = work(&communicator, &mut mixed, end)?;
    println!("{steps} steps and {splits} splits, all results right");
    Ok(())
}

fn make<T: Sample>(pools: &Pools) {
    drop(pools.get::<T>());
}

/// Random steps until rank 0 says that the time is over; how many, and how many splits.
fn work(
    communicator: &Communicator,
    mixed: &mut Mixed,
    end: Instant,
) -> Result<(u64, u64), String> {
    let mut splits = 0;
    for round in 1.. {
        for _ in 0..STEPS {
            mixed.step(communicator).map_err(|error| error.to_string())?;
        }
        if round % ROUNDS == 0 {
            split(communicator).map_err(|error| format!("split {splits}: {error}"))?;
            splits += 1;
        }
        let mut over = [u8::from(Instant::now() >= end)];
        communicator.set_algorithm(None);
        communicator.broadcast(&mut over, Rank::new(0)).map_err(|error| error.to_string())?;
        if over == [1] {
            return Ok((round * STEPS, splits));
        }
    }
    unreachable!("rounds are counted without end")
}

/// Makes a communicator of every other rank, uses it and drops it.
fn split(communicator: &Communicator) -> Result<(), onepath_collectives::SplitError> {
    let color = communicator.rank().number() % 2;
    if let Some(part) = communicator.split(Some(color), 0)? {
        part.all_reduce(&mut vec![1_u32; 10_007], onepath_collectives::ReduceOp::Sum)?;
    }
    Ok(())
}
