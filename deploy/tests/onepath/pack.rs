//! The placement of pods of files: the example, its forms, wrong files and command lines.

use std::fs;

use serde_json::Value;

use crate::run::{file, folder, onepath, text};

const PODS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pods.yaml");
const NODES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/nodes.yaml");

#[test]
fn the_example_places_a_gang_that_the_default_scheduler_leaves_pending() {
    let page = folder("pack-example").join("nodes.html");
    let page = page.display().to_string();
    let json = text(&["pack", PODS, "--nodes", NODES, "--format", "json", "--html", &page]);
    let report: Value = serde_json::from_str(&json).expect("it writes JSON");
    let tier = |index: usize, field: &str| report["tiers"][index][field].as_u64();
    assert_eq!(report["status"], "optimal");
    assert_eq!((tier(0, "priority"), tier(0, "pods")), (Some(1000), Some(7)));
    assert_eq!(
        (tier(0, "before"), tier(0, "default"), tier(0, "placed")),
        (Some(4), Some(4), Some(7))
    );
    assert_eq!(tier(0, "disturbed"), Some(3));
    assert_eq!((tier(1, "default"), tier(1, "default_useless")), (Some(5), Some(0)));
    let page = fs::read_to_string(page).expect("the picture is there");
    assert!(page.contains("team/train-0") && page.ends_with("</html>\n"));
    let again = text(&["pack", PODS, "--nodes", NODES, "--format", "json"]);
    assert_eq!(json, again, "same seed, same answer");
}

#[test]
fn a_certificate_of_the_example_holds_and_of_changed_objects_does_not() {
    let path = folder("pack-certificate").join("certificate.json");
    let path = path.display().to_string();
    text(&["pack", PODS, "--nodes", NODES, "--certificate", &path]);
    let verified = text(&["pack", "verify", &path, PODS, "--nodes", NODES]);
    assert!(verified.contains("12 pods on 5 nodes, 4 of 4 stages optimal"), "{verified}");
    let [forged, csv_forged] = ["text", "csv"].map(|format| {
        let certificate = fs::read_to_string(&path).expect("the certificate is there");
        let solver = "\"solver\":\"search\"";
        assert!(certificate.contains(solver), "{certificate}");
        let lie = "\"solver\":\"x\\n1000,most placed,7,7,arithmetic\"";
        let forged = certificate.replace(solver, lie);
        let forged = file("pack-certificate-forged", "forged.json", forged).display().to_string();
        text(&["pack", "verify", &forged, PODS, "--nodes", NODES, "--format", format])
    });
    assert_eq!(forged.lines().count(), verified.lines().count(), "{forged}");
    assert!(
        csv_forged.contains(",\"the word of x 1000,most placed,7,7,arithmetic\""),
        "{csv_forged}"
    );
    let csv = text(&["pack", "verify", &path, PODS, "--nodes", NODES, "--format", "csv"]);
    assert_eq!(csv.lines().count(), 5);
    let refused = |arguments: &[&str], expected: &str| {
        let output = onepath(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    };
    let controlled = ["pack", "verify", &path, PODS, "--nodes", NODES, "--movable", "controlled"];
    refused(&controlled, "certificate.json: problem: the certificate is about ");
    let certificate = fs::read_to_string(&path).expect("the certificate is there");
    let seat = "{\"pod\":\"team/train-0\",\"node\":\"a1\"}";
    assert!(certificate.contains(seat), "{certificate}");
    let moved = certificate.replace(seat, "{\"pod\":\"team/train-0\",\"node\":\"b2\"}");
    let moved = file("pack-certificate-moved", "moved.json", moved).display().to_string();
    refused(&["pack", "verify", &moved, PODS, "--nodes", NODES], "moved.json: placement: ");
    refused(&["pack", "verify", PODS, PODS, "--nodes", NODES], "pods.yaml: expected ");
}

#[test]
fn the_example_has_nothing_to_move_where_onepath_controls_no_pod() {
    let arguments = ["pack", PODS, "--nodes", NODES, "--movable", "controlled", "--format", "csv"];
    let csv = text(&arguments);
    assert!(csv.contains("team/serve-0,1000,,a1,a1,a1,stays,\n"), "{csv}");
    assert!(csv.contains("team/train-0,1000,team/train,,,,pending,"), "{csv}");
}

#[test]
fn wrong_command_lines_of_pack_end_with_2() {
    for arguments in [
        &["pack"][..],
        &["pack", "--nodes", NODES],
        &["pack", PODS, "--objective", "best"],
        &["pack", PODS, "--budget", "10"],
        &["pack", PODS, "--budget", "0s"],
        &["pack", PODS, "--back-end", "none"],
        &["pack", PODS, "--seed", "x"],
        &["pack", PODS, "--format", "yaml"],
        &["pack", PODS, "--movable", "all"],
        &["pack", PODS, "--kubeconfig", "f"],
        &["pack", PODS, "--context", "c"],
        &["pack", PODS, "--stage-label", "l"],
        &["pack", PODS, "--nodes"],
        &["pack", PODS, "--no-such-option"],
        &["pack", "verify", PODS],
    ] {
        let output = onepath(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

/// What the error says of a file of pods; most of what can be wrong is tested with the reader.
const BAD: &[(&str, &str)] = &[
    ("", "pods.yaml: holds no object"),
    ("kind: Pod\n", "pods.yaml: Pod 1: metadata.name is missing"),
    ("kind: Service\nmetadata: {name: s}\n", "no Pod in "),
    ("kind: Pod\nmetadata: {name: p, labels: {a: [}}\n", "pods.yaml: line 2: "),
    (
        "kind: Pod\nmetadata: {name: p, annotations: \
         {onepath.io/gang: g, onepath.io/gang-size: '0'}}\n",
        "Pod default/p: onepath.io/gang-size: is \"0\": a whole number from 1 on would be right",
    ),
    (
        "kind: Pod\nmetadata: {name: p}\nspec: {priorityClassName: c}\n",
        "Pod default/p: spec.priorityClassName: there is no PriorityClass c",
    ),
    (
        "kind: Node\nmetadata: {name: a1}\n---\nkind: Pod\nmetadata: {name: p}\n",
        "Node a1: is there twice",
    ),
];

#[test]
fn each_bad_file_of_pods_gives_one_line_and_ends_with_1() {
    let one_line = |arguments: &[&str], expected: &str| {
        let output = onepath(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{expected}: {error}");
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    };
    for (index, (text, expected)) in BAD.iter().enumerate() {
        let path = file(&format!("pack-wrong-{index}"), "pods.yaml", text).display().to_string();
        one_line(&["pack", &path, "--nodes", NODES], expected);
    }
    let binary = file("pack-wrong-binary", "pods.yaml", b"\xff\xfe").display().to_string();
    one_line(&["pack", &binary, "--nodes", NODES], "not UTF-8 from byte 0 on");
    let nobody = file("pack-wrong-nodes", "p.yaml", "kind: Pod\nmetadata: {name: p}\n");
    let nobody = nobody.display().to_string();
    one_line(&["pack", &nobody], "no Node in ");
    one_line(&["pack", "/no/such/pods.yaml", "--nodes", NODES], "/no/such/pods.yaml: ");
    one_line(&["pack", PODS, "--nodes", "/no/such/nodes.yaml"], "/no/such/nodes.yaml: ");
    one_line(
        &["pack", PODS, "--nodes", NODES, "--html", "/no/such/folder/x"],
        "/no/such/folder/x: ",
    );
    one_line(&["pack", PODS, "--nodes", NODES, "--plan", PODS], "pods.yaml: line 1: ");
    one_line(
        &["pack", PODS, "--nodes", NODES, "--back-end", "cpsat", "--ortools", "/no/such"],
        "/no/such",
    );
    one_line(&["pack", "--cluster", "--kubeconfig", "/no/such/config"], "/no/such/config: ");
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: \
        {cluster: k, user: u}}]\nusers: [{name: u, user: {}}]\nclusters: [{name: k, cluster: \
        {server: 'http://127.0.0.1:9'}}]\n";
    let config = file("pack-wrong-cluster", "config", config).display().to_string();
    let cluster = ["pack", "--cluster", "--kubeconfig", &config];
    one_line(&cluster, "cluster http://127.0.0.1:9/: list nodes: ");
    one_line(&[&cluster[..], &["--context", "d"]].concat(), "d");
}
