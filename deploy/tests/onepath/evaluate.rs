//! Plans of others: the prediction, Sailor's files, and what is refused.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use onepath_topology::pipeline::model::Profile;
use onepath_topology::pipeline::predict::{
    Constants, NetworkTable, Profiles, parse_sailor, predict, profile_of_name,
};

use crate::run::{folder, onepath, text};

/// Two kinds of GPU, also among the replicas of a stage, and two tensor degrees.
const PLAN: &str = r#"{"format": "onepath-plan/1", "micro_batch": 2, "global_batch": 32,
"schedule": "1f1b", "pipelines": [{"stages": [
{"layers": [0, 1], "replicas": [
 {"gpu": "A", "gpus_per_node": 4, "tensor_parallel": 1},
 {"gpu": "B", "gpus_per_node": 4, "tensor_parallel": 2}]},
{"layers": [2], "replicas": [
 {"gpu": "B", "gpus_per_node": 4, "tensor_parallel": 2},
 {"gpu": "A", "gpus_per_node": 4, "tensor_parallel": 1}]}]}]}"#;

const NETWORK: &str = r#"{"inter": {"A": {"1": [[0.0, 0.0, 10.0], 1e10]},
"B": {"1": [[0.0, 0.0, 1.0], 1e9]}},
"intra": {"A": {"2": [[0.0, 0.0, 100.0], 1e11]}, "B": {"2": [[0.0, 0.0, 5.0], 5e9]}}}"#;

const PROFILE: &str = r#"{"model": {"parameters": {
"parameters_per_layer_bytes": [1000000, 1000000, 1000000],
"activation_parameters_bytes": [10000000, 10000000, 4]}},
"execution_time": {"optimizer_time_ms": 1.0, "layer_compute_total_ms": [1.0, 2.0, 3.0]},
"execution_memory": {"layer_memory_total_mb": [10, 20, 30]}}"#;

struct Files {
    folder: PathBuf,
}

impl Files {
    fn new(test: &str) -> Self {
        let files = Self { folder: folder(test) };
        files.write("plan.json", PLAN);
        files.write("network.json", NETWORK);
        files.write("profiles/A/mbs2_tmp1.json", PROFILE);
        files.write("profiles/B/mbs2_tmp2.json", PROFILE);
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, contents: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, contents).expect("a file can be written");
    }

    fn arguments(&self, format: &str) -> Vec<String> {
        let (plan, profiles) = (self.path("plan.json"), self.path("profiles"));
        let network = self.path("network.json");
        ["plan", "evaluate", &plan, "--profiles", &profiles, "--network", &network, "--format"]
            .into_iter()
            .chain([format])
            .map(str::to_owned)
            .collect()
    }

    fn evaluate(&self, format: &str) -> String {
        let arguments = self.arguments(format);
        text(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.evaluate("json")).expect("it writes JSON")
    }

    /// The one line on standard error with which it ends.
    fn refused(&self) -> String {
        let arguments = self.arguments("json");
        let output = onepath(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(output.stdout.is_empty());
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        error
    }
}

#[test]
fn a_plan_of_two_kinds_of_gpu_is_predicted_in_every_form() {
    let files = Files::new("evaluate-mixed");
    let found = files.json();
    let number = |name: &str| found[name].as_f64().expect("a number");
    assert!(number("iteration_s") > number("reduction_s") && number("reduction_s") > 0.0);
    assert_eq!(found["gpus"], 6);
    assert_eq!(found["stages"][0]["gpus"], serde_json::json!(["A", "B"]));
    assert_eq!(found["warnings"], serde_json::json!([]));
    let csv = files.evaluate("csv");
    let row = csv.lines().nth(1).expect("a row");
    let expected = ["iteration_s", "reduction_s", "max_memory_bytes", "gpus", "micro_batches"];
    assert_eq!(csv.lines().next(), Some(expected.join(",").as_str()));
    for (cell, name) in row.split(',').zip(expected) {
        assert_eq!(cell.parse::<f64>().ok(), Some(number(name)), "{name}");
    }
    assert!(files.evaluate("text").contains("A, B"));
    // All forward passes first keep more activations.
    files.write("plan.json", &PLAN.replace("1f1b", "gpipe"));
    let kept = files.json();
    assert!(kept["max_memory_bytes"].as_u64() > found["max_memory_bytes"].as_u64());
    assert_eq!(kept["iteration_s"], found["iteration_s"]);
}

#[test]
fn one_stage_and_profiles_without_a_kind_work_and_odd_layers_are_warned_of() {
    let files = Files::new("evaluate-one");
    let plan = r#"{"format": "onepath-plan/1", "micro_batch": 2, "global_batch": 2, "pipelines":
        [{"stages": [{"layers": [0, 2, 2], "replicas":
        [{"gpu": "A", "gpus_per_node": 4, "tensor_parallel": 1}]}]}]}"#;
    files.write("plan.json", plan);
    files.write("profiles/mbs2_tmp1.json", PROFILE);
    fs::remove_dir_all(files.folder.join("profiles/A")).expect("it can go");
    let found = files.json();
    let warnings = found["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(found["stages"][0]["transfers_s"], 0.0);
}

/// A file, what is changed in it, and what the error says.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("plan.json", "onepath-plan/1", "onepath-plan/9", "format is 'onepath-plan/9'"),
    ("plan.json", "\"gpu\": \"A\"", "\"gpu\": \"C\"", "no profile of C at micro-batch 2"),
    ("plan.json", "\"tensor_parallel\": 2", "\"tensor_parallel\": 8", "one of (B mbs2_tmp2)"),
    ("plan.json", "\"micro_batch\": 2", "\"micro_batch\": 4", "at micro-batch 4 and tensor"),
    ("plan.json", "\"micro_batch\": 2", "\"micro_batch\": 0", "micro_batch of the plan is 0"),
    ("plan.json", "\"micro_batch\": 2", "\"micro_batch\": -1", "not a plan: invalid value"),
    ("plan.json", "32", "33", "global_batch is 33: it must be a multiple of 4"),
    ("plan.json", "[2]", "[3]", "layer 3 is not in the profile of B: it has layers 0 to 2"),
    ("plan.json", "[2]", "[]", "number of layers of stage 1 of pipeline 0 is 0"),
    ("plan.json", "1f1b", "zero-bubble", "unknown variant `zero-bubble`"),
    ("plan.json", "gpus_per_node\": 4", "gpus_per_node\": 0", "gpus_per_node of stage 0"),
    ("plan.json", "\"gpus_per_node\": 4,", "", "missing field `gpus_per_node`"),
    ("plan.json", "\"layers\"", "\"layer\"", "unknown field `layer`"),
    ("plan.json", "\"layers\"", "\"la\\ny\"", "unknown field `la\\ny`"),
    ("plan.json", "]}]}]}", "", "not a plan: EOF"),
    ("network.json", "\"A\"", "\"C\"", "the network table has no inter curves of A"),
    ("network.json", "1e9", "-1e9", "inter of B has the plateau -1000000000"),
    ("network.json", "\"intra\"", "\"within\"", "missing field `intra`"),
    ("network.json", "\"1\": [[0.0", "\"one\": [[0.0", "has the key 'one'"),
    ("profiles/A/mbs2_tmp1.json", "[10, 20, 30]", "[10, 20]", "layer_memory_total_mb has 2"),
    ("profiles/A/mbs2_tmp1.json", "3.0]", "-3.0]", "layer_compute_total_ms holds -3"),
    ("profiles/A/mbs2_tmp1.json", "1.0, 2.0", "1e300, 2.0", "a finite number from 0 to 3600000"),
    ("profiles/A/mbs2_tmp1.json", "optimizer_time_ms", "optimizer_s", "optimizer_time_ms"),
];

#[test]
fn each_bad_file_gives_one_line_with_its_name() {
    for (index, (name, old, new, expected)) in BAD.iter().enumerate() {
        let files = Files::new(&format!("evaluate-bad-{index}"));
        let path = files.folder.join(name);
        let whole = fs::read_to_string(&path).expect("the file is there");
        assert!(whole.contains(old), "{name} has no {old:?}");
        files.write(name, &whole.replace(old, new));
        let error = files.refused();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert!(error.contains(".json: "), "{error}");
    }
    let files = Files::new("evaluate-bad");
    fs::remove_dir_all(files.folder.join("profiles/A")).expect("it can go");
    fs::remove_dir_all(files.folder.join("profiles/B")).expect("it can go");
    assert!(files.refused().contains("profiles: no layer profile: [GPU/]mbsB_tmpT.json"));
    fs::remove_dir_all(files.folder.join("profiles")).expect("it can go");
    assert!(files.refused().contains("profiles: No such file"));
    files.write("plan.json", &"x".repeat(1 << 20));
    assert!(files.refused().contains("not a plan: expected value at line 1"));
    for arguments in [
        &["plan", "evaluate"][..],
        &["plan", "evaluate", "a", "--profiles", "b"],
        &["plan", "evaluate", "a", "--profiles", "b", "--network", "c", "--format", "xml"],
        &["plan", "convert-sailor", "a"],
    ] {
        assert_eq!(onepath(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_conversion_that_fails_leaves_nothing() {
    let files = Files::new("evaluate-convert");
    let output = files.path("out");
    files.write("sailor/network_coefficients.json", NETWORK);
    files.write("sailor/profiles/M/mbs2_tmp1.json", PROFILE);
    files.write("sailor/measured/M/N1/plan_config_X.json", "{\"pipeline_list\": [");
    let source = files.path("sailor");
    let failed = onepath(&["plan", "convert-sailor", &source, "--output", &output]);
    let error = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{error}");
    assert!(error.contains("plan_config_X.json: not a plan of Sailor: EOF"), "{error}");
    let left: Vec<_> = fs::read_dir(&files.folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with("out"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    fs::create_dir(&output).expect("a folder can be made");
    let failed = onepath(&["plan", "convert-sailor", &source, "--output", &output]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("out: it exists"));
}

/// What the library says of a file of Sailor's.
fn by_library(file: &Path, profiles: &Path, network: &NetworkTable) -> [f64; 3] {
    let mut known = Profiles::default();
    for entry in fs::read_dir(profiles).expect("profiles") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let (micro_batch, tensor) = profile_of_name(&name).expect("the name of a profile");
        let text = fs::read_to_string(&path).expect("a profile");
        known.insert(None, micro_batch, tensor, Profile::parse(&text).expect("a profile"));
    }
    let text = fs::read_to_string(file).expect("a plan");
    let (plan, _) = parse_sailor(&text).expect("a plan");
    let found = predict(&plan, &known, network, &Constants::default()).expect("all is known");
    [found.iteration_s, found.reduction_s, found.max_memory.0 as f64]
}

#[test]
fn measured_plans_are_predicted_as_by_the_library_converted_or_not() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sailor");
    if !data.is_dir() {
        drop(writeln!(std::io::stderr(), "skipped: no measured runs at ../shared/data/sailor"));
        return;
    }
    let output = folder("evaluate-sailor").join("converted");
    let (source, target) = (data.display().to_string(), output.display().to_string());
    text(&["plan", "convert-sailor", &source, "--output", &target]);
    let network = fs::read_to_string(data.join("network_coefficients.json")).expect("a table");
    let network = NetworkTable::parse(&network).expect("a table");
    let table = output.join("network.json").display().to_string();
    let mut count = 0;
    for (model, profiled) in [("GPT-NEO", "GPT-Neo-2.7"), ("OPT-350", "OPT-350")] {
        let profiles = output.join("profiles").join(profiled);
        for entry in fs::read_dir(output.join("plans").join(model)).expect("plans") {
            let plan = entry.expect("an entry").path();
            let name = plan.file_name().expect("a name").to_string_lossy().into_owned();
            let nodes = name.split('_').next().expect("a number of nodes");
            let original = data.join(format!("measured/{model}/{nodes}/plan_config_{name}"));
            let right = by_library(&original, &data.join("profiles").join(profiled), &network);
            for path in [&plan, &original] {
                let arguments = [
                    "plan",
                    "evaluate",
                    &path.display().to_string(),
                    "--profiles",
                    &profiles.display().to_string(),
                    "--network",
                    &table,
                    "--format",
                    "csv",
                ];
                let csv = text(&arguments);
                let row = csv.lines().nth(1).expect("a row");
                let found: Vec<f64> =
                    row.split(',').take(3).map(|cell| cell.parse().expect("a number")).collect();
                assert_eq!(found, right, "{name}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 19);
}
