//! `lab` as a user runs it. Where the system does not allow it, the runs say so and do nothing.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The exit code that says that the system does not allow it.
const NOT_ALLOWED: i32 = 3;

/// The exit code of a wrong command line.
const USAGE: i32 = 2;

const SMALL: [&str; 7] = ["lab", "--leaves", "2", "--spines", "2", "--hosts", "4"];

fn lab(more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onepath-bench"));
    command.args(SMALL).args(more).stdin(Stdio::null()).output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_collective_by_every_scheme_brings_the_right_data_and_says_how_long_it_took() {
    let collectives = "permutation,ring,halving-doubling,direct,all-to-all,incast";
    let schemes = "ecmp,ecmp-k,split-equal,split-line,split,switch-spray,\
                   ecmp-udp,split-udp,spray,reps,switch-spray-udp";
    let report = std::env::temp_dir().join(format!("onepath-lab-{}.html", std::process::id()));
    let output = lab(&[
        "--collectives",
        collectives,
        "--schemes",
        schemes,
        "--conditions",
        "healthy",
        "--bytes",
        "256K",
        "--warm-ups",
        "1",
        "--format",
        "json",
        "--report",
        report.to_str().expect("a name"),
    ]);
    if output.status.code() == Some(NOT_ALLOWED) {
        drop(writeln!(std::io::stderr(), "skipped: {}", said(&output)));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let rows: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 66);
    for row in rows {
        for name in ["collective", "scheme", "condition"] {
            assert!(row[name].is_string(), "{row}");
        }
        for name in ["seed", "completion_s", "ideal_s", "max_over_mean", "retransmits"] {
            assert!(row[name].is_number(), "{name} in {row}");
        }
        assert!(row["out_of_order"].is_u64() && row["cpu_bound"].is_boolean(), "{row}");
        assert_eq!((&row["wrong"], &row["unpinned"]), (&0.into(), &0.into()), "{row}");
        assert_eq!(row["warm_ups"], 1, "{row}");
        let (time, ideal) = (row["completion_s"].as_f64(), row["ideal_s"].as_f64());
        // A link may be ahead of its rate by its burst of two packets.
        assert!(time.expect("a time") > 0.9 * ideal.expect("a time"), "faster than light: {row}");
    }
    let page = std::fs::read_to_string(&report).expect("it was written");
    assert!(page.contains("</html>") && page.matches("<svg").count() > 36);
    assert!(
        !page.contains("http://")
            || page.matches("http://").count()
                == page.matches("http://www.w3.org/2000/svg").count()
    );
    std::fs::remove_file(report).expect("it is ours");
}

#[test]
fn wrong_options_are_told_in_one_line_before_anything_is_built() {
    for (options, parts) in [
        (&["--schemes", "ecmpp"][..], &["--schemes", "ecmpp"][..]),
        (&["--bytes", "8"], &["bytes = 8", "1024"]),
        (&["--seeds", "0"], &["--seeds", "1..=1000"]),
        (&["--warm-ups", "101"], &["--warm-ups", "0..=100"]),
        (&["--plan", "/no/such/file"], &["/no/such/file"]),
        (&["--plan", "x", "--seeds", "2"], &["--plan", "--seeds"]),
        (&["--leaves", "3"], &["hosts", "leaves = 3"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_onepath-bench"))
            .arg("lab")
            .args(options)
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        let said = said(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(USAGE), 1), "{said}");
        for part in parts {
            assert!(said.contains(part), "{options:?}: {said}");
        }
    }
}

#[test]
fn a_rank_of_the_lab_started_by_hand_says_that_it_is_not_for_that() {
    let output = Command::new(env!("CARGO_BIN_EXE_onepath-bench"))
        .arg("lab-rank")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("talking to the lab"), "{said}");
}
