//! What the kernel says of a node, below any folder, so that tests can make one.
//!
//! Sources: the kernel's documentation of `sysfs-class-net` (`type`, `speed` in Mbit/s,
//! `operstate`),
//! `sysfs-class-infiniband` (`ports/N/{rate,link_layer,state}`, `gids`, `gid_attrs/types`), and
//! `device/numa_node`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use onepath_topology::cluster::{MAX_GPUS_PER_NODE, MAX_NICS, NetworkKind};

/// The longest attribute that is read; the kernel's are at most a page.
const MAX_ATTRIBUTE: u64 = 4096;
/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 4096;
/// Network devices that are Ethernet (`ARPHRD_ETHER`); IP over InfiniBand is 32.
const ETHERNET: &str = "1";

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DetectError {
    /// The system says no.
    #[error("{}: {source}: a folder with sys/class/net would be right", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More than a node has.
    #[error("{count} {what}: at most {most} would be right")]
    Many {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
    },
}

/// A NIC that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundNic {
    pub(crate) kind: NetworkKind,
    pub(crate) hca: Option<String>,
    pub(crate) interface: Option<String>,
    /// In Gbit/s; none where the kernel does not know it.
    pub(crate) gbit_s: Option<f64>,
    pub(crate) gid_index: Option<u8>,
    pub(crate) numa: Option<u32>,
    /// Whether the link is up.
    pub(crate) up: bool,
}

/// GPUs of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundGpus {
    pub(crate) models: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundNode {
    pub(crate) host: String,
    pub(crate) gpus: FoundGpus,
    pub(crate) nics: Vec<FoundNic>,
}

/// Reads the node whose `sys` and `proc` are below `root`.
pub(crate) fn read(root: &Path, host: Option<&str>) -> Result<FoundNode, DetectError> {
    let host = host.map(str::to_owned).or_else(|| {
        attribute(&root.join("proc/sys/kernel/hostname")).filter(|name| !name.is_empty())
    });
    let mut nics = Vec::new();
    for device in entries(&root.join("sys/class/infiniband")).unwrap_or_default() {
        nics.extend(rdma(&root.join("sys/class/infiniband").join(&device), &device));
    }
    let taken: BTreeSet<String> = nics.iter().filter_map(|nic| nic.interface.clone()).collect();
    let net = root.join("sys/class/net");
    let names = entries(&net).map_err(|source| DetectError::Io { path: net.clone(), source })?;
    for name in names {
        // Bridges, tunnels and the like have no device below them.
        let folder = net.join(&name);
        let physical = folder.join("device").exists();
        let ethernet = attribute(&folder.join("type")).as_deref() == Some(ETHERNET);
        if physical && ethernet && !taken.contains(&name) {
            nics.push(FoundNic {
                kind: NetworkKind::Ethernet,
                hca: None,
                interface: Some(name),
                gbit_s: speed(&folder),
                gid_index: None,
                numa: numa(&folder),
                up: attribute(&folder.join("operstate")).as_deref() == Some("up"),
            });
        }
    }
    let models = gpus(&root.join("proc/driver/nvidia/gpus"));
    for (count, what, most) in
        [(nics.len(), "NICs", MAX_NICS), (models.len(), "GPUs", MAX_GPUS_PER_NODE as usize)]
    {
        if count > most {
            return Err(DetectError::Many { count, what, most });
        }
    }
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    Ok(FoundNode { host, gpus: FoundGpus { models }, nics })
}

/// An RDMA device by its first active port, or its first.
fn rdma(folder: &Path, name: &str) -> Option<FoundNic> {
    let ports = folder.join("ports");
    let mut numbers: Vec<u32> =
        entries(&ports).ok()?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let state = |port: &u32| attribute(&ports.join(port.to_string()).join("state"));
    let active = |port: &&u32| state(port).is_some_and(|state| state.contains("ACTIVE"));
    let port = numbers.iter().find(active).or(numbers.first())?;
    let port_folder = ports.join(port.to_string());
    let kind = match attribute(&port_folder.join("link_layer"))?.as_str() {
        "InfiniBand" => NetworkKind::InfiniBand,
        "Ethernet" => NetworkKind::Roce,
        _ => return None,
    };
    let interface =
        entries(&folder.join("device/net")).ok().and_then(|names| names.into_iter().next());
    let gid_index = (kind == NetworkKind::Roce).then(|| roce_gid(&port_folder)).flatten();
    Some(FoundNic {
        kind,
        hca: Some(name.to_owned()),
        interface,
        gbit_s: attribute(&port_folder.join("rate")).and_then(|rate| gigabits(&rate)),
        gid_index,
        numa: numa(folder),
        up: active(&port),
    })
}

/// `200 Gb/sec (4X HDR)`.
fn gigabits(rate: &str) -> Option<f64> {
    let mut words = rate.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    (words.next()? == "Gb/sec" && number > 0.0).then_some(number)
}

/// The first GID of `RoCE v2` with an IPv4 address in it, which can be routed; or the first of
/// `RoCE v2`.
fn roce_gid(port: &Path) -> Option<u8> {
    let mut first = None;
    for index in 0..=u8::MAX {
        let attribute = |folder: &str| attribute(&port.join(folder).join(index.to_string()));
        if attribute("gid_attrs/types").as_deref() != Some("RoCE v2") {
            continue;
        }
        let gid = attribute("gids").unwrap_or_default();
        if gid.starts_with("0000:0000:0000:0000:0000:ffff:") {
            return Some(index);
        }
        first = first.or(Some(index));
    }
    first
}

/// Of an interface; the kernel says -1 where there is none.
fn speed(folder: &Path) -> Option<f64> {
    let mbit: f64 = attribute(&folder.join("speed"))?.parse().ok()?;
    (mbit > 0.0).then_some(mbit / 1e3)
}

/// The kernel says -1 on a machine without NUMA.
fn numa(folder: &Path) -> Option<u32> {
    attribute(&folder.join("device/numa_node"))?.parse().ok()
}

/// Models of NVIDIA's GPUs, one an entry.
fn gpus(folder: &Path) -> Vec<String> {
    let read = |name: String| attribute(&folder.join(name).join("information"));
    let model = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(line.trim().to_owned())
    };
    entries(folder).unwrap_or_default().into_iter().filter_map(read).filter_map(model).collect()
}

/// Names in a folder, sorted so that numbers count as numbers.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_ENTRIES) {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_by_cached_key(|name| {
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name[plain.len()..].parse::<u64>().unwrap_or(0);
        (plain.to_owned(), number, name.clone())
    });
    Ok(names)
}

/// The trimmed text of an attribute, if it can be read and is text.
fn attribute(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_ATTRIBUTE).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}
