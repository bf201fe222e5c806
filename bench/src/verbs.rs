//! Options of RDMA, and what went over each lane.

use clap::{Args, value_parser};
use onepath_transport::verbs::FlowLabel;
use onepath_transport::verbs::transport::{Spread, VerbsOptions};

/// Options of `--transport verbs`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VerbsArguments {
    /// RDMA devices, as in rxe0,rxe1; the n-th rank of a host takes the n-th [default: all with an
    /// active port]
    #[arg(long, env = "ONEPATH_VERBS_DEVICE", value_delimiter = ',', value_name = "LIST")]
    verbs_device: Vec<String>,
    /// Queue pairs to each peer [default: 4; 1 with spread ecmp, 16 with spray]
    #[arg(long, env = "ONEPATH_VERBS_LANES", value_parser = value_parser!(u16).range(1..=16))]
    verbs_lanes: Option<u16>,
    /// The flow label of each lane, as in 1,2,0x3 [default: at random]
    #[arg(long, env = "ONEPATH_VERBS_LABELS", value_delimiter = ',', value_name = "LIST")]
    verbs_labels: Vec<FlowLabel>,
    /// How flows are spread over lanes: split, ecmp or spray [default: split]
    #[arg(long, env = "ONEPATH_VERBS_SPREAD", value_name = "POLICY")]
    verbs_spread: Option<Spread>,
    /// Index in the port's GID table [default: the first RoCE v2 entry, IPv4 before IPv6]
    #[arg(long, env = "ONEPATH_VERBS_GID_INDEX", value_name = "INDEX")]
    verbs_gid_index: Option<u8>,
    /// Traffic class of packets (DSCP and ECN bits) [default: 0]
    #[arg(long, env = "ONEPATH_VERBS_TRAFFIC_CLASS", value_name = "CLASS")]
    verbs_traffic_class: Option<u8>,
    /// Time-out of a queue pair: 4.096 us x 2^CODE [default: 14]
    #[arg(long, env = "ONEPATH_VERBS_ACK_TIMEOUT", value_name = "CODE",
          value_parser = value_parser!(u8).range(1..=31))]
    verbs_ack_timeout: Option<u8>,
}

impl VerbsArguments {
    /// As the library has them.
    pub(crate) fn options(&self) -> VerbsOptions {
        let usual = VerbsOptions::default();
        VerbsOptions {
            devices: self.verbs_device.clone(),
            lanes: self.verbs_lanes,
            labels: self.verbs_labels.clone(),
            spread: self.verbs_spread.unwrap_or_default(),
            gid_index: self.verbs_gid_index,
            traffic_class: self.verbs_traffic_class.unwrap_or(usual.traffic_class),
            ack_timeout: self.verbs_ack_timeout.unwrap_or(usual.ack_timeout),
            ..usual
        }
    }
}
