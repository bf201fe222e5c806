//! Ranks of other hosts: one connection each, by ssh or a program that is called as ssh is.
//!
//! The other host needs a POSIX shell (`remote.sh`). The connection is the rank: its output is the
//! rank's, its status too, and when its input ends, the rank is ended. So it also is when this
//! launcher is killed or the network breaks. The secret goes over the input.

mod hostfile;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::LaunchError;
use super::arguments::LaunchArguments;
use super::environment::{DEFAULT_PORT, FOREIGN, Master, Seat};
use super::group::{self, Ending, Options, Process};
use super::plan::{self, Plan};
use super::secret::{Secret, hexadecimal};
use hostfile::Host;
pub(crate) use hostfile::HostfileError;

/// What a host runs.
const REMOTE: &str = include_str!("remote.sh");

/// What the other host gets on top of the grace time to end a rank by itself.
const TRAVEL: Duration = Duration::from_secs(2);

/// Why no ranks can be started over ssh.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SshError {
    #[error(transparent)]
    Hostfile(#[from] HostfileError),
    /// No program.
    #[error("--ssh '': a program that is called as ssh is would be right")]
    NoProgram,
    /// The present folder has no name that could be said to another host.
    #[error(
        "this folder has no name that another host could be told; --workdir DIR would be right"
    )]
    Folder,
    /// Another plan's hosts.
    #[error(
        "{}: host {number} is {found:?}, the plan has {expected:?} there: \
         what 'onepath plan --emit hostfile' writes for the same plan would be right",
        .path.display()
    )]
    OtherPlan {
        /// The hostfile.
        path: PathBuf,
        /// Which host, from 1 on.
        number: usize,
        /// Host and ranks in the file.
        found: String,
        /// Host and ranks in the plan.
        expected: String,
    },
}

/// Starts the ranks and waits for their end.
pub(super) fn run(arguments: &LaunchArguments, path: &Path) -> Result<Ending, LaunchError> {
    let hosts = hostfile::read(path).map_err(SshError::from)?;
    let plan = arguments.plan.as_deref().map(plan::read).transpose()?;
    if let Some(plan) = &plan {
        compare(path, &hosts, plan)?;
    }
    let program: Vec<&str> = arguments.ssh.split_whitespace().collect();
    let (program, options) = program.split_first().ok_or(SshError::NoProgram)?;
    let folder = match &arguments.workdir {
        Some(folder) => folder.clone(),
        None => current_folder()?,
    };
    let job = hexadecimal::<8>()?;
    let secret = Secret::new()?;
    let port = arguments.port.unwrap_or(DEFAULT_PORT);
    let master = Master { host: hosts[0].address().to_owned(), port };
    let mut ranks = Vec::new();
    for (host, seat) in seats(&hosts) {
        let planned = plan.as_ref().map(|plan| &plan.nodes[host].environment);
        let planned = planned.into_iter().flatten().map(|(name, value)| (&**name, &**value));
        let own = arguments.variables.iter().map(|own| (&*own.name, &*own.value));
        let variables: Vec<(&str, &str)> = planned.chain(own).collect();
        let text = script(&job, arguments, &folder, &seat, &master, &variables);
        let mut command = Command::new(program);
        command.args(options).arg(&hosts[host].name).arg(format!("exec sh -c {}", quoted(&text)));
        ranks.push(Process {
            rank: seat.rank,
            host: Some(hosts[host].name.clone()),
            command,
            input: Some(format!("{}\n", secret.digits())),
        });
    }
    let grace = Duration::from_secs(u64::from(arguments.grace)) + TRAVEL;
    let options = Options { prefix: !arguments.no_prefix, grace };
    Ok(group::run(ranks, &options, None)?)
}

fn current_folder() -> Result<String, SshError> {
    let folder = std::env::current_dir().map_err(|_| SshError::Folder)?;
    folder.into_os_string().into_string().map_err(|_| SshError::Folder)
}

/// The seats of all ranks, each with the number of its host.
fn seats(hosts: &[Host]) -> Vec<(usize, Seat)> {
    let world = hosts.iter().map(|host| host.slots).sum();
    let mut seats: Vec<(usize, Seat)> = Vec::new();
    for (host, Host { slots, .. }) in hosts.iter().enumerate() {
        for local_rank in 0..*slots {
            let rank = seats.len() as u32;
            seats.push((host, Seat { rank, world, local_rank, local_world: *slots }));
        }
    }
    seats
}

/// Refuses hosts that are not the plan's, in its order: ranks would have the neighbours of others.
fn compare(path: &Path, hosts: &[Host], plan: &Plan) -> Result<(), SshError> {
    let shown = |host: Option<(&str, u32)>| {
        host.map_or_else(|| "none".to_owned(), |(host, ranks)| format!("{host} slots={ranks}"))
    };
    for index in 0..hosts.len().max(plan.nodes.len()) {
        let found = hosts.get(index).map(|host| (host.address(), host.slots));
        let expected = plan.nodes.get(index).map(|node| (&*node.host, node.ranks));
        if found != expected {
            return Err(SshError::OtherPlan {
                path: path.to_owned(),
                number: index + 1,
                found: shown(found),
                expected: shown(expected),
            });
        }
    }
    Ok(())
}

/// What a host's shell runs for one rank.
fn script(
    job: &str,
    arguments: &LaunchArguments,
    folder: &str,
    seat: &Seat,
    master: &Master,
    variables: &[(&str, &str)],
) -> String {
    let words: Vec<String> = arguments.command.iter().map(|word| quoted(word)).collect();
    let mut text = format!(
        "set -- {}\njob={job} rank={} grace={} workdir={}\nunset {}\n",
        words.join(" "),
        seat.rank,
        arguments.grace,
        quoted(folder),
        FOREIGN.join(" "),
    );
    let seat = seat.variables(master);
    let seat = seat.iter().map(|(name, value)| (*name, &**value));
    for (name, value) in variables.iter().copied().chain(seat) {
        writeln!(text, "export {name}={}", quoted(value)).expect("a string takes all");
    }
    text + REMOTE
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_reaches_a_shell_as_it_is() {
        for word in ["", "a b", "it's", "$(x) `y` \\ \"z\"", "line\nline", "''"] {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }

    #[test]
    fn ranks_go_along_the_hosts() {
        let host = |name: &str, slots| Host { name: name.to_owned(), slots };
        let seats = seats(&[host("a", 2), host("b", 1)]);
        let plain: Vec<_> =
            seats.iter().map(|(host, s)| (*host, s.rank, s.local_rank, s.local_world)).collect();
        assert_eq!(plain, [(0, 0, 0, 2), (0, 1, 1, 2), (1, 2, 0, 1)]);
        assert!(seats.iter().all(|(_, seat)| seat.world == 3));
    }
}
