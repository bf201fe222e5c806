//! The fabric of the lab as a user builds it. Where the system does not allow it, these tests say
//! so and do nothing.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than the system takes to end a few processes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The exit code that says that the system does not allow it.
const NOT_ALLOWED: i32 = 3;

/// `nobody`.
const NOBODY: u32 = 65_534;

const SMALL: [&str; 8] = ["lab", "fabric", "--leaves", "2", "--spines", "2", "--hosts", "4"];

/// Two fabrics at once would take the processor from each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn program(more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onepath-bench"));
    command.args(SMALL).args(more).stdin(Stdio::null());
    command
}

/// The checks of a document by name, each with whether it passed; none if it was not allowed.
fn checks(output: &Output) -> Option<Vec<(String, bool)>> {
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NOT_ALLOWED) {
        assert_eq!(said.lines().count(), 1, "{said}");
        drop(writeln!(std::io::stderr(), "skipped: {said}"));
        return None;
    }
    let document: Value = serde_json::from_slice(&output.stdout).expect(&said);
    println!("{}", document["checks"]);
    assert_eq!(output.status.code(), Some(0), "{}\n{said}", document["checks"]);
    let checks = document["checks"].as_array().expect("a list of checks");
    let check = |check: &Value| {
        let name = check["check"].as_str().expect("a name").to_owned();
        (name, check["passed"].as_bool().expect("yes or no"))
    };
    Some(checks.iter().map(check).collect())
}

/// Devices of this process's own network namespace.
fn devices() -> HashSet<String> {
    let text = fs::read_to_string("/proc/self/net/dev").expect("Linux has it");
    let names = text.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn a_small_fabric_is_what_it_claims_to_be_and_its_controls_take_effect() {
    let _guard = ONE_AT_A_TIME.lock();
    let before = devices();
    let output = program(&["--controls", "--format", "json"]).output().expect("it starts");
    let Some(checks) = checks(&output) else { return };
    let names: Vec<&str> = checks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "processes",
            "reach",
            "prediction",
            "probe",
            "order",
            "order-small",
            "rate",
            "black-hole",
            "heal",
            "spray"
        ]
    );
    assert!(checks.iter().all(|(_, passed)| *passed));
    assert_eq!(devices(), before, "the fabric made devices outside of itself");
}

#[test]
fn a_user_without_rights_builds_the_same_fabric() {
    let _guard = ONE_AT_A_TIME.lock();
    let mut command = program(&["--format", "json"]);
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            drop(writeln!(
                std::io::stderr(),
                "skipped: a user without rights cannot read this program: {error}"
            ));
            return;
        }
        output => output.expect("it starts"),
    };
    let Some(checks) = checks(&output) else { return };
    assert!(!checks.is_empty() && checks.iter().all(|(_, passed)| *passed));
    let document: Value = serde_json::from_slice(&output.stdout).expect("it was read above");
    assert_eq!(document["rootless"], true);
}

#[test]
fn a_variable_that_is_for_the_lab_only_is_refused_from_outside() {
    let output = program(&[]).env("ONEPATH_LAB_STAGE", "inside").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(NOT_ALLOWED));
    assert!(said.contains("ONEPATH_LAB_STAGE") && said.lines().count() == 1, "{said}");
}

/// A fabric that is held, with all that belongs to it.
struct Held {
    child: Child,
    processes: Vec<u32>,
    networks: HashSet<PathBuf>,
}

impl Held {
    /// None if it is not allowed.
    fn start() -> Option<Self> {
        let mut child = program(&["--hold", "60", "--format", "csv"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = child.stderr.take().expect("it was asked for");
        let mut last = String::new();
        for line in BufReader::new(stderr).lines() {
            last = line.expect("messages are text");
            if last.starts_with("holding") {
                break;
            }
        }
        if !last.starts_with("holding") {
            let status = child.wait().expect("it is our child");
            assert_eq!(status.code(), Some(NOT_ALLOWED), "{last}");
            drop(writeln!(std::io::stderr(), "skipped: {last}"));
            return None;
        }
        let processes = descendants(child.id());
        // The one that started all, between, inside.
        assert_eq!(processes.len(), 3);
        let networks = networks_of(processes[2]);
        // Of each leaf, spine and host.
        assert!(networks.len() >= 8, "{networks:?}");
        Some(Self { child, processes, networks })
    }

    fn nothing_is_left(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let alive: Vec<u32> =
                self.processes.iter().copied().filter(|process| is_alive(*process)).collect();
            let all = numbers().into_iter().flat_map(networks_of).collect();
            let held: Vec<_> = self.networks.intersection(&all).collect();
            if alive.is_empty() && held.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "processes {alive:?}, networks {held:?} are left");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// All processes.
fn numbers() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("Linux has it").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Fields of a process's `stat` after its name: state, parent, and so on.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields = text.rsplit_once(')')?.1;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|fields| fields[0] != "Z")
}

/// A process and its children's children; each has at most one child.
fn descendants(process: u32) -> Vec<u32> {
    let mut line = vec![process];
    loop {
        let parent = line[line.len() - 1].to_string();
        let is_child = |other: &u32| stat(*other).is_some_and(|fields| fields[1] == parent);
        match numbers().into_iter().find(is_child) {
            Some(child) => line.push(child),
            None => return line,
        }
    }
}

/// Network namespaces that a process is in or holds, as far as one may see them.
fn networks_of(process: u32) -> HashSet<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let own = PathBuf::from(format!("/proc/{process}/ns/net"));
    let links = descriptors.map(|entry| entry.path()).chain([own]);
    let targets = links.filter_map(|link| fs::read_link(link).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("net:")).collect()
}

#[test]
fn nothing_is_left_when_the_program_is_killed() {
    let _guard = ONE_AT_A_TIME.lock();
    let before = devices();
    let Some(mut held) = Held::start() else { return };
    held.networks.retain(|network| !networks_of(std::process::id()).contains(network));
    held.child.kill().expect("it is our child");
    held.child.wait().expect("it is our child");
    held.nothing_is_left();
    assert_eq!(devices(), before);
}

#[test]
fn nothing_is_left_after_ctrl_c() {
    let _guard = ONE_AT_A_TIME.lock();
    let Some(mut held) = Held::start() else { return };
    let process = rustix::process::Pid::from_raw(held.child.id() as i32).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it runs");
    held.child.wait().expect("it is our child");
    held.nothing_is_left();
}
