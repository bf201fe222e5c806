//! What `<infiniband/verbs.h>` defines as inline functions, which the library does not export:
//! calls through the function table of a context.

use std::ffi::c_int;

use super::library::Library;
use super::types::{
    ibv_context, ibv_cq, ibv_port_attr, ibv_qp, ibv_recv_wr, ibv_send_wr, ibv_wc, verbs_context,
};

/// `ibv_poll_cq`: how many entries were written, or a negative number.
///
/// # Safety
/// The queue is alive; `entries` has room for `count` entries.
pub(crate) unsafe fn poll_cq(queue: *mut ibv_cq, count: c_int, entries: *mut ibv_wc) -> c_int {
    // SAFETY: a live queue points to its live context, whose table the library has filled; the
    // caller guarantees the rest of the function's contract.
    unsafe {
        match (*(*queue).context).ops.poll_cq {
            Some(poll_cq) => poll_cq(queue, count, entries),
            None => -libc::EOPNOTSUPP,
        }
    }
}

/// `ibv_req_notify_cq`: 0 or an error number.
///
/// # Safety
/// The queue is alive.
pub(crate) unsafe fn req_notify_cq(queue: *mut ibv_cq, solicited_only: bool) -> c_int {
    // SAFETY: as in `poll_cq`.
    unsafe {
        match (*(*queue).context).ops.req_notify_cq {
            Some(notify) => notify(queue, c_int::from(solicited_only)),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// `ibv_post_send`: 0 or an error number; then `bad` points to the first request that was not
/// taken.
///
/// # Safety
/// The queue pair is alive; the list is well formed: every `next` and every list of `num_sge`
/// segments is valid during the call. Segments of inline requests point to readable memory.
pub(crate) unsafe fn post_send(
    pair: *mut ibv_qp,
    first: *mut ibv_send_wr,
    bad: &mut *mut ibv_send_wr,
) -> c_int {
    // SAFETY: a live queue pair points to its live context; the caller guarantees the rest.
    unsafe {
        match (*(*pair).context).ops.post_send {
            Some(post_send) => post_send(pair, first, bad),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// `ibv_post_recv`: 0 or an error number; then `bad` points to the first request that was not
/// taken.
///
/// # Safety
/// The queue pair is alive; the list is well formed: every `next` and every list of `num_sge`
/// segments is valid during the call.
pub(crate) unsafe fn post_recv(
    pair: *mut ibv_qp,
    first: *mut ibv_recv_wr,
    bad: &mut *mut ibv_recv_wr,
) -> c_int {
    // SAFETY: as in `post_send`.
    unsafe {
        match (*(*pair).context).ops.post_recv {
            Some(post_recv) => post_recv(pair, first, bad),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// `ibv_query_port`: 0 or an error number. The exported function of this name fills an older
/// structure, the start of today's; an extended context has a newer one.
///
/// # Safety
/// The context is open.
pub(crate) unsafe fn query_port(
    library: &Library,
    context: *mut ibv_context,
    port: u8,
    attributes: &mut ibv_port_attr,
) -> c_int {
    *attributes = ibv_port_attr::default();
    let length = size_of::<ibv_port_attr>();
    // SAFETY: an open context is live. When `abi_compat` has all bits set it is the last member of
    // a `verbs_context`, whose last `sz` bytes exist; so the members before it may be read if
    // they are among those, as `verbs_get_ctx_op` of the header does it.
    let query_port = unsafe {
        if (*context).abi_compat.addr() == usize::MAX {
            let outer = context.byte_sub(std::mem::offset_of!(verbs_context, context));
            let outer: *mut verbs_context = outer.cast();
            if (*outer).sz >= size_of::<verbs_context>() { (*outer).query_port } else { None }
        } else {
            None
        }
    };
    // SAFETY: the context is open; the first is told how long the structure is, and the second
    // writes no more than its beginning, which every version of the structure has.
    unsafe {
        match query_port {
            Some(query_port) => query_port(context, port, attributes, length),
            None => (library.ibv_query_port)(context, port, attributes),
        }
    }
}
