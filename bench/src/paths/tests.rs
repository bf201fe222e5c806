use clap::Parser;
use onepath_transport::path::{PathFile, UnpinnedReason};

use super::*;
use crate::arguments::{Arguments, Task, one_line};

const FILE: &str = r#"
protocol = "tcp"
[[destination]]
to = "10.1.0.2:29500"
last_hops = ["10.201.1.1"]
path = [
    { hops = ["10.200.0.1"], ports = [20001, 20007] },
    { hops = ["10.201.0.1"], ports = [20002] },
]
"#;

fn written(discovery: &Discovery, format: PathsFormat) -> String {
    written_of(&ProbeConfig::default(), discovery, format)
}

fn written_of(config: &ProbeConfig, discovery: &Discovery, format: PathsFormat) -> String {
    let report = Report::new(config, discovery, Duration::from_millis(5));
    let mut bytes = Vec::new();
    report.write(format, &mut bytes).expect("memory takes it");
    String::from_utf8(bytes).expect("it is text")
}

fn discovery() -> Discovery {
    let file = PathFile::parse(FILE).expect("it is right");
    let asked = ["10.1.0.2:29500", "10.2.0.2:1"].map(|text| text.parse().expect("an address"));
    file.table([10, 0, 0, 2].into(), &asked)
}

#[test]
fn the_table_names_leaf_path_hop_and_ports() {
    let text = written(&discovery(), PathsFormat::Table);
    for part in [
        "paths by tcp from 10.0.0.2",
        "last hops before the destinations: 10.201.1.1",
        "10.1.0.2:29500: 0 ports probed, 0 silent",
        "     0  10.200.0.1            -  20001 20007\n",
        "     1  10.201.0.1            -  20002\n",
        "# 10.2.0.2:1: unpinned: the path file has no entry for it\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

const ROCE_FILE: &str = r#"
protocol = "roce"
[[destination]]
to = "10.1.0.2:4791"
path = [
    { hops = ["10.200.0.1"], ports = [49153, 49152] },
    { hops = ["10.201.0.1"], ports = [65535] },
]
"#;

#[test]
fn tables_of_a_device_have_flow_labels() {
    let file = PathFile::parse(ROCE_FILE).expect("it is right");
    let discovery = file.table([10, 0, 0, 2].into(), &[([10, 1, 0, 2], 4791).into()]);
    let written = |format| written_of(&ProbeConfig::roce(), &discovery, format);
    let text = written(PathsFormat::Table);
    for part in ["paths by roce from 10.0.0.2", "flow labels\n", " 1 16385\n", " 16383\n"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert_eq!(
        written(PathsFormat::Csv),
        "protocol,source,destination,leaf,path,hops,port,round_trip_us,label\n\
         roce,10.0.0.2,10.1.0.2:4791,0,0,10.200.0.1,49153,,1\n\
         roce,10.0.0.2,10.1.0.2:4791,0,0,10.200.0.1,49152,,16385\n\
         roce,10.0.0.2,10.1.0.2:4791,0,1,10.201.0.1,65535,,16383\n"
    );
    let text = written(PathsFormat::Json);
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let paths = &document["leaves"][0]["destinations"][0]["paths"];
    assert_eq!(paths[0]["labels"], serde_json::json!([1, 16385]));
    assert_eq!(paths[1]["ports"], serde_json::json!([65535]));
}

#[test]
fn csv_has_one_line_a_port() {
    assert_eq!(
        written(&discovery(), PathsFormat::Csv),
        "protocol,source,destination,leaf,path,hops,port,round_trip_us\n\
         tcp,10.0.0.2,10.1.0.2:29500,0,0,10.200.0.1,20001,\n\
         tcp,10.0.0.2,10.1.0.2:29500,0,0,10.200.0.1,20007,\n\
         tcp,10.0.0.2,10.1.0.2:29500,0,1,10.201.0.1,20002,\n"
    );
}

#[test]
fn json_has_paths_with_ports_and_says_what_is_unpinned() {
    let text = written(&discovery(), PathsFormat::Json);
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let paths = &document["leaves"][0]["destinations"][0]["paths"];
    assert_eq!(paths[0]["ports"], serde_json::json!([20001, 20007]));
    assert_eq!(document["unpinned"][0]["destination"], "10.2.0.2:1");
    assert_eq!(document["unpinned_reason"], serde_json::Value::Null);
    let nothing = Discovery::Unpinned { reason: UnpinnedReason::NoAnswers { ports: 16 } };
    let text = written(&nothing, PathsFormat::Json);
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let reason = document["unpinned_reason"].as_str().expect("a reason");
    assert!(reason.contains("from 16 ports"), "{reason}");
}

#[test]
fn wrong_options_are_one_line_with_option_value_and_what_is_right() {
    for (line, expected) in [
        ("paths", &["--to"][..]),
        ("paths --to a:0", &["--to", "a:0", "HOST:PORT"]),
        ("paths --to a --from b", &["--from", "b", "invalid IP address"]),
        ("paths --to a --protocol sctp", &["--protocol", "sctp", "tcp, udp or roce"]),
        ("paths --to a --protocol udp --roce rxe0", &["--protocol", "--roce", "cannot"]),
        ("paths --to a --ports 0", &["--ports", "0", "1..=256"]),
        ("paths --to a --ttl 0", &["--ttl", "0", "from 1 to 64"]),
        ("paths --to a --ttl 1-30", &["--ttl", "1-30", "at most 16"]),
        ("paths --to a --timeout 0", &["--timeout", "0", "1..=3600"]),
        ("paths --to a --format peers", &["--format", "peers", "json"]),
    ] {
        let words = std::iter::once("b").chain(line.split_whitespace());
        let message = one_line(&Arguments::try_parse_from(words).expect_err(line));
        assert!(!message.contains('\n'), "{message}");
        for part in expected {
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}

#[test]
fn roce_needs_its_device_and_has_one_port() {
    for (line, expected) in [
        ("--to 10.0.0.1 --protocol roce", &["--protocol roce", "--roce DEVICE"][..]),
        ("--to 10.0.0.1:29500 --roce rxe0", &["--to 10.0.0.1:29500", "4791"]),
    ] {
        let words = ["b", "paths"].into_iter().chain(line.split_whitespace());
        let Ok(Arguments { task: Task::Paths(paths) }) = Arguments::try_parse_from(words) else {
            panic!("right so far: {line}")
        };
        let error = run(&paths).expect_err(line);
        assert!(error.is_usage());
        let message = error.to_string();
        for part in expected {
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}

#[test]
fn destinations_of_two_families_are_refused() {
    let arguments = Arguments::try_parse_from(["b", "paths", "--to", "10.0.0.1,[::1]:7"]);
    let Ok(Arguments { task: Task::Paths(paths) }) = arguments else { panic!("right so far") };
    let error = run(&paths).expect_err("two families");
    assert!(error.is_usage());
    assert_eq!(
        error.to_string(),
        "--to [::1]:7: it has no IPv4 address, as --from or the first of --to has"
    );
}
