//! From what is written to what is meant.

use super::error::InventoryFileError as Error;
use super::raw::{RawCluster, RawLink, RawNic, RawNodes};
use super::shown;
use crate::cluster::hosts::expand;
use crate::cluster::structure::Structure;
use crate::cluster::{
    Cluster, ClusterId, Gpu, Inventory, InventoryError, Link, MAX_CLUSTERS, MAX_GPUS_PER_NODE,
    MAX_NICS, MAX_NODES, Network, NetworkKind, Nic, Pool, gigabits,
};
use crate::{Bandwidth, Bytes, Nanos};

/// The longest name, in characters.
const MAX_NAME: usize = 64;
/// The longest name of an interface (Linux: IFNAMSIZ less the final zero).
const MAX_INTERFACE: usize = 15;
/// The highest rate that is believed, in Gbit/s.
const MAX_GBIT_S: f64 = 100_000.0;
/// `PCIe` 4.0 with 16 lanes, in Gbit/s: what GPUs of a node have between them if nothing is said.
const PCIE_GBIT_S: f64 = 256.0;

pub(super) fn inventory(
    clusters: Vec<RawCluster>,
    links: Vec<RawLink>,
    structure: Option<&Structure>,
) -> Result<Inventory, Error> {
    if clusters.is_empty() {
        let expected = "a table [[cluster]] with name and nodes";
        return Err(Error::Missing { field: "cluster".to_owned(), expected });
    }
    if clusters.len() > MAX_CLUSTERS {
        let (place, count) = ("the inventory".to_owned(), clusters.len());
        let (what, most) = ("clusters", MAX_CLUSTERS);
        return Err(InventoryError::Count { place, count, what, most }.into());
    }
    let mut checked = Vec::with_capacity(clusters.len());
    for (index, raw) in clusters.into_iter().enumerate() {
        checked.push(cluster(index, raw, structure)?);
    }
    let link = |(index, raw)| link(&format!("link[{index}]"), raw, &checked);
    let links = links.into_iter().enumerate().map(link).collect::<Result<_, _>>()?;
    Ok(Inventory::new(checked, links)?)
}

fn cluster(index: usize, raw: RawCluster, structure: Option<&Structure>) -> Result<Cluster, Error> {
    let field = format!("cluster[{index}].name");
    let name = name(field, raw.name, "a name for the cluster, as in \"east\"")?;
    let place = format!("cluster[{index}] '{name}'");
    if raw.nodes.is_empty() {
        let expected = "a table [[cluster.nodes]] with hosts, gpu, gpus, memory_gib and nic";
        return Err(Error::Missing { field: format!("{place}.nodes"), expected });
    }
    let pool = |(index, raw): (usize, RawNodes)| {
        pool(&format!("{place}.nodes[{index}]"), &name, raw, structure)
    };
    let pools = raw.nodes.into_iter().enumerate().map(pool).collect::<Result<Vec<_>, _>>()?;
    Ok(Cluster::new(name, pools))
}

fn pool(
    place: &str,
    cluster: &str,
    raw: RawNodes,
    structure: Option<&Structure>,
) -> Result<Pool, Error> {
    let at = |field: &str| format!("{place}.{field}");
    let mut hosts = hosts(place, cluster, &raw, structure)?;
    let kind = name(at("gpu"), raw.gpu, "the kind of GPU, as in \"A100\"")?;
    let gpus = raw.gpus.ok_or_else(|| Error::Missing {
        field: at("gpus"),
        expected: "the number of GPUs of a node, as in 8",
    })?;
    let per_node = whole(at("gpus"), gpus, 1, MAX_GPUS_PER_NODE as usize)? as u32;
    let gib = raw.memory_gib.ok_or_else(|| Error::Missing {
        field: at("memory_gib"),
        expected: "the memory of each GPU in GiB, as in 80",
    })?;
    let gib = number(at("memory_gib"), gib, 65_536.0, "GiB of each GPU")?;
    let link = raw.gpu_link_gbit_s.unwrap_or(PCIE_GBIT_S);
    let rate = rate(at("gpu_link_gbit_s"), link)?;
    let tflops = raw
        .tflops
        .map(|tflops| number(at("tflops"), tflops, 1e6, "10^12 operations a second of a GPU"))
        .transpose()?;
    if let Some(structure) = structure {
        arrange(place, &mut hosts, per_node, structure)?;
    }
    let mut nics = Vec::new();
    for (index, raw) in raw.nic.iter().enumerate() {
        nics.extend(nic(&at(&format!("nic[{index}]")), raw)?);
    }
    if nics.is_empty() {
        let expected = "a table [[cluster.nodes.nic]] with kind, rate_gbit_s and hca or interface";
        return Err(Error::Missing { field: at("nic"), expected });
    }
    if nics.len() > MAX_NICS {
        return Err(Error::Value {
            field: at("nic"),
            value: format!("{} NICs", nics.len()),
            expected: format!("at most {MAX_NICS}"),
        });
    }
    for (index, nic) in nics.iter().enumerate() {
        if nics[..index].iter().any(|other| other.name == nic.name) {
            return Err(Error::text(at("nic"), &nic.name, "a name that no other NIC has"));
        }
    }
    let latency = raw.latency_us.map(|us| latency(at("latency_us"), us)).transpose()?;
    let memory = Bytes((gib * f64::from(1 << 30)) as u64);
    Ok(Pool::new(hosts, Gpu { kind, per_node, memory, tflops, rate }, nics, latency))
}

/// The hosts by one of the three ways to name them.
fn hosts(
    place: &str,
    cluster: &str,
    raw: &RawNodes,
    structure: Option<&Structure>,
) -> Result<Vec<String>, Error> {
    let count = raw.count.map(|count| whole(format!("{place}.count"), count, 1, MAX_NODES));
    let count = count.transpose()?;
    let hosts = match (&raw.hosts, &raw.hosts_from) {
        (Some(_), Some(unit)) => {
            let field = format!("{place}.hosts_from");
            return Err(Error::text(field, unit, "either hosts or hosts_from"));
        }
        (Some(list), None) => expand(list)
            .map_err(|problem| Error::Hosts { field: format!("{place}.hosts"), problem })?,
        (None, Some(unit)) => {
            let found = structure.and_then(|structure| structure.within(unit));
            let found = found.filter(|hosts| !hosts.is_empty());
            found.ok_or_else(|| {
                let expected = "a switch, block or label with hosts, of a file given with --slurm \
                                or --kubernetes";
                Error::text(format!("{place}.hosts_from"), unit, expected)
            })?
        }
        (None, None) => {
            let count = count.ok_or_else(|| Error::Missing {
                field: format!("{place}.hosts"),
                expected: "a host list as in \"node[01-04]\", or count or hosts_from",
            })?;
            return Ok((0..count).map(|number| format!("{cluster}-{number}")).collect());
        }
    };
    match count {
        Some(count) if count != hosts.len() => Err(Error::Lengths {
            field: format!("{place}.count"),
            count,
            other: "the host list",
            others: hosts.len(),
        }),
        _ => Ok(hosts),
    }
}

/// Orders hosts as the structure has them, and compares their GPUs.
fn arrange(
    place: &str,
    hosts: &mut [String],
    gpus: u32,
    structure: &Structure,
) -> Result<(), Error> {
    if structure.is_flat() {
        return Ok(());
    }
    for host in hosts.iter() {
        if structure.place(host).is_none() {
            let expected = "a node of the file given with --slurm or --kubernetes";
            return Err(Error::text(format!("{place}.hosts"), host, expected));
        }
        if let Some(known) = structure.gpus(host).filter(|&known| known != gpus) {
            return Err(Error::Value {
                field: format!("{place}.gpus"),
                value: gpus.to_string(),
                expected: format!("{known} as node '{}' has in Kubernetes", shown(host)),
            });
        }
    }
    hosts.sort_by_key(|host| structure.place(host));
    Ok(())
}

fn nic(place: &str, raw: &RawNic) -> Result<Vec<Nic>, Error> {
    let at = |field: &str| format!("{place}.{field}");
    let kind = kind(at("kind"), raw.kind.as_deref(), None)?;
    let gbit = raw.rate_gbit_s.ok_or_else(|| Error::Missing {
        field: at("rate_gbit_s"),
        expected: "the rate of the NIC in Gbit/s, as in 200",
    })?;
    let rate = rate(at("rate_gbit_s"), gbit)?;
    let hcas = list(at("hca"), raw.hca.as_deref(), MAX_NAME)?;
    let interfaces = list(at("interface"), raw.interface.as_deref(), MAX_INTERFACE)?;
    let rdma = kind != NetworkKind::Ethernet;
    let (device, devices) = if rdma { ("hca", &hcas) } else { ("interface", &interfaces) };
    let Some(devices) = devices else {
        let expected = if rdma {
            "the RDMA devices, as in \"mlx5_[0-3]\""
        } else {
            "the network interfaces, as in \"eth0\""
        };
        return Err(Error::Missing { field: at(device), expected });
    };
    if let (false, Some(hcas)) = (rdma, &hcas) {
        return Err(Error::text(at("hca"), &hcas[0], "no hca, or kind = \"roce\""));
    }
    let names = list(at("name"), raw.name.as_deref(), MAX_NAME)?;
    for (field, other) in [("interface", &interfaces), ("name", &names)] {
        if let Some(count) = other.as_ref().map(Vec::len).filter(|&count| count != devices.len()) {
            let (field, others) = (at(field), devices.len());
            return Err(Error::Lengths { field, count, other: device, others });
        }
    }
    let gid_index = raw.gid_index.map(|index| whole(at("gid_index"), index, 0, 255)).transpose()?;
    if let Some(index) = gid_index.filter(|_| kind != NetworkKind::Roce) {
        let (field, value) = (at("gid_index"), index.to_string());
        let expected = "none, or kind = \"roce\"".to_owned();
        return Err(Error::Value { field, value, expected });
    }
    let names = names.as_ref().unwrap_or(devices);
    let item = |list: &Option<Vec<String>>, index: usize| list.as_ref().map(|l| l[index].clone());
    Ok((0..devices.len())
        .map(|index| Nic {
            name: names[index].clone(),
            kind,
            rate,
            hca: item(&hcas, index),
            interface: item(&interfaces, index),
            gid_index: gid_index.map(|index| index as u8),
        })
        .collect())
}

fn link(place: &str, raw: RawLink, clusters: &[Cluster]) -> Result<Link, Error> {
    let at = |field: &str| format!("{place}.{field}");
    let expected = "two clusters, as in [\"east\", \"west\"]";
    let names = raw.between.ok_or(Error::Missing { field: at("between"), expected })?;
    let [a, b] = names.as_slice() else {
        return Err(Error::Value {
            field: at("between"),
            value: format!("{} names", names.len()),
            expected: expected.to_owned(),
        });
    };
    let find = |name: &String| {
        let index = clusters.iter().position(|cluster| cluster.name() == name);
        index.ok_or_else(|| {
            let known: Vec<String> = clusters.iter().take(10).map(|c| shown(c.name())).collect();
            Error::text(at("between"), name, format!("a cluster ({})", known.join(", ")))
        })
    };
    let (first, second) = (find(a)?, find(b)?);
    if first == second {
        return Err(Error::text(at("between"), a, "two different clusters"));
    }
    let kind = kind(at("kind"), raw.kind.as_deref(), Some(NetworkKind::Ethernet))?;
    for cluster in [&clusters[first], &clusters[second]] {
        if let Some(pool) = cluster.pools().iter().find(|pool| pool.rate(kind).is_none()) {
            let host = shown(&pool.hosts()[0]);
            let expected = format!("a kind that all nodes at its ends have, and '{host}' has none");
            return Err(Error::text(at("kind"), kind.name(), expected));
        }
    }
    let gbit = raw.rate_gbit_s.ok_or_else(|| Error::Missing {
        field: at("rate_gbit_s"),
        expected: "what one node gets in Gbit/s, as in 25",
    })?;
    let total = raw.total_gbit_s.map(|gbit| rate(at("total_gbit_s"), gbit)).transpose()?;
    let time = raw.latency_us.map(|us| latency(at("latency_us"), us)).transpose()?;
    let latency = time.unwrap_or(kind.usual_latency());
    let network = Network { kind, rate: rate(at("rate_gbit_s"), gbit)?, latency, total };
    let ends = (first.min(second) as u32, first.max(second) as u32);
    Ok(Link { ends: (ClusterId(ends.0), ClusterId(ends.1)), network })
}

fn kind(
    field: String,
    text: Option<&str>,
    usual: Option<NetworkKind>,
) -> Result<NetworkKind, Error> {
    let expected = "\"infiniband\", \"roce\" or \"ethernet\"";
    match (text, usual) {
        (Some(text), _) => text.parse().map_err(|_| Error::text(field, text, expected)),
        (None, Some(usual)) => Ok(usual),
        (None, None) => Err(Error::Missing { field, expected }),
    }
}

/// A list of devices or interfaces, each short enough.
fn list(field: String, text: Option<&str>, most: usize) -> Result<Option<Vec<String>>, Error> {
    let Some(text) = text else { return Ok(None) };
    let names = match expand(text) {
        Ok(names) => names,
        Err(problem) => return Err(Error::Hosts { field, problem }),
    };
    match names.iter().find(|name| name.len() > most) {
        Some(long) => Err(Error::text(field, long, format!("at most {most} characters"))),
        None => Ok(Some(names)),
    }
}

fn name(field: String, text: Option<String>, expected: &'static str) -> Result<String, Error> {
    let Some(text) = text else { return Err(Error::Missing { field, expected }) };
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(usual) {
        let right = "1 to 64 letters, digits, '-', '_' and '.'";
        return Err(Error::text(field, &text, right));
    }
    Ok(text)
}

fn whole(field: String, value: i64, least: usize, most: usize) -> Result<usize, Error> {
    match usize::try_from(value) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            let expected = format!("a whole number from {least} to {most}");
            Err(Error::Value { field, value: value.to_string(), expected })
        }
    }
}

fn number(field: String, value: f64, most: f64, what: &str) -> Result<f64, Error> {
    // The least that is more than nothing when it is made whole bytes or nanoseconds.
    if (1e-6..=most).contains(&value) {
        return Ok(value);
    }
    let expected = format!("{what}, more than 0 and at most {most},");
    Err(Error::Value { field, value: value.to_string(), expected })
}

fn rate(field: String, gbit: f64) -> Result<Bandwidth, Error> {
    number(field, gbit, MAX_GBIT_S, "Gbit/s").map(gigabits)
}

fn latency(field: String, us: f64) -> Result<Nanos, Error> {
    number(field, us, 10e6, "microseconds").map(|us| Nanos((us * 1e3) as u64))
}
