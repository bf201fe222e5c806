//! The kernel's counters of all links, each direction for itself.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::namespace::NamespaceError;
use super::script::{HOST_DEVICE, to_host, to_leaf, to_spine};
use super::spec::{FabricSpec, Host, Leaf, Spine};
use super::tool::{self, Tool, ToolError};
use super::{Fabric, Node};

/// Bytes read at once; a node of the largest fabric has 161 devices of some 125 bytes each.
const PAGE: usize = 64 << 10;

/// Bytes of an Ethernet header. Where packets go through the receiver's own queue (see
/// [`super::offload`]), the sender counts what the receiver took from there, without it.
const HEADER: u64 = 14;

/// Why the counters are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CountError {
    /// They cannot be read.
    #[error("the counters of {name} cannot be read: {cause}")]
    Read {
        /// Of the node.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// A device is missing among them.
    #[error("{name} has no counters of {device}")]
    Device {
        /// Of the node.
        name: String,
        /// Which.
        device: String,
    },
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// `tc` does not tell.
    #[error("{name}: {cause}")]
    Tool {
        /// Of the node.
        name: String,
        /// Why.
        cause: ToolError,
    },
    /// `tc` tells something else.
    #[error("{name}: the list of queues cannot be understood: {cause}")]
    Queues {
        /// Of the node.
        name: String,
        /// Why.
        cause: serde_json::Error,
    },
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "link", rename_all = "snake_case")]
pub(crate) enum Link {
    /// Host to leaf.
    FromHost {
        /// Which host.
        host: Host,
    },
    /// Leaf to host.
    ToHost {
        /// Which host.
        host: Host,
    },
    /// Leaf to spine.
    Uplink {
        /// From.
        leaf: Leaf,
        /// To.
        spine: Spine,
    },
    /// Spine to leaf.
    Downlink {
        /// To.
        leaf: Leaf,
        /// From.
        spine: Spine,
    },
}

/// What went over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    /// Bytes, Ethernet headers included, as the link's rate counts them.
    pub(crate) bytes: u64,
    /// Packets.
    pub(crate) packets: u64,
}

/// All links at one time.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    at: Instant,
    counts: Vec<Count>,
    places: Places,
}

/// What went over all links between two snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// How long.
    pub(crate) span: Duration,
    counts: Vec<Count>,
    places: Places,
}

/// Where each link is in a list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    hosts: usize,
    leaves: usize,
    spines: usize,
}

impl Places {
    fn of(spec: &FabricSpec) -> Self {
        let (hosts, leaves) = (spec.host_count(), spec.leaf_count());
        Self { hosts, leaves, spines: spec.spine_count() }
    }

    fn of_link(self, link: Link) -> usize {
        let cross = |leaf: Leaf, spine: Spine| leaf.index() * self.spines + spine.index();
        match link {
            Link::FromHost { host } => host.index(),
            Link::ToHost { host } => self.hosts + host.index(),
            Link::Uplink { leaf, spine } => 2 * self.hosts + cross(leaf, spine),
            Link::Downlink { leaf, spine } => {
                2 * self.hosts + self.leaves * self.spines + cross(leaf, spine)
            }
        }
    }

    fn count(self) -> usize {
        2 * (self.hosts + self.leaves * self.spines)
    }

    fn links(self) -> impl Iterator<Item = Link> {
        let hosts = move || (0..self.hosts as u32).map(Host);
        let cross = move || {
            let leaves = (0..self.leaves as u32).map(Leaf);
            leaves.flat_map(move |leaf| (0..self.spines as u32).map(move |s| (leaf, Spine(s))))
        };
        let from_hosts = hosts().map(|host| Link::FromHost { host });
        let to_hosts = hosts().map(|host| Link::ToHost { host });
        let up = cross().map(|(leaf, spine)| Link::Uplink { leaf, spine });
        let down = cross().map(|(leaf, spine)| Link::Downlink { leaf, spine });
        from_hosts.chain(to_hosts).chain(up).chain(down)
    }
}

impl Snapshot {
    /// What went over the links since an earlier one of the same fabric.
    pub(crate) fn since(&self, earlier: &Self) -> Traffic {
        assert_eq!(self.places, earlier.places, "both are of one fabric");
        let pairs = self.counts.iter().zip(&earlier.counts);
        let counts = pairs.map(|(now, then)| Count {
            bytes: now.bytes.saturating_sub(then.bytes),
            packets: now.packets.saturating_sub(then.packets),
        });
        let span = self.at.saturating_duration_since(earlier.at);
        Traffic { span, counts: counts.collect(), places: self.places }
    }
}

impl Traffic {
    /// What went over one.
    pub(crate) fn count(&self, link: Link) -> Count {
        self.counts[self.places.of_link(link)]
    }

    /// All links with what went over them.
    pub(crate) fn links(&self) -> impl Iterator<Item = (Link, Count)> + '_ {
        self.places.links().zip(self.counts.iter().copied())
    }

    /// How many leaves and spines there are.
    pub(super) const fn size(&self) -> (usize, usize) {
        (self.places.leaves, self.places.spines)
    }

    #[cfg(test)]
    pub(super) fn of_bytes(spec: &FabricSpec, bytes: impl Fn(Link) -> u64) -> Self {
        let places = Places::of(spec);
        let count = |link| Count { bytes: bytes(link), packets: 1 };
        let counts = places.links().map(count).collect();
        Self { span: Duration::from_secs(1), counts, places }
    }
}

/// A node's table of devices. Opened in the node's namespace, it shows that one to everybody.
#[derive(Debug)]
pub(super) struct Counters(File);

impl Counters {
    /// Opens the table of the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/thread-self/net/dev").map(Self)
    }

    /// What a device has sent so far, Ethernet headers included; nothing if there is no such one.
    pub(super) fn sent(&self, device: &str) -> io::Result<Option<u64>> {
        let text = self.read()?;
        let count = parse_devices(&text).get(device).copied();
        Ok(count.map(|count| count.bytes + HEADER * count.packets))
    }

    fn read(&self) -> io::Result<String> {
        let mut text = vec![0; PAGE];
        let mut length = 0;
        loop {
            let read = self.0.read_at(&mut text[length..], length as u64)?;
            length += read;
            if read == 0 || length == text.len() {
                text.truncate(length);
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
}

/// What each device sent, from `/proc/net/dev`.
fn parse_devices(text: &str) -> HashMap<&str, Count> {
    let device = |line| -> Option<(&str, Count)> {
        let (name, numbers) = str::split_once(line, ':')?;
        let mut numbers = numbers.split_whitespace().map(str::parse);
        // Eight of what was received come first.
        let (bytes, packets) = (numbers.nth(8)?.ok()?, numbers.next()?.ok()?);
        Some((name.trim(), Count { bytes, packets }))
    };
    text.lines().filter_map(device).collect()
}

/// One queue of `tc -s -j qdisc show`.
#[derive(Debug, Deserialize)]
struct Queue {
    kind: String,
    #[serde(default)]
    dev: String,
    #[serde(default)]
    drops: u64,
}

/// Drops of each device's packet queue; the shaper above it counts the same ones again.
fn parse_queues(text: &str) -> Result<HashMap<String, u64>, serde_json::Error> {
    let queues: Vec<Queue> = serde_json::from_str(text)?;
    let packet_queues = queues.into_iter().filter(|queue| queue.kind == "pfifo");
    Ok(packet_queues.map(|queue| (queue.dev, queue.drops)).collect())
}

impl Fabric {
    /// All counters now; some 30 µs a node.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, CountError> {
        let places = Places::of(&self.spec);
        let mut counts = vec![Count::default(); places.count()];
        let at = Instant::now();
        self.each_node(|node, sends| {
            let name = || node.namespace.name().to_owned();
            let text = node.counters.read();
            let text = text.map_err(|cause| CountError::Read { name: name(), cause })?;
            let devices = parse_devices(&text);
            for (device, link) in sends {
                let count = devices.get(device.as_str());
                let count = count.ok_or(CountError::Device { name: name(), device })?;
                let bytes = count.bytes + HEADER * count.packets;
                counts[places.of_link(link)] = Count { bytes, ..*count };
            }
            Ok(())
        })?;
        Ok(Snapshot { at, counts, places })
    }

    /// Packets that each link's queue had no room for, in the order of [`Traffic::links`], since
    /// the fabric was built; some 2 ms a node.
    pub(crate) fn drops(&self) -> Result<Vec<(Link, u64)>, CountError> {
        let places = Places::of(&self.spec);
        let mut drops = vec![0; places.count()];
        self.each_node(|node, sends| {
            let name = || node.namespace.name().to_owned();
            let said =
                node.namespace.run(|| tool::script(Tool::Tc, &["-s", "-j"], "qdisc show\n"))?;
            let said = said.map_err(|cause| CountError::Tool { name: name(), cause })?;
            let queues = parse_queues(&said);
            let queues = queues.map_err(|cause| CountError::Queues { name: name(), cause })?;
            for (device, link) in sends {
                let count = queues.get(&device).copied();
                let count = count.ok_or(CountError::Device { name: name(), device })?;
                drops[places.of_link(link)] = count;
            }
            Ok(())
        })?;
        Ok(places.links().zip(drops).collect())
    }

    /// Every node with its devices and the link that each sends on.
    fn each_node(
        &self,
        mut visit: impl FnMut(&Node, Vec<(String, Link)>) -> Result<(), CountError>,
    ) -> Result<(), CountError> {
        let spec = &self.spec;
        for host in spec.hosts() {
            let link = Link::FromHost { host };
            visit(&self.hosts[host.index()], vec![(HOST_DEVICE.to_owned(), link)])?;
        }
        for leaf in spec.leaves() {
            let down = spec.hosts_of(leaf);
            let down = down.map(|host| (to_host(spec, host), Link::ToHost { host }));
            let up = spec.spines().map(|spine| (to_spine(spine), Link::Uplink { leaf, spine }));
            visit(&self.leaves[leaf.index()], down.chain(up).collect())?;
        }
        for spine in spec.spines() {
            let down = spec.leaves().map(|leaf| (to_leaf(leaf), Link::Downlink { leaf, spine }));
            visit(&self.spines[spine.index()], down.collect())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FabricOptions;
    use super::*;

    #[test]
    fn what_devices_sent_is_read_and_headings_are_not() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    \
                    lo:  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  \
                    s12:100 1 0 0 0 0 0 0 18446744073709551615 7 0 0 0 0 0 0\n short: 1 2\n";
        let devices = parse_devices(text);
        assert_eq!(devices.len(), 2);
        assert_eq!(devices["lo"], Count { bytes: 9, packets: 10 });
        assert_eq!(devices["s12"], Count { bytes: u64::MAX, packets: 7 });
    }

    #[test]
    fn drops_are_those_of_the_packet_queue() {
        let text = r#"[{"kind":"noqueue","dev":"lo","root":true},
            {"kind":"htb","dev":"s0","handle":"1:","drops":9},
            {"kind":"pfifo","dev":"s0","handle":"10:","drops":4,"overlimits":0}]"#;
        let drops = parse_queues(text).expect("it is right");
        assert_eq!(drops, HashMap::from([("s0".to_owned(), 4)]));
        assert!(parse_queues("[{}]").is_err() && parse_queues("").is_err());
    }

    #[test]
    fn each_link_has_a_place_of_its_own() {
        let spec = FabricSpec::new(&FabricOptions::default()).expect("the defaults are right");
        let places = Places::of(&spec);
        let all: Vec<usize> = places.links().map(|link| places.of_link(link)).collect();
        assert_eq!(all, (0..places.count()).collect::<Vec<_>>());
    }
}
