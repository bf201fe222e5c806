//! Reliable-connected queue pairs.
//!
//! | file | what it holds |
//! |---|---|
//! | `state` | the life of a queue pair |
//! | `timing` | its times |
//! | `connect` | what it must be told on the way, and what it says |
//! | `request` | work requests |
//! | `slots` | selective signalling |
mod connect;
mod request;
mod slots;
mod state;
mod timing;

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use super::completion_queue::{CompletionQueue, CompletionQueueInner};
use super::context::PortNumber;
use super::memory_region::Access;
use super::protection_domain::{ProtectionDomain, ProtectionDomainInner};
use super::raw::constants::{
    IBV_QP_ACCESS_FLAGS, IBV_QP_PKEY_INDEX, IBV_QP_PORT, IBV_QP_STATE, IBV_QPS_ERR, IBV_QPS_INIT,
    IBV_QPS_RESET, IBV_QPT_RC,
};
use super::raw::types::{ibv_qp, ibv_qp_attr, ibv_qp_cap, ibv_qp_init_attr};
use super::raw::{check, inline, made};

pub use connect::{Packet, QueuePairNumber, Reception, Sending};
pub use request::{Payload, ReceiveRequest, SendOperation, SendRequest};
pub use slots::{SendSlot, SendSlots};
pub use state::QueuePairState;
pub use timing::{AckTimeout, NotReadyTimer};

use request::{ReceiveList, SendList};

/// Why a queue pair is not in the state that it should be in.
#[derive(Debug, thiserror::Error)]
pub enum QueuePairError {
    /// It cannot be made.
    #[error("cannot make a queue pair on {device} with {limits}: {source}")]
    Make {
        /// The device.
        device: String,
        /// What was wanted.
        limits: QueuePairLimits,
        /// The cause.
        source: io::Error,
    },
    /// Its parts are of several devices.
    #[error("a queue pair of {device} cannot report to a completion queue of {other}")]
    OtherDevice {
        /// The device of the protection domain.
        device: String,
        /// The device of the completion queue.
        other: String,
    },
    /// It cannot go there from where it is.
    #[error("queue pair {number} of {device} is {state} and cannot become {next}")]
    WrongState {
        /// The device.
        device: String,
        /// The queue pair.
        number: u32,
        /// Where it is.
        state: QueuePairState,
        /// Where it should go.
        next: QueuePairState,
    },
    /// The device refuses.
    #[error("queue pair {number} of {device}, now {state}, does not become {next}: {source}")]
    Modify {
        /// The device.
        device: String,
        /// The queue pair.
        number: u32,
        /// Where it is.
        state: QueuePairState,
        /// Where it should go.
        next: QueuePairState,
        /// The cause. "Invalid argument" may mean a GID index that is not in use, or an MTU above
        /// the port's; "Network is unreachable" and "Connection timed out" that the destination
        /// address cannot be resolved.
        source: io::Error,
    },
    /// It cannot be asked.
    #[error("cannot query queue pair {number} of {device}: {source}")]
    Query {
        /// The device.
        device: String,
        /// The queue pair.
        number: u32,
        /// The cause.
        source: io::Error,
    },
}

/// Why work requests were not posted. Requests are looked at before any is posted; where the device
/// refuses one, `posted` of those before it were.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The queue pair does not take such requests in its state.
    #[error("queue pair {number} is {state}: nothing can be posted to this queue")]
    WrongState {
        /// The queue pair.
        number: u32,
        /// Where it is.
        state: QueuePairState,
    },
    /// No place is free.
    #[error("the queue of queue pair {number} is full after {posted} of these requests")]
    QueueFull {
        /// The queue pair.
        number: u32,
        /// Requests that were posted.
        posted: usize,
    },
    /// A request has more spans than the queue pair was made for.
    #[error("a request has {spans} spans, queue pair {number} takes {limit}")]
    TooManySpans {
        /// The queue pair.
        number: u32,
        /// What it has.
        spans: usize,
        /// What would be right at most.
        limit: u32,
    },
    /// An inline payload is longer than the queue pair was made for.
    #[error("an inline payload has {bytes} bytes, queue pair {number} takes {limit}")]
    InlineTooLong {
        /// The queue pair.
        number: u32,
        /// What it has.
        bytes: usize,
        /// What would be right at most.
        limit: u32,
    },
    /// A payload is longer than the span it is to be written to.
    #[error("a write of {bytes} bytes goes to a span of {limit} bytes")]
    BeyondTarget {
        /// What it has.
        bytes: u64,
        /// What would be right at most.
        limit: u64,
    },
    /// The device refuses.
    #[error("queue pair {number} refuses a request after {posted} of these: {source}")]
    Refused {
        /// The queue pair.
        number: u32,
        /// Requests that were posted.
        posted: usize,
        /// The cause.
        source: io::Error,
    },
}

/// How much a queue pair holds. Devices may give more than is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePairLimits {
    /// Send requests under way.
    pub sends: u32,
    /// Receive requests posted.
    pub receives: u32,
    /// Spans of a send request.
    pub send_spans: u32,
    /// Spans of a receive request.
    pub receive_spans: u32,
    /// Bytes of an inline payload.
    pub inline_bytes: u32,
}

impl fmt::Display for QueuePairLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sends, receives, send_spans, receive_spans, inline_bytes } = self;
        write!(
            f,
            "{sends} sends of {send_spans} spans or {inline_bytes} inline bytes, \
             {receives} receives of {receive_spans} spans"
        )
    }
}

/// A reliable-connected queue pair: messages arrive once and in order, or it goes into the error
/// state. It keeps its protection domain and completion queues alive, not the memory regions that
/// its requests name (see [`super::LocalSpan`]).
pub struct QueuePair {
    raw: NonNull<ibv_qp>,
    number: u32,
    state: QueuePairState,
    limits: QueuePairLimits,
    domain: Arc<ProtectionDomainInner>,
    /// Keep the completion queues alive.
    _queues: [Arc<CompletionQueueInner>; 2],
    /// Filled and read during one post; kept for their memory.
    send_list: Box<SendList>,
    receive_list: Box<ReceiveList>,
}

// SAFETY: a queue pair belongs to no thread, and the verbs may be called from several at once (see
// `ContextInner`). The pointers in the lists are used only by the call that has set them.
unsafe impl Send for QueuePair {}
// SAFETY: as above; what changes our own fields takes `&mut self`.
unsafe impl Sync for QueuePair {}

impl QueuePair {
    /// A new queue pair in the reset state. Only requests that ask for it make completions.
    pub fn new(
        domain: &ProtectionDomain,
        sends: &CompletionQueue,
        receives: &CompletionQueue,
        limits: QueuePairLimits,
    ) -> Result<Self, QueuePairError> {
        let domain = Arc::clone(domain.inner());
        let context = domain.context();
        let device = || context.name().to_owned();
        let queues = [sends, receives].map(|queue| Arc::clone(queue.inner()));
        if let Some(other) = queues.iter().find(|q| !Arc::ptr_eq(q.context(), context)) {
            let other = other.context().name().to_owned();
            return Err(QueuePairError::OtherDevice { device: device(), other });
        }
        let mut attributes = ibv_qp_init_attr {
            qp_context: null_mut(),
            send_cq: queues[0].raw(),
            recv_cq: queues[1].raw(),
            srq: null_mut(),
            cap: ibv_qp_cap {
                max_send_wr: limits.sends,
                max_recv_wr: limits.receives,
                max_send_sge: limits.send_spans,
                max_recv_sge: limits.receive_spans,
                max_inline_data: limits.inline_bytes,
            },
            qp_type: IBV_QPT_RC,
            sq_sig_all: 0,
        };
        // SAFETY: the domain and the queues are alive and of one device; the call writes what it
        // gives into the attributes.
        let raw = unsafe { (context.functions().ibv_create_qp)(domain.raw(), &raw mut attributes) };
        let failed = |source| QueuePairError::Make { device: device(), limits, source };
        let raw = made(raw).map_err(failed)?;
        let given = attributes.cap;
        let limits = QueuePairLimits {
            sends: given.max_send_wr,
            receives: given.max_recv_wr,
            send_spans: given.max_send_sge,
            receive_spans: given.max_recv_sge,
            inline_bytes: given.max_inline_data,
        };
        // SAFETY: just made; its number never changes.
        let number = unsafe { (*raw.as_ptr()).qp_num };
        let state = QueuePairState::Reset;
        Ok(Self {
            raw,
            number,
            state,
            limits,
            domain,
            _queues: queues,
            send_list: Box::new(SendList::new()),
            receive_list: Box::new(ReceiveList::new()),
        })
    }

    pub(super) fn raw(&self) -> *mut ibv_qp {
        self.raw.as_ptr()
    }

    /// The name of its device.
    pub(super) fn device(&self) -> &str {
        self.domain.context().name()
    }

    /// Its number, by which the peer addresses it.
    pub fn number(&self) -> QueuePairNumber {
        QueuePairNumber::masked(self.number)
    }

    /// How much it really holds.
    pub fn limits(&self) -> QueuePairLimits {
        self.limits
    }

    /// The state that we took it to. The device may have gone to the error state since:
    /// [`Self::query_state`].
    pub fn state(&self) -> QueuePairState {
        self.state
    }

    /// The state that the device says it is in.
    pub fn query_state(&self) -> Result<QueuePairState, QueuePairError> {
        let mut attributes = ibv_qp_attr::default();
        let mut initial = MaybeUninit::<ibv_qp_init_attr>::zeroed();
        // SAFETY: the queue pair is alive; the call writes both structures.
        let code = unsafe {
            let query = self.domain.context().functions().ibv_query_qp;
            let (to, initial) = (&raw mut attributes, initial.as_mut_ptr());
            query(self.raw.as_ptr(), to, IBV_QP_STATE as c_int, initial)
        };
        let device = || self.domain.context().name().to_owned();
        check(code).map_err(|source| QueuePairError::Query {
            device: device(),
            number: self.number,
            source,
        })?;
        Ok(QueuePairState::from_raw(attributes.qp_state))
    }

    /// From reset to initialised: binds it to a port and says what the peer may do to memory.
    pub fn initialise(&mut self, port: PortNumber, access: Access) -> Result<(), QueuePairError> {
        let attributes = ibv_qp_attr {
            qp_state: IBV_QPS_INIT,
            pkey_index: 0,
            port_num: port.get(),
            qp_access_flags: access.to_raw(),
            ..ibv_qp_attr::default()
        };
        let mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
        self.modify(QueuePairState::Initialised, attributes, mask)
    }

    /// From initialised to ready to receive: connects it to the peer's queue pair.
    pub fn ready_to_receive(&mut self, reception: &Reception) -> Result<(), QueuePairError> {
        let (attributes, mask) = reception.to_raw();
        self.modify(QueuePairState::ReadyToReceive, attributes, mask)
    }

    /// From ready to receive to ready to send. The peer must be ready to receive by the time that
    /// the first message reaches it, else that is sent again after a time-out.
    pub fn ready_to_send(&mut self, sending: &Sending) -> Result<(), QueuePairError> {
        let (attributes, mask) = sending.to_raw();
        self.modify(QueuePairState::ReadyToSend, attributes, mask)
    }

    /// To the error state: when this returns, the device takes no more messages of the peer for it,
    /// and requests that were under way complete as flushed.
    pub fn fail(&mut self) -> Result<(), QueuePairError> {
        let attributes = ibv_qp_attr { qp_state: IBV_QPS_ERR, ..ibv_qp_attr::default() };
        self.modify(QueuePairState::Error, attributes, IBV_QP_STATE)
    }

    /// Back to the start: requests that were under way are forgotten, without completions.
    pub fn reset(&mut self) -> Result<(), QueuePairError> {
        let attributes = ibv_qp_attr { qp_state: IBV_QPS_RESET, ..ibv_qp_attr::default() };
        self.modify(QueuePairState::Reset, attributes, IBV_QP_STATE)
    }

    fn modify(
        &mut self,
        next: QueuePairState,
        mut attributes: ibv_qp_attr,
        mask: u32,
    ) -> Result<(), QueuePairError> {
        let (number, state) = (self.number, self.state);
        let context = self.domain.context();
        let device = || context.name().to_owned();
        if !state.may_become(next) {
            return Err(QueuePairError::WrongState { device: device(), number, state, next });
        }
        // SAFETY: the queue pair is alive; the attributes are those that the mask names.
        let code = unsafe {
            let modify = context.functions().ibv_modify_qp;
            modify(self.raw.as_ptr(), &raw mut attributes, mask as c_int)
        };
        let failed =
            |source| QueuePairError::Modify { device: device(), number, state, next, source };
        check(code).map_err(failed)?;
        self.state = next;
        Ok(())
    }

    /// Puts requests into the send queue, in order, by one call of the driver for each 16. Without
    /// a lock or an allocation of ours.
    ///
    /// Memory of [`Payload::Registered`] may be read until the completion of the request, or of a
    /// later one; memory of [`Payload::Inline`] is free at once.
    pub fn post_sends(&mut self, requests: &[SendRequest<'_>]) -> Result<(), PostError> {
        if self.state != QueuePairState::ReadyToSend {
            return Err(PostError::WrongState { number: self.number, state: self.state });
        }
        for request in requests {
            self.examine(request)?;
        }
        let mut posted = 0;
        while posted < requests.len() {
            let (first, count) = self.send_list.fill(&requests[posted..]);
            let mut bad = null_mut();
            // SAFETY: the queue pair is alive; the list and what it points to (spans and inline
            // payloads, borrowed by `requests`) live and stay where they are during the call. The
            // device reaches memory of spans only inside of regions (`LocalSpan`).
            let code = unsafe { inline::post_send(self.raw.as_ptr(), first, &mut bad) };
            posted += taken(code, first, bad, count);
            self.outcome(code, posted)?;
        }
        Ok(())
    }

    /// Puts one request into the send queue: [`Self::post_sends`].
    pub fn post_send(&mut self, request: SendRequest<'_>) -> Result<(), PostError> {
        self.post_sends(&[request])
    }

    /// Puts requests into the receive queue, in order. Without a lock or an allocation of ours.
    pub fn post_receives(&mut self, requests: &[ReceiveRequest<'_>]) -> Result<(), PostError> {
        if !self.state.takes_receives() {
            return Err(PostError::WrongState { number: self.number, state: self.state });
        }
        let limit = self.limits.receive_spans;
        if let Some(long) = requests.iter().find(|r| r.spans.len() > limit as usize) {
            let spans = long.spans.len();
            return Err(PostError::TooManySpans { number: self.number, spans, limit });
        }
        let mut posted = 0;
        while posted < requests.len() {
            let (first, count) = self.receive_list.fill(&requests[posted..]);
            let mut bad = null_mut();
            // SAFETY: the queue pair is alive; the list and the spans it points to, borrowed by
            // `requests`, live and stay where they are during the call. The device reaches their
            // memory only inside of regions (`LocalSpan`).
            let code = unsafe { inline::post_recv(self.raw.as_ptr(), first, &mut bad) };
            posted += taken(code, first, bad, count);
            self.outcome(code, posted)?;
        }
        Ok(())
    }

    fn examine(&self, request: &SendRequest<'_>) -> Result<(), PostError> {
        let number = self.number;
        match request.payload {
            Payload::Registered(spans) if spans.len() > self.limits.send_spans as usize => {
                let limit = self.limits.send_spans;
                return Err(PostError::TooManySpans { number, spans: spans.len(), limit });
            }
            Payload::Inline(payload) if payload.len() > self.limits.inline_bytes as usize => {
                let (bytes, limit) = (payload.len(), self.limits.inline_bytes);
                return Err(PostError::InlineTooLong { number, bytes, limit });
            }
            Payload::Registered(_) | Payload::Inline(_) => {}
        }
        match request.operation {
            SendOperation::Write(target) | SendOperation::WriteWithImmediate(target, _)
                if request.payload.bytes() > target.length() =>
            {
                let (bytes, limit) = (request.payload.bytes(), target.length());
                Err(PostError::BeyondTarget { bytes, limit })
            }
            _ => Ok(()),
        }
    }

    fn outcome(&self, code: c_int, posted: usize) -> Result<(), PostError> {
        let number = self.number;
        check(code).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOMEM) => PostError::QueueFull { number, posted },
            _ => PostError::Refused { number, posted, source },
        })
    }
}

/// How many of `count` requests from `first` on were taken: all of them, or those before `bad`. If
/// the driver does not say which was bad: none, rather than one too many.
fn taken<T>(code: c_int, first: *mut T, bad: *mut T, count: usize) -> usize {
    if code == 0 {
        return count;
    }
    (bad.addr().saturating_sub(first.addr()) / size_of::<T>()).min(count)
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        // SAFETY: made by this library and destroyed once; afterwards the device touches no memory
        // for it. The domain and the completion queues are alive. On an error it is leaked.
        unsafe { (self.domain.context().functions().ibv_destroy_qp)(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for QueuePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuePair")
            .field("device", &self.domain.context().name())
            .field("number", &self.number)
            .field("state", &self.state)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_before_a_refused_request_is_counted() {
        let mut list = [0_u64; 16];
        let first = list.as_mut_ptr();
        assert_eq!(taken(0, first, null_mut(), 16), 16);
        assert_eq!(taken(libc::ENOMEM, first, first, 16), 0);
        assert_eq!(taken(libc::ENOMEM, first, first.wrapping_add(3), 16), 3);
        assert_eq!(taken(libc::EINVAL, first, null_mut(), 16), 0);
    }
}
