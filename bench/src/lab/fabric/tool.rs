//! The programs that set up links: `ip`, `tc` and `nft`, each fed with a script.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where they are, though not on everybody's `PATH`.
const SYSTEM: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Devices, addresses, routes.
    Ip,
    /// Queues.
    Tc,
    /// Packet filter.
    Nft,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Tc => "tc",
            Self::Nft => "nft",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Ip | Self::Tc => "iproute2",
            Self::Nft => "nftables",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a program did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// It is not there.
    #[error("there is no '{tool}' here: install the package {}", tool.package())]
    Missing {
        /// Which.
        tool: Tool,
    },
    /// It cannot be started or fed.
    #[error("{tool} cannot be run: {cause}")]
    Run {
        /// Which.
        tool: Tool,
        /// What the system says.
        cause: io::Error,
    },
    /// It refused.
    #[error("{tool} refused '{line}': {message}")]
    Refused {
        /// Which.
        tool: Tool,
        /// The line of the script, or how long it is.
        line: String,
        /// What it said, in one line.
        message: String,
    },
}

/// Has a program carry out each line of a script, in the calling thread's network namespace, with
/// `options` before the script; what it printed.
pub(crate) fn script(tool: Tool, options: &[&str], script: &str) -> Result<String, ToolError> {
    if script.is_empty() {
        return Ok(String::new());
    }
    let output = feed(tool, options, script)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ToolError::Refused { tool, line: refused_line(script, &said), message: one_line(&said) })
}

fn feed(tool: Tool, options: &[&str], script: &str) -> Result<Output, ToolError> {
    let program = find(tool).ok_or(ToolError::Missing { tool })?;
    let failed = |cause| ToolError::Run { tool, cause };
    let how = if tool == Tool::Nft { ["-f", "-"] } else { ["-batch", "-"] };
    let mut child = Command::new(program)
        .args(options)
        .args(how)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    // Written from another thread: a long script and a long answer would wait for each other.
    let (written, output) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output();
        (writer.join().expect("writing does not panic"), output)
    });
    let output = output.map_err(failed)?;
    match written {
        // A program that refused a line does not read the rest.
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(failed(cause)),
        _ => Ok(output),
    }
}

fn find(tool: Tool) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(tool.name())).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 1 == 1)
}

/// The line that iproute2 means by `Command failed -:3`; it does not always say so.
fn refused_line(script: &str, said: &str) -> String {
    let number = said.lines().find_map(|line| line.strip_prefix("Command failed -:"));
    let number = number.and_then(|number| number.trim().parse::<usize>().ok());
    let line = number.and_then(|number| script.lines().nth(number.checked_sub(1)?));
    line.map_or_else(|| format!("a script of {} lines", script.lines().count()), str::to_owned)
}

fn one_line(said: &str) -> String {
    let useful = |line: &&str| !line.is_empty() && !line.starts_with("Command failed");
    let lines: Vec<&str> = said.lines().map(str::trim).filter(useful).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line_and_the_reason() {
        let said = "RTNETLINK answers: File exists\nCommand failed -:2\n";
        assert_eq!(refused_line("link add a\naddr add b\n", said), "addr add b");
        assert_eq!(one_line(said), "RTNETLINK answers: File exists");
        assert_eq!(refused_line("table ip a {\n}", "-:1:1: Error: no\n"), "a script of 2 lines");
        assert_eq!(refused_line("a\n", "Command failed -:0\n"), "a script of 1 lines");
    }

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let message = ToolError::Missing { tool: Tool::Nft }.to_string();
        assert!(message.contains("'nft'") && message.contains("nftables"));
    }
}
