//! What the ranks tell each other before the first row.

use onepath_collectives::{CollectiveError, Communicator};
use onepath_topology::Rank;

use super::error::{AtRank, WorkError};
use crate::output::RankPlace;

/// Bytes in which a rank tells its host's name, padded with zeros.
const HOST_BYTES: usize = 64;

/// The first rank's seed, on every rank: the given one, or a random one.
pub(super) fn seed(communicator: &Communicator, given: Option<u64>) -> Result<u64, WorkError> {
    let own = match given {
        Some(seed) => seed,
        // Half the bits are enough, and the number is easier to type.
        None => u64::from(getrandom::u32().map_err(WorkError::Seed)?),
    };
    let mut seed = [own];
    communicator.broadcast(&mut seed, Rank::new(0)).at(communicator.rank())?;
    Ok(seed[0])
}

/// Where all ranks run.
pub(super) fn places(communicator: &Communicator) -> Result<Vec<RankPlace>, CollectiveError> {
    let ranks = communicator.world_size().get();
    let mut pids = vec![0_u32; ranks];
    communicator.all_gather(&[std::process::id()], &mut pids)?;
    let mut own = [0_u8; HOST_BYTES];
    let name = host();
    let length = name.len().min(HOST_BYTES);
    own[..length].copy_from_slice(&name.as_bytes()[..length]);
    let mut hosts = vec![0_u8; ranks * HOST_BYTES];
    communicator.all_gather(&own, &mut hosts)?;
    let places = pids.iter().zip(hosts.chunks(HOST_BYTES)).enumerate();
    Ok(places
        .map(|(rank, (&pid, host))| {
            let host = String::from_utf8_lossy(host);
            let host = host.trim_end_matches('\0').escape_debug().to_string();
            RankPlace { rank: rank as u32, pid, host }
        })
        .collect())
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
