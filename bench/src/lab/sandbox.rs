//! A place where anybody may make networks, and of which nothing is left when the program ends.
//!
//! ```text
//! the program the user started ──▶ between ──▶ inside (process 1 of its namespace of processes)
//! ```
//!
//! All three are this executable. *Between* takes namespaces of its own for the network, mounts and
//! processes, and one for users if it needs it to be allowed to; *inside* does the work. Each of
//! the last two is killed by the system when the one before it ends, however it ends, and with
//! process 1 the system kills every process of its namespace. The networks end with the last
//! process or descriptor that holds them.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Resource, Rlimit, Signal, getgid, getpid, getrlimit, getuid, set_parent_process_death_signal,
    setrlimit,
};

/// Says to this executable which of the three it is.
const STAGE_VARIABLE: &str = "ONEPATH_LAB_STAGE";
const BETWEEN: &str = "between";
const INSIDE: &str = "inside";

/// The exit code that says that the system does not allow it.
pub(crate) const NOT_ALLOWED: u8 = 3;

/// A step on the way inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Starting this executable again.
    Start,
    /// Taking namespaces.
    Unshare,
    /// Becoming root in the namespace of users.
    MapUser,
    /// Ending with the process before.
    Tie,
    /// Mounts of one's own.
    Mount,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "this program cannot be started again",
            Self::Unshare => "namespaces of its own are refused",
            Self::MapUser => "becoming root of its own namespace is refused",
            Self::Tie => "it cannot be made to end with its parent",
            Self::Mount => "mounts of its own are refused",
        })
    }
}

/// Why the work cannot be done inside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The system refuses.
    #[error("the lab cannot run here: {step} ({cause}); {}", advice(cause))]
    Refused {
        /// Where.
        step: Step,
        /// What the system says.
        cause: io::Error,
    },
    /// The process before has ended already.
    #[error("the program that started the lab has ended")]
    ParentGone,
    /// The variable was set by hand.
    #[error("{STAGE_VARIABLE}={0} is for the lab's own use: unset it")]
    Stage(String),
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => {
            "run it as root, or let users have namespaces (sysctl \
             kernel.unprivileged_userns_clone=1 or \
             kernel.apparmor_restrict_unprivileged_userns=0; a container needs --privileged)"
        }
        Some(Errno::ENOSPC | Errno::EUSERS) => {
            "raise sysctl user.max_user_namespaces and user.max_net_namespaces"
        }
        Some(Errno::EINVAL | Errno::ENOSYS) => "the kernel was built without these namespaces",
        _ => "that is not expected",
    }
}

/// What is known inside of the outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    /// The number by which the user sees this process.
    pub(crate) pid: u32,
    /// Whether root's rights here are those of a namespace only.
    pub(crate) rootless: bool,
}

/// Has `work` done inside; its exit code. The program must not have started a thread yet.
pub(crate) fn run(work: impl FnOnce(Inside) -> ExitCode) -> Result<ExitCode, SandboxError> {
    match std::env::var(STAGE_VARIABLE).as_deref() {
        Err(_) => start(BETWEEN).map(exit_code),
        Ok(BETWEEN) => between().map(exit_code),
        Ok(INSIDE) if getpid().is_init() => {
            tie()?;
            // From the outside's /proc, which the next line may replace.
            let inside = Inside { pid: outer_pid(), rootless: rootless() };
            own_mounts()?;
            allow_descriptors();
            Ok(work(inside))
        }
        Ok(other) => Err(SandboxError::Stage(other.to_owned())),
    }
}

fn outer_pid() -> u32 {
    let own = fs::read_link("/proc/self").unwrap_or_default();
    own.to_str().and_then(|number| number.parse().ok()).unwrap_or_else(std::process::id)
}

fn rootless() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) != Some("4294967295")
}

fn refused(step: Step) -> impl FnOnce(io::Error) -> SandboxError {
    move |cause| SandboxError::Refused { step, cause }
}

/// Starts the next of the three and waits for its end.
fn start(stage: &str) -> Result<ExitStatus, SandboxError> {
    let child = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(STAGE_VARIABLE, stage)
        // Open as long as this process lives, and never written to: see `tie`.
        .stdin(Stdio::piped())
        .spawn();
    let mut child: Child = child.map_err(refused(Step::Start))?;
    let _alive = child.stdin.take();
    child.wait().map_err(refused(Step::Start))
}

fn between() -> Result<ExitStatus, SandboxError> {
    // Before rights change, the numbers that the user has outside.
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    match unshare(own) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            let unshared = unshare(own | CloneFlags::CLONE_NEWUSER);
            unshared.map_err(|errno| refused(Step::Unshare)(errno.into()))?;
            map_user(user, group).map_err(refused(Step::MapUser))?;
        }
        Err(errno) => return Err(refused(Step::Unshare)(errno.into())),
    }
    // Only now: a change of rights undoes it.
    tie()?;
    start(INSIDE)
}

fn map_user(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))
}

/// From now on the system kills this process when the one that started it ends.
fn tie() -> Result<(), SandboxError> {
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    tied.map_err(|errno| refused(Step::Tie)(errno.into()))?;
    // It may have ended before the line above; then nobody holds the other end of this pipe.
    let stdin = io::stdin();
    let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
    let polled = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.map_err(|errno| refused(Step::Tie)(errno.into()))?;
    if ends[0].revents().contains(PollFlags::HUP) {
        return Err(SandboxError::ParentGone);
    }
    Ok(())
}

fn own_mounts() -> Result<(), SandboxError> {
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let changed = mount(none, "/", none, private, none);
    changed.map_err(|errno| refused(Step::Mount)(errno.into()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // A container may refuse it. The old one serves too, except for numbers of processes.
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, none);
    Ok(())
}

/// A large fabric holds more of them than programs usually may; as many as the system allows.
fn allow_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    // Refused, the fabric says which descriptor was the one too many.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let signal = || 128 + status.signal().unwrap_or_default();
    ExitCode::from(status.code().unwrap_or_else(signal) as u8)
}
