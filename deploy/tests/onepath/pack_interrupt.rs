//! Ctrl-C: what there is so far, and nothing half done.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::run::folder;

/// Runs the command, and interrupts it once it has said that it is solving. It ends by itself where
/// that does not help.
fn interrupted(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onepath"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut said = String::new();
    while !said.contains("onepath: solving") {
        let read = errors.read_line(&mut said).expect("it writes text");
        assert!(read > 0, "it ended before it was solving: {said}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    // What it prints first: a pipe that nobody reads would hold it up.
    let output = child.wait_with_output().expect("it ends");
    errors.read_to_string(&mut said).expect("it writes text");
    Output { stderr: said.into_bytes(), ..output }
}

/// More pods of all sizes than fit: to find the best placement takes longer than anyone waits.
fn objects(seed: u64) -> String {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut text = String::new();
    for node in 0..120 {
        let _ = writeln!(
            text,
            "---\nkind: Node\nmetadata: {{name: n{node}}}\n\
             status: {{allocatable: {{cpu: 4400m, memory: 4400M, pods: 20}}}}"
        );
    }
    for pod in 0..1_000 {
        let (cpu, memory) = (rng.random_range(100..=1_000), rng.random_range(100..=1_000));
        let _ = writeln!(
            text,
            "---\nkind: Pod\nmetadata: {{name: p{pod}}}\nspec: {{priority: {}, containers: \
             [{{resources: {{requests: {{cpu: {cpu}m, memory: {memory}M}}}}}}]}}",
            pod % 4
        );
    }
    text
}

#[test]
fn ctrl_c_gives_the_best_placement_so_far_and_says_so() {
    let folder = folder("pack-interrupt");
    let path = |name: &str| folder.join(name).display().to_string();
    let seed = 5;
    println!("seed {seed}");
    fs::write(folder.join("objects.yaml"), objects(seed)).expect("a file can be written");
    let (objects, certificate, page) = (path("objects.yaml"), path("c.json"), path("nodes.html"));
    let output = interrupted(&[
        "pack",
        &objects,
        "--budget",
        "300s",
        "--format",
        "json",
        "--certificate",
        &certificate,
        "--html",
        &page,
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("\nonepath: interrupted after "), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("all of it is there");
    assert_ne!(report["status"], "optimal");
    let note = report["notes"][0].as_str().expect("a note");
    assert!(
        note.starts_with("interrupted after ") && note.ends_with(" s of 300 s: the best so far")
    );
    let placed: u64 = (0..4).filter_map(|tier| report["tiers"][tier]["placed"].as_u64()).sum();
    assert!(placed > 800, "{placed} pods placed");
    let written = fs::read_to_string(&certificate).expect("the certificate is there");
    serde_json::from_str::<Value>(&written).expect("all of it");
    assert!(fs::read_to_string(&page).expect("the picture is there").ends_with("</html>\n"));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["c.json", "nodes.html", "objects.yaml"], "nothing else is left");
}

#[test]
fn ctrl_c_ends_a_bench_with_the_table_so_far_and_status_130() {
    let output = interrupted(&[
        "pack",
        "bench",
        "--nodes",
        "32",
        "--pods-per-node",
        "8",
        "--utilisation",
        "95",
        "--instances",
        "200",
        "--budget",
        "30s",
        "--format",
        "json",
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    let last = errors.lines().last().expect("a line");
    let runs = last.strip_prefix("onepath: interrupted after ").expect("it says so");
    let runs: usize = runs.strip_suffix(" runs").and_then(|n| n.parse().ok()).expect("a number");
    let table: Value = serde_json::from_slice(&output.stdout).expect("all of it is there");
    assert_eq!(table["runs"].as_array().map(Vec::len), Some(runs));
}
