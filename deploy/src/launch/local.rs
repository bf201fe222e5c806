//! Ranks as processes of this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use super::arguments::LaunchArguments;
use super::environment::{FOREIGN, Master, SECRET_FILE, Seat};
use super::group::{self, Ending, Options, Process, Warden};
use super::secret::{Secret, SecretFile};
use super::{LaunchError, plan};

/// Starts the ranks and waits for their end.
pub(super) fn run(arguments: &LaunchArguments) -> Result<Ending, LaunchError> {
    let world = world(arguments)?;
    let port = match arguments.port {
        Some(port) => port,
        None => free_port().map_err(LaunchError::Port)?,
    };
    let master = Master { host: Ipv4Addr::LOCALHOST.to_string(), port };
    let secret = SecretFile::create(&Secret::new()?)?;
    let mut warden = Warden::start(secret.folder())?;
    let rank = |rank: u32| {
        let seat = Seat { rank, world, local_rank: rank, local_world: world };
        let command = command(arguments, &seat, &master, &secret);
        Process { rank, host: None, command, input: None }
    };
    let options = Options {
        prefix: !arguments.no_prefix,
        grace: Duration::from_secs(u64::from(arguments.grace)),
    };
    Ok(group::run((0..world).map(rank).collect(), &options, Some(&mut warden))?)
}

/// How many ranks.
fn world(arguments: &LaunchArguments) -> Result<u32, LaunchError> {
    match (arguments.ranks, &arguments.plan) {
        (Some(ranks), _) => Ok(ranks),
        (None, Some(path)) => {
            let world = plan::read(path)?.world;
            let most = super::arguments::MAX_RANKS;
            if world > most {
                return Err(LaunchError::TooMany { path: path.clone(), world, most });
            }
            Ok(world)
        }
        (None, None) => Err(LaunchError::NoRanks),
    }
}

fn command(
    arguments: &LaunchArguments,
    seat: &Seat,
    master: &Master,
    secret: &SecretFile,
) -> Command {
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.envs(seat.variables(master)).env(SECRET_FILE, secret.path());
    command.envs(arguments.variables.iter().map(|variable| (&variable.name, &variable.value)));
    command
}

/// A loopback port that is free now; rank 0 listens on it in a moment.
fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
