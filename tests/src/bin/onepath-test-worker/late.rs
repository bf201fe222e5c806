//! One rank makes its call after the others have warned of it, and perhaps given up.

use std::time::Duration;

use onepath_collectives::ReduceOp;

use super::{Arguments, WorkerError};

/// The rank that is late.
const LATE: usize = 1;

pub(super) fn run(arguments: &Arguments, seconds: u64, timeout: u64) -> Result<(), WorkerError> {
    let communicator = arguments
        .builder()?
        .late_warning(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(timeout))
        .build()?;
    communicator.barrier()?;
    println!("ready");
    if arguments.rank == LATE {
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let mut sum = [1_u32; 1_000];
    // A late rank may find all it needs already there, and that the others gave up only then.
    let result = communicator.all_reduce(&mut sum, ReduceOp::Sum);
    match result.and_then(|()| communicator.barrier()) {
        Ok(()) => println!("sum {}", sum[0]),
        Err(error) => println!("failed: {error}"),
    }
    Ok(())
}
