//! Who this rank is: from the variables that launchers set, or from a small file.
//!
//! The first launcher of [`Launcher`]'s order whose variables are there wins; a launcher of which
//! only the rank or only the size is set is an error, because a rank that guesses wrong joins the
//! wrong world. The address comes from `ONEPATH_RENDEZVOUS`, else from `MASTER_ADDR` and
//! `MASTER_PORT`, else (Slurm) from the first host of the node list.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use onepath_topology::rank::MAX_WORLD_SIZE;
use onepath_topology::{Rank, WorldSize};
use serde::Deserialize;

use super::host_port::{DEFAULT_PORT, HostPort, HostPortError};
use super::node_list::{NodeListError, first_host};
use super::{Lookup, shown};

/// The variable with the rendezvous' `HOST:PORT`, for every launcher.
pub const RENDEZVOUS_VARIABLE: &str = "ONEPATH_RENDEZVOUS";

/// The longest launch file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

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

/// PMIx gives the rank but no size: Slurm's or Open MPI's variables stand beside it.
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

    /// This rank's place as a TOML file tells it:
    ///
    /// ```toml
    /// world_size = 4
    /// rendezvous = "10.0.0.1:29400"
    /// rank = 0              # these three may be missing, so that all ranks can share a file:
    /// local_rank = 0        # then ONEPATH_RANK, ONEPATH_LOCAL_RANK
    /// local_world_size = 4  # and ONEPATH_LOCAL_WORLD_SIZE are read
    /// ```
    pub fn from_file(path: &Path, lookup: Lookup<'_>) -> Result<Self, LaunchError> {
        let content = read_file(path)?;
        let file: LaunchFile = toml::from_str(&content).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + content
                .bytes()
                .take(start)
                .filter(|&byte| byte == b'\n')
                .count();
            let message = error.message().replace('\n', " ");
            LaunchError::Content {
                path: path.to_owned(),
                line,
                message,
            }
        })?;
        file.into_launch(lookup)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchFile {
    rank: Option<u32>,
    world_size: u32,
    local_rank: Option<u32>,
    local_world_size: Option<u32>,
    rendezvous: Option<String>,
}

impl LaunchFile {
    fn into_launch(self, lookup: Lookup<'_>) -> Result<Launch, LaunchError> {
        let [own, ..] = &FAMILIES;
        let either = |field: &'static str, value: Option<u32>, variable: &'static str| {
            let inside = value.map(|number| (field, number.to_string()));
            inside.or_else(|| Some((variable, lookup(variable)?)))
        };
        let rank = either("rank", self.rank, own.rank).ok_or_else(|| {
            half_set(
                "world_size",
                &self.world_size.to_string(),
                "rank (or ONEPATH_RANK)",
            )
        })?;
        let local_size = own
            .local_size
            .and_then(|name| either("local_world_size", self.local_world_size, name));
        let mut launch = Texts {
            rank,
            size: ("world_size", self.world_size.to_string()),
            local_rank: either("local_rank", self.local_rank, own.local_rank),
            local_size,
        }
        .parse(Launcher::File)?;
        launch.rendezvous = match self.rendezvous {
            Some(text) => Some(address("rendezvous", &text, DEFAULT_PORT)?),
            None => rendezvous(&launch, lookup)?,
        };
        Ok(launch)
    }
}

fn read_file(path: &Path) -> Result<String, LaunchError> {
    let failed = |cause| LaunchError::File {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(failed)?;
    let mut content = String::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    let length = file
        .take(limit)
        .read_to_string(&mut content)
        .map_err(failed)?;
    if length > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(content)
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
        let mut launch = Texts {
            rank,
            size,
            local_rank,
            local_size,
        }
        .parse(self.launcher)?;
        launch.rendezvous = rendezvous(&launch, lookup)?;
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
        let local_world_size = self
            .local_size
            .as_ref()
            .map(|text| number(text, 1, size))
            .transpose()?;
        let local_limit = local_world_size.unwrap_or(size) - 1;
        let local_rank = self
            .local_rank
            .as_ref()
            .map(|text| number(text, 0, local_limit))
            .transpose()?;
        let world_size = WorldSize::new(u64::from(size)).expect("the range was checked above");
        let rank = Rank::new(rank);
        Ok(Launch {
            rank,
            world_size,
            local_rank,
            local_world_size,
            rendezvous: None,
            source,
        })
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
    LaunchError::HalfSet {
        present,
        value: shown(value),
        missing,
    }
}

fn address(variable: &str, text: &str, default_port: u16) -> Result<HostPort, LaunchError> {
    HostPort::parse(text.trim(), default_port).map_err(|cause| LaunchError::Address {
        variable: variable.to_owned(),
        cause,
    })
}

/// Where the ranks of `launch` meet, if the environment says it.
fn rendezvous(launch: &Launch, lookup: Lookup<'_>) -> Result<Option<HostPort>, LaunchError> {
    if let Some(text) = lookup(RENDEZVOUS_VARIABLE) {
        return address(RENDEZVOUS_VARIABLE, &text, DEFAULT_PORT).map(Some);
    }
    let port = lookup("MASTER_PORT");
    let parsed = match &port {
        Some(port) => number(&("MASTER_PORT", port.clone()), 1, u32::from(u16::MAX))? as u16,
        None => DEFAULT_PORT,
    };
    let (variable, host) = match (lookup("MASTER_ADDR"), slurm_host(launch, lookup)?) {
        (Some(host), _) => ("MASTER_ADDR", host),
        (None, Some((variable, host))) => (variable, host),
        (None, None) => {
            return match port {
                Some(port) => Err(half_set("MASTER_PORT", &port, "MASTER_ADDR")),
                None => Ok(None),
            };
        }
    };
    HostPort::new(host.trim(), free_port(parsed, lookup))
        .map(Some)
        .map_err(|cause| LaunchError::Address {
            variable: variable.to_owned(),
            cause,
        })
}

/// With this variable torchrun says that its own store listens on `MASTER_PORT` already
/// (`torch.distributed.elastic`), so we take the next port, on all ranks alike.
fn free_port(port: u16, lookup: Lookup<'_>) -> u16 {
    match lookup("TORCHELASTIC_USE_AGENT_STORE").as_deref() {
        Some("True") if lookup("MASTER_PORT").is_some() => {
            port.checked_add(1).unwrap_or(u16::MAX - 1)
        }
        _ => port,
    }
}

/// The first host of Slurm's node list, if srun started this very rank: below an `mpirun` the
/// variables are those of its daemons.
fn slurm_host(
    launch: &Launch,
    lookup: Lookup<'_>,
) -> Result<Option<(&'static str, String)>, LaunchError> {
    let is = |name: &str, number: u32| {
        lookup(name).is_some_and(|value| value.trim().parse() == Ok(number))
    };
    let by_srun = match launch.source {
        Launcher::Slurm => true,
        // `srun --mpi=pmi2` sets both.
        Launcher::Pmi => {
            is("SLURM_PROCID", launch.rank.number()) && is("SLURM_NTASKS", launch.world_size.into())
        }
        _ => false,
    };
    if !by_srun {
        return Ok(None);
    }
    for variable in [
        "SLURM_STEP_NODELIST",
        "SLURM_JOB_NODELIST",
        "SLURM_NODELIST",
    ] {
        if let Some(value) = lookup(variable) {
            return match first_host(&value) {
                Ok(host) => Ok(Some((variable, host))),
                Err(cause) => Err(LaunchError::NodeList {
                    variable,
                    value: shown(&value),
                    cause,
                }),
            };
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
