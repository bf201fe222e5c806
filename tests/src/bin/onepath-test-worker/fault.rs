//! Random calls until a rank dies, then a right all-reduce of the survivors.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use onepath_collectives::{CollectiveError, Communicator, ReduceOp};
use onepath_tests::mixed::Mixed;
use onepath_tests::oracle::Pools;
use onepath_tests::status;

use super::{Arguments, WorkerError};

/// Elements of the largest call: large enough to be hit in its middle.
const LENGTH: usize = 300_000;

/// How long the survivors may take to find each other.
const SHRINK_LIMIT: Duration = Duration::from_secs(15);

pub(super) fn run(arguments: &Arguments) -> Result<(), WorkerError> {
    let communicator = arguments.join()?;
    let pools = Arc::new(Pools::new(arguments.ranks, LENGTH, arguments.seed));
    let mut mixed = Mixed::new(arguments.seed, pools);
    communicator.barrier()?;
    println!("ready");
    let failure = loop {
        if let Err(error) = mixed.step(&communicator) {
            break error.collective().cloned().ok_or(error)?;
        }
    };
    let survived = match &failure {
        CollectiveError::RankDead { rank, .. } => {
            println!("dead {rank}: {failure}");
            true
        }
        // What a rank sees that was stopped for so long that the others went on.
        CollectiveError::Excluded => {
            println!("excluded: {failure}");
            false
        }
        _ => return Err(failure.into()),
    };
    if survived {
        go_on(communicator, arguments.rank)?;
    }
    let named = status::named_shared_memory()?;
    if named.is_empty() { Ok(()) } else { Err(WorkerError::NamedMemory(named)) }
}

/// Shrinks, adds up who is left, and stays until the parent says that all are done.
fn go_on(communicator: Communicator, rank: usize) -> Result<(), WorkerError> {
    let ranks = communicator.world_size().get();
    let survivors = match communicator.shrink(SHRINK_LIMIT) {
        Ok(survivors) => survivors,
        Err(error) => {
            println!("excluded: {error}");
            return Ok(());
        }
    };
    let left = survivors.world_size().get();
    let mut sum = vec![1_u64 << rank; 100_003];
    survivors.all_reduce(&mut sum, ReduceOp::Sum)?;
    let all_alike = sum.iter().all(|&element| element == sum[0]);
    if left + 1 != ranks || sum[0].count_ones() as usize != left || !all_alike {
        return Err(WorkerError::WrongSurvivors { ranks: left, sum: sum[0] });
    }
    println!("survivors {:#b}", sum[0]);
    // Ends when the parent closes its side.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
