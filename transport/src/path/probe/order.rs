//! The order in which local ports are tried.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use core::net::{IpAddr, SocketAddr};

/// A seeded shuffle of a range of ports, drawn one by one (Fisher and Yates, kept sparse: memory
/// grows with the ports drawn, not with the range).
///
/// Neighbouring ports are not independent under the linear hashes of switches; shuffled ones are
/// nearly.
#[derive(Clone, Debug)]
pub(super) struct PortOrder {
    first: u16,
    left: u32,
    state: u64,
    moved: BTreeMap<u32, u32>,
}

impl PortOrder {
    /// The order toward a destination, the same whatever other destinations there are.
    pub(super) fn new(seed: u64, ports: &RangeInclusive<u16>, destination: SocketAddr) -> Self {
        let address = match destination.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let mut state = seed;
        for part in [address as u64, (address >> 64) as u64, u64::from(destination.port())] {
            state = next(&mut state) ^ part;
        }
        let left = u32::from(*ports.end()) - u32::from(*ports.start()) + 1;
        Self { first: *ports.start(), left, state, moved: BTreeMap::new() }
    }
}

impl Iterator for PortOrder {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let last = self.left.checked_sub(1)?;
        let at = (next(&mut self.state) % u64::from(self.left)) as u32;
        let end = self.moved.remove(&last).unwrap_or(last);
        let drawn = if at == last { end } else { self.moved.insert(at, end).unwrap_or(at) };
        self.left = last;
        Some(self.first + drawn as u16)
    }
}

/// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014, figure 16).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64, ports: RangeInclusive<u16>) -> Vec<u16> {
        PortOrder::new(seed, &ports, SocketAddr::from(([10, 0, 0, 1], 7))).collect()
    }

    #[test]
    fn every_port_comes_once() {
        for ports in [1024..=1024, 1024..=1099, 1024..=u16::MAX] {
            let mut drawn = order(3, ports.clone());
            assert!(drawn.len() == 1 || drawn != ports.clone().collect::<Vec<u16>>());
            drawn.sort_unstable();
            assert_eq!(drawn, ports.collect::<Vec<u16>>());
        }
    }

    #[test]
    fn seed_and_destination_decide_the_order() {
        assert_eq!(order(1, 2000..=2100), order(1, 2000..=2100));
        assert_ne!(order(1, 2000..=2100), order(2, 2000..=2100));
        let other = SocketAddr::from(([10, 0, 0, 1], 8));
        let others: Vec<u16> = PortOrder::new(1, &(2000..=2100), other).collect();
        assert_ne!(order(1, 2000..=2100), others);
    }
}
