//! Options of RDMA, and what went over each lane.

use std::fmt::Write as _;

use clap::{Args, value_parser};
use onepath_transport::verbs::transport::{Spread, VerbsCount, VerbsOptions};
use onepath_transport::verbs::{DeviceError, DeviceList, FlowLabel};
use serde::Serialize;

/// Options of `--transport verbs`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VerbsArguments {
    /// RDMA devices, as in rxe0,rxe1; the n-th rank of a host takes the n-th [default: all with an
    /// active port]
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
    /// The flow label of each lane, as in 1,2,0x3 [default: at random]
    #[arg(
        long = "verbs-labels",
        env = "ONEPATH_VERBS_LABELS",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    labels: Vec<FlowLabel>,
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

/// Whether this machine has the library and the devices that are named: said once, before ranks are
/// started that would all say so.
pub(crate) fn ready(options: &VerbsOptions) -> Result<(), DeviceError> {
    let list = DeviceList::new()?;
    options.devices.iter().try_for_each(|name| list.find(name).map(|_| ()))
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
    /// Payload bytes, resends included.
    pub(crate) bytes: u64,
    /// Chunks, resends included.
    pub(crate) chunks: u64,
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
            bytes: count.bytes,
            chunks: count.chunks,
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
            ", max_over_mean {:.3}, not copied {}, taken {}, deaths {}, replaced {}, resent {}",
            max_over_mean(lanes),
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
            bytes,
            chunks: bytes / 10,
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
             not copied 4, taken 0, deaths 1, replaced 1, resent 2\n"
        );
    }
}
