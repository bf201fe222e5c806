//! Where the ranks meet, as the environment tells it.

use super::{Launch, LaunchError, Launcher, half_set, number};
use crate::bootstrap::host_port::{DEFAULT_PORT, HostPort};
use crate::bootstrap::node_list::first_host;
use crate::bootstrap::{Lookup, shown};

/// The variable with the rendezvous' `HOST:PORT`, for every launcher.
pub const RENDEZVOUS_VARIABLE: &str = "ONEPATH_RENDEZVOUS";

pub(super) fn address(
    variable: &str,
    text: &str,
    default_port: u16,
) -> Result<HostPort, LaunchError> {
    HostPort::parse(text.trim(), default_port)
        .map_err(|cause| LaunchError::Address { variable: variable.to_owned(), cause })
}

/// Where the ranks of `launch` meet, if the environment says it.
pub(super) fn rendezvous(
    launch: &Launch,
    lookup: Lookup<'_>,
) -> Result<Option<HostPort>, LaunchError> {
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
        .map_err(|cause| LaunchError::Address { variable: variable.to_owned(), cause })
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
    for variable in ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"] {
        if let Some(value) = lookup(variable) {
            return match first_host(&value) {
                Ok(host) => Ok(Some((variable, host))),
                Err(cause) => Err(LaunchError::NodeList { variable, value: shown(&value), cause }),
            };
        }
    }
    Ok(None)
}
