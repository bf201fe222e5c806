//! Agreeing on a cost table, so that all ranks choose algorithms alike.

use std::path::Path;
use std::time::Instant;

use onepath_topology::{Bytes, Nanos, Rank};

use crate::algorithm::cost::{MAX_ENCODED_BYTES, Model, Row};
use crate::algorithm::{Algorithm, Class, CostTable, supports};
use crate::error::CollectiveError;
use crate::tuning::Tuning;
use crate::types::ReduceOp;

use super::Communicator;
use super::build_error::BuildError;
use super::builder::TuningSource;
use super::connect::Group;

const ROOT: Rank = Rank::new(0);

/// Sizes that are measured, with the number of timed calls. Beyond the last size times grow with
/// the size for every algorithm, so that the order stays.
const MEASURED: [(usize, usize); 7] = [
    (1 << 10, 12),
    (4 << 10, 8),
    (16 << 10, 8),
    (64 << 10, 6),
    (256 << 10, 6),
    (1 << 20, 5),
    (4 << 20, 3),
];

/// No further size is measured after this long: on a slow network the rest comes from the model's
/// shape, which is right where bandwidth decides.
const BUDGET: Nanos = Nanos::millis(400);

/// Makes all ranks use the table that the options name.
pub(super) fn agree(communicator: &Communicator) -> Result<(), BuildError> {
    let Some(group) = &communicator.group else { return Ok(()) };
    let table = match &group.options.tuning {
        TuningSource::Model => return Ok(()),
        TuningSource::Measure if group.options.algorithm.is_some() => return Ok(()),
        TuningSource::Measure => {
            let measured = measure(communicator, &group.options.transport.to_string())?;
            share(communicator, Ok(measured.encode()))?
        }
        TuningSource::File(path) => share(communicator, read(communicator, path))?,
    };
    communicator.engine.borrow_mut().set_tuning(Tuning::new(table));
    Ok(())
}

/// Rank 0's bytes; the other ranks bring none.
fn read(communicator: &Communicator, path: &Path) -> Result<Vec<u8>, BuildError> {
    if communicator.rank() != ROOT {
        return Ok(Vec::new());
    }
    let failed = |problem| BuildError::TuningFile { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let table = CostTable::decode(&bytes).map_err(|error| failed(error.to_string()))?;
    let (of, here) = (table.ranks(), communicator.world_size());
    if of != here {
        // Its times would not be used: the model would choose, and nobody would know why.
        return Err(failed(format!("ranks = {of} is wrong: this job has {here}")));
    }
    Ok(bytes)
}

/// Broadcasts rank 0's table, or that it has none.
fn share(
    communicator: &Communicator,
    mine: Result<Vec<u8>, BuildError>,
) -> Result<CostTable, BuildError> {
    let mut length = [mine.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64)];
    communicator.broadcast(&mut length, ROOT)?;
    let mut bytes = mine?;
    if length[0] > MAX_ENCODED_BYTES as u64 {
        return Err(BuildError::NoTable);
    }
    bytes.resize(length[0] as usize, 0);
    communicator.broadcast(&mut bytes, ROOT)?;
    Ok(CostTable::decode(&bytes)?)
}

/// Times every algorithm of all-reduce; only rank 0's times count.
fn measure(communicator: &Communicator, transport: &str) -> Result<CostTable, BuildError> {
    let algorithms: Vec<Algorithm> =
        Algorithm::ALL.into_iter().filter(|&a| supports(Class::AllReduce, a)).collect();
    let mut buffer = vec![0_f32; MEASURED[MEASURED.len() - 1].0 / size_of::<f32>()];
    let mut times = vec![Vec::new(); algorithms.len()];
    let mut sizes = Vec::new();
    let start = Instant::now();
    for (size, calls) in MEASURED {
        for (algorithm, times) in algorithms.iter().zip(&mut times) {
            communicator.set_algorithm(Some(*algorithm));
            let part = &mut buffer[..size / size_of::<f32>()];
            times.push(time(communicator, part, calls)?);
        }
        sizes.push(Bytes(size as u64));
        communicator.set_algorithm(None);
        let mut elapsed = [Nanos::from(start.elapsed()).get()];
        communicator.broadcast(&mut elapsed, ROOT)?;
        if Nanos(elapsed[0]) > BUDGET {
            break;
        }
    }
    let rows = algorithms.into_iter().zip(times);
    let rows = rows.map(|(algorithm, times)| Row { class: Class::AllReduce, algorithm, times });
    let world = communicator.world_size();
    let hosts = communicator.group.as_ref().map_or(1, Group::hosts);
    let model = Model::default();
    Ok(CostTable::measured(world, hosts, transport, model, sizes, rows.collect())?)
}

/// The median time of a call, after one that is not counted.
fn time(
    communicator: &Communicator,
    buffer: &mut [f32],
    calls: usize,
) -> Result<Nanos, CollectiveError> {
    communicator.all_reduce(buffer, ReduceOp::Max)?;
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        communicator.all_reduce(buffer, ReduceOp::Max)?;
        times.push(Nanos::from(start.elapsed()));
    }
    times.sort_unstable();
    Ok(Nanos(times[calls / 2].get().max(1)))
}
