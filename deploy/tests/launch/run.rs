//! Starting the command, and waiting for what it does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// A plan: two stages, of three ranks on two nodes and of two on one.
pub(crate) const PLAN: &str = r#"{
  "format": "onepath-placement/1",
  "name": "small",
  "nodes": [
    {"host": "a1", "first_rank": 0, "ranks": 2, "environment": {"NCCL_IB_HCA": "=mlx5_0",
     "NCCL_SOCKET_IFNAME": "=eth0"}},
    {"host": "a2", "first_rank": 2, "ranks": 1, "environment": {"NCCL_IB_HCA": "=mlx5_0"}},
    {"host": "b1", "first_rank": 3, "ranks": 2, "environment": {"NCCL_IB_HCA": "=mlx5_9"}}
  ],
  "constraints": [
    {"stage": 0, "first_rank": 0, "ranks": 3, "gpus_per_node": 2, "gpu": "A100",
     "memory_bytes": 1, "network": "infiniband"},
    {"stage": 1, "first_rank": 3, "ranks": 2, "gpus_per_node": 8, "gpu": "V100",
     "memory_bytes": 1, "network": "roce"}
  ]
}"#;

/// The command with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onepath"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs `onepath launch`.
pub(crate) fn launch(arguments: &[&str]) -> Output {
    command(&["launch"]).args(arguments).output().expect("the command starts")
}

/// Standard output and error of a run, as text.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A folder of its own for a test, below the build's.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("launch").join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the folder of an earlier run can go");
    }
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// A file in a folder; its path as text.
pub(crate) fn file(folder: &Path, name: &str, contents: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, contents).expect("a file can be written");
    path.display().to_string()
}

/// A launcher that runs, and the lines that it has printed.
pub(crate) struct Started {
    pub(crate) child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Started {
    /// Starts `onepath launch`.
    pub(crate) fn launch(arguments: &[&str]) -> Self {
        let mut child = command(&["launch"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let out = child.stdout.take().expect("a pipe");
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        Self { child, lines: Box::new(lines) }
    }

    /// The next lines.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        let lines: Vec<String> = self.lines.by_ref().take(count).collect();
        assert_eq!(lines.len(), count, "the ranks say so much: {lines:?}");
        lines
    }

    /// Sends the launcher a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the launcher runs");
    }

    /// Its exit code.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("a child").code()
    }
}

/// The numbers of processes in lines `... pids=1,2`.
pub(crate) fn pids(lines: &[String]) -> Vec<Pid> {
    let list = lines.iter().filter_map(|line| line.split_once("pids="));
    let numbers = list.flat_map(|(_, list)| list.split(','));
    numbers.map(|text| Pid::from_raw(text.parse().expect("a number")).expect("not 0")).collect()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LIMIT, "after {LIMIT:?} it is not so that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a process has ended, or is a zombie that somebody else is to wait for.
pub(crate) fn until_ended(pid: Pid) {
    until("the process has ended", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        test_kill_process(pid).is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
    });
}
