//! What a device tells of itself while nobody asks.

use super::raw::constants::{
    IBV_EVENT_CQ_ERR, IBV_EVENT_DEVICE_FATAL, IBV_EVENT_GID_CHANGE, IBV_EVENT_PORT_ACTIVE,
    IBV_EVENT_PORT_ERR, IBV_EVENT_QP_ACCESS_ERR, IBV_EVENT_QP_FATAL, IBV_EVENT_QP_REQ_ERR,
};
use super::raw::types::{ibv_async_event, ibv_qp};

/// An event of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// A queue pair broke: it is in the error state.
    QueuePair {
        /// Its number.
        number: u32,
        /// What broke it.
        fault: QueuePairFault,
    },
    /// A completion queue ran over: its entries are lost, its queue pairs in error.
    CompletionQueue,
    /// The device cannot be used any more: a fault, or it was removed.
    DeviceFatal,
    /// A port carries data again.
    PortActive {
        /// The port.
        port: u8,
    },
    /// A port does not carry data.
    PortDown {
        /// The port.
        port: u8,
    },
    /// A port's GID table changed: an address was added or removed.
    GidChange {
        /// The port.
        port: u8,
    },
    /// Nothing that concerns us, by its number in `enum ibv_event_type`.
    Other(u32),
}

/// What broke a queue pair when no work request could say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePairFault {
    /// The device cannot even write completions for it.
    Fatal,
    /// The peer sent a request that its queue pair does not allow.
    Request,
    /// The peer sent a request with a wrong remote key, or beyond the region.
    Access,
}

impl DeviceEvent {
    /// # Safety
    /// The event was given by the library and is not acknowledged yet.
    pub(super) unsafe fn from_raw(event: &ibv_async_event) -> Self {
        let pair = |fault| {
            let pair: *mut ibv_qp = event.element.cast();
            // SAFETY: events of these types carry a queue pair, which cannot be destroyed before
            // the event is acknowledged; its number never changes.
            Self::QueuePair { number: unsafe { (*pair).qp_num }, fault }
        };
        let port = port_of(event);
        match event.event_type {
            IBV_EVENT_QP_FATAL => pair(QueuePairFault::Fatal),
            IBV_EVENT_QP_REQ_ERR => pair(QueuePairFault::Request),
            IBV_EVENT_QP_ACCESS_ERR => pair(QueuePairFault::Access),
            IBV_EVENT_CQ_ERR => Self::CompletionQueue,
            IBV_EVENT_DEVICE_FATAL => Self::DeviceFatal,
            IBV_EVENT_PORT_ACTIVE => Self::PortActive { port },
            IBV_EVENT_PORT_ERR => Self::PortDown { port },
            IBV_EVENT_GID_CHANGE => Self::GidChange { port },
            // What follows is ordinary life of a queue pair, or of features that we do not use.
            other => Self::Other(other),
        }
    }
}

/// The member `port_num` of the union: an `int` in the first bytes of the pointer's.
fn port_of(event: &ibv_async_event) -> u8 {
    let bytes = event.element.addr().to_ne_bytes();
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes) as u8)
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    fn event(element: usize, event_type: u32) -> DeviceEvent {
        let element = std::ptr::without_provenance_mut(element);
        // SAFETY: none of these types makes the function look behind the pointer.
        unsafe { DeviceEvent::from_raw(&ibv_async_event { element, event_type }) }
    }

    #[test]
    fn events_of_ports_name_the_port_and_unknown_ones_their_number() {
        assert_eq!(event(2, IBV_EVENT_PORT_ERR), DeviceEvent::PortDown { port: 2 });
        assert_eq!(event(1, IBV_EVENT_PORT_ACTIVE), DeviceEvent::PortActive { port: 1 });
        assert_eq!(event(0, IBV_EVENT_DEVICE_FATAL), DeviceEvent::DeviceFatal);
        assert_eq!(event(0, 999), DeviceEvent::Other(999));
    }

    #[test]
    fn events_of_a_queue_pair_carry_its_number() {
        let mut pair = ibv_qp {
            context: null_mut(),
            qp_context: null_mut(),
            pd: null_mut(),
            send_cq: null_mut(),
            recv_cq: null_mut(),
            srq: null_mut(),
            handle: 0,
            qp_num: 17,
            state: 0,
            qp_type: 0,
        };
        let element = (&raw mut pair).cast();
        let raw = ibv_async_event { element, event_type: IBV_EVENT_QP_ACCESS_ERR };
        // SAFETY: the element is a queue pair that lives.
        let event = unsafe { DeviceEvent::from_raw(&raw) };
        let fault = QueuePairFault::Access;
        assert_eq!(event, DeviceEvent::QueuePair { number: 17, fault });
    }
}
