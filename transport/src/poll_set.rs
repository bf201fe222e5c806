//! Sets of descriptors to wait for, whose memory is kept.

use rustix::event::PollFd;

/// Empties a set after a wait. It keeps its memory and loses its borrow of the sockets: collecting
/// from a vector's own iterator happens in place, and there is no element to convert.
pub(crate) fn emptied(mut set: Vec<PollFd<'_>>) -> Vec<PollFd<'static>> {
    set.clear();
    #[expect(clippy::unnecessary_filter_map, reason = "a filter would keep the lifetime")]
    let empty = set.into_iter().filter_map(|_| None).collect();
    empty
}
