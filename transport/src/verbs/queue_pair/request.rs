//! Work requests, and how lists of them are handed to the library.

use std::ffi::c_int;
use std::ptr::null_mut;

use crate::verbs::memory_region::{LocalSpan, RemoteSpan};
use crate::verbs::raw::constants::{
    IBV_SEND_INLINE, IBV_SEND_SIGNALED, IBV_SEND_SOLICITED, IBV_WR_RDMA_WRITE,
    IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_SEND, IBV_WR_SEND_WITH_IMM,
};
use crate::verbs::raw::types::{ibv_recv_wr, ibv_send_wr, ibv_send_wr_rdma, ibv_sge};

/// How many requests go to the device with one call.
pub(super) const BATCH: usize = 16;

/// What a send request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOperation {
    /// Into a receive request of the peer.
    Send,
    /// Into a receive request of the peer, with a number.
    SendWithImmediate(u32),
    /// Into the peer's memory; the peer learns nothing of it.
    Write(RemoteSpan),
    /// Into the peer's memory; when it is there, a number takes a receive request of the peer.
    WriteWithImmediate(RemoteSpan, u32),
}

/// The bytes of a send request.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Spans of registered memory, one after the other, read by the device until the request is
    /// complete. None at all is an empty message.
    Registered(&'a [LocalSpan]),
    /// Any memory, copied into the queue while posting. Short: see
    /// [`super::QueuePairLimits::inline_bytes`].
    Inline(&'a [u8]),
}

impl Payload<'_> {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Registered(spans) => spans.iter().map(|span| u64::from(span.length())).sum(),
            Self::Inline(bytes) => bytes.len() as u64,
        }
    }
}

/// A request for the send queue.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// Comes back in its completion.
    pub id: u64,
    /// What it does.
    pub operation: SendOperation,
    /// With which bytes.
    pub payload: Payload<'a>,
    /// Whether it makes a completion when it succeeds; when it fails it always does. One that
    /// makes none keeps its place in the queue until a later one has completed: see
    /// [`super::SendSlots`].
    pub signalled: bool,
    /// Whether it wakes a peer that has asked for solicited events only. Ignored by
    /// [`SendOperation::Write`].
    pub solicited: bool,
}

/// A request for the receive queue.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveRequest<'a> {
    /// Comes back in its completion.
    pub id: u64,
    /// Where the bytes of a SEND go, one span after the other. An RDMA WRITE with immediate needs
    /// none.
    pub spans: &'a [LocalSpan],
}

/// The spans as the library wants them.
fn segments(spans: &[LocalSpan]) -> (*mut ibv_sge, c_int) {
    // `LocalSpan` is transparent. The library only reads; C has no word for that here.
    (spans.as_ptr().cast::<ibv_sge>().cast_mut(), spans.len() as c_int)
}

/// A list of send requests in the form of the library.
pub(super) struct SendList {
    requests: [ibv_send_wr; BATCH],
    /// For the payloads of inline requests.
    inline: [ibv_sge; BATCH],
}

impl SendList {
    pub(super) const fn new() -> Self {
        let request = ibv_send_wr {
            wr_id: 0,
            next: null_mut(),
            sg_list: null_mut(),
            num_sge: 0,
            opcode: 0,
            send_flags: 0,
            imm_data: 0,
            wr: ibv_send_wr_rdma { remote_addr: 0, rkey: 0, rest: [0; 2] },
            qp_type: 0,
            rest: [0; 6],
        };
        let segment = ibv_sge { addr: 0, length: 0, lkey: 0 };
        Self { requests: [request; BATCH], inline: [segment; BATCH] }
    }

    /// Fills the list with the first requests, at most [`BATCH`], and gives its start and how many
    /// there are. The list points into itself and into what `from` borrows: it may be used as long
    /// as neither has moved.
    pub(super) fn fill(&mut self, from: &[SendRequest<'_>]) -> (*mut ibv_send_wr, usize) {
        let count = from.len().min(BATCH);
        let first = self.requests.as_mut_ptr();
        for (at, request) in from[..count].iter().enumerate() {
            let segment = &mut self.inline[at];
            let ((sg_list, num_sge), mut send_flags) = match request.payload {
                Payload::Registered(spans) => (segments(spans), 0),
                Payload::Inline(bytes) => {
                    let addr = bytes.as_ptr().expose_provenance() as u64;
                    *segment = ibv_sge { addr, length: bytes.len() as u32, lkey: 0 };
                    ((&raw mut *segment, 1), IBV_SEND_INLINE)
                }
            };
            if request.signalled {
                send_flags |= IBV_SEND_SIGNALED;
            }
            if request.solicited {
                send_flags |= IBV_SEND_SOLICITED;
            }
            let (opcode, immediate, target) = match request.operation {
                SendOperation::Send => (IBV_WR_SEND, 0, None),
                SendOperation::SendWithImmediate(number) => (IBV_WR_SEND_WITH_IMM, number, None),
                SendOperation::Write(target) => (IBV_WR_RDMA_WRITE, 0, Some(target)),
                SendOperation::WriteWithImmediate(target, number) => {
                    (IBV_WR_RDMA_WRITE_WITH_IMM, number, Some(target))
                }
            };
            let next = if at + 1 < count { first.wrapping_add(at + 1) } else { null_mut() };
            let wr = target.map_or_else(ibv_send_wr_rdma::default, |target| ibv_send_wr_rdma {
                remote_addr: target.address,
                rkey: target.key,
                rest: [0; 2],
            });
            let to = &mut self.requests[at];
            (to.wr_id, to.next, to.sg_list, to.num_sge) = (request.id, next, sg_list, num_sge);
            (to.opcode, to.send_flags, to.imm_data) = (opcode, send_flags, immediate.to_be());
            to.wr = wr;
        }
        // Taken again, since the array was borrowed meanwhile.
        (self.requests.as_mut_ptr(), count)
    }
}

/// A list of receive requests in the form of the library.
pub(super) struct ReceiveList {
    requests: [ibv_recv_wr; BATCH],
}

impl ReceiveList {
    pub(super) const fn new() -> Self {
        let request = ibv_recv_wr { wr_id: 0, next: null_mut(), sg_list: null_mut(), num_sge: 0 };
        Self { requests: [request; BATCH] }
    }

    /// As [`SendList::fill`].
    pub(super) fn fill(&mut self, from: &[ReceiveRequest<'_>]) -> (*mut ibv_recv_wr, usize) {
        let count = from.len().min(BATCH);
        let first = self.requests.as_mut_ptr();
        for (at, request) in from[..count].iter().enumerate() {
            let (sg_list, num_sge) = segments(request.spans);
            let next = if at + 1 < count { first.wrapping_add(at + 1) } else { null_mut() };
            self.requests[at] = ibv_recv_wr { wr_id: request.id, next, sg_list, num_sge };
        }
        (self.requests.as_mut_ptr(), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: LocalSpan = LocalSpan(ibv_sge { addr: 4096, length: 10, lkey: 3 });
    const TARGET: RemoteSpan = RemoteSpan { address: 8192, length: 100, key: 5 };

    fn request(operation: SendOperation, payload: Payload<'_>, signalled: bool) -> SendRequest<'_> {
        SendRequest { id: 7, operation, payload, signalled, solicited: false }
    }

    #[test]
    fn a_write_with_immediate_carries_address_key_flags_and_number_in_network_order() {
        let spans = [SPAN, SPAN];
        let operation = SendOperation::WriteWithImmediate(TARGET, 0x0102_0304);
        let mut list = SendList::new();
        let (_, count) = list.fill(&[request(operation, Payload::Registered(&spans), true)]);
        let raw = &list.requests[0];
        assert_eq!((count, raw.wr_id, raw.num_sge), (1, 7, 2));
        assert_eq!((raw.opcode, raw.send_flags), (1, IBV_SEND_SIGNALED));
        assert_eq!(raw.imm_data.to_ne_bytes(), [1, 2, 3, 4]);
        assert_eq!((raw.wr.remote_addr, raw.wr.rkey), (8192, 5));
        assert_eq!(raw.sg_list.cast_const(), spans.as_ptr().cast());
        assert!(raw.next.is_null());
    }

    #[test]
    fn inline_payloads_are_pointed_to_and_flagged() {
        let bytes = [1, 2, 3];
        let mut list = SendList::new();
        let one = request(SendOperation::Send, Payload::Inline(&bytes), false);
        list.fill(&[SendRequest { solicited: true, ..one }]);
        let raw = &list.requests[0];
        assert_eq!((raw.opcode, raw.num_sge), (2, 1));
        assert_eq!(raw.send_flags, IBV_SEND_INLINE | IBV_SEND_SOLICITED);
        assert_eq!(list.inline[0].addr as usize, bytes.as_ptr().addr());
        assert_eq!(list.inline[0].length, 3);
    }

    #[test]
    fn a_long_list_is_cut_at_the_batch_and_ends_there() {
        let payload = Payload::Registered(&[]);
        let all = vec![request(SendOperation::Write(TARGET), payload, false); BATCH + 3];
        let mut list = SendList::new();
        let (mut at, count) = list.fill(&all);
        assert_eq!(count, BATCH);
        for _ in 0..count {
            // SAFETY: the list is alive and has so many elements.
            at = unsafe { (*at).next };
        }
        assert!(at.is_null());

        let mut list = ReceiveList::new();
        let receives =
            [ReceiveRequest { id: 1, spans: &[SPAN] }, ReceiveRequest { id: 2, spans: &[] }];
        let (first, count) = list.fill(&receives);
        assert_eq!(count, 2);
        // SAFETY: the list is alive and has two elements.
        let (first, second) = unsafe { (&*first, &*(*first).next) };
        assert_eq!((first.wr_id, first.num_sge, second.wr_id, second.num_sge), (1, 1, 2, 0));
        assert!(second.next.is_null());
    }
}
