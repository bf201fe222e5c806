//! A process that cleans up after a launcher that was killed.
//!
//! The system kills the ranks themselves then (`child`), but neither what they started nor the file
//! with the secret. The warden reads from a pipe which process groups there are; when the pipe ends
//! with groups left, or with the folder, the launcher is gone and cannot do it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// The subcommand of the warden.
const COMMAND: &str = "launch-warden";

/// The warden, seen from the launcher.
#[derive(Debug)]
pub(in super::super) struct Warden {
    child: Child,
    pipe: Option<ChildStdin>,
}

/// Why there is no warden.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WardenError {
    /// It did not start.
    #[error("the process that cleans up after this one cannot be started: {0}")]
    Start(#[source] io::Error),
}

impl Warden {
    /// Starts one that removes `folder` in the end.
    pub(in super::super) fn start(folder: &Path) -> Result<Self, WardenError> {
        let program = std::env::current_exe().map_err(WardenError::Start)?;
        // A program that was replaced while it runs (by a new build) is still there under this
        // name.
        let program = if program.exists() { program } else { PathBuf::from("/proc/self/exe") };
        let mut child = Command::new(program)
            .arg(COMMAND)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(WardenError::Start)?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// One more process group.
    pub(super) fn add(&mut self, group: u32) {
        self.say(&format!("+{group}\n"));
    }

    /// A group that has ended.
    pub(super) fn remove(&mut self, group: u32) {
        self.say(&format!("-{group}\n"));
    }

    fn say(&mut self, line: &str) {
        if let Some(pipe) = &mut self.pipe {
            // Without a warden the launcher still does all this, unless it is killed.
            let _ = pipe.write_all(line.as_bytes());
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.pipe = None;
        // Its end is waited for, so that nothing is left behind.
        let _ = self.child.wait();
    }
}

/// Which groups are left when the pipe ends.
fn left(lines: impl BufRead) -> BTreeSet<u32> {
    let mut groups = BTreeSet::new();
    for line in lines.lines().map_while(Result::ok) {
        let number = |text: &str| text.parse::<u32>().ok();
        if let Some(group) = line.strip_prefix('+').and_then(number) {
            groups.insert(group);
        } else if let Some(group) = line.strip_prefix('-').and_then(number) {
            groups.remove(&group);
        }
    }
    groups
}

/// What the warden's own process does; its exit code.
pub(crate) fn run(folder: &Path) -> u8 {
    for group in left(io::stdin().lock()) {
        if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
            // Its last process may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    // It is gone already if the launcher ended in order.
    let _ = fs::remove_dir_all(folder);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_did_not_end_are_left() {
        let lines = "+5\n+6\nx\n-5\n+7\n";
        assert_eq!(left(lines.as_bytes()), BTreeSet::from([6, 7]));
    }
}
