//! A window that never changes.

use onepath_topology::Nanos;

use super::{Acknowledged, CongestionControl, Loss};

/// Always the same number of bytes: for fabrics that are known not to be congested, and to see
/// what a better control is worth.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindow(pub u64);

impl CongestionControl for FixedWindow {
    fn window(&self) -> u64 {
        self.0
    }

    fn link_window(&self) -> Option<u64> {
        None
    }

    fn set_datagram_bytes(&mut self, _bytes: u32) {}

    fn is_congested(&self, _rtt: Nanos) -> bool {
        false
    }

    fn acknowledged(&mut self, _ack: &Acknowledged) {}

    fn lost(&mut self, _loss: &Loss) {}
}
