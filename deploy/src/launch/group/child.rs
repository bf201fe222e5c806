//! One process that ends with this one, and leads a process group of its own.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// Starts a command that the system kills when the thread that calls this ends, `kill -9` included.
///
/// Its process group keeps Ctrl-C of a terminal away from it, and lets what it starts be ended with
/// it.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe things may be done. `tie` makes two
    // system calls (prctl, getppid) through rustix, which neither allocates nor locks, and makes an
    // `io::Error` of a number, which does not allocate either.
    unsafe { command.pre_exec(move || tie(parent)) };
    command.spawn()
}

/// Ties this process to its parent.
fn tie(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that ended before the line above has left this process to another one.
    if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
}
