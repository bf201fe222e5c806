//! `lab --plan` of a plan of a job, as a user runs it. Where the system does not allow it, the runs
//! say so and do nothing.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The exit code that says that the system does not allow it.
const NOT_ALLOWED: i32 = 3;

/// The exit code of a wrong command line.
const USAGE: i32 = 2;

/// Rates are divided by this.
const SLOWDOWN: f64 = 5000.0;

/// Measured times would mean nothing beside each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn plan() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plans/two-clusters.json")
}

fn lab(plan: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onepath-bench"));
    command.args(["lab", "--plan"]).arg(plan).stdin(Stdio::null());
    command
}

fn small(command: &mut Command) -> &mut Command {
    let slowdown = SLOWDOWN.to_string();
    let options = ["--width", "128", "--samples", "2", "--iterations", "2", "--slowdown"];
    command.args(options).arg(slowdown)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_planned_placement_is_faster_than_the_naive_one_and_trains_the_same() {
    let _guard = ONE_AT_A_TIME.lock();
    let output = small(&mut lab(&plan())).args(["--format", "json"]).output().expect("it starts");
    if output.status.code() == Some(NOT_ALLOWED) {
        drop(writeln!(std::io::stderr(), "skipped: {}", said(&output)));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let rows: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 4);
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{row}"));
    for row in rows {
        assert_eq!(row["losses"], "same-bits", "{row}");
        // Two hosts of a side send 25 Gbit/s each, and half of the bytes go each way.
        let least = number(row, "slow_link_bytes") / 2.0 * 8.0 / (2.0 * 25e9 / SLOWDOWN);
        assert!(number(row, "iteration_s") > 0.9 * least, "faster than the link: {row}");
    }
    for overlap in [true, false] {
        let of = |placement: &str| {
            let is = |row: &&Value| row["placement"] == placement && row["overlap"] == overlap;
            rows.iter().find(is).expect("it was measured")
        };
        let (planned, naive) = (of("planned"), of("naive"));
        assert_eq!(planned["data_networks"], serde_json::json!(["infiniband", "roce"]));
        assert_eq!(naive["data_networks"], serde_json::json!(["ethernet"]));
        let ratio = number(naive, "iteration_s") / number(planned, "iteration_s");
        assert!(ratio >= 1.5, "{ratio}: {planned} {naive}");
        assert!(number(naive, "slow_link_bytes") > 4.0 * number(planned, "slow_link_bytes"));
        assert_eq!(planned["last_loss"], naive["last_loss"]);
    }
}

#[test]
fn what_does_not_fit_is_told_in_one_line_before_anything_is_built() {
    let folder = std::env::temp_dir().join(format!("onepath-plan-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let text = fs::read_to_string(plan()).expect("it is there");
    let lab_plan = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plans/lab-small.toml");
    let altered = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).expect("it is written");
        path
    };
    let tensor = altered("tensor.json", text.replace("\"tensor\": 1", "\"tensor\": 2"));
    let cut = altered("cut.json", text[..text.len() / 2].to_owned());
    let other = altered("other.json", "{}".to_owned());
    for (file, options, parts) in [
        (plan(), vec!["--leaves", "4"], vec!["its own fabric", "--seed"]),
        (plan(), vec!["--width", "0"], vec!["--width", "1..=4096"]),
        (lab_plan, vec!["--iterations", "3"], vec!["--iterations", "onepath plan --emit json"]),
        (tensor, vec![], vec!["tensor.json", "degrees.tensor: 2", "1 (the lab's"]),
        (cut, vec![], vec!["cut.json", "line"]),
        (other, vec![], vec!["other.json", "format"]),
    ] {
        let output = lab(&file).args(options).output().expect("it starts");
        let said = said(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(USAGE), 1), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    fs::remove_dir_all(folder).expect("it is ours");
}

/// Processes of a training run that descend from another process.
fn ranks_of(ancestor: u32) -> Vec<u32> {
    let parent = |process: u32| -> Option<u32> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        (fields.next()? != "Z").then_some(())?;
        fields.next()?.parse().ok()
    };
    let descends = |mut process: u32| {
        while let Some(above) = parent(process).filter(|above| *above > 1) {
            if above == ancestor {
                return true;
            }
            process = above;
        }
        false
    };
    let is_rank = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("lab-stage") && descends(*process)
    };
    let entries = fs::read_dir("/proc").expect("Linux has it").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(is_rank).collect()
}

#[test]
fn nothing_is_left_after_ctrl_c() {
    let _guard = ONE_AT_A_TIME.lock();
    let mut command = lab(&plan());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_mins(1);
    let ranks = loop {
        let ranks = ranks_of(child.id());
        if ranks.len() == 4 {
            break ranks;
        }
        if let Some(status) = child.try_wait().expect("it is our child") {
            assert_eq!(status.code(), Some(NOT_ALLOWED));
            drop(writeln!(std::io::stderr(), "skipped: the system does not allow namespaces"));
            return;
        }
        assert!(Instant::now() < deadline, "no ranks were started: {ranks:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let process = rustix::process::Pid::from_raw(child.id() as i32).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it runs");
    child.wait().expect("it is our child");
    let alive = |process: &&u32| {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        text.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while ranks.iter().any(|process| alive(&process)) {
        assert!(Instant::now() < deadline, "ranks of {ranks:?} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}
