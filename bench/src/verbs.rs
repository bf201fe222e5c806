//! Options of RDMA, and what went over each lane.

use std::fmt::Write as _;
use std::fs;

use clap::{Args, ValueEnum, value_parser};
use onepath_collectives::communicator::RocePaths;
use onepath_topology::assign::Scheme;
use onepath_transport::path::PathFile;
use onepath_transport::verbs::transport::{Spread, VerbsCount, VerbsOptions};
use onepath_transport::verbs::{DeviceError, DeviceList, FlowLabel};
use serde::Serialize;

/// Options of `--transport verbs`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VerbsArguments {
    /// RDMA devices, as in rxe0,rxe1 or with ports rxe0:1; the n-th rank of a host takes the n-th
    /// [default: all with an active port]
    #[arg(
        long = "verbs-device",
        env = "ONEPATH_VERBS_DEVICE",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    device: Vec<String>,
    /// Queue pairs to each peer [default: 4; 1 with spread ecmp, 16 with spray]
    #[arg(long = "verbs-lanes", env = "ONEPATH_VERBS_LANES",
          value_parser = value_parser!(u16).range(1..=16))]
    lanes: Option<u16>,
    /// The flow label of each lane, as in 1,2,0x3 [default: a hash of the ranks]
    #[arg(
        long = "verbs-labels",
        env = "ONEPATH_VERBS_LABELS",
        value_delimiter = ',',
        value_name = "LIST",
        conflicts_with = "paths"
    )]
    labels: Vec<FlowLabel>,
    /// Take labels of known paths: probe (find them before the first call), or a file of paths, as
    /// `paths --roce --save` writes it. Split and spray load all paths alike; ecmp stays a hash
    #[arg(long = "verbs-paths", env = "ONEPATH_VERBS_PATHS", value_name = "probe|FILE",
          value_parser = parse_paths)]
    paths: Option<PathsFrom>,
    /// How split assigns flows to known paths [default: equal]
    #[arg(
        long = "verbs-assign",
        env = "ONEPATH_VERBS_ASSIGN",
        value_name = "SCHEME",
        value_enum,
        requires = "paths"
    )]
    assign: Option<Assign>,
    /// How flows are spread over lanes: split, ecmp or spray [default: split]
    #[arg(long = "verbs-spread", env = "ONEPATH_VERBS_SPREAD", value_name = "POLICY")]
    spread: Option<Spread>,
    /// Index in the port's GID table [default: the first RoCE v2 entry, IPv4 before IPv6]
    #[arg(long = "verbs-gid-index", env = "ONEPATH_VERBS_GID_INDEX", value_name = "INDEX")]
    gid_index: Option<u8>,
    /// Traffic class of packets (DSCP and ECN bits) [default: 0]
    #[arg(long = "verbs-traffic-class", env = "ONEPATH_VERBS_TRAFFIC_CLASS", value_name = "CLASS")]
    traffic_class: Option<u8>,
    /// Time-out of a queue pair: 4.096 us x 2^CODE [default: 14]
    #[arg(long = "verbs-ack-timeout", env = "ONEPATH_VERBS_ACK_TIMEOUT", value_name = "CODE",
          value_parser = value_parser!(u8).range(1..=31))]
    ack_timeout: Option<u8>,
    /// Register buffers with the RDMA device, which then sends from them without a copy; without
    /// effect over other transports
    #[arg(long)]
    register: bool,
}

/// Whether what is sent is copied first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// Ordinary memory: it is.
    Plain,
    /// Registered with the RDMA device: it is not.
    Registered,
}

/// Where known paths come from.
#[derive(Clone, Debug)]
pub(crate) enum PathsFrom {
    Probes,
    File(PathFile),
}

/// How flows are assigned to known paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Assign {
    /// The same bytes to each queue pair, whichever path it takes
    Lanes,
    /// The same bytes of each step to each path, in equal pieces
    Equal,
    /// The same, laid end to end and cut where a path is full
    Line,
    /// Whole flows by colours, the rest by line
    Coloured,
}

/// Known paths, as the options say.
#[derive(Clone, Debug)]
pub(crate) struct KnownPaths {
    from: PathsFrom,
    assign: Assign,
}

/// The seed of probes and assigners.
const PATHS_SEED: u64 = 1;

impl KnownPaths {
    /// As the library finds them.
    pub(crate) fn find(&self) -> RocePaths {
        let paths = match &self.from {
            PathsFrom::Probes => RocePaths::by_probes(PATHS_SEED),
            PathsFrom::File(file) => RocePaths::from_file(file.clone(), PATHS_SEED),
        };
        paths.scheme(match self.assign {
            Assign::Lanes => None,
            Assign::Equal => Some(Scheme::Equal),
            Assign::Line => Some(Scheme::Line),
            Assign::Coloured => Some(Scheme::Coloured),
        })
    }
}

fn parse_paths(text: &str) -> Result<PathsFrom, String> {
    if text == "probe" {
        return Ok(PathsFrom::Probes);
    }
    let file = fs::read_to_string(text)
        .map_err(|error| format!("{error}; probe or a file of paths would be right"))?;
    let file = PathFile::parse(&file).map_err(|error| error.to_string())?;
    RocePaths::check(&file).map_err(|error| error.to_string())?;
    Ok(PathsFrom::File(file))
}

/// Whether this machine has the library and the devices that are named: said once, before ranks are
/// started that would all say so.
pub(crate) fn ready(options: &VerbsOptions) -> Result<(), DeviceError> {
    let list = DeviceList::new()?;
    options.device_names().try_for_each(|name| list.find(name).map(|_| ()))
}

impl VerbsArguments {
    /// Which buffers the calls have.
    pub(crate) fn buffers(&self) -> Buffers {
        if self.register { Buffers::Registered } else { Buffers::Plain }
    }

    /// As the library has them.
    pub(crate) fn options(&self) -> VerbsOptions {
        let usual = VerbsOptions::default();
        VerbsOptions {
            devices: self.device.clone(),
            lanes: self.lanes,
            labels: self.labels.clone(),
            spread: self.spread.unwrap_or_default(),
            gid_index: self.gid_index,
            traffic_class: self.traffic_class.unwrap_or(usual.traffic_class),
            ack_timeout: self.ack_timeout.unwrap_or(usual.ack_timeout),
            ..usual
        }
    }
}

impl VerbsArguments {
    /// Where labels come from, if paths are to be known.
    pub(crate) fn paths(&self) -> Option<KnownPaths> {
        let from = self.paths.clone()?;
        Some(KnownPaths { from, assign: self.assign.unwrap_or(Assign::Equal) })
    }
}

/// What rank 0 has sent over one lane, all rows and warm-up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Lane {
    /// The receiver.
    pub(crate) peer: u32,
    /// Its number.
    #[serde(rename = "lane")]
    pub(crate) number: u8,
    /// Its flow label at the end.
    pub(crate) label: u32,
    /// The number of the path that this takes, where paths are known.
    pub(crate) path: Option<u32>,
    /// Payload bytes, resends included.
    pub(crate) bytes: u64,
    /// Chunks, resends included.
    pub(crate) chunks: u64,
    /// Packets of these, as foretold by the path MTU.
    pub(crate) packets: u64,
    /// Chunks whose payload was not copied.
    pub(crate) direct: u64,
    /// Chunks that were lost with a queue pair.
    pub(crate) resends: u64,
    /// Chunks taken from lanes that were full.
    pub(crate) taken: u64,
    /// Queue pairs that failed.
    pub(crate) deaths: u64,
    /// Queue pairs that took their place.
    pub(crate) replacements: u64,
}

impl From<&VerbsCount> for Lane {
    fn from(count: &VerbsCount) -> Self {
        Self {
            peer: count.peer.number(),
            number: count.lane,
            label: count.label,
            path: count.path.map(|path| path.0),
            bytes: count.bytes,
            chunks: count.chunks,
            packets: count.packets,
            direct: count.direct,
            resends: count.resends,
            taken: count.taken,
            deaths: count.deaths,
            replacements: count.replacements,
        }
    }
}

/// The most bytes of one lane, as a multiple of the mean of all; 1 if there are none.
fn max_over_mean(lanes: &[Lane]) -> f64 {
    let most = lanes.iter().map(|lane| lane.bytes).max().unwrap_or(0);
    let sum: u64 = lanes.iter().map(|lane| lane.bytes).sum();
    if sum == 0 { 1.0 } else { most as f64 * lanes.len() as f64 / sum as f64 }
}

/// What is said of lanes below a table, peer by peer; they are sorted by peer.
pub(crate) fn table_end(lanes: &[Lane]) -> String {
    let mut text = String::new();
    for lanes in lanes.chunk_by(|a, b| a.peer == b.peer) {
        if lanes.iter().all(|lane| lane.chunks == 0) {
            continue;
        }
        // Writing to a string does not fail.
        let _ = write!(text, "# Lanes of rank 0 to rank {} (label: bytes)", lanes[0].peer);
        for lane in lanes {
            let _ = write!(text, " {:#x}: {}", lane.label, lane.bytes);
        }
        let sum = |field: fn(&Lane) -> u64| lanes.iter().map(field).sum::<u64>();
        let _ = writeln!(
            text,
            ", max_over_mean {:.3}, chunks {}, packets {}, not copied {}, taken {}, deaths {}, \
             replaced {}, resent {}",
            max_over_mean(lanes),
            sum(|lane| lane.chunks),
            sum(|lane| lane.packets),
            sum(|lane| lane.direct),
            sum(|lane| lane.taken),
            sum(|lane| lane.deaths),
            sum(|lane| lane.replacements),
            sum(|lane| lane.resends),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_told_by_peer_and_those_without_chunks_left_out() {
        let lane = |peer, number, bytes, deaths| Lane {
            peer,
            number,
            label: 16 + u32::from(number),
            path: None,
            bytes,
            chunks: bytes / 10,
            packets: bytes / 5,
            direct: bytes / 100,
            resends: 2 * deaths,
            taken: 0,
            deaths,
            replacements: deaths,
        };
        let lanes = [lane(1, 0, 300, 0), lane(1, 1, 100, 1), lane(2, 0, 0, 0), lane(2, 1, 0, 0)];
        assert_eq!(
            table_end(&lanes),
            "# Lanes of rank 0 to rank 1 (label: bytes) 0x10: 300 0x11: 100, max_over_mean 1.500, \
             chunks 40, packets 80, not copied 4, taken 0, deaths 1, replaced 1, resent 2\n"
        );
    }

    #[test]
    fn paths_are_probed_or_of_a_file_for_queue_pairs() {
        assert!(matches!(parse_paths("probe"), Ok(PathsFrom::Probes)));
        let missing = parse_paths("no/such/file").expect_err("it is missing");
        assert!(missing.contains("probe or a file"), "{missing}");
        let path = std::env::temp_dir().join(format!("onepath-paths-{}", std::process::id()));
        let path = path.to_str().expect("a plain name");
        let text = "protocol = \"roce\"\n[[destination]]\nto = \"10.1.2.1:4791\"\n\
                    path = [{ hops = [\"172.16.0.2\"], ports = [49153] }]\n";
        fs::write(path, text).expect("it is written");
        assert!(matches!(parse_paths(path), Ok(PathsFrom::File(_))));
        fs::write(path, text.replace("roce", "udp")).expect("it is written");
        let other = parse_paths(path).expect_err("of datagrams");
        fs::remove_file(path).expect("it was there");
        assert!(other.contains("udp") && other.contains("roce"), "{other}");
    }
}
