//! A made-up node comes out as an entry that an inventory takes.

use std::fs;
use std::path::Path;

use crate::run::{HOLMES, folder, onepath, text};

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder can be made");
        fs::write(path, format!("{text}\n")).expect("a file can be written");
    }
}

/// Two InfiniBand ports, a RoCE one on the same interface as an Ethernet device, two plain ones.
fn node(root: &Path) {
    write(
        root,
        &[
            ("proc/sys/kernel/hostname", "gpu7"),
            (
                "proc/driver/nvidia/gpus/0000:07:00.0/information",
                "Model: \t NVIDIA A100-SXM4-80GB\nIRQ: 1",
            ),
            ("proc/driver/nvidia/gpus/0000:0f:00.0/information", "Model: \t NVIDIA A100-SXM4-80GB"),
            ("sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand"),
            ("sys/class/infiniband/mlx5_0/ports/1/rate", "200 Gb/sec (4X HDR)"),
            ("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE"),
            ("sys/class/infiniband/mlx5_0/device/numa_node", "0"),
            ("sys/class/infiniband/mlx5_0/device/net/ibs1/type", "32"),
            ("sys/class/infiniband/mlx5_10/ports/1/link_layer", "InfiniBand"),
            ("sys/class/infiniband/mlx5_10/ports/1/rate", "200 Gb/sec (4X HDR)"),
            ("sys/class/infiniband/mlx5_10/ports/1/state", "4: ACTIVE"),
            ("sys/class/infiniband/mlx5_10/device/numa_node", "1"),
            ("sys/class/infiniband/mlx5_10/device/net/ibs2/type", "32"),
            ("sys/class/infiniband/mlx5_2/ports/1/link_layer", "Ethernet"),
            ("sys/class/infiniband/mlx5_2/ports/1/rate", "100 Gb/sec (4X EDR)"),
            ("sys/class/infiniband/mlx5_2/ports/1/state", "4: ACTIVE"),
            ("sys/class/infiniband/mlx5_2/ports/1/gid_attrs/types/0", "IB/RoCE v1"),
            ("sys/class/infiniband/mlx5_2/ports/1/gid_attrs/types/1", "RoCE v2"),
            ("sys/class/infiniband/mlx5_2/ports/1/gid_attrs/types/3", "RoCE v2"),
            (
                "sys/class/infiniband/mlx5_2/ports/1/gids/1",
                "fe80:0000:0000:0000:0000:00ff:fe00:0001",
            ),
            (
                "sys/class/infiniband/mlx5_2/ports/1/gids/3",
                "0000:0000:0000:0000:0000:ffff:0a00:0002",
            ),
            ("sys/class/infiniband/mlx5_2/device/net/rdma0/type", "1"),
            ("sys/class/infiniband/mlx5_3/ports/1/link_layer", "InfiniBand"),
            ("sys/class/infiniband/mlx5_3/ports/1/rate", "10 Gb/sec (4X SDR)"),
            ("sys/class/infiniband/mlx5_3/ports/1/state", "1: DOWN"),
            ("sys/class/net/rdma0/type", "1"),
            ("sys/class/net/rdma0/speed", "100000"),
            ("sys/class/net/rdma0/device/numa_node", "1"),
            ("sys/class/net/eno1/type", "1"),
            ("sys/class/net/eno1/speed", "25000"),
            ("sys/class/net/eno1/operstate", "up"),
            ("sys/class/net/eno1/device/numa_node", "-1"),
            ("sys/class/net/eno2/type", "1"),
            ("sys/class/net/eno2/speed", "-1"),
            ("sys/class/net/eno2/operstate", "down"),
            ("sys/class/net/eno2/device/numa_node", "-1"),
            ("sys/class/net/lo/type", "772"),
            ("sys/class/net/docker0/type", "1"),
            ("sys/class/net/docker0/speed", "10000"),
        ],
    );
}

#[test]
fn a_node_with_infiniband_roce_and_ethernet_is_described() {
    let root = folder("detect");
    node(&root);
    let entry = text(&["detect", "--root", &root.display().to_string()]);
    for part in [
        "hosts = \"gpu7\"",
        "gpu = \"A100-SXM4-80GB\"\ngpus = 2\nmemory_gib = 80",
        "kind = \"infiniband\"\nrate_gbit_s = 200\nhca = \"mlx5_0,mlx5_10\"\n\
         interface = \"ibs1,ibs2\"\n# NUMA nodes: 0, 1",
        "kind = \"roce\"\nrate_gbit_s = 100\nhca = \"mlx5_2\"\ninterface = \"rdma0\"\n\
         gid_index = 3",
        "kind = \"ethernet\"\nrate_gbit_s = 25\ninterface = \"eno1\"",
        "# mlx5_3 (infiniband) is down",
        "# eno2 (ethernet): the system does not say its rate",
    ] {
        assert!(entry.contains(part), "{part:?} is not in\n{entry}");
    }
    assert!(!entry.contains("docker0") && !entry.contains("\"rdma0,"), "{entry}");
    // The entry is taken as it is.
    let example = fs::read_to_string(HOLMES).expect("the example is there");
    let model = &example[example.find("[model]").expect("a model")..];
    let speed = entry.replacen("gpus = 2", "gpus = 2\ntflops = 200", 1);
    let inventory = root.join("inventory.toml");
    fs::write(&inventory, format!("[[cluster]]\nname = \"c\"\n{speed}\n{model}")).expect("a file");
    let plan = text(&["plan", &inventory.display().to_string(), "--format", "json"]);
    assert!(plan.contains("\"NCCL_IB_HCA\": \"=mlx5_0,mlx5_10\""), "{plan}");
    assert!(plan.contains("\"NCCL_SOCKET_IFNAME\": \"=eno1\""), "{plan}");
}

#[test]
fn a_name_can_be_given_and_a_folder_without_a_kernel_is_refused() {
    let root = folder("detect-empty");
    let output = onepath(&["detect", "--root", &root.display().to_string()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("a folder with sys/class/net would be right"), "{error}");
    write(&root, &[("sys/class/net/eth0/type", "1")]);
    let entry = text(&["detect", "--host", "other", "--root", &root.display().to_string()]);
    assert!(entry.contains("hosts = \"other\"\n# gpu, gpus and memory_gib: no GPU"), "{entry}");
}

#[test]
fn this_machine_is_described() {
    assert!(text(&["detect"]).starts_with("[[cluster.nodes]]\nhosts = \""));
}
