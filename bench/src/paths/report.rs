//! What was found, as table, CSV and JSON.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use onepath_topology::Nanos;
use onepath_transport::path::{
    Destination, Discovery, Leaf, PathId, PathTable, PinnedPort, ProbeConfig, Protocol,
};
use onepath_transport::verbs::FlowLabel;
use serde::Serialize;

use super::PathsFormat;

/// The document; every other form is made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    version: &'static str,
    protocol: &'static str,
    /// The local address; none if there is no route.
    source: Option<IpAddr>,
    /// The hops that name a path.
    hops: String,
    seed: u64,
    seconds: f64,
    leaves: Vec<LeafRow>,
    rack_local: Vec<SocketAddr>,
    unpinned: Vec<UnpinnedRow>,
    /// Why there is no path at all, if so.
    unpinned_reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct LeafRow {
    last_hops: Vec<IpAddr>,
    destinations: Vec<DestinationRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct DestinationRow {
    address: SocketAddr,
    probed_ports: u32,
    silent_ports: u32,
    complete: bool,
    paths: Vec<PathRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct PathRow {
    /// Index among the paths of the leaf.
    path: usize,
    /// Who answered, from the first hop that names paths.
    hops: String,
    ports: Vec<u16>,
    /// The flow labels that choose these ports, if the protocol is RoCE.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<u32>,
    /// The shortest of its ports' probes.
    round_trip_us: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct UnpinnedRow {
    destination: SocketAddr,
    reason: String,
}

impl Report {
    pub(super) fn new(config: &ProbeConfig, discovery: &Discovery, took: Duration) -> Self {
        let empty = Self {
            version: env!("CARGO_PKG_VERSION"),
            protocol: config.protocol.name(),
            source: None,
            hops: config.hops.to_string(),
            seed: config.seed,
            seconds: took.as_secs_f64(),
            leaves: Vec::new(),
            rack_local: Vec::new(),
            unpinned: Vec::new(),
            unpinned_reason: None,
        };
        match discovery {
            Discovery::Unpinned { reason } => {
                Self { unpinned_reason: Some(reason.to_string()), ..empty }
            }
            Discovery::Pinned(table) => empty.with(table),
        }
    }

    fn with(self, table: &PathTable) -> Self {
        let unpinned = table.unpinned.iter().map(|one| UnpinnedRow {
            destination: one.destination,
            reason: one.reason.to_string(),
        });
        Self {
            source: Some(table.source),
            leaves: table.leaves.iter().map(|leaf| leaf_row(table.protocol, leaf)).collect(),
            rack_local: table.rack_local.clone(),
            unpinned: unpinned.collect(),
            ..self
        }
    }

    pub(super) fn write(&self, format: PathsFormat, to: &mut impl Write) -> io::Result<()> {
        match format {
            PathsFormat::Table => self.table(to)?,
            PathsFormat::Csv => self.csv(to)?,
            PathsFormat::Json => {
                serde_json::to_writer_pretty(&mut *to, self)?;
                writeln!(to)?;
            }
        }
        to.flush()
    }

    fn table(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { version, protocol, hops, seed, seconds, .. } = self;
        let source = self.source.map_or_else(|| "-".to_owned(), |source| source.to_string());
        writeln!(to, "# onepath-bench {version}, paths by {protocol} from {source}")?;
        writeln!(to, "# hops {hops}, seed {seed}, {:.1} ms", seconds * 1e3)?;
        if let Some(reason) = &self.unpinned_reason {
            return writeln!(to, "# unpinned: {reason}");
        }
        for leaf in &self.leaves {
            leaf.table(to)?;
        }
        for address in &self.rack_local {
            writeln!(to, "# {address}: nearer than hops {hops}, nothing to choose")?;
        }
        for UnpinnedRow { destination, reason } in &self.unpinned {
            writeln!(to, "# {destination}: unpinned: {reason}")?;
        }
        Ok(())
    }

    fn csv(&self, to: &mut impl Write) -> io::Result<()> {
        let protocol = self.protocol;
        let more = if protocol == Protocol::Roce.name() { ",label" } else { "" };
        writeln!(to, "protocol,source,destination,leaf,path,hops,port,round_trip_us{more}")?;
        let source = self.source.map(|source| source.to_string()).unwrap_or_default();
        for (leaf, row) in self.leaves.iter().enumerate() {
            for DestinationRow { address, paths, .. } in &row.destinations {
                for PathRow { path, hops, ports, labels, round_trip_us } in paths {
                    let time = round_trip_us.map(|us| format!("{us:.1}")).unwrap_or_default();
                    for (index, port) in ports.iter().enumerate() {
                        write!(to, "{protocol},{source},{address},{leaf},{path},{hops},")?;
                        write!(to, "{port},{time}")?;
                        if let Some(label) = labels.get(index) {
                            write!(to, ",{label}")?;
                        }
                        writeln!(to)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl LeafRow {
    fn table(&self, to: &mut impl Write) -> io::Result<()> {
        let routers: Vec<String> = self.last_hops.iter().map(IpAddr::to_string).collect();
        let routers = if routers.is_empty() { "unknown".to_owned() } else { routers.join(" ") };
        writeln!(to, "#\n# last hops before the destinations: {routers}")?;
        let hops = self.destinations.iter().flat_map(|at| &at.paths).map(|path| path.hops.len());
        let width = hops.max().unwrap_or_default().max("answers from".len());
        for DestinationRow { address, probed_ports, silent_ports, complete, paths } in
            &self.destinations
        {
            let state = if *complete { "" } else { ", INCOMPLETE" };
            writeln!(to, "# {address}: {probed_ports} ports probed, {silent_ports} silent{state}")?;
            let labelled = paths.iter().any(|row| !row.labels.is_empty());
            let last = if labelled { "flow labels" } else { "ports" };
            writeln!(to, "#{:>5}  {:width$} {:>10}  {last}", "path", "answers from", "rtt (us)")?;
            for PathRow { path, hops, ports, labels, round_trip_us } in paths {
                let time = round_trip_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
                let shown: Vec<String> = if labelled {
                    labels.iter().map(u32::to_string).collect()
                } else {
                    ports.iter().map(u16::to_string).collect()
                };
                writeln!(to, "{path:>6}  {hops:width$} {time:>10}  {}", shown.join(" "))?;
            }
        }
        Ok(())
    }
}

fn leaf_row(protocol: Protocol, leaf: &Leaf) -> LeafRow {
    let destinations = leaf.destinations.iter();
    let destinations = destinations.map(|at| destination_row(protocol, leaf, at)).collect();
    LeafRow { last_hops: leaf.last_hops.clone(), destinations }
}

fn destination_row(protocol: Protocol, leaf: &Leaf, destination: &Destination) -> DestinationRow {
    let paths = leaf.paths.iter().zip(&destination.ports).enumerate();
    DestinationRow {
        address: destination.address,
        probed_ports: destination.probed_ports,
        silent_ports: destination.silent_ports,
        complete: destination.complete,
        paths: paths.map(|(path, (id, ports))| path_row(protocol, path, id, ports)).collect(),
    }
}

fn path_row(protocol: Protocol, path: usize, id: &PathId, pinned: &[PinnedPort]) -> PathRow {
    let label = |pinned: &PinnedPort| FlowLabel::for_source_port(pinned.port).map(FlowLabel::get);
    let labels = match protocol {
        // Its ports are those of labels alone (`ProbeConfig::check`, `PathFile::parse`).
        Protocol::Roce => pinned.iter().filter_map(|pinned| label(pinned).ok()).collect(),
        Protocol::Tcp | Protocol::Udp => Vec::new(),
    };
    let micros = |time: Nanos| time.get() as f64 / 1e3;
    PathRow {
        path,
        hops: id.to_string(),
        ports: pinned.iter().map(|pinned| pinned.port).collect(),
        labels,
        round_trip_us: pinned.iter().filter_map(|pinned| pinned.round_trip).min().map(micros),
    }
}
