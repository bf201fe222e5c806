//! Where a queue pair sends: the address handle, with the flow label that selects the path.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::context::PortNumber;
use super::gid::Gid;
use super::raw::types::{ibv_ah_attr, ibv_global_route};

/// The UDP port of RoCE v2.
pub const ROCE_UDP_PORT: u16 = 4791;
/// The least source port of RoCE v2 (`IB_ROCE_UDP_ENCAP_VALID_PORT_MIN`).
const LEAST_SOURCE_PORT: u16 = 0xc000;
const LABEL_BITS: u32 = 20;
const PORT_BITS: u32 = 14;
const PORT_MASK: u32 = (1 << PORT_BITS) - 1;

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not fit into the header.
    #[error("flow label {label:#x} has more than 20 bits: choose one of at most 0xfffff")]
    FlowLabel {
        /// The value.
        label: u32,
    },
    /// It is no number.
    #[error("flow label '{found}' is no number: it must be one of at most 0xfffff")]
    LabelText {
        /// The text.
        found: String,
    },
    /// It is none that a flow label can make.
    #[error("UDP source port {port} of RoCE v2 must be at least {LEAST_SOURCE_PORT}")]
    SourcePort {
        /// The value.
        port: u16,
    },
    /// It does not fit into the header.
    #[error("InfiniBand service level {level} has more than 4 bits: choose one of at most 15")]
    ServiceLevel {
        /// The value.
        level: u8,
    },
}

/// The entropy value of RDMA: 20 bits of the header, from which drivers derive the UDP source port
/// of RoCE v2, which switches hash. 0 leaves the choice to the driver.
///
/// Linux folds the label into 14 bits (`rdma_flow_label_to_udp_sport`, also in verbs.h as
/// `ibv_flow_label_to_udp_sport`): the source port is `0xc000 | (low 14 bits ^ high 6 bits)`. So
/// labels below 0x4000 choose port 0xc000 + label. Soft-RoCE does so for every queue pair (seen on
/// Linux 6.12). Of drivers for hardware these do, by their sources, for every reliable-connected
/// queue pair over RoCE v2: mlx5 (`mlx5_set_path`), irdma (`irdma_modify_qp_roce`), hns
/// (`hns_roce_v2_set_path`), mana (`mana_ib_gd_modify_qp`) and ionic (`ionic_controlpath.c`); all
/// of them untested here. bnxt\_re does not: it hands the label to the firmware
/// (`bnxt_qplib_modify_qp`) and says nothing of the port. Others were not looked at.
/// [`super::set_udp_source_port`] sets the port where the vendor offers that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowLabel(u32);

impl FlowLabel {
    /// The UDP source ports that labels can choose.
    pub const SOURCE_PORTS: RangeInclusive<u16> = LEAST_SOURCE_PORT..=u16::MAX;
    /// Leaves the choice of the path to the driver.
    pub const DRIVERS_CHOICE: Self = Self(0);

    /// At most 20 bits.
    pub fn new(label: u32) -> Result<Self, AddressError> {
        if label >> LABEL_BITS == 0 {
            Ok(Self(label))
        } else {
            Err(AddressError::FlowLabel { label })
        }
    }

    /// The least label that is not 0 and makes packets leave with this UDP source port.
    ///
    /// ```
    /// use onepath_transport::verbs::FlowLabel;
    ///
    /// let label = FlowLabel::for_source_port(50_000).expect("at least 49152");
    /// assert_eq!(label.source_port(), Some(50_000));
    /// ```
    pub fn for_source_port(port: u16) -> Result<Self, AddressError> {
        if port < LEAST_SOURCE_PORT {
            return Err(AddressError::SourcePort { port });
        }
        let low = u32::from(port - LEAST_SOURCE_PORT);
        // 0 would leave the choice to the driver; 1 << 14 ^ 1 folds to 0.
        Ok(Self(if low == 0 { 1 << PORT_BITS | 1 } else { low }))
    }

    /// The UDP source port that Linux derives from it; nothing if the driver chooses.
    pub fn source_port(self) -> Option<u16> {
        (self.0 != 0).then(|| fold(self.0))
    }

    /// The 20 bits.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for FlowLabel {
    type Err = AddressError;

    /// A number, decimal or after `0x` hexadecimal.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let number = number.map_err(|_| AddressError::LabelText { found: text.to_owned() })?;
        Self::new(number)
    }
}

/// `ibv_flow_label_to_udp_sport`.
fn fold(label: u32) -> u16 {
    let folded = (label & PORT_MASK) ^ (label >> PORT_BITS);
    LEAST_SOURCE_PORT | folded as u16
}

/// The UDP source port that Linux chooses for flow label 0 (`rdma_calc_flow_label`): from the
/// numbers of both queue pairs. Soft-RoCE does so; devices may have other rules.
pub fn default_source_port(local: u32, remote: u32) -> u16 {
    let product = u64::from(local) * u64::from(remote);
    let folded = product ^ (product >> 20);
    let folded = folded ^ (folded >> 40);
    fold(folded as u32 & ((1 << LABEL_BITS) - 1))
}

/// The part of an address that routers read. Over RoCE v2 it becomes the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalRoute {
    /// Where to.
    pub destination: Gid,
    /// Index of the own address in the port's GID table ([`super::GidTable::choose`]).
    pub source_index: u8,
    /// Selects the path.
    pub flow_label: FlowLabel,
    /// Time to live.
    pub hop_limit: u8,
    /// The IP header's traffic class (DSCP and ECN bits).
    pub traffic_class: u8,
}

/// The part of an address that InfiniBand switches read. Untested: no machine that we have has
/// InfiniBand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRoute {
    /// The local identifier of the destination port.
    pub lid: u16,
    /// Selects the virtual lane, 0 to 15.
    service_level: u8,
    /// Low bits of the own local identifier, where a port has several.
    pub source_path_bits: u8,
}

impl LocalRoute {
    /// A route on the same subnet; the service level is at most 15.
    pub fn new(lid: u16, service_level: u8) -> Result<Self, AddressError> {
        if service_level > 15 {
            return Err(AddressError::ServiceLevel { level: service_level });
        }
        Ok(Self { lid, service_level, source_path_bits: 0 })
    }
}

/// Where a reliable-connected queue pair sends. It is given to the queue pair by value when that
/// becomes ready to receive; objects of `ibv_create_ah` are for datagrams, which we do not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressHandle {
    /// The own port.
    pub port: PortNumber,
    /// The route.
    pub route: Route,
}

/// How packets find the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Over Ethernet.
    Roce(GlobalRoute),
    /// Over InfiniBand, with a global part if the destination is on another subnet. Untested.
    InfiniBand {
        /// What switches read.
        local: LocalRoute,
        /// What routers read.
        global: Option<GlobalRoute>,
    },
}

impl AddressHandle {
    /// A destination over RoCE v2 with a hop limit of 64 and traffic class 0.
    pub fn roce(
        port: PortNumber,
        source_index: u8,
        destination: Gid,
        flow_label: FlowLabel,
    ) -> Self {
        let route =
            GlobalRoute { destination, source_index, flow_label, hop_limit: 64, traffic_class: 0 };
        Self { port, route: Route::Roce(route) }
    }

    pub(super) fn to_raw(self) -> ibv_ah_attr {
        let global = match self.route {
            Route::Roce(global) => Some(global),
            Route::InfiniBand { global, .. } => global,
        };
        let mut raw = ibv_ah_attr { port_num: self.port.get(), ..ibv_ah_attr::default() };
        if let Some(global) = global {
            raw.is_global = 1;
            raw.grh = ibv_global_route {
                dgid: global.destination.to_raw(),
                flow_label: global.flow_label.get(),
                sgid_index: global.source_index,
                hop_limit: global.hop_limit,
                traffic_class: global.traffic_class,
            };
        }
        if let Route::InfiniBand { local, .. } = self.route {
            raw.dlid = local.lid;
            raw.sl = local.service_level;
            raw.src_path_bits = local.source_path_bits;
        }
        raw
    }
}

impl fmt::Display for AddressHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.route {
            Route::Roce(global) => {
                let label = global.flow_label.get();
                write!(f, "{} (port {}, flow label {label:#x})", global.destination, self.port)
            }
            Route::InfiniBand { local, .. } => write!(f, "LID {} (port {})", local.lid, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_below_16384_add_to_the_first_port_and_higher_bits_are_folded_in() {
        let port = |label| FlowLabel::new(label).expect("20 bits").source_port();
        assert_eq!(port(0), None);
        assert_eq!(port(1), Some(0xc001));
        assert_eq!(port(0x3fff), Some(0xffff));
        assert_eq!(port(0x4000), Some(0xc001));
        assert_eq!(port(0x4001), Some(0xc000));
        assert_eq!(port(0xf_ffff), Some(0xffc0));
        assert_eq!(FlowLabel::new(1 << 20), Err(AddressError::FlowLabel { label: 1 << 20 }));
    }

    #[test]
    fn every_source_port_of_roce_has_a_label_that_is_not_zero() {
        for port in LEAST_SOURCE_PORT..=u16::MAX {
            let label = FlowLabel::for_source_port(port).expect("in range");
            assert_ne!(label, FlowLabel::DRIVERS_CHOICE);
            assert_eq!(label.source_port(), Some(port));
        }
        let below = FlowLabel::for_source_port(4791);
        assert_eq!(below, Err(AddressError::SourcePort { port: 4791 }));
    }

    #[test]
    fn without_a_label_small_numbers_of_queue_pairs_are_multiplied() {
        assert_eq!(default_source_port(17, 18), 0xc000 + 306);
        assert_eq!(default_source_port(18, 17), 0xc000 + 306);
    }

    #[test]
    fn a_roce_address_fills_the_global_route_and_an_infiniband_one_the_local() {
        let gid = Gid([7; 16]);
        let label = FlowLabel::new(5).expect("20 bits");
        let raw = AddressHandle::roce(PortNumber::ONE, 3, gid, label).to_raw();
        assert_eq!((raw.is_global, raw.port_num, raw.dlid), (1, 1, 0));
        assert_eq!((raw.grh.sgid_index, raw.grh.flow_label, raw.grh.hop_limit), (3, 5, 64));
        assert_eq!(raw.grh.dgid.raw, [7; 16]);

        let local = LocalRoute::new(42, 3).expect("4 bits");
        let route = Route::InfiniBand { local, global: None };
        let raw = AddressHandle { port: PortNumber::ONE, route }.to_raw();
        assert_eq!((raw.is_global, raw.dlid, raw.sl), (0, 42, 3));
        assert_eq!(LocalRoute::new(1, 16), Err(AddressError::ServiceLevel { level: 16 }));
    }
}
