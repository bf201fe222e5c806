//! How much of a link's rate is left for the payload of RDMA WRITEs over RoCE v2.
//!
//! A write of S bytes with a path MTU of M is cut into n = max(1, ⌈S/M⌉) packets. Each has headers
//! of 14 (Ethernet) + 20 (IPv4; 40 for IPv6) + 8 (UDP) + 12 (base transport header, BTH) + 4 (ICRC)
//! = 58 bytes; the first has 16 more, which say where to write (RDMA extended transport header,
//! RETH); the last is padded to a multiple of 4. So on the wire
//!
//! ```text
//! W(S) = 58 n + 16 + 4 ⌈S/4⌉          payload rate = rate × S / W(S)
//! ```
//!
//! W(1 MiB) is 1,063,440 for M = 4096: 98.6 % of the rate is payload. Ethernet counts as the
//! kernel's token bucket (tc-tbf) counts it: without preamble, checksum and gap, which are 24 bytes
//! more on a real cable. (InfiniBand Architecture Specification, volume 1, sections 9.2 and 9.3,
//! and annex 17.)

use std::fmt;

use onepath_transport::verbs::AddressFamily;

const ETHERNET: u64 = 14;
const IPV4: u64 = 20;
const IPV6: u64 = 40;
const UDP: u64 = 8;
const BASE_TRANSPORT: u64 = 12;
const ICRC: u64 = 4;
/// In the first packet of a write.
const RDMA_EXTENDED: u64 = 16;

/// What writes are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Writes {
    /// Bytes of one.
    pub(crate) payload: u64,
    /// Path MTU.
    pub(crate) mtu: u64,
    /// Which Internet protocol.
    pub(crate) family: AddressFamily,
}

impl Writes {
    /// Bytes on the wire of one write.
    pub(crate) fn wire_bytes(self) -> u64 {
        let ip = if self.family == AddressFamily::V4 { IPV4 } else { IPV6 };
        let every_packet = ETHERNET + ip + UDP + BASE_TRANSPORT + ICRC;
        let packets = self.payload.div_ceil(self.mtu).max(1);
        packets * every_packet + RDMA_EXTENDED + self.payload.next_multiple_of(4)
    }
}

/// The rate of a link, as tc writes it: `20mbit`, `1gbit`, `64kbit`, `800bit`; powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LinkRate {
    bits: u64,
}

impl LinkRate {
    /// Nothing for a text that is no rate, or 0.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix("bit")?;
        let units = [("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000), ("", 1)];
        let (number, unit) =
            units.iter().find_map(|(suffix, unit)| Some((number.strip_suffix(suffix)?, *unit)))?;
        let bits = number.parse::<u64>().ok()?.checked_mul(unit)?;
        (bits > 0).then_some(Self { bits })
    }

    /// Payload bytes a second.
    pub(crate) fn payload_per_second(self, writes: Writes) -> f64 {
        self.bits as f64 / 8.0 * writes.payload as f64 / writes.wire_bytes() as f64
    }
}

impl fmt::Display for LinkRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit/s", self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(payload: u64, mtu: u64) -> Writes {
        Writes { payload, mtu, family: AddressFamily::V4 }
    }

    #[test]
    fn headers_are_counted_for_every_packet_and_the_first_has_more() {
        let wire_bytes = |payload, mtu| writes(payload, mtu).wire_bytes();
        // One packet: 58 + 16 + payload, padded.
        assert_eq!(wire_bytes(0, 4096), 74);
        assert_eq!(wire_bytes(1, 4096), 78);
        assert_eq!(wire_bytes(4096, 4096), 4170);
        assert_eq!(wire_bytes(4097, 4096), 4096 + 4 + 2 * 58 + 16);
        assert_eq!(wire_bytes(1 << 20, 4096), 1_063_440);
        assert_eq!(wire_bytes(1 << 20, 1024), (1 << 20) + 1024 * 58 + 16);
        let six = Writes { family: AddressFamily::V6, ..writes(4097, 4096) };
        assert_eq!(six.wire_bytes(), 4096 + 4 + 2 * 78 + 16);
    }

    #[test]
    fn a_mebibyte_has_98_6_percent_of_a_link_for_its_payload() {
        let rate = LinkRate::parse("20mbit").expect("a rate");
        let payload = rate.payload_per_second(writes(1 << 20, 4096));
        assert!((payload - 2_500_000.0 * 0.986_022).abs() < 10.0, "{payload}");
    }

    #[test]
    fn rates_are_those_of_tc() {
        let bits = |text| LinkRate::parse(text).map(|rate| rate.bits);
        assert_eq!(bits("800bit"), Some(800));
        assert_eq!(bits("64kbit"), Some(64_000));
        assert_eq!(bits("20mbit"), Some(20_000_000));
        assert_eq!(bits("1gbit"), Some(1_000_000_000));
        for wrong in ["", "bit", "0mbit", "20", "20MB", "-1mbit", "1.5gbit", "99999999999gbit"] {
            assert_eq!(bits(wrong), None, "{wrong}");
        }
    }
}
