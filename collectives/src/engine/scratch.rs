//! Scratch buffers, reused from call to call.

use onepath_transport::flow::Slot;

/// Buffers of one communicator: taken when an operation starts, given back when it ends.
#[derive(Debug, Default)]
pub(super) struct ScratchPool {
    free: Vec<Vec<u8>>,
    used: Vec<(Slot, Vec<u8>)>,
    /// Taken but not yet assigned to a slot.
    taken: Option<Vec<u8>>,
}

impl ScratchPool {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A buffer of at least `bytes` bytes, by address. Follow with `assign` or `give_back`.
    pub(super) fn take(&mut self, bytes: usize) -> (*mut u8, usize) {
        if bytes == 0 {
            self.taken = None;
            return (std::ptr::null_mut(), 0);
        }
        let fits = self.free.iter().position(|buffer| buffer.len() >= bytes);
        let mut buffer = match fits {
            Some(at) => self.free.swap_remove(at),
            None => self.free.pop().unwrap_or_default(),
        };
        if buffer.len() < bytes {
            buffer.resize(bytes.next_power_of_two(), 0);
        }
        let address = (buffer.as_mut_ptr(), bytes);
        self.taken = Some(buffer);
        address
    }

    /// The taken buffer belongs to the operation in `slot` until `release`.
    pub(super) fn assign(&mut self, slot: Slot) {
        if let Some(buffer) = self.taken.take() {
            self.used.push((slot, buffer));
        }
    }

    /// The taken buffer is not needed after all.
    pub(super) fn give_back(&mut self) {
        self.free.extend(self.taken.take());
    }

    /// The operation in `slot` has ended.
    pub(super) fn release(&mut self, slot: Slot) {
        if let Some(at) = self.used.iter().position(|&(owner, _)| owner == slot) {
            self.free.push(self.used.swap_remove(at).1);
        }
    }

    /// All operations have ended.
    pub(super) fn release_all(&mut self) {
        self.free.extend(self.used.drain(..).map(|(_, buffer)| buffer));
    }
}
