//! Why a rank does not know its place.

use std::io;
use std::path::PathBuf;

use crate::bootstrap::host_port::HostPortError;
use crate::bootstrap::node_list::NodeListError;

/// Why a rank does not know its place.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No launcher's variables are set.
    #[error(
        "this process does not know its rank: set ONEPATH_RANK and ONEPATH_WORLD_SIZE, or start \
         it by torchrun (RANK, WORLD_SIZE), Open MPI (OMPI_COMM_WORLD_RANK, \
         OMPI_COMM_WORLD_SIZE), an MPI with PMI (PMI_RANK, PMI_SIZE) or srun (SLURM_PROCID, \
         SLURM_NTASKS)"
    )]
    NoLauncher,
    /// One of two variables that belong together is missing.
    #[error("{present}={value} is set but {missing} is not: set both or neither")]
    HalfSet {
        /// The variable that is set.
        present: &'static str,
        /// Its value.
        value: String,
        /// The variable that is not set.
        missing: &'static str,
    },
    /// A number is not one, or is out of range.
    #[error("{variable}='{value}' is not right: use a whole number from {lowest} to {highest}")]
    Number {
        /// The variable or the file's field.
        variable: String,
        /// Its value.
        value: String,
        /// The smallest that is right.
        lowest: u32,
        /// The largest that is right.
        highest: u32,
    },
    /// An address is not one.
    #[error("{variable}: {cause}")]
    Address {
        /// The variable or the file's field.
        variable: String,
        /// What is wrong.
        cause: HostPortError,
    },
    /// Slurm's node list is not one.
    #[error("{variable}='{value}' is not right: the node list {cause}")]
    NodeList {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        cause: NodeListError,
    },
    /// The file can not be read.
    #[error("the launch file '{path}' can not be read: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file has other content than a launch.
    #[error(
        "the launch file '{path}', line {line}: {message}; it may have rank, world_size, \
         local_rank, local_world_size and rendezvous",
        path = path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in the file, from 1 on.
        line: usize,
        /// The parser's words.
        message: String,
    },
}
