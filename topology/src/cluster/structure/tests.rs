use super::*;

const TREE: &str = "\
---
# A comment.
- topology: first
  cluster_default: false
  flat: true
- topology: main
  cluster_default: true
  tree:
    switches:
      - switch: root
        children: s[1-2]
      - switch: s2
        nodes: node[03-04]
      - switch: s1
        nodes: node[01-02]
- topology: racks
  block:
    block_sizes: [2, 8]
    blocks:
      - block: b1
        nodes: node[03-04]
      - block: b2
        nodes: node[01-02]
";

fn hosts(structure: &Structure) -> Vec<&str> {
    structure.hosts().iter().map(|(host, _)| host.as_str()).collect()
}

#[test]
fn the_default_topology_is_a_tree_in_order_of_its_switches() {
    let tree = Structure::from_slurm(TREE, None).expect("the example is right");
    assert_eq!(hosts(&tree), ["node01", "node02", "node03", "node04"]);
    assert_eq!(tree.within("s2"), Some(vec!["node03".to_owned(), "node04".to_owned()]));
    assert_eq!(tree.within("root").map(|hosts| hosts.len()), Some(4));
    assert_eq!(tree.within("s3"), None);
    assert_eq!(tree.units()[1].depth, 1);
}

#[test]
fn other_topologies_are_found_by_name() {
    let blocks = Structure::from_slurm(TREE, Some("racks")).expect("the example is right");
    assert_eq!(hosts(&blocks), ["node03", "node04", "node01", "node02"]);
    assert!(Structure::from_slurm(TREE, Some("first")).expect("the example is right").is_flat());
    let error = Structure::from_slurm(TREE, Some("other")).expect_err("there is none");
    assert_eq!(
        error.to_string(),
        "topology 'other' is not in the file: first, main, racks would be right"
    );
}

fn node(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("\"{label}\": \"{value}\"")).collect();
    format!(
        "{{\"kind\": \"Node\", \"metadata\": {{\"name\": \"{name}\", \"uid\": \"x\", \
         \"labels\": {{{}}}}}, \"status\": {{\"allocatable\": {{\"nvidia.com/gpu\": \"8\"}}}}}}",
        labels.join(", ")
    )
}

fn list(nodes: &[String]) -> String {
    format!("{{\"kind\": \"List\", \"items\": [{}]}}", nodes.join(", "))
}

const ZONE: &str = "topology.kubernetes.io/zone";
const LEAF: &str = "network.topology.nvidia.com/leaf";
const DOMAIN: &str = "network.topology.nvidia.com/accelerator";

#[test]
fn kubernetes_nodes_are_grouped_by_their_labels() {
    let text = list(&[
        node("a", &[(ZONE, "z1"), (LEAF, "l1")]),
        node("b", &[(ZONE, "z2"), (LEAF, "l2")]),
        node("c", &[(ZONE, "z1"), (LEAF, "l1")]),
        node("d", &[]),
    ]);
    let structure = Structure::from_kubernetes(&text).expect("the list is right");
    assert_eq!(hosts(&structure), ["d", "a", "c", "b"]);
    assert_eq!(structure.within("zone=z1"), Some(vec!["a".to_owned(), "c".to_owned()]));
    assert_eq!(structure.gpus("b"), Some(8));
}

#[test]
fn an_nvlink_domain_may_be_inside_of_a_leaf_or_around_leaves() {
    let inside = list(&[
        node("a", &[(LEAF, "l1"), (DOMAIN, "n1")]),
        node("b", &[(LEAF, "l1"), (DOMAIN, "n2")]),
    ]);
    let around = list(&[
        node("a", &[(LEAF, "l1"), (DOMAIN, "n1")]),
        node("b", &[(LEAF, "l2"), (DOMAIN, "n1")]),
    ]);
    let inside = Structure::from_kubernetes(&inside).expect("domains in a leaf");
    assert_eq!(inside.within("leaf=l1").map(|hosts| hosts.len()), Some(2));
    let around = Structure::from_kubernetes(&around).expect("leaves in a domain");
    assert_eq!(around.within("accelerator=n1").map(|hosts| hosts.len()), Some(2));
}

/// A tree with these lines of switches.
fn tree(switches: &str) -> String {
    let lines: Vec<String> = switches.lines().map(|line| format!("      {line}\n")).collect();
    format!("- topology: t\n  tree:\n    switches:\n{}", lines.concat())
}

/// Blocks with these sizes.
fn blocks(sizes: &str, nodes: &str) -> String {
    format!(
        "- topology: t\n  block:\n    block_sizes: [{sizes}]\n    blocks:\n\
         \x20     - block: b\n        nodes: {nodes}\n"
    )
}

#[test]
fn each_bad_slurm_file_gives_one_clear_line() {
    let deep: Vec<String> = (0..40)
        .map(|n| format!("- switch: s{n}\n  children: s{}\n", n + 1))
        .chain(["- switch: s40\n  nodes: a\n".to_owned()])
        .collect();
    let long_line = format!("- topology: t # {}\n  flat: true\n", "x".repeat(1 << 20));
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "topology '' is not in the file: - topology: NAME would be right"),
        ("- topology: t\n  tr".to_owned(), "line 2"),
        ("- topology: t\n".to_owned(), "has 0 of tree, block and flat"),
        ("- topology: t\n  flat: false\n".to_owned(), "flat: true would be right"),
        ("- topology: t\n  flat: 3\n".to_owned(), "flat: true would be right"),
        ("- topology: t\n  ring: {}\n".to_owned(), "has 0 of tree, block and flat (a ring"),
        ("- topology: t\n  star: {}\n".to_owned(), "star"),
        ("- cluster_default: true\n  flat: true\n".to_owned(), "topology"),
        ("- topology: t\n  flat: true\n- topology: t\n  flat: true\n".to_owned(), "before"),
        (format!("{}  flat: true\n", tree("- switch: s\n  nodes: a")), "has 2 of tree"),
        (tree("- switch: s"), "switch 's': neither nodes nor children"),
        (tree("- switch: s\n  nodes: a[1-"), "switch 's'.nodes: 'a[1-' has an unpaired bracket"),
        (tree("- switch: s\n  nodes: a[9-1]"), "'[9-1]' is no list of numbers"),
        (tree("- switch: s\n  children: x"), "child 'x' is no switch"),
        (tree("- switch: s\n  nodes: a\n- switch: s\n  nodes: b"), "'s' is named before"),
        (tree("- switch: s\n  nodes: a\n- switch: r\n  nodes: a"), "node 'a' is in both 's'"),
        (
            tree("- switch: a\n  children: c\n- switch: b\n  children: c\n- switch: c\n  nodes: n"),
            "switch 'c' is in both 'a' and 'b'",
        ),
        (tree("- switch: a\n  children: b\n- switch: b\n  children: a"), "is above itself"),
        (tree("- switch: a\n  children: a"), "switch 'a' is above itself"),
        (
            tree(
                "- switch: r\n  nodes: n\n- switch: x\n  children: b\n- switch: b\n  children: c\n\
                 - switch: c\n  children: x",
            ),
            "is above itself",
        ),
        (tree(&deep.concat()), "has more than 16 layers"),
        (blocks("", "a[1-4]"), "block size 0"),
        (blocks("4, 12", "a[1-4]"), "block size 12"),
        (blocks("4, 4", "a[1-4]"), "block size 4"),
        (blocks("4, 0", "a[1-4]"), "block size 0"),
        (blocks("8", "a[1-4]"), "block 'b' has 4 nodes: at least the base block size 8"),
        (blocks("x", "a[1-4]"), "line 3"),
        (long_line, "line 1: 1048592 bytes"),
        ("[".repeat(5_000), "line 1"),
        ("a: &a [*a, *a]\n".to_owned(), "line 1"),
    ];
    for (text, expected) in cases {
        let error = Structure::from_slurm(&text, None).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert!(!error.contains('\n') && error.len() < 700, "{error}");
    }
}

#[test]
fn each_bad_list_of_kubernetes_nodes_gives_one_clear_line() {
    let cut = &list(&[node("a", &[])])[..60];
    let many = format!("{{\"x\": {}", "[".repeat(5_000));
    let long = "x".repeat(64);
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "line 1"),
        (cut.to_owned(), "line 1: EOF while parsing"),
        ("{}".to_owned(), "kind '' is no list of nodes"),
        ("{\"kind\": \"PodList\", \"items\": []}".to_owned(), "kind 'PodList'"),
        ("{\"kind\": \"List\", \"items\": [{\"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}}]}"
            .to_owned(), "kind 'Pod'"),
        (list(&[]), "0 nodes"),
        ("{\"kind\": \"List\", \"items\": [{\"metadata\": {}}]}".to_owned(), "name"),
        (list(&[node("", &[])]), "metadata.name: '' is no host name"),
        (list(&[node("a b", &[])]), "'a b' is no host name"),
        (list(&[node("a", &[]), node("a", &[])]), "items[1]: 'a' is named before"),
        (list(&[node("a", &[(LEAF, "l/1")])]), "'l/1' is no label"),
        (list(&[node("a", &[(LEAF, &long)])]), "is no label"),
        (list(&[node("a", &[])]).replace("\"8\"", "\"many\""), "'many' is no number of GPUs"),
        (list(&[node("a", &[])]).replace("\"8\"", "8"), "invalid type"),
        (
            list(&[node("a", &[(ZONE, "z1"), (LEAF, "l1")]), node("b", &[(LEAF, "l1")])]),
            "leaf=l1 is inside of both zone=z1 and no unit (node 'b')",
        ),
        (many, "line 1"),
    ];
    for (text, expected) in cases {
        let error = Structure::from_kubernetes(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert!(!error.contains('\n') && error.len() < 700, "{error}");
    }
}
