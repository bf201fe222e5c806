//! What was found, as our TOML. What the system does not tell stands there as a comment.

use std::collections::BTreeMap;
use std::fmt::Write;

use onepath_topology::cluster::NetworkKind;

use super::sysfs::{FoundGpus, FoundNic, FoundNode};

/// A table `[[cluster.nodes]]` with one host.
pub(super) fn text(node: &FoundNode) -> String {
    let mut text = format!("[[cluster.nodes]]\nhosts = {}\n", quoted(&node.host));
    let mut put = |line: &str| writeln!(text, "{line}").expect("a string takes all");
    gpus(&node.gpus, &mut put);
    let mut tables: BTreeMap<(NetworkKind, u64, Option<u8>, bool), Vec<&FoundNic>> =
        BTreeMap::new();
    for nic in &node.nics {
        let name = nic.hca.as_ref().or(nic.interface.as_ref()).map_or("", String::as_str);
        match nic.gbit_s {
            Some(rate) if nic.up => {
                let named = nic.interface.is_some();
                let key = (nic.kind, rate.to_bits(), nic.gid_index, named);
                tables.entry(key).or_default().push(nic);
            }
            Some(_) => put(&format!("# {name} ({}) is down", nic.kind)),
            None => put(&format!("# {name} ({}): the system does not say its rate", nic.kind)),
        }
    }
    for ((kind, rate, gid_index, named), nics) in &tables {
        put("");
        put("[[cluster.nodes.nic]]");
        put(&format!("kind = \"{kind}\""));
        put(&format!("rate_gbit_s = {}", f64::from_bits(*rate)));
        let list = |name: fn(&FoundNic) -> Option<&String>| -> String {
            let names: Vec<&str> =
                nics.iter().filter_map(|nic| name(nic)).map(String::as_str).collect();
            quoted(&names.join(","))
        };
        if *kind != NetworkKind::Ethernet {
            put(&format!("hca = {}", list(|nic| nic.hca.as_ref())));
        }
        if *named {
            put(&format!("interface = {}", list(|nic| nic.interface.as_ref())));
        }
        if let Some(index) = gid_index {
            put(&format!("gid_index = {index}"));
        }
        let numa: Vec<String> =
            nics.iter().filter_map(|nic| nic.numa).map(|node| node.to_string()).collect();
        if numa.len() == nics.len() {
            put(&format!("# NUMA nodes: {}", numa.join(", ")));
        }
    }
    text
}

fn gpus(gpus: &FoundGpus, put: &mut impl FnMut(&str)) {
    let Some(model) = gpus.models.first() else {
        put("# gpu, gpus and memory_gib: no GPU was found");
        return;
    };
    if gpus.models.iter().any(|other| other != model) {
        put("# GPUs of several models: a pool has one");
    }
    let kind: String = model
        .trim_start_matches("NVIDIA ")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(64)
        .collect();
    put(&format!("gpu = {}", quoted(&kind)));
    put(&format!("gpus = {}", gpus.models.len()));
    let memory = kind.split('-').find_map(|word| word.strip_suffix("GB")?.parse::<u32>().ok());
    match memory {
        Some(gib) => put(&format!("memory_gib = {gib} # by the name of the model")),
        None => put("# memory_gib: the name of the model does not tell it"),
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}
