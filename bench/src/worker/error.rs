//! Why a rank failed.

use std::io;
use std::path::PathBuf;

use onepath_collectives::communicator::BuildError;
use onepath_collectives::{CollectiveError, RegisterError};
use onepath_topology::Rank;

use crate::limits::LimitError;

/// Why a rank failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    /// The ranks did not meet.
    #[error("cannot join: {0}")]
    Join(#[from] BuildError),
    /// A collective failed.
    #[error("rank {rank}: {cause}")]
    Collective {
        /// The rank that tells.
        rank: Rank,
        /// What happened.
        cause: CollectiveError,
    },
    /// A buffer could not be registered.
    #[error("rank {rank}: --register: {cause}")]
    Register {
        /// The rank that tells.
        rank: Rank,
        /// What happened.
        cause: RegisterError,
    },
    /// A limit could not be measured.
    #[error("rank {rank}: {cause}")]
    Limit {
        /// The rank that tells.
        rank: Rank,
        /// What happened.
        cause: LimitError,
    },
    /// The limits are one host's.
    #[error(
        "limits need all ranks on one host, but rank {rank} is on {there} and rank 0 on {here}"
    )]
    Hosts {
        /// A rank on another host.
        rank: u32,
        /// Its host.
        there: String,
        /// The first rank's.
        here: String,
    },
    /// Nobody takes the output.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// The cost table could not be written.
    #[error("--write-tuning {path}: {cause}", path = path.display())]
    Tuning {
        /// Where to.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The system gave no seed.
    #[error("the system gave no random seed: {0}; say --seed")]
    Seed(getrandom::Error),
}

/// Says which rank it was.
pub(crate) trait AtRank<R> {
    /// The same error, with the rank that tells it.
    fn at(self, rank: Rank) -> Result<R, WorkError>;
}

impl<R> AtRank<R> for Result<R, CollectiveError> {
    fn at(self, rank: Rank) -> Result<R, WorkError> {
        self.map_err(|cause| WorkError::Collective { rank, cause })
    }
}

impl<R> AtRank<R> for Result<R, RegisterError> {
    fn at(self, rank: Rank) -> Result<R, WorkError> {
        self.map_err(|cause| WorkError::Register { rank, cause })
    }
}

impl<R> AtRank<R> for Result<R, LimitError> {
    fn at(self, rank: Rank) -> Result<R, WorkError> {
        self.map_err(|cause| WorkError::Limit { rank, cause })
    }
}
