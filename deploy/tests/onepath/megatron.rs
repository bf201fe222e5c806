//! Megatron-LM's arguments. The parser of layouts is written from the user guide of Megatron Core
//! (Custom Pipeline Model Parallel Layout) alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{HOLMES, LARGE, changed, clusters, emit, file, json};

/// A layout as one letter a layer, stages apart. `x*n` repeats a letter or what is in brackets.
fn expand(text: &str) -> Result<String, String> {
    let mut done: Vec<String> = vec![String::new()];
    let mut unit: Option<String> = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '*' => {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let count: usize = rest[..digits].parse().map_err(|_| "no number".to_owned())?;
                let again = unit.take().ok_or("nothing to repeat")?;
                let top = done.last_mut().ok_or("no level")?;
                let kept = top.len() - again.len();
                top.truncate(kept);
                top.push_str(&again.repeat(count));
                rest = &rest[digits..];
            }
            '(' => {
                done.push(String::new());
                unit = None;
            }
            ')' => {
                let inside = done.pop().ok_or("too many brackets")?;
                done.last_mut().ok_or("too many brackets")?.push_str(&inside);
                unit = Some(inside);
            }
            ',' => unit = None,
            'E' | 't' | 'm' | 'L' | '|' => {
                done.last_mut().ok_or("no level")?.push(first);
                unit = Some(first.to_string());
            }
            other => return Err(format!("'{other}' is no layer")),
        }
    }
    match &done[..] {
        [whole] => Ok(whole.clone()),
        _ => Err("an open bracket".to_owned()),
    }
}

fn stages(text: &str) -> Vec<String> {
    let expanded = expand(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    expanded.split('|').map(str::to_owned).collect()
}

#[test]
fn the_parser_reads_the_documented_layouts() {
    let deepseek = stages("Et*3|(tt|)*29,m|L");
    assert_eq!(deepseek.len(), 16 * 2);
    assert_eq!((deepseek[0].as_str(), deepseek[1].as_str()), ("Ettt", "tt"));
    assert_eq!((deepseek[30].as_str(), deepseek[31].as_str()), ("m", "L"));
    assert_eq!(deepseek.concat().matches('t').count(), 61);
    assert_eq!(stages("E||t|L"), ["E", "", "t", "L"]);
    assert!(expand("E|x").is_err() && expand("(t").is_err() && expand("*3").is_err());
}

/// Options of a command line as a shell divides it.
fn options(text: &str) -> BTreeMap<String, String> {
    let joined = text.replace("\\\n", " ");
    let mut options = BTreeMap::new();
    let mut name = String::new();
    for word in joined.split_whitespace() {
        if let Some(option) = word.strip_prefix("--") {
            option.clone_into(&mut name);
            assert_eq!(options.insert(name.clone(), String::new()), None, "{option} twice");
        } else {
            let value = word.trim_matches('\'').to_owned();
            assert_eq!(options.insert(name.clone(), value), Some(String::new()), "{name}");
        }
    }
    options
}

/// Checks the arguments of a plan, and gives the layout.
fn check(path: &Path) -> Vec<String> {
    let plan = json(path);
    let options = options(&emit(path, "megatron"));
    let degree = |name: &str| plan["degrees"][name].as_u64().expect("a degree");
    let given = |name: &str| options[name].parse::<u64>().expect("a number");
    assert_eq!(given("tensor-model-parallel-size"), degree("tensor"));
    assert_eq!(given("pipeline-model-parallel-size"), degree("pipeline"));
    assert_eq!(given("micro-batch-size"), degree("micro_batch"));
    assert_eq!(Some(given("global-batch-size")), plan["global_batch"].as_u64());
    assert!(options.contains_key("bf16"));
    assert_eq!(options.contains_key("use-distributed-optimizer"), degree("data") > 1);
    let layers = given("num-layers") as usize;
    let Some(layout) = options.get("pipeline-model-parallel-layout") else {
        assert_eq!(degree("pipeline"), 1);
        return Vec::new();
    };
    let stages = stages(layout);
    assert_eq!(stages.len() as u64, degree("pipeline") * degree("virtual_stages"));
    let all = stages.concat();
    assert_eq!(all, format!("E{}L", "t".repeat(layers)), "{layout}");
    // The ranks of a stage hold the blocks that the plan says.
    let pipeline = degree("pipeline") as usize;
    for (rank, stage) in plan["stages"].as_array().expect("stages").iter().enumerate() {
        let own = stages.iter().skip(rank).step_by(pipeline);
        let blocks: usize = own.map(|stage| stage.matches('t').count()).sum();
        assert_eq!(stage["blocks"].as_u64(), Some(blocks as u64), "stage {rank} of {layout}");
    }
    stages
}

#[test]
fn the_layout_has_every_layer_once_and_the_blocks_of_the_plan() {
    let holmes = check(Path::new(HOLMES));
    assert_eq!(holmes.len(), 2);
    let slower = changed(&[("tflops = 220\n", "tflops = 110\n")]);
    let uneven = check(&file("megatron-uneven", "uneven.toml", slower));
    let blocks: Vec<usize> = uneven.iter().map(|stage| stage.matches('t').count()).collect();
    assert_ne!(blocks.iter().min(), blocks.iter().max(), "{uneven:?}");
    let large = clusters(&[6, 10, 4], LARGE);
    check(&file("megatron-large", "large.toml", large));
    let one = clusters(&[16], LARGE).replace("global_batch = 8192", "global_batch = 64");
    let one = one + "micro_batch = [1]\nvirtual_stages = [2]\nmax_tensor = 8\n";
    let interleaved = check(&file("megatron-interleaved", "one.toml", one));
    assert!(interleaved.len() >= 4, "{interleaved:?}");
}

#[test]
fn communicators_over_clusters_use_sockets_and_those_inside_rdma() {
    let read = |path: PathBuf| -> BTreeMap<String, String> {
        let text = emit(&path, "nccl");
        let lines: Vec<&str> = text.lines().collect();
        let pair = |pair: &[&str]| {
            let name = pair[0].strip_suffix(':').expect("a name");
            let net = pair[1].strip_prefix("  net_name: ").expect("a network");
            (name.to_owned(), net.to_owned())
        };
        lines.chunks(2).map(pair).collect()
    };
    let holmes = read(PathBuf::from(HOLMES));
    for (name, net) in [("dp", "IB"), ("dp_cp", "IB"), ("pp", "Socket"), ("embd", "Socket")] {
        assert_eq!(holmes[name], net, "{name}");
    }
    // With one rank of tensor parallelism these are the pipelines.
    assert_eq!(holmes["mp"], "Socket");
    let plan: Value = json(Path::new(HOLMES));
    for group in plan["groups"].as_array().expect("groups") {
        let kind = group["kind"].as_str().expect("a kind");
        if let Some(net) = group["net_name"].as_str() {
            assert_eq!(holmes[kind], net, "{group}");
        }
    }
}
