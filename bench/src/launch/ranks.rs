//! The processes of all ranks.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use onepath_collectives::bootstrap::secret::{SECRET_FILE_VARIABLE, SECRET_VARIABLE};
use onepath_topology::{Rank, WorldSize};
use rustix::process::{Pid, Signal, kill_process};

use super::child::PARENT_VARIABLE;
use super::report;
use super::tail::Tail;
use super::{Ended, Ending, LaunchError};

const SECRET_BYTES: usize = 32;

/// A rank that has not been waited for yet.
#[derive(Debug)]
struct Running {
    rank: Rank,
    child: Child,
    tail: Option<Tail>,
}

/// All ranks of this machine. None of them outlives this value.
#[derive(Debug)]
pub(super) struct Ranks {
    running: Vec<Running>,
    ended: Vec<Ended>,
    asked_to_end: bool,
}

/// What all ranks get.
struct Shared {
    executable: std::path::PathBuf,
    arguments: Vec<OsString>,
    rendezvous: String,
    secret: Option<String>,
    world: WorldSize,
}

impl Ranks {
    /// Starts all ranks.
    pub(super) fn start(world: WorldSize) -> Result<Self, LaunchError> {
        let shared = Shared::new(world)?;
        let mut ranks = Self { running: Vec::new(), ended: Vec::new(), asked_to_end: false };
        for rank in world.ranks() {
            let spawned = shared.command(rank).spawn();
            let mut child = spawned.map_err(|cause| LaunchError::Spawn { rank, cause })?;
            let tail = child.stderr.take().map(Tail::follow);
            ranks.running.push(Running { rank, child, tail });
        }
        Ok(ranks)
    }

    /// How many still run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether one has ended otherwise than well.
    pub(super) fn any_failed(&self) -> bool {
        self.ended.iter().any(report::failed)
    }

    /// Waits for those that have ended.
    pub(super) fn reap(&mut self) {
        let asked = self.asked_to_end;
        let mut index = 0;
        while index < self.running.len() {
            // An error would mean that the process is no child of ours.
            if let Ok(Some(status)) = self.running[index].child.try_wait() {
                let Running { rank, tail, .. } = self.running.remove(index);
                let last_lines = tail.map(Tail::lines).unwrap_or_default();
                self.ended.push(Ended { rank, status, asked, last_lines });
            } else {
                index += 1;
            }
        }
    }

    /// Sends those that run SIGTERM.
    pub(super) fn ask_to_end(&mut self) {
        self.asked_to_end = true;
        for running in &self.running {
            if let Some(pid) = Pid::from_raw(running.child.id() as i32) {
                // It may have ended just now; it is waited for in any case.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }

    /// Kills those that run, and waits for them.
    pub(super) fn kill(&mut self) {
        self.asked_to_end = true;
        for running in &mut self.running {
            // As above.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        self.reap();
    }

    /// How all ended.
    pub(super) fn ending(&self) -> Ending {
        report::ending(&self.ended)
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn new(world: WorldSize) -> Result<Self, LaunchError> {
        Ok(Self {
            executable: std::env::current_exe().map_err(LaunchError::Executable)?,
            arguments: std::env::args_os().skip(1).collect(),
            rendezvous: free_address().map_err(LaunchError::Port)?,
            secret: secret()?,
            world,
        })
    }

    fn command(&self, rank: Rank) -> Command {
        let mut command = Command::new(program(&self.executable));
        let size = self.world.to_string();
        command
            .args(&self.arguments)
            .env("ONEPATH_RANK", rank.to_string())
            .env("ONEPATH_LOCAL_RANK", rank.to_string())
            .env("ONEPATH_WORLD_SIZE", &size)
            .env("ONEPATH_LOCAL_WORLD_SIZE", &size)
            .env("ONEPATH_RENDEZVOUS", &self.rendezvous)
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null());
        if let Some(secret) = &self.secret {
            command.env(SECRET_VARIABLE, secret);
        }
        // The first rank prints the table and draws the progress on our own terminal.
        if rank.index() > 0 {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        }
        command
    }
}

/// A program that was replaced while it runs (by a new build) is still there under this name.
fn program(executable: &Path) -> &Path {
    if executable.exists() { executable } else { Path::new("/proc/self/exe") }
}

/// A loopback port that is free now; the first rank listens on it in a moment.
fn free_address() -> std::io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.to_string())
}

/// A random secret, unless the environment that the ranks inherit has one.
fn secret() -> Result<Option<String>, LaunchError> {
    let given = [SECRET_VARIABLE, SECRET_FILE_VARIABLE];
    if given.into_iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(None);
    }
    let mut bytes = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(LaunchError::Secret)?;
    let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(words.concat()))
}
