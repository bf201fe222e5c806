//! What a queue pair must be told about its peer.

use std::fmt;

use crate::verbs::address::AddressHandle;
use crate::verbs::context::PathMtu;
use crate::verbs::raw::constants::{
    IBV_QP_AV, IBV_QP_DEST_QPN, IBV_QP_MAX_DEST_RD_ATOMIC, IBV_QP_MAX_QP_RD_ATOMIC,
    IBV_QP_MIN_RNR_TIMER, IBV_QP_PATH_MTU, IBV_QP_RETRY_CNT, IBV_QP_RNR_RETRY, IBV_QP_RQ_PSN,
    IBV_QP_SQ_PSN, IBV_QP_STATE, IBV_QP_TIMEOUT, IBV_QPS_RTR, IBV_QPS_RTS,
};
use crate::verbs::raw::types::ibv_qp_attr;

use super::timing::{AckTimeout, NotReadyTimer};

const MASK_24: u32 = 0xff_ffff;

/// The number of a queue pair: 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueuePairNumber(u32);

impl QueuePairNumber {
    /// Nothing for a number of more than 24 bits.
    pub fn new(number: u32) -> Option<Self> {
        (number <= MASK_24).then_some(Self(number))
    }

    /// For numbers that the library gave.
    pub(super) fn masked(number: u32) -> Self {
        Self(number & MASK_24)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for QueuePairNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A packet sequence number: 24 bits. Both sides agree on the first; one that nobody can guess
/// keeps packets of an earlier queue pair of the same number out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet(u32);

impl Packet {
    /// The low 24 bits.
    pub fn new(number: u32) -> Self {
        Self(number & MASK_24)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// What a queue pair needs to receive: who the peer is, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// The peer's queue pair.
    pub peer: QueuePairNumber,
    /// The way to it.
    pub address: AddressHandle,
    /// The size of packets; at most what both ports have, and the same on both sides.
    pub mtu: PathMtu,
    /// The first packet that the peer sends.
    pub first: Packet,
    /// How long the peer waits when it finds no receive request here.
    pub not_ready: NotReadyTimer,
}

impl Reception {
    pub(super) fn to_raw(self) -> (ibv_qp_attr, u32) {
        let attributes = ibv_qp_attr {
            qp_state: IBV_QPS_RTR,
            path_mtu: self.mtu.to_raw(),
            dest_qp_num: self.peer.get(),
            rq_psn: self.first.get(),
            // RDMA READ and atomics are not used: none may be under way.
            max_dest_rd_atomic: 0,
            min_rnr_timer: self.not_ready.to_raw(),
            ah_attr: self.address.to_raw(),
            ..ibv_qp_attr::default()
        };
        let mask = IBV_QP_STATE
            | IBV_QP_AV
            | IBV_QP_PATH_MTU
            | IBV_QP_DEST_QPN
            | IBV_QP_RQ_PSN
            | IBV_QP_MAX_DEST_RD_ATOMIC
            | IBV_QP_MIN_RNR_TIMER;
        (attributes, mask)
    }
}

/// What a queue pair needs to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The first packet that it sends.
    pub first: Packet,
    /// How long it waits for an acknowledgement.
    pub ack_timeout: AckTimeout,
    /// How often it sends again without an answer before it gives up: at most 7.
    pub retries: u8,
    /// How often it tries again when the peer has no receive request: at most 6, or nothing for
    /// without end.
    pub not_ready_retries: Option<u8>,
}

impl Sending {
    pub(super) fn to_raw(self) -> (ibv_qp_attr, u32) {
        let attributes = ibv_qp_attr {
            qp_state: IBV_QPS_RTS,
            sq_psn: self.first.get(),
            timeout: self.ack_timeout.to_raw(),
            retry_cnt: self.retries.min(7),
            // 7 means without end.
            rnr_retry: self.not_ready_retries.map_or(7, |retries| retries.min(6)),
            max_rd_atomic: 0,
            ..ibv_qp_attr::default()
        };
        let mask = IBV_QP_STATE
            | IBV_QP_SQ_PSN
            | IBV_QP_TIMEOUT
            | IBV_QP_RETRY_CNT
            | IBV_QP_RNR_RETRY
            | IBV_QP_MAX_QP_RD_ATOMIC;
        (attributes, mask)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::verbs::address::FlowLabel;
    use crate::verbs::context::PortNumber;
    use crate::verbs::gid::Gid;

    #[test]
    fn reception_and_sending_fill_just_what_their_masks_name() {
        let label = FlowLabel::new(9).expect("20 bits");
        let reception = Reception {
            peer: QueuePairNumber::new(17).expect("24 bits"),
            address: AddressHandle::roce(PortNumber::ONE, 1, Gid([1; 16]), label),
            mtu: PathMtu::Bytes4096,
            first: Packet::new(0x0123_4567),
            not_ready: NotReadyTimer::at_least(Duration::from_micros(640)),
        };
        let (raw, mask) = reception.to_raw();
        // The bits that the specification requires for this step (table 91).
        assert_eq!(mask, 1 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 15 | 1 << 17 | 1 << 20);
        assert_eq!((raw.qp_state, raw.path_mtu, raw.dest_qp_num), (2, 5, 17));
        assert_eq!((raw.rq_psn, raw.min_rnr_timer), (0x0023_4567, 12));
        assert_eq!(raw.ah_attr.grh.flow_label, 9);

        let ack_timeout = AckTimeout::at_least(Duration::from_secs(1));
        let sending =
            Sending { first: Packet::new(5), ack_timeout, retries: 9, not_ready_retries: None };
        let (raw, mask) = sending.to_raw();
        assert_eq!(mask, 1 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 16);
        assert_eq!((raw.qp_state, raw.sq_psn, raw.timeout), (3, 5, 18));
        assert_eq!((raw.retry_cnt, raw.rnr_retry), (7, 7));
        let (raw, _) = Sending { not_ready_retries: Some(7), ..sending }.to_raw();
        assert_eq!(raw.rnr_retry, 6);
    }

    #[test]
    fn numbers_have_24_bits() {
        assert_eq!(QueuePairNumber::new(1 << 24), None);
        assert_eq!(QueuePairNumber::new(0xff_ffff).map(QueuePairNumber::get), Some(0xff_ffff));
        assert_eq!(Packet::new(u32::MAX).get(), 0xff_ffff);
    }
}
