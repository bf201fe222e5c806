//! Who this rank is: from the variables that launchers set, or from a small file.
//!
//! The first launcher of [`Launcher`]'s order whose variables are there wins; a launcher of which
//! only the rank or only the size is set is an error, because a rank that guesses wrong joins the
//! wrong world. The address comes from `ONEPATH_RENDEZVOUS`, else from `MASTER_ADDR` and
//! `MASTER_PORT`, else (Slurm) from the first host of the node list.

mod address;
mod error;
mod file;

use onepath_topology::rank::MAX_WORLD_SIZE;
use onepath_topology::{Rank, WorldSize};

pub use address::RENDEZVOUS_VARIABLE;
pub use error::LaunchError;
pub use file::MAX_FILE_BYTES;

use super::host_port::HostPort;
use super::{Lookup, shown};

/// What told a rank who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `ONEPATH_RANK` and `ONEPATH_WORLD_SIZE`.
    Onepath,
    /// `torchrun` and everything that sets `RANK` and `WORLD_SIZE`.
    Torchrun,
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// MPICH's, Intel MPI's or another process manager with PMI.
    Pmi,
    /// `srun`.
    Slurm,
    /// A file.
    File,
}

/// A rank's place in its world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// This rank, below the world size.
    pub rank: Rank,
    /// Ranks in all.
    pub world_size: WorldSize,
    /// Its number among the ranks of its host, if known.
    pub local_rank: Option<u32>,
    /// Ranks on its host, if known.
    pub local_world_size: Option<u32>,
    /// Where the ranks meet, if it was said.
    pub rendezvous: Option<HostPort>,
    /// Where all this was read.
    pub source: Launcher,
}

/// The variables of one launcher.
struct Family {
    launcher: Launcher,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    local_size: Option<&'static str>,
    /// Whether the size alone says nothing: Slurm sets it in the shell of an allocation too.
    size_may_stand_alone: bool,
}

const FAMILIES: [Family; 5] = [
    Family {
        launcher: Launcher::Onepath,
        rank: "ONEPATH_RANK",
        size: "ONEPATH_WORLD_SIZE",
        local_rank: "ONEPATH_LOCAL_RANK",
        local_size: Some("ONEPATH_LOCAL_WORLD_SIZE"),
        size_may_stand_alone: false,
    },
    Family {
        launcher: Launcher::Torchrun,
        rank: "RANK",
        size: "WORLD_SIZE",
        local_rank: "LOCAL_RANK",
        local_size: Some("LOCAL_WORLD_SIZE"),
        size_may_stand_alone: false,
    },
    Family {
        launcher: Launcher::OpenMpi,
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: Some("OMPI_COMM_WORLD_LOCAL_SIZE"),
        size_may_stand_alone: false,
    },
    Family {
        launcher: Launcher::Pmi,
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        local_rank: "MPI_LOCALRANKID",
        local_size: Some("MPI_LOCALNRANKS"),
        size_may_stand_alone: false,
    },
    Family {
        launcher: Launcher::Slurm,
        rank: "SLURM_PROCID",
        size: "SLURM_NTASKS",
        local_rank: "SLURM_LOCALID",
        local_size: None,
        size_may_stand_alone: true,
    },
];

/// `PMIx` gives the rank but no size: Slurm's or Open MPI's variables stand beside it.
const PMIX_RANK: &str = "PMIX_RANK";

impl Launch {
    /// This rank's place as the environment tells it.
    pub fn from_environment(lookup: Lookup<'_>) -> Result<Self, LaunchError> {
        for family in &FAMILIES {
            if let Some(launch) = family.read(lookup)? {
                return Ok(launch);
            }
        }
        match lookup(PMIX_RANK) {
            Some(value) => Err(half_set(PMIX_RANK, &value, "PMI_SIZE")),
            None => Err(LaunchError::NoLauncher),
        }
    }
}

impl Family {
    /// `None` when none of its variables are set.
    fn read(&self, lookup: Lookup<'_>) -> Result<Option<Launch>, LaunchError> {
        let size = lookup(self.size);
        let mut rank = lookup(self.rank).map(|value| (self.rank, value));
        if rank.is_none() && size.is_some() && self.launcher == Launcher::Pmi {
            rank = lookup(PMIX_RANK).map(|value| (PMIX_RANK, value));
        }
        let (rank, size) = match (rank, size) {
            (None, None) => return Ok(None),
            (None, Some(_)) if self.size_may_stand_alone => return Ok(None),
            (None, Some(size)) => return Err(half_set(self.size, &size, self.rank)),
            (Some((name, rank)), None) => return Err(half_set(name, &rank, self.size)),
            (Some(rank), Some(size)) => (rank, (self.size, size)),
        };
        let optional = |name: &'static str| Some((name, lookup(name)?));
        let local_rank = optional(self.local_rank);
        let local_size = self.local_size.and_then(optional);
        let mut launch = Texts { rank, size, local_rank, local_size }.parse(self.launcher)?;
        launch.rendezvous = address::rendezvous(&launch, lookup)?;
        Ok(Some(launch))
    }
}

/// Names and values before they are parsed.
struct Texts {
    rank: (&'static str, String),
    size: (&'static str, String),
    local_rank: Option<(&'static str, String)>,
    local_size: Option<(&'static str, String)>,
}

impl Texts {
    fn parse(&self, source: Launcher) -> Result<Launch, LaunchError> {
        let size = number(&self.size, 1, MAX_WORLD_SIZE)?;
        let rank = number(&self.rank, 0, size - 1)?;
        let local_world_size =
            self.local_size.as_ref().map(|text| number(text, 1, size)).transpose()?;
        let local_limit = local_world_size.unwrap_or(size) - 1;
        let local_rank =
            self.local_rank.as_ref().map(|text| number(text, 0, local_limit)).transpose()?;
        let world_size = WorldSize::new(u64::from(size)).expect("the range was checked above");
        let rank = Rank::new(rank);
        Ok(Launch { rank, world_size, local_rank, local_world_size, rendezvous: None, source })
    }
}

fn number(
    (name, value): &(&'static str, String),
    lowest: u32,
    highest: u32,
) -> Result<u32, LaunchError> {
    match value.trim().parse() {
        Ok(number) if (lowest..=highest).contains(&number) => Ok(number),
        _ => Err(LaunchError::Number {
            variable: (*name).to_owned(),
            value: shown(value),
            lowest,
            highest,
        }),
    }
}

fn half_set(present: &'static str, value: &str, missing: &'static str) -> LaunchError {
    LaunchError::HalfSet { present, value: shown(value), missing }
}

#[cfg(test)]
mod tests;
