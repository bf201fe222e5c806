use super::super::{ClusterId, NetworkKind, gigabits};
use super::*;
use crate::{Bytes, Nanos};

const FILE: &str = r#"
[[cluster]]
name = "ib"
[[cluster.nodes]]
hosts = "ib[01-02]"
gpu = "A100"
gpus = 8
memory_gib = 80
[[cluster.nodes.nic]]
kind = "infiniband"
rate_gbit_s = 200
hca = "mlx5_[0-3]"
[[cluster.nodes.nic]]
kind = "ethernet"
rate_gbit_s = 25
interface = "eth0"

[[cluster]]
name = "roce"
[[cluster.nodes]]
count = 2
gpu = "V100"
gpus = 4
memory_gib = 32
tflops = 60.5
[[cluster.nodes.nic]]
kind = "roce"
rate_gbit_s = 100
hca = "bond0"
interface = "bond0"
gid_index = 3
[[cluster.nodes.nic]]
kind = "ethernet"
rate_gbit_s = 10
interface = "eno1"

[[link]]
between = ["roce", "ib"]
rate_gbit_s = 25
latency_us = 50

[model]
layers = 30
"#;

#[test]
fn the_documented_file_is_read_as_written() {
    let document = Document::parse(FILE, None).expect("the file is right");
    let inventory = &document.inventory;
    assert_eq!((inventory.nodes(), inventory.gpus()), (4, 24));
    let pools: Vec<_> = inventory.pools().collect();
    assert_eq!(pools[0].hosts(), ["ib01", "ib02"]);
    assert_eq!(pools[1].hosts(), ["roce-0", "roce-1"]);
    assert_eq!(pools[0].gpu().memory, Bytes(80 << 30));
    assert_eq!(pools[0].inside().kind, NetworkKind::InfiniBand);
    assert_eq!(pools[0].inside().rate, gigabits(800.0));
    assert_eq!(pools[1].gpu().tflops, Some(60.5));
    assert_eq!(pools[1].node_ids().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
    let link = inventory.between(ClusterId(0), ClusterId(1)).expect("they are linked");
    assert_eq!((link.kind, link.rate), (NetworkKind::Ethernet, gigabits(10.0)));
    assert_eq!(link.latency, Nanos::micros(50));
    assert_eq!(document.table("model").and_then(|model| model["layers"].as_integer()), Some(30));
    assert_eq!(document.table("training"), None);
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let text = include_str!("mod.rs");
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let example: Vec<&str> = lines
        .skip_while(|line| line.trim() != "```toml")
        .skip(1)
        .take_while(|line| line.trim() != "```")
        .collect();
    let west = FILE.replace("\"ib\"", "\"west\"").replace("ib[01-02]", "w[1-2]");
    let west = west.split("[[cluster]]\nname = \"roce\"").next().expect("the first cluster");
    let eth =
        "[[cluster.nodes.nic]]\nkind = \"ethernet\"\nrate_gbit_s = 25\ninterface = \"eth0\"\n";
    let example = example.join("\n").replace("[[link]]", &format!("{eth}\n{west}\n[[link]]"));
    Document::parse(&example, None).unwrap_or_else(|error| panic!("{error}\n{example}"));
}

#[test]
fn clusters_without_a_direct_link_use_the_widest_way_over_others() {
    let third = FILE.replace("name = \"roce\"", "name = \"third\"");
    let third = third.split("[[cluster]]").nth(2).expect("the second cluster");
    let third = third.split("[[link]]").next().expect("before the link");
    let text = FILE.replace(
        "[[link]]",
        &format!(
            "[[cluster]]{third}[[link]]\nbetween = [\"roce\", \"third\"]\nrate_gbit_s = 1\n\
             latency_us = 1000\n[[link]]"
        ),
    );
    let inventory = Document::parse(&text, None).expect("the file is right").inventory;
    let way = inventory.between(ClusterId(0), ClusterId(2)).expect("there is a way");
    assert_eq!((way.rate, way.latency), (gigabits(1.0), Nanos::micros(1050)));
    assert_eq!(way, inventory.between(ClusterId(2), ClusterId(0)).expect("both ways alike"));
}

#[test]
fn a_structure_orders_and_names_hosts() {
    let slurm = "- topology: t\n  tree:\n    switches:\n      - switch: a\n        nodes: ib02\n\
                 \x20     - switch: b\n        nodes: ib01,roce-[0-1]\n";
    let structure = Structure::from_slurm(slurm, None).expect("the tree is right");
    let document = Document::parse(FILE, Some(&structure)).expect("the file is right");
    assert_eq!(document.inventory.clusters()[0].pools()[0].hosts(), ["ib02", "ib01"]);
    let from = FILE.replace("hosts = \"ib[01-02]\"", "hosts_from = \"a\"");
    let document = Document::parse(&from, Some(&structure)).expect("the file is right");
    assert_eq!(document.inventory.clusters()[0].pools()[0].hosts(), ["ib02"]);
    let other = FILE.replace("ib[01-02]", "ib[01-03]");
    let error = Document::parse(&other, Some(&structure)).expect_err("ib03 is not in the tree");
    assert!(error.to_string().contains("'ib03'"), "{error}");
}

/// What is changed in the file, and what the error says.
const BAD: &[(&str, &str, &str)] = &[
    ("memory_gib = 80\n", "", "cluster[0] 'ib'.nodes[0].memory_gib is missing: the memory of"),
    ("memory_gib = 80", "memory_gib = 0", "nodes[0].memory_gib: 0: GiB of each GPU, more than 0"),
    ("memory_gib = 80", "memory_gib = -80", "memory_gib: -80"),
    ("memory_gib = 80", "memory_gib = nan", "memory_gib: NaN"),
    ("memory_gib = 80", "memory_gib = \"80 GB\"", "line 8: invalid type: string \"80 GB\""),
    ("memory_gib = 80", "memory = 80", "line 8: unknown field `memory`, expected one of"),
    ("gpus = 8", "gpus = 0", "nodes[0].gpus: 0: a whole number from 1 to 64"),
    ("gpus = 8", "gpus = 65", "nodes[0].gpus: 65: a whole number from 1 to 64"),
    ("gpus = 8\n", "", "nodes[0].gpus is missing"),
    ("gpus = 8", "gpus = 8.5", "line 7: invalid type: floating point"),
    ("gpu = \"A100\"\n", "", "nodes[0].gpu is missing: the kind of GPU"),
    ("gpu = \"A100\"", "gpu = \"A 100\"", "nodes[0].gpu: 'A 100': 1 to 64 letters"),
    ("hosts = \"ib[01-02]\"\n", "", "nodes[0].hosts is missing: a host list"),
    ("ib[01-02]", "ib[02-01]", "nodes[0].hosts: '[02-01]' is no list of numbers"),
    ("ib[01-02]", "ib[01-", "nodes[0].hosts: 'ib[01-' has an unpaired bracket"),
    ("ib[01-02]", "", "nodes[0].hosts: a name is empty"),
    ("ib[01-02]", "ib[1-20000]", "nodes[0].hosts: more than 16384 hosts"),
    ("ib[01-02]", "roce-[0-1]", "host 'roce-0' is named twice"),
    ("ib[01-02]\"", "ib[01-02]\"\ncount = 3", "nodes[0].count: 3 where the host list has 2"),
    ("ib[01-02]\"", "ib[01-02]\"\nhosts_from = \"s1\"", "hosts_from: 's1': either hosts or"),
    ("hosts = \"ib[01-02]\"", "hosts_from = \"s1\"", "'s1': a switch, block or label"),
    ("count = 2", "count = 0", "cluster[1] 'roce'.nodes[0].count: 0: a whole number from 1 to"),
    ("count = 2", "count = 99999", "nodes[0].count: 99999: a whole number from 1 to 16384"),
    ("kind = \"infiniband\"", "kind = \"quadrics\"", "nic[0].kind: 'quadrics': \"infiniband\", \""),
    ("kind = \"infiniband\"\n", "", "nic[0].kind is missing: \"infiniband\", \"roce\" or"),
    ("rate_gbit_s = 200\n", "", "nic[0].rate_gbit_s is missing: the rate of the NIC"),
    ("rate_gbit_s = 200", "rate_gbit_s = 0", "nic[0].rate_gbit_s: 0: Gbit/s, more than 0"),
    ("rate_gbit_s = 200", "rate_gbit_s = 1e9", "nic[0].rate_gbit_s: 1000000000: Gbit/s"),
    ("rate_gbit_s = 200", "rate_gbit_s = inf", "nic[0].rate_gbit_s: inf"),
    ("hca = \"mlx5_[0-3]\"\n", "", "nic[0].hca is missing: the RDMA devices"),
    ("interface = \"eth0\"\n", "", "nic[1].interface is missing: the network interfaces"),
    ("interface = \"eth0\"", "interface = \"a-name-too-long-0\"", "at most 15 characters"),
    ("interface = \"eth0\"", "interface = \"eth0\"\nhca = \"m\"", "nic[1].hca: 'm': no hca, or"),
    ("interface = \"eth0\"", "interface = \"eth0\"\nname = \"mlx5_0\"", "'mlx5_0': a name that no"),
    ("hca = \"mlx5_[0-3]\"", "hca = \"mlx5_[0-32]\"", "34 NICs: at most 32"),
    ("hca = \"bond0\"", "hca = \"bond[0-1]\"", "nic[0].interface: 1 where hca has 2"),
    ("gid_index = 3", "gid_index = 256", "nic[0].gid_index: 256: a whole number from 0 to 255"),
    ("hca = \"mlx5_[0-3]\"", "hca = \"m\"\ngid_index = 3", "nic[0].gid_index: 3: none, or kind"),
    ("tflops = 60.5", "tflops = -1.0", "nodes[0].tflops: -1"),
    ("tflops = 60.5", "latency_us = 0", "nodes[0].latency_us: 0: microseconds, more than 0"),
    ("tflops = 60.5", "gpu_link_gbit_s = -1", "nodes[0].gpu_link_gbit_s: -1"),
    ("name = \"ib\"\n", "", "cluster[0].name is missing: a name for the cluster"),
    ("name = \"ib\"", "name = \"\"", "cluster[0].name: '': 1 to 64 letters"),
    ("name = \"ib\"", "name = \"roce\"", "link[0].between: 'ib': a cluster (roce, roce)"),
    ("\"roce\", \"ib\"", "\"roce\", \"east\"", "link[0].between: 'east': a cluster (ib, roce)"),
    ("\"roce\", \"ib\"", "\"roce\", \"roce\"", "link[0].between: 'roce': two different clusters"),
    ("\"roce\", \"ib\"", "\"roce\"", "link[0].between: 1 names: two clusters"),
    ("between = [\"roce\", \"ib\"]\n", "", "link[0].between is missing: two clusters"),
    ("rate_gbit_s = 25\nlatency", "latency", "link[0].rate_gbit_s is missing: what one node gets"),
    ("latency_us = 50", "latency_us = -1", "link[0].latency_us: -1"),
    ("latency_us = 50", "total_gbit_s = 0", "link[0].total_gbit_s: 0"),
    ("latency_us = 50", "kind = \"roce\"", "link[0].kind: 'roce': a kind that all nodes at its"),
    ("latency_us = 50", "kind = \"fast\"", "link[0].kind: 'fast': \"infiniband\""),
    ("[[link]]", "[link]", "line"),
    ("[model]", "[modle]", "line 42: unknown field `modle`"),
    ("gpus = 8", "gpus = 8\ngpus = 8", "line 8: duplicate key"),
];

#[test]
fn each_bad_file_gives_one_clear_line() {
    let changed = BAD.iter().map(|(old, new, error)| {
        assert!(FILE.contains(old), "{old}");
        (FILE.replacen(old, new, 1), *error)
    });
    let unlinked = FILE.split("[[link]]").next().expect("before the link");
    let huge = format!("# {}\n{FILE}", "x".repeat(1 << 20));
    let many: Vec<String> = (0..70).map(|n| format!("[[cluster]]\nname = \"c{n}\"\n")).collect();
    let deep = format!("x = {}", "[".repeat(10_000));
    let whole = [
        (String::new(), "cluster is missing: a table [[cluster]]"),
        ("[[cluster]]\nname = \"a\"\n".to_owned(), "cluster[0] 'a'.nodes is missing"),
        (unlinked.to_owned(), "clusters 'ib' and 'roce' have no link between"),
        (huge, "line 1: 1048578 bytes: at most 131072"),
        ("#\n".repeat(3 << 20), "the file has 6291456 bytes"),
        (FILE[..FILE.len() / 3].trim_end().to_owned() + "\nhca = \"ml", "line"),
        (many.concat(), "70 clusters: from 1 to 64"),
        (deep, "line 1"),
        ("\u{0}".to_owned(), "line 1"),
    ];
    let mut count = 0;
    for (text, expected) in changed.chain(whole) {
        let error = Document::parse(&text, None).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        assert!(!error.contains('\n') && error.len() < 700, "{error}");
        count += 1;
    }
    assert!(count >= 40, "only {count} cases");
}

#[test]
fn a_file_cut_at_any_place_is_refused_or_read_without_a_panic() {
    for end in 0..FILE.len() {
        if let Err(error) = Document::parse(&FILE[..end], None) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
