//! Memory and descriptors of all ranks over time.

use std::fmt::Write as _;
use std::time::Duration;

use onepath_tests::status;

/// What one rank may have more at the end than after the first third, in KiB: buffers of sizes
/// that had not come up.
const MAY_GROW_KIB: u64 = 4 << 10;

#[derive(Clone, Copy, Debug)]
struct Sample {
    resident_kib: u64,
    descriptors: usize,
}

/// Samples of each rank.
#[derive(Debug)]
pub(super) struct Samples {
    ids: Vec<String>,
    taken: Vec<Vec<Sample>>,
}

impl Samples {
    pub(super) fn new(ids: &[u32]) -> Self {
        let taken = vec![Vec::new(); ids.len()];
        Self { ids: ids.iter().map(u32::to_string).collect(), taken }
    }

    /// Looks at all ranks; the first one that is gone, and how that shows.
    pub(super) fn take(&mut self, at: Duration) -> Result<(), (usize, String)> {
        let mut line = format!("{:>5} s:", at.as_secs());
        for (rank, id) in self.ids.iter().enumerate() {
            let failed = |error| (rank, format!("is gone: {error}"));
            let sample = Sample {
                resident_kib: status::memory(id).map_err(failed)?.resident_kib,
                descriptors: status::descriptors(id).map_err(failed)?,
            };
            let Sample { resident_kib, descriptors } = sample;
            // Writing to a String cannot fail.
            let _ = write!(line, "  {resident_kib} KiB, {descriptors} fds");
            self.taken[rank].push(sample);
        }
        println!("{line}");
        Ok(())
    }

    /// Compares the last third with the first: the most of each, because a split may be under way.
    pub(super) fn judge(&self) -> Result<(), String> {
        for (rank, samples) in self.taken.iter().enumerate() {
            let third = samples.len() / 3;
            if third == 0 {
                println!("too short to judge growth: {} samples", samples.len());
                return Ok(());
            }
            let (first, last) = (&samples[..=third], &samples[samples.len() - third..]);
            let most = |part: &[Sample]| {
                let memory = part.iter().map(|sample| sample.resident_kib).max().unwrap_or(0);
                (memory, part.iter().map(|sample| sample.descriptors).max().unwrap_or(0))
            };
            let ((memory, files), (memory_last, files_last)) = (most(first), most(last));
            println!(
                "rank {rank}: {memory} KiB and {files} fds in the first third, {memory_last} KiB \
                 and {files_last} fds in the last"
            );
            if memory_last > memory + MAY_GROW_KIB || files_last > files + 2 {
                return Err(format!("rank {rank} grows"));
            }
        }
        Ok(())
    }
}
