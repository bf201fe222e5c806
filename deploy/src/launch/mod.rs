//! Starting the ranks of a job.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line as it is written |
//! | `plan` | what a launcher needs of a plan |
//! | `environment` | the variables that tell a rank its place |
//! | `secret` | the job's secret, and a file of it |
//! | `group` | ranks as child processes: started, watched, ended |
//! | `local` | ranks of this machine |
//! | `ssh` | ranks of the hosts of a file |
//! | `kubernetes` | a plan as Indexed Jobs |

mod arguments;
mod environment;
mod group;
mod kubernetes;
mod local;
mod plan;
mod secret;
mod ssh;

use std::io;
use std::path::PathBuf;

pub(crate) use arguments::LaunchArguments;
pub(crate) use group::run_warden;
use group::{Ending, GroupError, WardenError, how};
pub(crate) use kubernetes::labels;

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// Nothing says how many ranks.
    #[error("nothing says how many ranks: --ranks N or --plan PLAN.json would be right")]
    NoRanks,
    /// More than one machine takes.
    #[error("{}: {world} ranks: at most {most} would be right on one machine", .path.display())]
    TooMany {
        /// The plan.
        path: PathBuf,
        /// Its ranks.
        world: u32,
        /// The most.
        most: u32,
    },
    /// No free port.
    #[error("no port of 127.0.0.1 is free for the ranks to meet: {0}")]
    Port(#[source] io::Error),
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
    #[error(transparent)]
    Plan(#[from] plan::PlanFileError),
    #[error(transparent)]
    Secret(#[from] secret::SecretError),
    #[error(transparent)]
    Warden(#[from] WardenError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Ssh(#[from] ssh::SshError),
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::KubernetesError),
}

/// Starts a job; the exit code.
pub(crate) fn run(arguments: &LaunchArguments) -> Result<u8, LaunchError> {
    environment::check(&arguments.variables)?;
    let ending = match &arguments.place.hostfile {
        Some(hostfile) => ssh::run(arguments, hostfile)?,
        None if arguments.place.kubernetes => return kubernetes::run(arguments),
        None => local::run(arguments)?,
    };
    match &ending {
        Ending::Success => {}
        Ending::Failure { rank, host, status } => {
            let host = host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            eprintln!("onepath: rank {rank}{host} {}; the others were ended", how(*status));
        }
        Ending::Signal(signal) => {
            let name = signal_hook::low_level::signal_name(*signal).unwrap_or("a signal");
            eprintln!("onepath: {name}: all ranks were ended");
        }
    }
    Ok(ending.code())
}
