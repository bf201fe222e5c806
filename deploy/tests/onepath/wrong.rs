//! Wrong command lines and files give one clear line. What can be wrong inside of inventories and
//! lists is tested with their parsers, in `topology`.

use crate::run::{HOLMES, changed, file, onepath};

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &["plan"][..],
        &["plan", HOLMES, "--emit", "yaml"],
        &["plan", HOLMES, "--emit", "json", "--format", "csv"],
        &["plan", HOLMES, "--slurm", "a", "--kubernetes", "b"],
        &["plan", HOLMES, "--topology", "a"],
        &["pln", HOLMES],
        &[],
    ] {
        let output = onepath(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(onepath(&["--help"]).status.code(), Some(0));
}

/// What is changed in the example, and what the error says.
const BAD: &[(&str, &str, &str)] = &[
    ("memory_gib = 80\n", "", "memory_gib is missing"),
    ("kind = \"infiniband\"", "kind = \"token-ring\"", "'token-ring'"),
    ("[model]\n", "[plan]\n", "table [model] is missing"),
    ("layers = 30\n", "", "[model]: missing field `layers`"),
    ("layers = 30", "layers = 0", "[model]: layers is 0: it must be from 1"),
    ("layers = 30", "layers = -1", "[model]: invalid value: integer `-1`"),
    ("heads = 32", "heads = 7", "[model]: hidden is 3072: it must be a multiple of heads, 7"),
    ("precision = \"bf16\"", "precision = \"fp64\"", "[model]: unknown variant `fp64`"),
    ("optimizer = \"adam\"", "color = \"red\"", "[model]: unknown field `color`"),
    (
        "[training]\nglobal_batch = 768\n",
        "[training]\n",
        "[training]: missing field `global_batch`",
    ),
    ("global_batch = 768", "global_batch = 0", "global_batch is 0"),
    (
        "global_batch = 768\nmicro_batch = [1, 2, 4, 8]",
        "global_batch = 769\nmicro_batch = [2]",
        "no degrees divide 769 samples",
    ),
    ("micro_batch = [1, 2, 4, 8]", "micro_batch = []", "training.micro_batch: []: a list of 1"),
    ("micro_batch = [1, 2, 4, 8]", "micro_batch = [0]", "training.micro_batch: [0]"),
    ("micro_batch = [1, 2, 4, 8]", "max_tensor = 0", "training.max_tensor: 0: a number from 1"),
    ("micro_batch = [1, 2, 4, 8]", "bucket_mib = 0", "training.bucket_mib: 0"),
    ("micro_batch = [1, 2, 4, 8]", "transfers = \"slow\"", "training.transfers: \"slow\""),
    ("tflops = 220", "# tflops = 220", "tflops of A100 is missing"),
    ("memory_gib = 80", "memory_gib = 0.001", "fit the memory of 64 GPUs"),
];

#[test]
fn each_bad_file_gives_one_line_with_its_name_and_ends_with_1() {
    let mut cases: Vec<(Vec<u8>, &str)> =
        BAD.iter().map(|(old, new, error)| (changed(&[(old, new)]).into_bytes(), *error)).collect();
    cases.push((b"\xff\xfe".to_vec(), "not UTF-8 from byte 0 on"));
    cases.push((vec![b'#'; 5 << 20], "more than 4194304 bytes"));
    cases.push((vec![b'#'; 1 << 20], "line 1: 1048576 bytes"));
    let whole = changed(&[]);
    cases.push((whole.as_bytes()[..whole.len() / 2].to_vec(), "plan.toml: "));
    for (index, (text, expected)) in cases.iter().enumerate() {
        let path = file(&format!("wrong-{index}"), "plan.toml", text);
        let output = onepath(&["plan", &path.display().to_string()]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{expected}: {error}");
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert!(error.contains("plan.toml: "), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    }
    let missing = onepath(&["plan", "/no/such/file.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    let list = file(
        "wrong-list",
        "topology.yaml",
        "- topology: t\n  tree:\n    switches:\n      - switch: a\n        children: a\n",
    );
    let output = onepath(&["plan", HOLMES, "--slurm", &list.display().to_string()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("topology.yaml: switch 'a' is above itself"), "{error}");
}
