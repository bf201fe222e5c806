//! Memory of callers that the device may read, so that payloads need no copy.
//!
//! The transport keeps a sorted list of what was registered; whoever registered holds the
//! [`Registration`], and may drop it on another thread, or later than the transport. So the list
//! does not own anything: a mark, shared by both, says whether an entry is still good. The mark
//! goes before the memory does. A look-up that is made for memory which was allocated later at the
//! same address sees that, since the allocator orders the one before the other.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::verbs::{Access, LocalSpan, MemoryRegion, MemoryRegionError, ProtectionDomain};

/// Memory that a transport's device may read. The registration ends when this is dropped.
#[derive(Debug)]
pub struct Registration {
    alive: Arc<AtomicBool>,
    region: MemoryRegion,
}

impl Registration {
    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.region.bytes()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Release);
    }
}

/// A range of addresses and the key that the device wants to hear for it.
#[derive(Debug)]
struct Entry {
    start: usize,
    bytes: usize,
    key: u32,
    alive: Arc<AtomicBool>,
}

/// What was registered with one transport.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Sorted; those that are alive have no byte in common.
    entries: Vec<Entry>,
}

impl Registry {
    /// Registers memory of a caller's, for the device to read.
    ///
    /// # Safety
    /// The memory stays allocated at its address until the registration is dropped.
    pub(super) unsafe fn register(
        &mut self,
        domain: &ProtectionDomain,
        start: NonNull<u8>,
        bytes: usize,
    ) -> Result<Registration, MemoryRegionError> {
        // SAFETY: it stays allocated by the contract. Nobody but this process writes to it, and
        // work requests with spans of it are posted for chunks of operations alone, whose memory
        // nobody writes or frees until `FlowTable` was told that they are sent: that is done when
        // the request has ended, or the queue pair (see `peer`). Requests of an earlier region at
        // these addresses have ended in the same way.
        let region = unsafe { MemoryRegion::lend(domain, start, bytes, Access::LocalRead) }?;
        let alive = Arc::new(AtomicBool::new(true));
        self.insert(start.as_ptr().addr(), bytes, region.local_key(), Arc::clone(&alive));
        Ok(Registration { alive, region })
    }

    fn insert(&mut self, start: usize, bytes: usize, key: u32, alive: Arc<AtomicBool>) {
        self.entries.retain(|entry| entry.alive.load(Ordering::Acquire));
        let at = self.entries.partition_point(|entry| entry.start < start);
        self.entries.insert(at, Entry { start, bytes, key, alive });
    }

    /// A range of registered memory for a work request; nothing if not all of it is registered.
    pub(super) fn find(&self, start: *const u8, bytes: usize) -> Option<LocalSpan> {
        let start = start.addr();
        let after = self.entries.partition_point(|entry| entry.start <= start);
        let entry = &self.entries[after.checked_sub(1)?];
        let inside = start - entry.start <= entry.bytes
            && bytes <= entry.bytes - (start - entry.start)
            && entry.alive.load(Ordering::Acquire);
        let length = u32::try_from(bytes).ok()?;
        inside.then(|| LocalSpan::new(start as u64, length, entry.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_one_living_entry_is_found_and_nothing_else() {
        let mut registry = Registry::default();
        let mark = || Arc::new(AtomicBool::new(true));
        let (first, second) = (mark(), mark());
        registry.insert(5_000, 100, 2, Arc::clone(&second));
        registry.insert(1_000, 4_000, 1, Arc::clone(&first));
        let find = |registry: &Registry, start: usize, bytes: usize| {
            registry.find(std::ptr::without_provenance(start), bytes)
        };
        let span = |start: u64, bytes, key| Some(LocalSpan::new(start, bytes, key));
        assert_eq!(find(&registry, 1_000, 4_000), span(1_000, 4_000, 1));
        assert_eq!(find(&registry, 4_999, 1), span(4_999, 1, 1));
        assert_eq!(find(&registry, 5_000, 100), span(5_000, 100, 2));
        // Before, behind, across two, beyond the end.
        let wrong = [(999, 1), (5_100, 1), (4_999, 2), (5_099, 2), (0, usize::MAX)];
        for (start, bytes) in wrong {
            assert_eq!(find(&registry, start, bytes), None, "{bytes} at {start}");
        }
        first.store(false, Ordering::Release);
        assert_eq!(find(&registry, 1_000, 10), None);
        // Other memory in its place, and an entry that is gone with it.
        registry.insert(900, 500, 3, mark());
        assert_eq!(registry.entries.len(), 2);
        assert_eq!(find(&registry, 1_000, 10), span(1_000, 10, 3));
        assert_eq!(find(&registry, 5_000, 10), span(5_000, 10, 2));
    }

    #[test]
    fn nothing_is_found_where_nothing_was_registered() {
        let byte = 1_u8;
        assert_eq!(Registry::default().find(&raw const byte, 1), None);
    }
}
