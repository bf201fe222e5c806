//! The most memory that large calls take beyond the caller's buffers.

use onepath_collectives::{Algorithm, ReduceOp};
use onepath_tests::status;

use super::{Arguments, WorkerError};

/// Prints the peak of resident memory beyond what was resident with both buffers filled and
/// nothing else, in KiB, after each algorithm.
pub(super) fn run(arguments: &Arguments, mebibytes: usize) -> Result<(), WorkerError> {
    // Whole pages are resident only once they are written.
    let mut buffer = vec![1.0_f32; mebibytes << 18];
    let mut output = vec![2.0_f32; mebibytes << 18];
    let base = status::memory("self")?.resident_kib;
    let communicator = arguments.join()?;
    for algorithm in Algorithm::ALL {
        communicator.set_algorithm(Some(algorithm));
        communicator.all_reduce_into(&buffer, &mut output, ReduceOp::Sum)?;
        communicator.all_reduce(&mut buffer, ReduceOp::Max)?;
        let beyond = status::memory("self")?.peak_kib.saturating_sub(base);
        println!("{algorithm}: {beyond}");
    }
    Ok(())
}
