//! `onepath pack bench`, as it is called.

use serde_json::Value;

use crate::run::{onepath, text};

const SMALL: [&str; 8] =
    ["pack", "bench", "--nodes", "4", "--pods-per-node", "4", "--instances", "2"];

#[test]
fn a_bench_solves_the_same_instances_each_time_and_counts_what_came_of_them() {
    let json = |seed: &str| -> Value {
        let options = ["--seed", seed, "--format", "json", "--budget", "20s"];
        serde_json::from_str(&text(&[&SMALL[..], &options].concat())).expect("it writes JSON")
    };
    let before = |bench: &Value| -> Vec<Value> {
        let runs = bench["runs"].as_array().expect("runs").iter();
        runs.map(|run| run["before"].clone()).collect()
    };
    let (first, second, other) = (json("1"), json("1"), json("100"));
    assert_eq!(before(&first), before(&second));
    assert_ne!(before(&first), before(&other));
    let rows = first["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5, "one a utilisation, and all together");
    let all = &rows[4];
    let counts = ["better_proved", "better", "default_optimal", "failed"];
    let sum: u64 = counts.iter().map(|name| all[name].as_u64().expect("a count")).sum();
    assert_eq!((all["instances"].as_u64(), sum), (Some(8), 8));
}

#[test]
fn a_large_cluster_is_told_tier_by_tier() {
    let csv =
        text(&["pack", "bench", "--large", "40,200,4", "--budget", "200ms", "--format", "csv"]);
    let mut lines = csv.lines();
    let names = lines.next().expect("names");
    assert_eq!(names, "back_end,seed,tier,goal,before,after,bound,cpu_s,wall_s");
    assert_eq!(lines.filter(|line| line.starts_with("search,1,")).count(), 8);
}

#[test]
fn a_library_that_is_not_there_is_named_and_ends_with_1() {
    let library = ["--back-end", "cpsat", "--ortools", "/no/such/libortools.so"];
    let output = onepath(&[&SMALL[..], &library].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("onepath: /no/such/libortools.so: cannot be loaded: "), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
}
